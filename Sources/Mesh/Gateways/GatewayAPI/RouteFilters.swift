import EnvoyAPI
import KubernetesAPI
import Serialization

/// Filters of routes as Envoy's actions.
enum RouteFilters {
    static let corsName = "envoy.filters.http.cors"
    static let sessionName = "envoy.filters.http.stateful_session"

    // MARK: Headers

    static func headers(_ filters: [GatewayAPI.Filter], _ route: inout Route, _ action: inout RouteAction) {
        for filter in filters {
            if let change = filter.requestHeaders {
                route.requestHeadersToAdd += additions(change)
                route.requestHeadersToRemove += removals(change)
                if let host = authority(change) { action.hostRewriteSpecifier = .hostRewriteLiteral(host) }
            }
            if let change = filter.responseHeaders {
                route.responseHeadersToAdd += additions(change)
                route.responseHeadersToRemove += removals(change)
            }
        }
    }

    static func headers(_ filters: [GatewayAPI.Filter], _ entry: inout WeightedCluster.ClusterWeight) {
        for filter in filters {
            if let change = filter.requestHeaders {
                entry.requestHeadersToAdd += additions(change)
                entry.requestHeadersToRemove += removals(change)
                if let host = authority(change) { entry.hostRewriteSpecifier = .hostRewriteLiteral(host) }
            }
            if let change = filter.responseHeaders {
                entry.responseHeadersToAdd += additions(change)
                entry.responseHeadersToRemove += removals(change)
            }
            if let host = filter.rewrite?.hostname, !host.isEmpty {
                entry.hostRewriteSpecifier = .hostRewriteLiteral(host)
            }
        }
    }

    private static func isAuthority(_ name: String) -> Bool { name.hasPrefix(":") || name.lowercased() == "host" }

    private static func additions(_ change: GatewayAPI.HeaderModifier) -> [HeaderValueOption] {
        func options(
            _ pairs: [(name: String, value: String)], _ action: HeaderValueOption.HeaderAppendAction
        ) -> [HeaderValueOption] {
            pairs.filter { !isAuthority($0.name) }.map { pair in
                var header = HeaderValue()
                header.key = pair.name
                // Envoy takes what stands between percent signs for a variable.
                header.value = pair.value.replacing("%", with: "%%")
                var option = HeaderValueOption()
                option.header = header
                option.appendAction = action
                return option
            }
        }
        return options(change.set, .overwriteIfExistsOrAdd) + options(change.add, .appendIfExistsOrAdd)
    }

    private static func removals(_ change: GatewayAPI.HeaderModifier) -> [String] {
        change.remove.filter { !isAuthority($0) }
    }

    /// The authority that `set` asks for: a rewrite of the host.
    private static func authority(_ change: GatewayAPI.HeaderModifier) -> String? {
        change.set.first { $0.name.lowercased() == "host" }?.value
    }

    // MARK: Paths

    static func redirect(
        _ redirect: GatewayAPI.Redirect, _ match: GatewayAPI.Match?, listenerPort: Int?
    ) -> RedirectAction {
        var action = RedirectAction()
        action.hostRedirect = redirect.hostname
        if !redirect.scheme.isEmpty { action.schemeRewriteSpecifier = .schemeRedirect(redirect.scheme) }
        if let port = redirect.port {
            action.portRedirect = UInt32(clamping: port)
        } else if !redirect.scheme.isEmpty {
            action.portRedirect = redirect.scheme == "https" ? 443 : 80
        } else if let listenerPort, listenerPort != 80, listenerPort != 443 {
            // On the ports of the schemes themselves the port of the request stays: it may have come through another.
            action.portRedirect = UInt32(clamping: listenerPort)
        }
        switch redirect.path {
        case .full(let path): action.pathRewriteSpecifier = .pathRedirect(path)
        case .prefix(let replacement):
            switch prefixRewrite(replacement, match) {
            case .literal(let text): action.pathRewriteSpecifier = .prefixRewrite(text)
            case .regex(let regex): action.pathRewriteSpecifier = .regexRewrite(regex)
            }
        case nil: break
        }
        switch redirect.statusCode {
        case 301: action.responseCode = .movedPermanently
        case 303: action.responseCode = .seeOther
        case 307: action.responseCode = .temporaryRedirect
        case 308: action.responseCode = .permanentRedirect
        default: action.responseCode = .found
        }
        return action
    }

