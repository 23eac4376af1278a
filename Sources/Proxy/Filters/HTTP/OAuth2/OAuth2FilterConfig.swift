internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.oauth2`: users log in at an authorization server before their requests pass.
struct OAuth2FilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    /// Nil where only routes say what is wanted.
    let settings: OAuth2Settings?

    static let kind = HTTPFilterKind(
        OAuth2Filter.self, perRoute: OAuth2PerRoute.self,
        compile: { message, context throws(ConfigurationError) in
            OAuth2FilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                settings: try message.config.map { config throws(ConfigurationError) in
                    try OAuth2Settings(
                        compiling: config, at: context.path + ".config",
                        scope: ["http", context.statPrefix], context: context.compile)
                })
        },
        compileRoute: { message, context throws(ConfigurationError) in
            let place = FieldCheck.join(context.path, "config")
            guard let config = message.config else { throw ConfigurationError(at: place, "is missing") }
            return try OAuth2Settings(
                compiling: config, at: place, scope: ["oauth2", "route"], context: context.compile)
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { OAuth2HTTPFilter(self) }
}

/// What is asked of users, and where.
final class OAuth2Settings: Sendable {
    /// How we say who we are to the authorization server.
    enum ClientProof: Sendable { case body, basic, certificate, assertion }

    /// How cookies are encrypted: by runtime keys of Envoy's, so that both may share cookies while one takes the other's place.
    struct Ciphers: Sendable {
        let writesGCM: RuntimeSwitch
        let readsCBC: RuntimeSwitch

        /// - Parameter isEnvoys: Without the keys as Envoy: CBC is written and read. Otherwise neither.
        init(isEnvoys: Bool) {
            writesGCM = Self.flag("envoy.reloadable_features.oauth2_use_gcm_encryption", !isEnvoys)
            readsCBC = Self.flag("envoy.reloadable_features.oauth2_legacy_cbc_decrypt_compat", isEnvoys)
        }

        private static func flag(_ key: String, _ standard: Bool) -> RuntimeSwitch {
            var flag = RuntimeFeatureFlag()
            flag.defaultValue = standard
            flag.runtimeKey = key
            return RuntimeSwitch(flag)
        }

        func encrypt(_ text: String, secret: [UInt8]) -> String? {
            OAuth2Tokens.encrypt(text, secret: secret, isLegacy: !writesGCM.value)
        }

        /// What was encrypted, and whether it was so in the old way.
        func decrypt(_ text: String, secret: [UInt8]) -> (text: String, isLegacy: Bool)? {
            if let opened = OAuth2Tokens.decrypt(text, secret: secret) { return (opened, false) }
            guard readsCBC.value else { return nil }
            return OAuth2Tokens.decryptLegacy(text, secret: secret).map { ($0, true) }
        }
    }

    /// How a cookie is set.
    struct Cookie: Sendable {
        var name: String
        var path = "/"
        var attributes = ""
    }

    /// The counters.
    struct Counters: Sendable {
        let unauthorized: MetricCounter
        let failure: MetricCounter
        let passThrough: MetricCounter
        let success: MetricCounter
        let refreshed: MetricCounter
        let refreshFailed: MetricCounter
        let allowedFailed: MetricCounter
        let legacyDecrypted: MetricCounter
    }

    let target: HTTPTarget
    let scheme: String
    let retry: Upstream.RetryPolicy?
    let authorization: AbsoluteURL
    /// What its query has, with what is always the same of ours; in the order of names.
    let authorizationQuery: [(name: String, value: String)]
    let resources: String
    let endSession: String
    let postLogout: SubstitutionFormat?
    let tellsPostLogout: Bool
    let clientID: String
    let proof: ClientProof
    /// How assertions are signed; nil where none is made.
    let assertion: OAuth2Assertion?
    let clientSecret: FilterSecret?
    let secret: FilterSecret
    let redirectURI: SubstitutionFormat
    let originalURI: SubstitutionFormat?
    let redirectPath: Upstream.StringMatcher
    let signOutPath: Upstream.StringMatcher
    let passThrough: [Upstream.HeaderMatcher]
    let denyRedirect: [Upstream.HeaderMatcher]
    let allowFailed: [Upstream.HeaderMatcher]
    let allowedDomains: [String]
    let forwardsAccessToken: Bool
    /// The field that carries the id token; nil is none.
    let idTokenField: String?
    let keepsAuthorization: Bool
    let usesRefreshToken: Bool
    let keepsAccessToken: Bool
    let keepsIDToken: Bool
    let keepsRefreshToken: Bool
    let encrypts: Bool
    let ciphers: Ciphers
    let idTokenLastsAsAccess: Bool
    let expiresIn: Int64
    let refreshExpiresIn: Int64
    let csrfExpiresIn: Int64
    let verifierExpiresIn: Int64
    let domain: String
    let access: Cookie
    let hmac: Cookie
    let expires: Cookie
    let id: Cookie
    let refresh: Cookie
    let nonce: Cookie
    let verifier: Cookie
    let counters: Counters

    init(
        compiling message: OAuth2Config, at path: String, scope: [String], context: CompileContext
    ) throws(ConfigurationError) {
        target = try HTTPTarget(compiling: message.tokenEndpoint, at: path + ".token_endpoint")
        scheme = AbsoluteURL(message.tokenEndpoint?.uri ?? "")?.scheme ?? "http"
        retry = try message.retryPolicy.map { policy throws(ConfigurationError) in
            try Upstream.RetryPolicy.ofCall(policy, at: path + ".retry_policy")
        }
        guard let url = AbsoluteURL(message.authorizationEndpoint) else {
            throw ConfigurationError(
                at: path + ".authorization_endpoint", "\"\(message.authorizationEndpoint)\" is no absolute URL")
        }
        authorization = url
        guard let credentials = message.credentials else {
            throw ConfigurationError(at: path + ".credentials", "is missing")
        }
        let place = path + ".credentials"
        guard !credentials.clientId.isEmpty else { throw ConfigurationError(at: place + ".client_id", "is empty") }
        clientID = credentials.clientId
        switch message.authType {
        case .urlEncodedBody: proof = .body
        case .basicAuth: proof = .basic
        case .tlsClientAuth: proof = .certificate
        case .privateKeyJwt: proof = .assertion
        case .unrecognized(let number): throw ConfigurationError(at: path + ".auth_type", "\(number) is no type")
        }
        guard proof == .assertion || message.privateKeyJwtConfig == nil else {
            throw ConfigurationError(at: path + ".private_key_jwt_config", "is for auth_type PRIVATE_KEY_JWT")
        }
        assertion =
            proof == .assertion
            ? try OAuth2Assertion(
                message.privateKeyJwtConfig, client: credentials.clientId, audience: message.tokenEndpoint?.uri ?? "",
                at: path + ".private_key_jwt_config") : nil
        clientSecret =
            proof == .certificate
            ? nil : try FilterSecret(credentials.tokenSecret, at: place + ".token_secret", secrets: context.secrets)
        guard case .hmacSecret(let hmacSecret)? = credentials.tokenFormation else {
            throw ConfigurationError(at: place + ".hmac_secret", "is missing")
        }
        secret = try FilterSecret(hmacSecret, at: place + ".hmac_secret", secrets: context.secrets)
        var query: [String: String] = [:]
        if let mark = url.path.firstIndex(of: "?") {
            for part in url.path[url.path.index(after: mark)...].split(separator: "&") {
                let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                query[String(pair[0])] = pair.count > 1 ? String(pair[1]) : ""
            }
        }
        query["client_id"] = OAuth2Tokens.escape(clientID)
        query["response_type"] = "code"
        let scopes = message.authScopes.isEmpty ? ["user"] : message.authScopes
        query["scope"] = OAuth2Tokens.escape(scopes.joined(separator: " "))
        authorizationQuery = query.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
        resources = message.resources.map { "&resource=" + OAuth2Tokens.escape($0) }.joined()
        endSession = message.endSessionEndpoint
        guard endSession.isEmpty || scopes.contains("openid") else {
            throw ConfigurationError(at: path + ".end_session_endpoint", "auth_scopes lacks openid")
        }
        var postLogout: SubstitutionFormat?
        var tellsPostLogout = true
        switch message.postLogoutRedirectUri?.postLogoutRedirectUri {
        case .disabled(let isOff): tellsPostLogout = !isOff
        case .uri(let uri):
            postLogout = try SubstitutionFormat(text: uri, path: path + ".post_logout_redirect_uri.uri")
        case nil: break
        }
        (self.postLogout, self.tellsPostLogout) = (postLogout, tellsPostLogout)
        guard !message.redirectUri.isEmpty else { throw ConfigurationError(at: path + ".redirect_uri", "is empty") }
        redirectURI = try SubstitutionFormat(text: message.redirectUri, path: path + ".redirect_uri")
        originalURI =
            message.originalRequestUri.isEmpty
            ? nil : try SubstitutionFormat(text: message.originalRequestUri, path: path + ".original_request_uri")
        redirectPath = try Self.matcher(message.redirectPathMatcher, at: path + ".redirect_path_matcher")
        signOutPath = try Self.matcher(message.signoutPath, at: path + ".signout_path")
        passThrough = try Upstream.HeaderMatcher.list(
            message.passThroughMatcher, at: path + ".pass_through_matcher")
        denyRedirect = try Upstream.HeaderMatcher.list(
            message.denyRedirectMatcher, at: path + ".deny_redirect_matcher")
        allowFailed = try Upstream.HeaderMatcher.list(
            message.allowFailedMatcher, at: path + ".allow_failed_matcher")
        allowedDomains = message.allowedRedirectDomains
        forwardsAccessToken = message.forwardBearerToken
        keepsAuthorization = message.preserveAuthorizationHeader
        idTokenField = try Self.idTokenField(message, at: path)
        usesRefreshToken = message.useRefreshToken ?? true
        keepsAccessToken = !message.disableAccessTokenSetCookie
        keepsIDToken = !message.disableIdTokenSetCookie
        keepsRefreshToken = !message.disableRefreshTokenSetCookie
        encrypts = !message.disableTokenEncryption
        ciphers = Ciphers(isEnvoys: context.usesEnvoyDefaults)
        idTokenLastsAsAccess = message.useAccessTokenExpiryForIdTokenCookie
        func seconds(_ duration: Duration?, _ usual: Int64) -> Int64 { duration?.components.seconds ?? usual }
        expiresIn = seconds(message.defaultExpiresIn, 0)
        refreshExpiresIn = seconds(message.defaultRefreshTokenExpiresIn, 604_800)
        csrfExpiresIn = seconds(message.csrfTokenExpiresIn, 600)
        verifierExpiresIn = seconds(message.codeVerifierTokenExpiresIn, 600)
        domain = credentials.cookieDomain
        guard Self.isAttribute(domain) else {
            throw ConfigurationError(at: place + ".cookie_domain", "\"\(domain)\" is no domain")
        }
        let (names, styles) = (credentials.cookieNames, message.cookieConfigs)
        func cookie(
            _ name: String?, _ usual: String, _ field: String, _ style: OAuth2CookieConfig?
        ) throws(ConfigurationError) -> Cookie {
            try Self.cookie(name, usual, style, at: "\(path).cookie_configs.\(field)")
        }
        access = try cookie(
            names?.bearerToken, "BearerToken", "bearer_token_cookie_config", styles?.bearerTokenCookieConfig)
        hmac = try cookie(names?.oauthHmac, "OauthHMAC", "oauth_hmac_cookie_config", styles?.oauthHmacCookieConfig)
        expires = try cookie(
            names?.oauthExpires, "OauthExpires", "oauth_expires_cookie_config", styles?.oauthExpiresCookieConfig)
        id = try cookie(names?.idToken, "IdToken", "id_token_cookie_config", styles?.idTokenCookieConfig)
        refresh = try cookie(
            names?.refreshToken, "RefreshToken", "refresh_token_cookie_config", styles?.refreshTokenCookieConfig)
        nonce = try cookie(
            names?.oauthNonce, "OauthNonce", "oauth_nonce_cookie_config", styles?.oauthNonceCookieConfig)
        verifier = try cookie(
            names?.codeVerifier, "CodeVerifier", "code_verifier_cookie_config", styles?.codeVerifierCookieConfig)
        let metrics = context.metrics.registry.scope(message.statPrefix.isEmpty ? scope : scope + [message.statPrefix])
        counters = Counters(
            unauthorized: metrics.counter("oauth_unauthorized_rq"), failure: metrics.counter("oauth_failure"),
            passThrough: metrics.counter("oauth_passthrough"), success: metrics.counter("oauth_success"),
            refreshed: metrics.counter("oauth_refreshtoken_success"),
            refreshFailed: metrics.counter("oauth_refreshtoken_failure"),
            allowedFailed: metrics.counter("oauth_allow_failed_passthrough"),
            legacyDecrypted: metrics.counter("oauth_legacy_cbc_decrypt"))
    }

    private static func matcher(
        _ message: EnvoyAPI.PathMatcher?, at path: String
    ) throws(ConfigurationError) -> Upstream.StringMatcher {
        guard case .path(let matcher)? = message?.rule else {
            throw ConfigurationError(at: path + ".path", "is missing")
        }
        return try Upstream.StringMatcher(compiling: matcher, at: path + ".path")
    }

    private static func idTokenField(_ message: OAuth2Config, at path: String) throws(ConfigurationError) -> String? {
        var field: String?
        if let forward = message.forwardIdToken {
            let name = forward.header.lowercased()
            var probe = HeaderTable()
            guard !name.isEmpty, !name.hasPrefix(":"), name != "host", (try? probe.append(name, "x")) != nil else {
                throw ConfigurationError(
                    at: path + ".forward_id_token.header", "\"\(forward.header)\" is no field that may carry it")
            }
            for (index, matcher) in message.passThroughMatcher.enumerated() where matcher.name.lowercased() == name {
                throw ConfigurationError(
                    at: "\(path).pass_through_matcher[\(index)]", "clients may not decide by the field of the id token")
            }
            field = name
        }
        let owners = [message.forwardBearerToken, message.preserveAuthorizationHeader, field == "authorization"]
        guard owners.filter({ $0 }).count <= 1 else {
            throw ConfigurationError(
                at: path,
                "at most one of forward_bearer_token, preserve_authorization_header and forward_id_token in authorization"
            )
        }
        return field
    }

    /// Whether a text may stand in an attribute of a cookie.
    private static func isAttribute(_ text: String) -> Bool {
        text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && !Array("\",;<>\\".utf8).contains($0) }
    }

    private static func cookie(
        _ name: String?, _ usual: String, _ style: OAuth2CookieConfig?, at path: String
    ) throws(ConfigurationError) -> Cookie {
        var cookie = Cookie(name: name.flatMap { $0.isEmpty ? nil : $0 } ?? usual)
        var probe = HeaderTable()
        guard (try? probe.append(cookie.name, "x")) != nil else {
            throw ConfigurationError(at: path, "\"\(cookie.name)\" is no name of a cookie")
        }
        guard let style else { return cookie }
        if !style.path.isEmpty {
            guard style.path.hasPrefix("/"), isAttribute(style.path) else {
                throw ConfigurationError(at: path + ".path", "\"\(style.path)\" is no path")
            }
            cookie.path = style.path
        }
        switch style.sameSite {
        case .disabled: break
        case .strict: cookie.attributes = ";SameSite=Strict"
        case .lax: cookie.attributes = ";SameSite=Lax"
        case .none: cookie.attributes = ";SameSite=None"
        case .unrecognized(let number): throw ConfigurationError(at: path + ".same_site", "\(number) is none")
        }
        if style.partitioned { cookie.attributes += ";Partitioned" }
        return cookie
    }

    // MARK: Cookies of answers

    private var domainAttribute: String { domain.isEmpty ? "" : ";domain=\(domain)" }

    /// `set-cookie` of a cookie.
    func setting(_ cookie: Cookie, _ value: String, seconds: Int64, suffix: String = "") -> (String, String) {
        (
            "set-cookie",
            "\(cookie.name)\(suffix)=\(value)\(domainAttribute);path=\(cookie.path);Max-Age=\(seconds);secure;HttpOnly\(cookie.attributes)"
        )
    }

    /// `set-cookie` that takes a cookie away.
    func deleting(_ name: String, path: String) -> (String, String) {
        let isSecure = name.hasPrefix("__Secure-") || name.hasPrefix("__Host-")
        return (
            "set-cookie",
            "\(name)=deleted; path=\(path); expires=Thu, 01 Jan 1970 00:00:00 GMT\(domainAttribute)\(isSecure ? "; Secure" : "")"
        )
    }

    /// Takes away what one login needed.
    func deletingFlow(_ flow: String) -> [(String, String)] {
        [nonce, verifier].flatMap { cookie in
            (flow.isEmpty ? [] : [deleting("\(cookie.name).\(flow)", path: cookie.path)])
                + [deleting(cookie.name, path: cookie.path)]
        }
    }
}
