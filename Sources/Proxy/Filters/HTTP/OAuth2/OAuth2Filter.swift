internal import HTTP
internal import IO
internal import Serialization
internal import TLS
internal import Telemetry
internal import Upstream

/// One request and its session: lets it pass, sends its user to the authorization server, or takes the answer from there.
final class OAuth2HTTPFilter: HTTPFilter {
    private static let status = "x-envoy-oauth-status"
    private static let reason = "x-envoy-oauth-failure-reason"
    /// An answer of an authorization server is some tokens; more is none.
    private static let answerBytesMax = 65_536

    private let config: OAuth2FilterConfig
    private var settings: OAuth2Settings?
    private var call: ClusterCall?
    /// What the call came to before `start` returned.
    private var step: FilterStep?
    private var isStarting = false
    /// The login that the request belongs to.
    private var flow = ""
    private var originalURL = ""
    /// Tokens that the response sets as cookies.
    private var refreshed: OAuth2Session?

    init(_ config: OAuth2FilterConfig) { self.config = config }

    let interest: FilterInterest = [.requestHead, .responseHead]

    // MARK: Request

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        stream.request.headers.remove(named: Self.status)
        stream.request.headers.remove(named: Self.reason)
        guard let settings = stream.routeConfig(for: config.name) as? OAuth2Settings ?? config.settings else {
            return .next
        }
        self.settings = settings
        let row = stream.worker.index
        if let field = settings.idTokenField, field != "authorization" { stream.request.headers.remove(named: field) }
        if matches(settings.passThrough, stream) {
            settings.counters.passThrough.add(row: row)
            return .next
        }
        guard let secret = settings.secret.value, settings.clientSecret == nil || settings.clientSecret?.value != nil
        else {
            settings.counters.failure.add(row: row)
            stream.localReply(
                status: 503, body: "Service Unavailable", details: "OAuth2 secrets are not ready")
            return .stop
        }
        var cookies = RequestCookies(stream.request.headers)
        if settings.encrypts, decrypt(&cookies, settings, secret, stream) { cookies.write(to: &stream.request.headers) }
        if !settings.keepsAuthorization { stream.request.headers.remove(named: "authorization") }
        let path = stream.request.pathText
        let bare = String(path.prefix { $0 != "?" && $0 != "#" })
        if settings.signOutPath.matches(Array(bare.utf8).span) { return signOut(stream, settings, cookies) }
        let isCallback = settings.redirectPath.matches(Array(bare.utf8).span)
        if isLoggedIn(stream, settings, secret, cookies) {
            guard isCallback else {
                removeFlowCookies(&cookies, settings)
                cookies.write(to: &stream.request.headers)
                return .next
            }
            switch callback(stream, settings, secret, cookies) {
            case .failure(let problem): return refuse(stream, settings, problem.details)
            case .success(let found):
                let url = AbsoluteURL(found.url)?.path ?? ""
                let target = String(url.prefix { $0 != "?" })
                if settings.redirectPath.matches(Array(target.utf8).span) {
                    return refuse(
                        stream, settings, "State url query params matches the redirect path matcher: \(url)")
                }
                answer(
                    stream, headers: [("location", found.url)] + settings.deletingFlow(flow),
                    details: "oauth.race_redirect")
                return .stop
            }
        }
        if isCallback { return exchange(stream, settings, secret, cookies) }
        if settings.usesRefreshToken, let token = cookies[settings.refresh.name], !token.isEmpty {
            return refresh(stream, settings, token)
        }
        return beginLogin(stream, settings, secret, "Unauthorized", path)
    }

    private func matches(_ matchers: [Upstream.HeaderMatcher], _ stream: HTTPStream) -> Bool {
        matchers.contains { matcher in stream.readRequest { matcher.matches($0) } }
    }

    /// Decrypts the tokens among the cookies; what cannot be decrypted stays, and makes no session.
    private func decrypt(
        _ cookies: inout RequestCookies, _ settings: OAuth2Settings, _ secret: [UInt8], _ stream: HTTPStream
    ) -> Bool {
        var hasAny = false
        for cookie in [settings.access, settings.id, settings.refresh] {
            guard let value = cookies[cookie.name], !value.isEmpty else { continue }
            hasAny = true
            if let text = decrypt(value, settings, secret, stream) { cookies[cookie.name] = text }
        }
        return hasAny
    }

    private func decrypt(
        _ text: String, _ settings: OAuth2Settings, _ secret: [UInt8], _ stream: HTTPStream
    ) -> String? {
        guard let (opened, isLegacy) = settings.ciphers.decrypt(text, secret: secret) else { return nil }
        if isLegacy { settings.counters.legacyDecrypted.add(row: stream.worker.index) }
        return opened
    }

    private func isLoggedIn(
        _ stream: HTTPStream, _ settings: OAuth2Settings, _ secret: [UInt8], _ cookies: RequestCookies
    ) -> Bool {
        let expires = cookies[settings.expires.name] ?? ""
        let (access, id) = (cookies[settings.access.name] ?? "", cookies[settings.id.name] ?? "")
        let expected = OAuth2Tokens.sessionCode(
            secret: secret, domain: domain(stream, settings), expires: expires, access: access, id: id,
            refresh: cookies[settings.refresh.name] ?? "")
        guard OAuth2Tokens.isValid(cookies[settings.hmac.name] ?? "", expected),
            let moment = Int64(expires), moment > WallClock.now.seconds
        else { return false }
        settings.counters.success.add(row: stream.worker.index)
        forward(stream, settings, access: access, id: id)
        return true
    }

    private func domain(_ stream: HTTPStream, _ settings: OAuth2Settings) -> String {
        settings.domain.isEmpty ? String(decoding: stream.request.authorityBytes, as: UTF8.self) : settings.domain
    }

    private func forward(_ stream: HTTPStream, _ settings: OAuth2Settings, access: String, id: String) {
        if settings.forwardsAccessToken, !access.isEmpty {
            try? stream.request.headers.set("authorization", "Bearer " + access)
        }
        if let field = settings.idTokenField, !id.isEmpty {
            try? stream.request.headers.set(field, field == "authorization" ? "Bearer " + id : id)
        }
    }

    /// What a login needs is nobody's business behind us; access and id token may be.
    private func removeFlowCookies(_ cookies: inout RequestCookies, _ settings: OAuth2Settings) {
        let names = [settings.hmac.name, settings.expires.name, settings.refresh.name]
        cookies.removeAll { name in
            names.contains(name) || Self.belongs(name, settings.nonce) || Self.belongs(name, settings.verifier)
        }
    }

    /// Whether it is a cookie, or that cookie of one login.
    private static func belongs(_ name: String, _ cookie: OAuth2Settings.Cookie) -> Bool {
        name == cookie.name || name.hasPrefix(cookie.name + ".")
    }

    // MARK: Answers

    private func answer(_ stream: HTTPStream, headers: [(String, String)], details: String) {
        stream.localReply(status: 302, details: details, headers: headers)
    }

    private func refuse(_ stream: HTTPStream, _ settings: OAuth2Settings, _ details: String) -> FilterStep {
        settings.counters.failure.add(row: stream.worker.index)
        stream.localReply(
            status: 401, body: "OAuth flow failed.", details: details,
            headers: flow.isEmpty ? [] : settings.deletingFlow(flow))
        return .stop
    }

    private func signOut(
        _ stream: HTTPStream, _ settings: OAuth2Settings, _ cookies: RequestCookies
    ) -> FilterStep {
        var headers = [settings.hmac, settings.access, settings.id, settings.refresh, settings.expires].map {
            settings.deleting($0.name, path: $0.path)
        }
        for (name, _) in cookies.entries {
            for cookie in [settings.nonce, settings.verifier] where Self.belongs(name, cookie) {
                headers.append(settings.deleting(name, path: cookie.path))
            }
        }
        let own = stream.schemeText + "://" + String(decoding: stream.request.authorityBytes, as: UTF8.self) + "/"
        var location = own
        if !settings.endSession.isEmpty {
            let hint = cookies[settings.id.name] ?? ""
            location = "\(settings.endSession)?id_token_hint=\(hint)&client_id=\(settings.clientID)"
            if settings.tellsPostLogout {
                let target = settings.postLogout.map { stream.text(of: $0) } ?? own
                location += "&post_logout_redirect_uri=" + OAuth2Tokens.escape(target)
            }
        }
        answer(stream, headers: headers + [("location", location)], details: "oauth.sign_out")
        return .stop
    }

    /// The user has no session: a login begins, unless the request is one that may pass without or may not be led away.
    private func beginLogin(
        _ stream: HTTPStream, _ settings: OAuth2Settings, _ secret: [UInt8], _ problem: String, _ path: String?
    ) -> FilterStep {
        let tail = path.map { ": " + $0 } ?? ""
        if mayFail(stream, settings) {
            passWithoutLogin(
                stream, settings,
                "\(problem), and forwarding as unauthorized because OAuth failure is allowed\(tail)")
            return .next
        }
        if matches(settings.denyRedirect, stream) {
            return refuse(stream, settings, "\(problem), and redirecting to OAuth server is not allowed\(tail)")
        }
        return redirect(stream, settings, secret)
    }

    private func mayFail(_ stream: HTTPStream, _ settings: OAuth2Settings) -> Bool {
        let bare = stream.request.pathText.prefix { $0 != "?" && $0 != "#" }
        // What comes back from the authorization server is for us alone.
        guard !settings.redirectPath.matches(Array(bare.utf8).span) else { return false }
        return matches(settings.allowFailed, stream)
    }

    private func passWithoutLogin(_ stream: HTTPStream, _ settings: OAuth2Settings, _ text: String) {
        var cookies = RequestCookies(stream.request.headers)
        removeFlowCookies(&cookies, settings)
        cookies.removeAll { $0 == settings.access.name || $0 == settings.id.name }
        cookies.write(to: &stream.request.headers)
        try? stream.request.headers.set(Self.status, "failed")
        try? stream.request.headers.set(Self.reason, text)
        settings.counters.allowedFailed.add(row: stream.worker.index)
    }

    private func redirect(_ stream: HTTPStream, _ settings: OAuth2Settings, _ secret: [UInt8]) -> FilterStep {
        let host = String(decoding: stream.request.authorityBytes, as: UTF8.self)
        let base =
            settings.originalURI.map { stream.text(of: $0) } ?? (stream.schemeText == "http" ? "http" : "https") + "://"
            + host
        if !settings.allowedDomains.isEmpty, AbsoluteURL(base)?.isAllowed(settings.allowedDomains) != true {
            return refuse(
                stream, settings, "authority or original_request_uri failed domain allow-list validation: \(base)")
        }
        let flow = OAuth2Tokens.hexadecimal(SecureRandom.bytes(8))
        let token = OAuth2Tokens.csrfToken(nonce: flow, secret: secret)
        let state = JSON.object([
            "url": .string(base + stream.request.pathText), "csrf_token": .string(token), "flow_id": .string(flow),
        ])
        let callbackURI = stream.text(of: settings.redirectURI)
        if !settings.allowedDomains.isEmpty, AbsoluteURL(callbackURI)?.isAllowed(settings.allowedDomains) != true {
            return refuse(stream, settings, "redirect_uri failed domain allow-list validation: \(callbackURI)")
        }
        let verifier = Base64.encodeURL(SecureRandom.bytes(32))
        guard let sealed = settings.ciphers.encrypt(verifier, secret: secret) else {
            return refuse(stream, settings, "Failed to encrypt the code verifier")
        }
        var query = settings.authorizationQuery
        query += [
            (name: "state", value: Base64.encodeURL(state.text.utf8)),
            (name: "redirect_uri", value: OAuth2Tokens.escape(callbackURI)),
            (name: "code_challenge", value: OAuth2Tokens.challenge(of: verifier)),
            (name: "code_challenge_method", value: "S256"),
        ]
        query.sort { $0.name < $1.name }
        let url = settings.authorization
        let location =
            "\(url.scheme)://\(url.authority)\(url.path.prefix { $0 != "?" })?"
            + query.map { "\($0.name)=\($0.value)" }.joined(separator: "&") + settings.resources
        let headers = [
            settings.setting(settings.nonce, token, seconds: settings.csrfExpiresIn, suffix: "." + flow),
            settings.setting(settings.nonce, token, seconds: settings.csrfExpiresIn),
            settings.setting(settings.verifier, sealed, seconds: settings.verifierExpiresIn, suffix: "." + flow),
            settings.setting(settings.verifier, sealed, seconds: settings.verifierExpiresIn),
            ("location", location),
        ]
        settings.counters.unauthorized.add(row: stream.worker.index)
        answer(stream, headers: headers, details: "oauth.missing_credentials")
        return .stop
    }

    // MARK: Callback

    private struct Problem: Error {
        let details: String
        /// The authorization server gave no answer, or refused.
        var isRefusal = false
    }

    /// What the authorization server sent a user back with, checked against what the user was sent there with.
    private func callback(
        _ stream: HTTPStream, _ settings: OAuth2Settings, _ secret: [UInt8], _ cookies: RequestCookies
    ) -> Result<(code: String, url: String), Problem> {
        let path = stream.request.pathText
        var query: [(name: String, value: String)] = []
        if let mark = path.firstIndex(of: "?") {
            for part in path[path.index(after: mark)...].prefix(while: { $0 != "#" }).split(separator: "&") {
                let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                query.append((String(pair[0]), pair.count > 1 ? String(pair[1]) : ""))
            }
        }
        func first(_ name: String) -> String? { query.first { $0.name == name }?.value }
        let shown = "?" + query.sorted { $0.name < $1.name }.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
        if first("error") != nil {
            if let state = first("state") { _ = check(state: state, settings, secret, cookies) }
            return .failure(Problem(details: "OAuth server returned an error: \(shown)"))
        }
        guard let code = first("code"), let state = first("state") else {
            return .failure(Problem(details: "Code or state query param does not exist: \(shown)"))
        }
        return check(state: state, settings, secret, cookies).map { (code, $0) }
    }

    private func check(
        state: String, _ settings: OAuth2Settings, _ secret: [UInt8], _ cookies: RequestCookies
    ) -> Result<String, Problem> {
        let url: String
        let token: String
        let flow: String
        switch OAuth2State(reading: state) {
        case .noObject(let text):
            return .failure(Problem(details: "State query param is not a valid JSON: \(text)"))
        case .incomplete(let text):
            return .failure(Problem(details: "State query param does not contain url or CSRF token: \(text)"))
        case .complete(let state): (url, token, flow) = state
        }
        guard let cookie = cookie(settings.nonce, flow, cookies), OAuth2Tokens.isValid(cookie, token),
            OAuth2Tokens.isOurs(token, secret: secret)
        else { return .failure(Problem(details: "CSRF token validation failed")) }
        // From here on the login is known to be ours.
        self.flow = flow
        guard let target = AbsoluteURL(url) else {
            return .failure(Problem(details: "State url can not be initialized: \(url)"))
        }
        guard target.isAllowed(settings.allowedDomains) else {
            return .failure(
                Problem(details: "State url host is not in the allowed redirect domains: \(url)"))
        }
        return .success(url)
    }

    private func cookie(_ cookie: OAuth2Settings.Cookie, _ flow: String, _ cookies: RequestCookies) -> String? {
        for name in ["\(cookie.name).\(flow)", cookie.name] {
            if let value = cookies[name], !value.isEmpty { return value }
        }
        return nil
    }

    private func exchange(
        _ stream: HTTPStream, _ settings: OAuth2Settings, _ secret: [UInt8], _ cookies: RequestCookies
    ) -> FilterStep {
        let found: (code: String, url: String)
        switch callback(stream, settings, secret, cookies) {
        case .failure(let problem): return refuse(stream, settings, problem.details)
        case .success(let result): found = result
        }
        originalURL = found.url
        guard let sealed = cookie(settings.verifier, flow, cookies) else {
            return refuse(stream, settings, "Code verifier cookie is missing in the request")
        }
        guard let verifier = decrypt(sealed, settings, secret, stream) else {
            return refuse(stream, settings, "Failed to decrypt code verifier")
        }
        var form = [("grant_type", "authorization_code"), ("code", found.code)]
        if settings.proof != .basic { form.append(("client_id", OAuth2Tokens.escape(settings.clientID))) }
        guard let proof = proof(settings) else { return refuse(stream, settings, Self.noAssertion) }
        form += proof
        form.append(("redirect_uri", OAuth2Tokens.escape(stream.text(of: settings.redirectURI))))
        form.append(("code_verifier", verifier))
        return ask(stream, settings, form) { [weak self] result in self?.exchanged(result, stream, settings, secret) }
    }

    private func refresh(_ stream: HTTPStream, _ settings: OAuth2Settings, _ token: String) -> FilterStep {
        var form = [("grant_type", "refresh_token"), ("refresh_token", OAuth2Tokens.escape(token))]
        if settings.proof != .basic { form.append(("client_id", OAuth2Tokens.escape(settings.clientID))) }
        guard let proof = proof(settings) else { return refuse(stream, settings, Self.noAssertion) }
        form += proof
        return ask(stream, settings, form) { [weak self] result in self?.refreshed(result, stream, settings) }
    }

    private static let noAssertion = "Failed to create the client assertion"

    /// What of the form says who we are, beside the client's id; nil when it cannot be made.
    private func proof(_ settings: OAuth2Settings) -> [(String, String)]? {
        switch settings.proof {
        case .basic, .certificate: return []
        case .body: return [("client_secret", OAuth2Tokens.escape(clientSecret(settings)))]
        case .assertion:
            let id = OAuth2Tokens.hexadecimal(SecureRandom.bytes(16))
            guard let key = settings.clientSecret?.value,
                let token = settings.assertion?.token(key: key, now: WallClock.now.seconds, id: id)
            else { return nil }
            return [
                ("client_assertion_type", OAuth2Tokens.escape(OAuth2Assertion.type)),
                ("client_assertion", OAuth2Tokens.escape(token)),
            ]
        }
    }

    private func clientSecret(_ settings: OAuth2Settings) -> String {
        String(decoding: settings.clientSecret?.value ?? [], as: UTF8.self)
    }

    // MARK: The authorization server

    private func ask(
        _ stream: HTTPStream, _ settings: OAuth2Settings, _ form: [(String, String)],
        done: @escaping (Result<CallAnswer, ClusterCall.Failed>) -> Void
    ) -> FilterStep {
        let body = Array(form.map { "\($0.0)=\($0.1)" }.joined(separator: "&").utf8)
        var head = RequestHead()
        head.setMethod(.post)
        head.setScheme(settings.scheme == "https" ? "https" : "http")
        try? head.setPath(Array(settings.target.path.utf8).span.bytes)
        try? head.setAuthority(Array(settings.target.authority.utf8).span.bytes)
        try? head.headers.append("content-type", "application/x-www-form-urlencoded")
        try? head.headers.append("accept", "application/json")
        if settings.proof == .basic {
            let proof = Base64.encode("\(settings.clientID):\(clientSecret(settings))".utf8)
            try? head.headers.append("authorization", "Basic " + proof)
        }
        try? head.headers.append("content-length", String(body.count))
        try? head.headers.append("x-envoy-internal", "true")
        if settings.target.timeout > .zero {
            let milliseconds = max(settings.target.timeout.wholeNanoseconds / 1_000_000, 1)
            try? head.headers.append("x-envoy-expected-rq-timeout-ms", "\(milliseconds)")
        }
        head.body = .length(body.count)
        let call = ClusterCall(
            head, body: body, cluster: settings.target.cluster, worker: stream.worker,
            options: ClusterCall.Options(
                timeout: settings.target.timeout, retry: settings.retry, answerBytesMax: Self.answerBytesMax),
            done: done)
        self.call = call
        isStarting = true
        call.start()
        isStarting = false
        return step ?? .stopAll
    }

    /// The call is over, and the request goes on or has its answer.
    private func resume(_ next: FilterStep, _ stream: HTTPStream) {
        call = nil
        if isStarting {
            step = next
        } else if next == .next {
            stream.resumeRequest(self)
        }
    }

    private func tokens(
        _ result: Result<CallAnswer, ClusterCall.Failed>, _ settings: OAuth2Settings
    ) -> Result<OAuth2Session, Problem> {
        guard case .success(let answer) = result else {
            if case .failure(let failed) = result, case .noCluster = failed.reason {
                return .failure(Problem(details: "Token endpoint cluster not found"))
            }
            return .failure(
                Problem(details: "Failed to get access token due to HTTP request failure", isRefusal: true))
        }
        let text = String(decoding: answer.body, as: UTF8.self)
        guard answer.head.status == 200 else {
            return .failure(
                Problem(
                    details: "Failed to get access token: response code: \(answer.head.status), response body: \(text)",
                    isRefusal: true))
        }
        guard let json = try? JSON.parse(answer.body), case .object = json else {
            return .failure(Problem(details: "Failed to parse oauth response body: response body: \(text)"))
        }
        guard let access = json["access_token"]?.string else {
            return .failure(
                Problem(
                    details: "No access token found in the token exchange response: response body: \(text)"))
        }
        var seconds = settings.expiresIn
        switch json["expires_in"] {
        case .integer(let number): seconds = number
        case .number(let number): seconds = Int64(exactly: number.rounded(.towardZero)) ?? 0
        case .string(let number): seconds = Int64(number) ?? 0
        default: break
        }
        guard seconds > 0 else {
            return .failure(
                Problem(
                    details:
                        "No default or explicit access token expiration found in the token exchange response: response body: \(text)"
                ))
        }
        return .success(
            OAuth2Session(
                access: access, id: json["id_token"]?.string ?? "", refresh: json["refresh_token"]?.string ?? "",
                expiresIn: seconds, settings, now: WallClock.now.seconds))
    }

    /// What the authorization server said is of no use.
    private func fail(_ stream: HTTPStream, _ settings: OAuth2Settings, _ problem: Problem) -> FilterStep {
        guard mayFail(stream, settings) else { return refuse(stream, settings, problem.details) }
        passWithoutLogin(stream, settings, String(problem.details.prefix { $0 != ":" }))
        return .next
    }

    private func exchanged(
        _ result: Result<CallAnswer, ClusterCall.Failed>, _ stream: HTTPStream, _ settings: OAuth2Settings,
        _ secret: [UInt8]
    ) {
        switch tokens(result, settings) {
        case .failure(let problem): resume(fail(stream, settings, problem), stream)
        case .success(let session):
            settings.counters.success.add(row: stream.worker.index)
            let cookies = RequestCookies(stream.request.headers)
            answer(
                stream,
                headers: session.cookies(settings, secret, domain: domain(stream, settings), had: cookies)
                    + settings.deletingFlow(flow) + [("location", originalURL)], details: "oauth.logged_in")
            resume(.stop, stream)
        }
    }

    private func refreshed(
        _ result: Result<CallAnswer, ClusterCall.Failed>, _ stream: HTTPStream, _ settings: OAuth2Settings
    ) {
        switch tokens(result, settings) {
        case .failure(let problem) where !problem.isRefusal: resume(fail(stream, settings, problem), stream)
        case .failure:
            settings.counters.refreshFailed.add(row: stream.worker.index)
            resume(
                beginLogin(
                    stream, settings, settings.secret.value ?? [], "Failed to refresh the access token", nil), stream)
        case .success(var session):
            var cookies = RequestCookies(stream.request.headers)
            if session.refresh.isEmpty { session.refresh = cookies[settings.refresh.name] ?? "" }
            if !session.access.isEmpty { cookies[settings.access.name] = session.access }
            if !session.id.isEmpty { cookies[settings.id.name] = session.id }
            self.had = cookies
            forward(stream, settings, access: session.access, id: session.id)
            refreshed = session
            settings.counters.refreshed.add(row: stream.worker.index)
            settings.counters.success.add(row: stream.worker.index)
            removeFlowCookies(&cookies, settings)
            cookies.write(to: &stream.request.headers)
            resume(.next, stream)
        }
    }

    /// The cookies that the request came with.
    private var had = RequestCookies()

    // MARK: Response

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard let session = refreshed, let settings, let secret = settings.secret.value else { return .next }
        refreshed = nil
        let domain = domain(stream, settings)
        for (name, value) in session.cookies(settings, secret, domain: domain, had: had) {
            try? stream.response.headers.append(name, value)
        }
        return .next
    }

    func streamEnded(_ stream: HTTPStream) {
        call?.cancel()
        call = nil
    }
}

extension HTTPStream {
    /// The text of a format as it is now.
    func text(of format: SubstitutionFormat) -> String {
        var bytes: [UInt8] = []
        format.append(self, FormatMoment(type: .notSet, now: worker.loop.now), to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// `http` or `https`.
    fileprivate var schemeText: String { String(decoding: request.schemeBytes, as: UTF8.self) }
}
