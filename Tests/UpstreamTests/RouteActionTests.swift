import Testing

@testable import Upstream

@Suite struct RouteActionTests {
    private func forwarding(_ json: String) throws -> (Route, Forwarding) {
        let table = try routes(json)
        let route = table.virtualHosts[0].routes[0]
        guard case .forward(let forwarding) = route.action else { throw ConfigurationError(at: "", "no route") }
        return (route, forwarding)
    }

    private func rewritten(_ json: String, _ path: String) throws -> String? {
        let bytes = Array(path.utf8)
        return text(try forwarding(json).0.rewrittenPath(bytes.span))
    }

    @Test("H-7 B-13 weighted clusters are drawn by weight / sum, weight 0 never, seed 11")
    func weights() throws {
        let (_, forwarding) = try forwarding(
            #"""
            {"match":{"prefix":"/"},"route":{"weighted_clusters":{"clusters":[
              {"name":"a","weight":9},{"name":"none","weight":0},{"name":"b","weight":1}]}}}
            """#)
        var generator = SplitMix64(seed: 11)
        var counts: [String: Int] = [:]
        for _ in 0..<10_000 {
            let target = try #require(forwarding.target(for: TestRequest(), random: generator.next()))
            counts[target.cluster, default: 0] += 1
        }
        #expect(counts["none"] == nil)
        #expect(isNear(counts["b"] ?? 0, share: 0.1, of: 10_000))
        #expect((counts["a"] ?? 0) + (counts["b"] ?? 0) == 10_000)
    }

    @Test("H-7 the edges of the draw hit the first and the last cluster with weight")
    func edges() throws {
        let (_, forwarding) = try forwarding(
            #"{"match":{"prefix":"/"},"route":{"weighted_clusters":{"clusters":[{"name":"z","weight":0},{"name":"a","weight":1},{"name":"b","weight":1},{"name":"y","weight":0}]}}}"#
        )
        #expect(forwarding.target(for: TestRequest(), random: 0)?.cluster == "a")
        #expect(forwarding.target(for: TestRequest(), random: .max / 2)?.cluster == "a")
        #expect(forwarding.target(for: TestRequest(), random: .max / 2 + 1)?.cluster == "b")
        #expect(forwarding.target(for: TestRequest(), random: .max)?.cluster == "b")
    }

    @Test("a header names the cluster, and without it there is none")
    func clusterHeader() throws {
        let (_, forwarding) = try forwarding(#"{"match":{"prefix":"/"},"route":{"cluster_header":"X-C"}}"#)
        #expect(forwarding.target(for: TestRequest("/", ["x-c": "web"]), random: 0)?.cluster == "web")
        #expect(forwarding.target(for: TestRequest("/", ["x-c": ""]), random: 0) == nil)
        #expect(forwarding.target(for: TestRequest("/"), random: 0) == nil)
    }

    @Test("clusters are numbered once per table")
    func clusterIndexes() throws {
        let table = try routes(
            #"""
            {"name":"1","match":{"path":"/1"},"route":{"cluster":"a"}},
            {"name":"2","match":{"path":"/2"},"route":{"weighted_clusters":{"clusters":[{"name":"b","weight":1},{"name":"a","weight":1}]}}},
            {"name":"3","match":{"path":"/3"},"route":{"cluster":"b"}}
            """#)
        #expect(table.clusterNames == ["a", "b"])
    }

    @Test("T-1 an absent timeout is 15 s, 0 s is none")
    func timeouts() throws {
        #expect(try forwarding(#"{"match":{"prefix":"/"},"route":{"cluster":"c"}}"#).1.timeout == .seconds(15))
        #expect(try forwarding(#"{"match":{"prefix":"/"},"route":{"cluster":"c","timeout":"0s"}}"#).1.timeout == nil)
        #expect(
            try forwarding(#"{"match":{"prefix":"/"},"route":{"cluster":"c","timeout":"2.5s"}}"#).1.timeout
                == .milliseconds(2500))
    }

    @Test("T-3 trusted headers change the limits, and a per-try limit that is not below the total is none")
    func requestTimeouts() throws {
        let (_, forwarding) = try forwarding(
            #"{"match":{"prefix":"/"},"route":{"cluster":"c","timeout":"10s","retry_policy":{"per_try_timeout":"2s"},"max_grpc_timeout":"3s"}}"#
        )
        func limits(_ headers: KeyValuePairs<String, String>, trusted: Bool = true) -> [Duration?] {
            let limits = RequestTimeouts(forwarding, request: TestRequest("/", headers), honorsHeaders: trusted)
            return [limits.total, limits.perTry]
        }
        #expect(limits([:]) == [.seconds(10), .seconds(2)])
        #expect(limits(["x-envoy-upstream-rq-timeout-ms": "1500"]) == [.milliseconds(1500), nil])
        #expect(limits(["x-envoy-upstream-rq-timeout-ms": "1500"], trusted: false) == [.seconds(10), .seconds(2)])
        #expect(limits(["x-envoy-upstream-rq-timeout-ms": "0"]) == [nil, .seconds(2)])
        #expect(limits(["x-envoy-upstream-rq-timeout-ms": "-5"]) == [.seconds(10), .seconds(2)])
        #expect(limits(["x-envoy-upstream-rq-per-try-timeout-ms": "7"]) == [.seconds(10), .milliseconds(7)])
        #expect(limits(["grpc-timeout": "1S"]) == [.seconds(10), .seconds(2)])
        #expect(limits(["grpc-timeout": "1S", "content-type": "application/grpc"]) == [.seconds(1), nil])
        #expect(limits(["grpc-timeout": "1H", "content-type": "application/grpc"]) == [.seconds(3), .seconds(2)])
    }

    @Test(
        "P-3 grpc-timeout: at most eight digits and a unit",
        arguments: [
            ("1H", Duration.seconds(3600)), ("2M", .seconds(120)), ("3S", .seconds(3)), ("4m", .milliseconds(4)),
            ("5u", .microseconds(5)), ("6n", .nanoseconds(6)), ("99999999H", .seconds(359_999_996_400)),
            ("999999999S", nil), ("S", nil), ("", nil), ("1", nil), ("-1S", nil), ("1x", nil),
        ])
    func grpcTimeout(value: String, expected: Duration?) {
        let bytes = Array(value.utf8)
        #expect(RequestTimeouts.grpcTimeout(bytes.span) == expected)
    }

    @Test(
        "H-13 prefix_rewrite replaces the matched prefix or path and keeps the query",
        arguments: [
            (#"{"prefix":"/foo"}"#, "/bar", "/foo/x?q=1", "/bar/x?q=1"),
            (#"{"prefix":"/foo"}"#, "/bar", "/foobar", "/barbar"),
            (#"{"prefix":"/foo/"}"#, "/", "/foo/x", "/x"),
            (#"{"path":"/foo"}"#, "/bar", "/foo?q", "/bar?q"),
            (#"{"path_separated_prefix":"/foo"}"#, "/bar", "/foo", "/bar"),
            (#"{"path_separated_prefix":"/foo"}"#, "/bar", "/foo/x", "/bar/x"),
            (#"{"safe_regex":{"regex":"/foo.*"}}"#, "/bar", "/foo/x?q", "/bar?q"),
        ])
    func prefixRewrite(match: String, rewrite: String, path: String, expected: String) throws {
        let json = #"{"match":\#(match),"route":{"cluster":"c","prefix_rewrite":"\#(rewrite)"}}"#
        #expect(try rewritten(json, path) == expected)
    }

    @Test("H-13 regex_rewrite works on the path proper and knows groups")
    func regexRewrite() throws {
        let json =
            #"{"match":{"prefix":"/"},"route":{"cluster":"c","regex_rewrite":{"pattern":{"regex":"^/api/([^/]+)/v(\\d)"},"substitution":"/\\2/\\1"}}}"#
        #expect(try rewritten(json, "/api/cart/v2/items?x=/api/a/v1") == "/2/cart/items?x=/api/a/v1")
        #expect(try rewritten(json, "/other") == "/other")
        #expect(try rewritten(#"{"match":{"prefix":"/"},"route":{"cluster":"c"}}"#, "/a") == nil)
    }

    @Test(
        "H-15 locations of redirects",
        arguments: [
            (#"{"https_redirect":true}"#, "a.com", "/p?q=1", "https://a.com/p?q=1"),
            (#"{"https_redirect":true}"#, "a.com:80", "/p", "https://a.com/p"),
            (#"{"https_redirect":true}"#, "a.com:8080", "/p", "https://a.com:8080/p"),
            (#"{"https_redirect":true,"port_redirect":443}"#, "a.com:8080", "/", "https://a.com/"),
            (#"{"port_redirect":80}"#, "a.com:8080", "/", "http://a.com/"),
            (#"{"port_redirect":8443,"https_redirect":true}"#, "a.com", "/", "https://a.com:8443/"),
            (#"{"host_redirect":"b.com"}"#, "a.com:81", "/p", "http://b.com/p"),
            (#"{"path_redirect":"/new"}"#, "a.com", "/p?q=1", "http://a.com/new?q=1"),
            (#"{"path_redirect":"/new","strip_query":true}"#, "a.com", "/p?q=1", "http://a.com/new"),
            (#"{"path_redirect":"/new?z=2","strip_query":true}"#, "a.com", "/p?q=1", "http://a.com/new?z=2"),
            (#"{"prefix_rewrite":"/n"}"#, "a.com", "/p/x?q", "http://a.com/n/x?q"),
            (
                #"{"regex_rewrite":{"pattern":{"regex":"/p"},"substitution":"/z"}}"#, "a.com", "/p/p?/p",
                "http://a.com/z/z?/p"
            ),
            (#"{"strip_query":true}"#, "a.com", "/p?q", "http://a.com/p"),
            (#"{"scheme_redirect":"https"}"#, "[::1]:80", "/p#f", "https://[::1]/p"),
        ])
    func redirects(redirect: String, host: String, path: String, expected: String) throws {
        let table = try routes(
            #"{"match":{"prefix":"/p"},"redirect":\#(redirect)},{"match":{"prefix":"/"},"redirect":\#(redirect)}"#)
        let request = TestRequest(path, host: host)
        let route = try #require(table.route(for: request, random: 0)?.route)
        #expect(text(route.location(for: request)) == expected)
    }

    @Test(
        "H-15 the default code is 301",
        arguments: [
            ("{}", 301), (#"{"response_code":"FOUND"}"#, 302), (#"{"response_code":"SEE_OTHER"}"#, 303),
            (#"{"response_code":"TEMPORARY_REDIRECT"}"#, 307), (#"{"response_code":"PERMANENT_REDIRECT"}"#, 308),
        ])
    func redirectCodes(json: String, code: UInt16) throws {
        let table = try routes(#"{"match":{"prefix":"/"},"redirect":\#(json)}"#)
        guard case .redirect(let redirect) = table.virtualHosts[0].routes[0].action else {
            Issue.record("no redirect")
            return
        }
        #expect(redirect.status == code)
    }

    @Test("a direct response has its status and body")
    func directResponse() throws {
        let table = try routes(
            #"{"match":{"prefix":"/"},"direct_response":{"status":502,"body":{"inline_string":"no"}}}"#)
        guard case .directResponse(let response) = table.virtualHosts[0].routes[0].action else {
            Issue.record("no direct response")
            return
        }
        #expect(response.status == 502)
        #expect(text(response.body) == "no")
    }

    @Test("H-14 header changes apply from the weighted cluster outwards; removals before additions at each level")
    func mutationOrder() throws {
        func order(_ mostSpecific: Bool) throws -> [String] {
            let table = try routeTable(
                #"""
                {"most_specific_header_mutations_wins":\#(mostSpecific),
                 "request_headers_to_add":[{"header":{"key":"t","value":"1"}}],"request_headers_to_remove":["rt"],
                 "virtual_hosts":[{"name":"v","domains":["*"],"request_headers_to_add":[{"header":{"key":"v","value":"1"}}],
                 "routes":[{"match":{"prefix":"/"},"request_headers_to_add":[{"header":{"key":"r","value":"1"}}],
                 "route":{"weighted_clusters":{"clusters":[{"name":"c","weight":1,
                 "request_headers_to_add":[{"header":{"key":"w","value":"1"}}],"request_headers_to_remove":["rw"]}]}}}]}]}
                """#)
            let route = table.virtualHosts[0].routes[0]
            guard case .forward(let forwarding) = route.action else { return [] }
            let target = try #require(forwarding.target(for: TestRequest(), random: 0))
            #expect(route.requestMutations.map(\.name.description).sorted() == ["r", "rt", "t", "v"])
            return try #require(target.requestMutations).map(\.name.description)
        }
        #expect(try order(false) == ["rw", "w", "r", "v", "rt", "t"])
        #expect(try order(true) == ["rt", "t", "v", "r", "rw", "w"])
    }

    @Test("append actions in their new and their old spelling")
    func appendActions() throws {
        let table = try routes(
            #"""
            {"match":{"prefix":"/"},"route":{"cluster":"c"},"response_headers_to_add":[
              {"header":{"key":"a","value":"1"}},{"header":{"key":"b","value":"1"},"append":false},
              {"header":{"key":"c","value":"1"},"append":true},
              {"header":{"key":"d","value":"1"},"append_action":"ADD_IF_ABSENT"},
              {"header":{"key":"e","value":"1"},"append_action":"OVERWRITE_IF_EXISTS_OR_ADD","keep_empty_value":true},
              {"header":{"key":"f","value":"1"},"append_action":"OVERWRITE_IF_EXISTS"}]}
            """#)
        let one = try HeaderTemplate(parsing: "1")
        let mutations = table.virtualHosts[0].routes[0].responseMutations
        #expect(
            mutations.map(\.operation) == [
                .append(one), .overwriteOrAdd(one), .append(one), .addIfAbsent(one), .overwriteOrAdd(one),
                .overwriteIfPresent(one),
            ])
        #expect(mutations.map(\.keepsEmptyValue) == [false, false, false, false, true, false])
    }

    @Test("header values split into literals and command operators")
    func templates() throws {
        let template = try HeaderTemplate(parsing: "a%%b %REQ(X-Id):8%%PROTOCOL%c")
        #expect(
            template.segments == [
                .literal(Array("a%b ".utf8)), .command(name: "REQ", argument: "X-Id", lengthMax: 8),
                .command(name: "PROTOCOL", argument: nil, lengthMax: nil), .literal(Array("c".utf8)),
            ])
        #expect(template.literal == nil)
        #expect(try HeaderTemplate(parsing: "plain").literal == Array("plain".utf8))
        #expect(try HeaderTemplate(parsing: "").literal == [])
        for wrong in ["%", "%REQ%", "%REQ(x%", "%NOPE%", "%PROTOCOL", "%PROTOCOL:%", "100%"] {
            #expect(throws: HeaderTemplateError.self) { try HeaderTemplate(parsing: wrong) }
        }
    }

    @Test("the most specific fault counts, and FilterConfig switches it off")
    func perFilterConfig() throws {
        let fault =
            #"{"@type":"type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault","abort":{"http_status":%,"percentage":{"numerator":100}}}"#
        func withStatus(_ status: Int) -> String { fault.replacing("%", with: "\(status)") }
        let table = try routeTable(
            #"""
            {"typed_per_filter_config":{"f":\#(withStatus(501))},"virtual_hosts":[
             {"name":"v","domains":["*"],"typed_per_filter_config":{"f":\#(withStatus(502))},"routes":[
              {"match":{"path":"/1"},"route":{"cluster":"c"}},
              {"match":{"path":"/2"},"route":{"cluster":"c"},"typed_per_filter_config":{"f":\#(withStatus(503))}},
              {"match":{"path":"/3"},"route":{"cluster":"c"},"typed_per_filter_config":{"f":
               {"@type":"type.googleapis.com/envoy.config.route.v3.FilterConfig","disabled":true}}}]},
             {"name":"w","domains":["w"],"routes":[{"match":{"path":"/1"},"route":{"cluster":"c"}}]}]}
            """#)
        func statuses(_ route: Upstream.Route) -> [FaultPolicy.AbortStatus?] {
            (route.filterConfigs["f"] ?? []).map { config -> FaultPolicy.AbortStatus? in
                guard case .fixed(let status)? = (config as? FaultPolicy)?.abort?.status else { return nil }
                return status
            }
        }
        let routes = table.virtualHosts[0].routes
        #expect(statuses(routes[0]) == [.http(501), .http(502)])
        #expect(statuses(routes[1]) == [.http(501), .http(502), .http(503)])
        #expect(routes[2].isDisabled("f", otherwise: false))
        #expect(!routes[0].isDisabled("f", otherwise: true))
        #expect(routes[0].isDisabled("g", otherwise: true))
        #expect(statuses(table.virtualHosts[1].routes[0]) == [.http(501)])
    }
}