    static func rewrite(_ rewrite: GatewayAPI.Rewrite, _ match: GatewayAPI.Match?, _ action: inout RouteAction) {
        if !rewrite.hostname.isEmpty { action.hostRewriteSpecifier = .hostRewriteLiteral(rewrite.hostname) }
        switch rewrite.path {
        case .full(let path): action.regexRewrite = substitution("^/.*$", path)
        case .prefix(let replacement):
            switch prefixRewrite(replacement, match) {
            case .literal(let text): action.prefixRewrite = text
            case .regex(let regex): action.regexRewrite = regex
            }
        case nil: break
        }
    }

    private enum PrefixRewrite {
        case literal(String)
        case regex(RegexMatchAndSubstitute)
    }

    /// The matched path elements give way to others, and there is always exactly one slash between what comes and what
    /// stays.
    private static func prefixRewrite(_ replacement: String, _ match: GatewayAPI.Match?) -> PrefixRewrite {
        let matched = RouteConditions.trimmed(match?.path ?? "/")
        let target = RouteConditions.trimmed(replacement)
        if matched == "/" { return .literal(target == "/" ? "/" : target + "/") }
        if target == "/" { return .regex(substitution("^" + RegexText.quoted(matched) + "/*", "/")) }
        return .literal(target)
    }

    private static func substitution(_ pattern: String, _ replacement: String) -> RegexMatchAndSubstitute {
        var message = RegexMatchAndSubstitute()
        message.pattern = Matches.regex(pattern)
        message.substitution = replacement.replacing("\\", with: "\\\\")
        return message
    }

    // MARK: Mirrors, CORS, sessions

    /// `nil` when no request is to be mirrored.
    static func mirror(_ mirror: GatewayAPI.Mirror, to cluster: String) -> RouteAction.RequestMirrorPolicy? {
        var policy = RouteAction.RequestMirrorPolicy()
        policy.cluster = cluster
        var share = 1.0
        if let percent = mirror.percent {
            share = Double(percent) / 100
        } else if let fraction = mirror.fraction {
            share = fraction.denominator > 0 ? Double(fraction.numerator) / Double(fraction.denominator) : 0
        }
        if share <= 0 { return nil }
        if share < 1 {
            var value = FractionalPercent()
            value.numerator = UInt32((share * 1_000_000).rounded())
            value.denominator = .million
            var fraction = RuntimeFractionalPercent()
            fraction.defaultValue = value
            policy.runtimeFraction = fraction
        }
        return policy
    }

    static func cors(_ cors: GatewayAPI.CORS) -> CorsFilterPolicy {
        var policy = CorsFilterPolicy()
        policy.allowOriginStringMatch = cors.allowOrigins.map { origin in
            var matcher = StringMatcher()
            if origin.contains("*") {
                let parts = origin.split(separator: "*", omittingEmptySubsequences: false)
                matcher.matchPattern = .safeRegex(
                    Matches.regex(parts.map { RegexText.quoted(String($0)) }.joined(separator: ".*")))
            } else {
                matcher.matchPattern = .exact(origin)
            }
            return matcher
        }
        policy.allowMethods = cors.allowMethods.joined(separator: ",")
        policy.allowHeaders = cors.allowHeaders.joined(separator: ",")
        policy.exposeHeaders = cors.exposeHeaders.joined(separator: ",")
        policy.maxAge = String(cors.maxAge)
        if cors.allowsCredentials { policy.allowCredentials = true }
        policy.forwardNotMatchingPreflights = false
        return policy
    }

    /// The session state rides in a cookie or header that names the endpoint.
    static func session(
        _ session: GatewayAPI.SessionPersistence, of route: GatewayAPIModel.Route
    ) -> StatefulSessionPerRoute {
        var extensionConfig = TypedExtensionConfig()
        if session.usesHeader {
            var state = HeaderBasedSessionState()
            state.name = session.headerName
            extensionConfig.name = "envoy.http.stateful_session.header"
            extensionConfig.typedConfig = AnyMessage(packing: state)
        } else {
            var cookie = EnvoyAPI.Cookie()
            cookie.name =
                session.cookieName.isEmpty ? "skein-\(route.key.namespace)-\(route.key.name)" : session.cookieName
            cookie.path = session.cookiePath
            if session.isPermanent { cookie.ttl = session.absoluteTimeout }
            var state = CookieBasedSessionState()
            state.cookie = cookie
            extensionConfig.name = "envoy.http.stateful_session.cookie"
            extensionConfig.typedConfig = AnyMessage(packing: state)
        }
        var settings = StatefulSession()
        settings.sessionState = extensionConfig
        var perRoute = StatefulSessionPerRoute()
        perRoute.override = .statefulSession(settings)
        return perRoute
    }
}
