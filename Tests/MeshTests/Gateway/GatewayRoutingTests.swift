import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("HTTP routes of the Gateway API (section I)")
struct GatewayRoutingTests {
    private let web = "backendRefs: [{name: web, port: 80}]"
    private let toWeb = "outbound|80||web.default.svc.cluster.local"

    /// The virtual host of all names under a route with those rules.
    private func host(_ rules: String, more: String = "") throws -> VirtualHost {
        try World.gatewayAPI(
            GatewayYAML.gateway(GatewayYAML.listener), GatewayYAML.http("r", rules), more
        ).gatewaySnapshot().virtualHost("http.80", "*")
    }

    private func path(_ type: String, _ value: String) -> String { "path: {type: \(type), value: \(value)}" }

    @Test("I-4 I-5 rules are sorted: Exact, then the longest prefix, then method, headers, queries; not in list order")
    func precedence() throws {
        let host = try host(
            """
            {matches: [{\(path("PathPrefix", "/"))}], \(web)},
            {matches: [{\(path("PathPrefix", "/a"))}], \(web)},
            {matches: [{\(path("PathPrefix", "/a")), queryParams: [{name: q, value: "1"}]}], \(web)},
            {matches: [{\(path("PathPrefix", "/a")), headers: [{name: h, value: "1"}, {name: i, value: "1"}]}], \(web)},
            {matches: [{\(path("PathPrefix", "/a")), method: GET}], \(web)},
            {matches: [{\(path("PathPrefix", "/a/long"))}], \(web)},
            {matches: [{\(path("RegularExpression", "/a.*"))}], \(web)},
            {matches: [{\(path("Exact", "/a"))}], \(web)}
            """)
        #expect(
            host.outline.map { String($0.prefix { $0 != " " }) } == [
                "path:/a", "regex:/a.*", "elements:/a/long", "elements:/a", "prefix:/",
            ])
        let names = host.routes.filter { $0.match?.pathSpecifier == .pathSeparatedPrefix("/a") }.map(\.name)
        #expect(names.first == "default/r.4" && names.contains("default/r.3"))
        var seen: [String] = []
        for name in names where seen.last != name { seen.append(name) }
        #expect(seen == ["default/r.4", "default/r.3", "default/r.2", "default/r.1"])
    }

    @Test("I-4 across routes: the older route wins a tie, then the name decides")
    func ties() throws {
        let host = try World.gatewayAPI(
            GatewayYAML.gateway(GatewayYAML.listener),
            GatewayYAML.http("b", created: "2026-01-02T00:00:00Z", "{backendRefs: [{name: web, port: 80}]}"),
            GatewayYAML.http("c", created: "2026-01-01T00:00:00Z", "{backendRefs: [{name: third, port: 80}]}"),
            GatewayYAML.http("a", created: "2026-01-02T00:00:00Z", "{backendRefs: [{name: other, port: 80}]}")
        ).gatewaySnapshot().virtualHost("http.80", "*")
        #expect(
            host.outline.map { $0.split(separator: "|").last.map(String.init) ?? "" } == [
                "third.default.svc.cluster.local", "other.default.svc.cluster.local", "web.default.svc.cluster.local",
            ])
    }

    @Test("a prefix is matched by path elements and its trailing slash means nothing")
    func prefixes() throws {
        let host = try host("{matches: [{\(path("PathPrefix", "/foo/"))}], \(web)}")
        #expect(host.routes.first?.match?.pathSpecifier == .pathSeparatedPrefix("/foo"))
    }

    @Test("I-6 an invalid backend gets 500 for its share, a route without any valid backend 500 for all")
    func invalidBackends() throws {
        let mixed = try host("{backendRefs: [{name: web, port: 80, weight: 3}, {name: gone, port: 80, weight: 1}]}")
        #expect(mixed.outline == ["prefix:/ -> \(toWeb)=3 InvalidBackend=1"])
        #expect(mixed.routes.first?.forward?.clusterNotFoundResponseCode == .internalServerError)
        for backend in [
            "{name: gone, port: 80}", "{name: web, port: 81}", "{name: web}",
            "{name: web, kind: Pod, port: 80}", "{name: far, namespace: other, port: 80}",
        ] {
            #expect(try host("{backendRefs: [\(backend)]}").outline == ["prefix:/ -> status 500"], "\(backend)")
        }
    }

    @Test("H-10 a Gateway API route to an unknown service answers 500, not 503")
    func unknownService() throws {
        #expect(try host("{backendRefs: [{name: nowhere, port: 80}]}").outline == ["prefix:/ -> status 500"])
    }

    @Test("I-7 an omitted weight is 1, 0 is none, all 0 and no backends are 500")
    func weights() throws {
        let other = "outbound|80||other.default.svc.cluster.local"
        #expect(
            try host("{backendRefs: [{name: web, port: 80}, {name: other, port: 80, weight: 2}]}").outline
                == ["prefix:/ -> \(toWeb)=1 \(other)=2"])
        #expect(
            try host("{backendRefs: [{name: web, port: 80, weight: 0}, {name: other, port: 80}]}").outline
                == ["prefix:/ -> \(other)=1"])
        #expect(try host("{backendRefs: [{name: web, port: 80, weight: 0}]}").outline == ["prefix:/ -> status 500"])
        #expect(try host("{backendRefs: []}").outline == ["prefix:/ -> status 500"])
    }

    @Test("I-8 only the first of several conditions with one name counts; header names fold case, queries do not")
    func repeatedNames() throws {
        let match = try #require(
            try host(
                """
                {matches: [{headers: [{name: X-A, value: one}, {name: x-a, value: two}],
                queryParams: [{name: q, value: one}, {name: q, value: two}, {name: Q, value: three}]}], \(web)}
                """
            ).routes.last?.match)
        #expect(match.headers.map(\.name) == ["x-a"])
        #expect(match.headers.first == Self.exact("one"))
        #expect(match.queryParameters.map(\.name) == ["q", "Q"])
    }

    private static func exact(_ value: String) -> HeaderMatcher {
        var text = StringMatcher()
        text.matchPattern = .exact(value)
        var matcher = HeaderMatcher()
        matcher.name = "x-a"
        matcher.headerMatchSpecifier = .stringMatch(text)
        return matcher
    }

    @Test("T-14 request is the route's time and backendRequest that of each try; zero switches both off")
    func timeouts() throws {
        func action(_ timeouts: String) throws -> RouteAction {
            try #require(try host("{timeouts: {\(timeouts)}, \(web)}").routes.first?.forward)
        }
        let both = try action("request: 10s, backendRequest: 2s")
        #expect(both.timeout == .seconds(10) && both.retryPolicy?.perTryTimeout == .seconds(2))
        let none = try action("request: 0s, backendRequest: 0s")
        #expect(none.timeout == .zero && none.retryPolicy?.perTryTimeout == nil)
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(GatewayYAML.listener),
            GatewayYAML.http("r", "{timeouts: {request: 1s, backendRequest: 2s}, \(web)}"))
        #expect(try world.route("r") == ["Accepted=False:UnsupportedValue", "ResolvedRefs=True:ResolvedRefs"])
    }

    @Test("retries: codes, attempts and back-off of the rule")
    func retries() throws {
        let policy = try #require(
            try host("{retry: {codes: [500, 503], attempts: 4, backoff: 50ms}, \(web)}").routes.first?.forward?
                .retryPolicy)
        #expect(policy.numRetries == 4 && policy.retriableStatusCodes == [500, 503])
        #expect(policy.retryOn.hasPrefix("connect-failure,refused-stream,reset"))
        #expect(policy.retryBackOff?.baseInterval == .milliseconds(50))
    }

    // MARK: Filters

    private func filtered(_ filters: String, match: String = "PathPrefix, value: /foo") throws -> Route {
        try #require(
            try host("{matches: [{path: {type: \(match)}}], filters: [\(filters)], \(web)}").routes.first)
    }

    @Test("header modifiers: set overwrites, add appends, remove removes; Host is a rewrite; a percent sign is text")
    func headerModifiers() throws {
        let route = try filtered(
            """
            {type: RequestHeaderModifier, requestHeaderModifier:
            {set: [{name: A, value: 100%}, {name: Host, value: h.example}], add: [{name: B, value: x}], remove: [C]}},
            {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: D, value: y}]}}
            """)
        #expect(route.requestHeadersToAdd.map { $0.header?.key } == ["A", "B"])
        #expect(route.requestHeadersToAdd.map { $0.header?.value } == ["100%%", "x"])
        #expect(route.requestHeadersToAdd.map(\.appendAction) == [.overwriteIfExistsOrAdd, .appendIfExistsOrAdd])
        #expect(route.requestHeadersToRemove == ["C"] && route.responseHeadersToAdd.count == 1)
        #expect(route.forward?.hostRewriteSpecifier == .hostRewriteLiteral("h.example"))
    }

    @Test("redirects: status 302 unless another is given; the port follows the scheme, else the listener")
    func redirects() throws {
        func redirect(_ fields: String) throws -> RedirectAction? {
            let route = try filtered("{type: RequestRedirect, requestRedirect: {\(fields)}}")
            if case .redirect(let action) = route.action { return action }
            return nil
        }
        let plain = try #require(try redirect("hostname: example.org"))
        #expect(plain.responseCode == .found && plain.hostRedirect == "example.org" && plain.portRedirect == 0)
        let secure = try #require(try redirect("scheme: https, statusCode: 301"))
        #expect(secure.responseCode == .movedPermanently && secure.portRedirect == 443)
        #expect(secure.schemeRewriteSpecifier == .schemeRedirect("https"))
        #expect(try redirect("port: 8443, scheme: https")?.portRedirect == 8443)
        #expect(
            try redirect("path: {type: ReplacePrefixMatch, replacePrefixMatch: /bar}")?.pathRewriteSpecifier
                == .prefixRewrite("/bar"))
        #expect(
            try redirect("path: {type: ReplaceFullPath, replaceFullPath: /bar}")?.pathRewriteSpecifier
                == .pathRedirect("/bar"))
        let world = try World.gatewayAPI(
            GatewayYAML.gateway("name: http, port: 8080, protocol: HTTP"),
            GatewayYAML.http("r", "{filters: [{type: RequestRedirect, requestRedirect: {hostname: x.example}}]}"))
        let host = try world.gatewaySnapshot().virtualHost("http.8080", "*")
        guard case .redirect(let action) = host.routes.first?.action else {
            Issue.record("no redirect")
            return
        }
        #expect(action.portRedirect == 8080)
    }

    @Test("a prefix rewrite leaves exactly one slash between what comes and what stays")
    func prefixRewrite() throws {
        func action(_ replacement: String, match: String = "PathPrefix, value: /foo") throws -> RouteAction? {
            try filtered(
                "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: \(replacement)}}}",
                match: match
            ).forward
        }
        #expect(try action("/bar/")?.prefixRewrite == "/bar")
        #expect(try action("/")?.regexRewrite?.pattern?.regex == "^/foo/*")
        #expect(try action("''")?.regexRewrite?.substitution == "/")
        #expect(try action("/bar", match: "PathPrefix, value: /")?.prefixRewrite == "/bar/")
    }

    @Test("mirrors: all of them, with percent or fraction, and none to a backend that is not there")
    func mirrors() throws {
        let route = try filtered(
            """
            {type: RequestMirror, requestMirror: {backendRef: {name: other, port: 80}}},
            {type: RequestMirror, requestMirror: {backendRef: {name: third, port: 80}, percent: 20}},
            {type: RequestMirror, requestMirror: {backendRef: {name: third, port: 80}, fraction: {numerator: 1, denominator: 8}}},
            {type: RequestMirror, requestMirror: {backendRef: {name: gone, port: 80}}}
            """)
        let policies = route.forward?.requestMirrorPolicies ?? []
        #expect(policies.map { $0.runtimeFraction?.defaultValue?.numerator } == [nil, 200_000, 125_000])
    }

    @Test("CORS policies ride on the route, wildcards in origins as expressions")
    func cors() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(GatewayYAML.listener),
            GatewayYAML.http(
                "r",
                """
                {filters: [{type: CORS, cors: {allowOrigins: ["https://a.example", "https://*.b.example"],
                allowMethods: [GET, PUT], allowHeaders: [x], allowCredentials: true, maxAge: 60}}], \(web)}
                """))
        let snapshot = world.gatewaySnapshot()
        let route = try #require(try snapshot.virtualHost("http.80", "*").routes.first)
        let policy: CorsFilterPolicy = try #require(
            route.typedPerFilterConfig["envoy.filters.http.cors"]
        ).unpack()
        #expect(policy.allowMethods == "GET,PUT" && policy.maxAge == "60" && policy.allowCredentials == true)
        var matcher = StringMatcher()
        var regex = RegexMatcher()
        regex.regex = "https://.*\\.b\\.example"
        matcher.matchPattern = .safeRegex(regex)
        #expect(policy.allowOriginStringMatch.last == matcher)
        guard
            case .typedConfig(let any) = try snapshot.listener("0.0.0.0_80").filterChains.first?.filters.first?
                .configType
        else {
            Issue.record("no connection manager")
            return
        }
        let manager: HttpConnectionManager = try any.unpack()
        #expect(manager.httpFilters.contains { $0.name == "envoy.filters.http.cors" })
    }

    @Test("a filter that is not known is told and answers 500; it is never skipped")
    func unknownFilter() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(GatewayYAML.listener),
            GatewayYAML.http(
                "r", "{filters: [{type: ExtensionRef, extensionRef: {group: g, kind: K, name: n}}], \(web)}"))
        #expect(try world.gatewaySnapshot().virtualHost("http.80", "*").outline == ["prefix:/ -> status 500"])
        #expect(try world.route("r") == ["Accepted=True:Accepted", "ResolvedRefs=False:InvalidKind"])
    }

    @Test("a session cookie keeps clients with their endpoint")
    func sessions() throws {
        let route = try #require(
            try host("{sessionPersistence: {type: Cookie, cookie: {name: sid}}, \(web)}").routes.first)
        let settings: StatefulSessionPerRoute = try #require(
            route.typedPerFilterConfig["envoy.filters.http.stateful_session"]
        ).unpack()
        guard case .statefulSession(let session) = settings.override else {
            Issue.record("no session")
            return
        }
        let state: CookieBasedSessionState = try #require(session.sessionState?.typedConfig).unpack()
        #expect(state.cookie?.name == "sid")
    }

    @Test("GRPCRoutes match service and method, most characters first")
    func grpc() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(GatewayYAML.listener),
            GatewayYAML.object(
                "GRPCRoute", "g",
                """
                parentRefs: [{name: gw}], rules: [
                {\(web)}, {matches: [{method: {service: a.B}}], \(web)}, {matches: [{method: {method: M}}], \(web)},
                {matches: [{method: {service: a.B, method: M}, headers: [{name: h, value: v}]}], \(web)},
                {matches: [{method: {service: a.B, method: M}}], \(web)},
                {matches: [{method: {type: RegularExpression, service: "a.*", method: M}}], \(web)}]
                """))
        let host = try world.gatewaySnapshot().virtualHost("http.80", "*")
        #expect(
            host.outline.map { String($0.prefix { $0 != " " }) } == [
                "path:/a.B/M", "regex:/(?:a.*)/(?:M)", "elements:/a.B", "regex:/[^/]+/M", "prefix:/",
            ])
        #expect(host.routes.first?.match?.headers.contains { $0.name == "h" } == true)
        #expect(try world.route("g", .grpcRoute) == ["Accepted=True:Accepted", "ResolvedRefs=True:ResolvedRefs"])
    }
}
