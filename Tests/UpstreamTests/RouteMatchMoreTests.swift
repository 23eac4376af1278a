import Serialization
import Testing

@testable import Upstream

/// A table with these routes, written as a JSON list.
private func routeList(_ json: String) throws -> RouteTable { try routes(String(json.dropFirst().dropLast())) }

/// Facts that a test sets.
struct TestFacts: RouteFacts {
    var clientCertificate: (isPresented: Bool, isValidated: Bool)?
    var isInternal = false
    var dynamic: [String: JSON] = [:]
    var state: [String: String] = [:]
    var runtime: [String: JSON] = [:]
    var connection: [ConnectionFact: String] = [:]

    func metadata(_ namespace: String) -> JSON? { dynamic[namespace] }
    func filterState(_ key: String) -> String? { state[key] }
    func runtimeValue(_ key: String) -> JSON? { runtime[key] }
    func connectionFact(_ fact: ConnectionFact) -> String? { connection[fact] }
}

@Suite struct RouteMatchMoreTests {
    private func pick(_ table: RouteTable, _ request: TestRequest, _ facts: TestFacts = .init(), random: UInt64 = 0)
        -> String?
    {
        table.route(for: request, random: random, facts: facts)?.route.name
    }

    private static let answer = #""direct_response":{"status":200}"#

    private func table(_ match: String) throws -> RouteTable {
        try routeList(
            #"[{"name":"hit","match":"# + match + "," + Self.answer + #"},{"name":"miss","match":{"prefix":"/"},"#
                + Self.answer + "}]")
    }

    @Test("path templates match whole paths, element-wise, with and without names")
    func templates() throws {
        func template(_ text: String) throws -> RouteTable {
            try table(
                #"{"path_match_policy":{"name":"t","typed_config":{"@type":"type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig","path_template":"\#(text)"}}}"#
            )
        }
        let users = try template("/users/{id}/posts/*")
        #expect(pick(users, TestRequest("/users/7/posts/9?x=1")) == "hit")
        #expect(pick(users, TestRequest("/users/7/posts/9/more")) == "miss")
        #expect(pick(users, TestRequest("/users//posts/9")) == "miss")
        let all = try template("/a.b/{rest=**}")
        #expect(pick(all, TestRequest("/a.b/x/y")) == "hit")
        #expect(pick(all, TestRequest("/a.b/")) == "hit")
        #expect(pick(all, TestRequest("/axb/x")) == "miss")
        for wrong in ["users", "/a/**/b", "/{a}/{a}", "/{1a}", "/a*b", "/{a}/{b}/{c}/{d}/{e}/{f}"] {
            #expect(throws: ConfigurationError.self) { try template(wrong) }
        }
    }

    @Test("H-13 a template rewrite puts the variables in their new places")
    func templateRewrite() throws {
        let base = "type.googleapis.com/envoy.extensions.path"
        let table = try routeList(
            #"[{"match":{"path_match_policy":{"name":"m","typed_config":{"@type":"\#(base).match.uri_template.v3.UriTemplateMatchConfig","path_template":"/{country}/{lang=*}/**"}}},"route":{"cluster":"c","path_rewrite_policy":{"name":"r","typed_config":{"@type":"\#(base).rewrite.uri_template.v3.UriTemplateRewriteConfig","path_template_rewrite":"/{lang}/x/{country}"}}}}]"#
        )
        let request = TestRequest("/de/en/a/b?q=1")
        let route = try #require(table.route(for: request, random: 0)?.route)
        let path = Array("/de/en/a/b?q=1".utf8)
        #expect(text(route.rewrittenPath(path.span)) == "/en/x/de?q=1")
    }

    @Test("cookies match by name and value, inverted ones without the cookie too")
    func cookies() throws {
        let plain = try table(#"{"prefix":"/","cookies":[{"name":"tier","string_match":{"exact":"gold"}}]}"#)
        #expect(pick(plain, TestRequest("/", ["cookie": "a=b; tier=gold"])) == "hit")
        #expect(pick(plain, TestRequest("/", ["cookie": "a=b", "cookie": "tier=\"gold\""])) == "hit")
        #expect(pick(plain, TestRequest("/", ["cookie": "xtier=gold"])) == "miss")
        let inverted = try table(
            #"{"prefix":"/","cookies":[{"name":"tier","string_match":{"exact":"gold"},"invert_match":true}]}"#)
        #expect(pick(inverted, TestRequest("/")) == "hit")
        #expect(pick(inverted, TestRequest("/", ["cookie": "tier=gold"])) == "miss")
    }

    @Test("TLS, dynamic metadata and filter state conditions ask the connection and the filters")
    func facts() throws {
        let tls = try table(#"{"prefix":"/","tls_context":{"presented":true,"validated":true}}"#)
        #expect(pick(tls, TestRequest("/"), TestFacts(clientCertificate: (true, true))) == "hit")
        #expect(pick(tls, TestRequest("/"), TestFacts(clientCertificate: (true, false))) == "miss")
        let metadata = try table(
            #"{"prefix":"/","dynamic_metadata":[{"filter":"f","path":[{"key":"a"},{"key":"b"}],"value":{"list_match":{"one_of":{"string_match":{"exact":"x"}}}}}]}"#
        )
        #expect(pick(metadata, TestRequest("/"), TestFacts(dynamic: ["f": ["a": ["b": ["y", "x"]]]])) == "hit")
        #expect(pick(metadata, TestRequest("/"), TestFacts(dynamic: ["f": ["a": ["b": ["y"]]]])) == "miss")
        let state = try table(#"{"prefix":"/","filter_state":[{"key":"k","string_match":{"prefix":"v"}}]}"#)
        #expect(pick(state, TestRequest("/"), TestFacts(state: ["k": "value"])) == "hit")
        #expect(pick(state, TestRequest("/")) == "miss")
    }

    @Test("a runtime key changes a fraction: a number is percent, an object has its denominator")
    func runtime() throws {
        let table = try table(
            #"{"prefix":"/","runtime_fraction":{"default_value":{"numerator":0},"runtime_key":"k"}}"#)
        #expect(pick(table, TestRequest("/")) == "miss")
        #expect(pick(table, TestRequest("/"), TestFacts(runtime: ["k": 100])) == "hit")
        let object: JSON = ["numerator": 5000, "denominator": "TEN_THOUSAND"]
        #expect(pick(table, TestRequest("/"), TestFacts(runtime: ["k": object]), random: .max / 4) == "hit")
        #expect(pick(table, TestRequest("/"), TestFacts(runtime: ["k": object]), random: .max / 4 * 3) == "miss")
    }

    @Test("matcher trees: exact and prefix maps, lists with and/or/not, on_no_match, lists of routes")
    func matcherTree() throws {
        func input(_ header: String) -> String {
            #"{"name":"i","typed_config":{"@type":"type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput","header_name":"\#(header)"}}"#
        }
        func action(_ name: String, _ path: String = "/") -> String {
            #"{"action":{"name":"r","typed_config":{"@type":"type.googleapis.com/envoy.config.route.v3.Route","name":"\#(name)","match":{"prefix":"\#(path)"},"direct_response":{"status":200}}}}"#
        }
        let list =
            #"{"action":{"name":"l","typed_config":{"@type":"type.googleapis.com/envoy.config.route.v3.RouteList","routes":[{"name":"l1","match":{"prefix":"/one"},"direct_response":{"status":200}},{"name":"l2","match":{"prefix":"/"},"direct_response":{"status":200}}]}}}"#
        let predicate =
            #"{"and_matcher":{"predicate":[{"single_predicate":{"input":\#(input("a")),"value_match":{"prefix":"x"}}},{"not_matcher":{"single_predicate":{"input":\#(input("b")),"value_match":{"exact":"y"}}}}]}}"#
        let inner =
            #"{"matcher":{"matcher_list":{"matchers":[{"predicate":\#(predicate),"on_match":\#(action("and"))}]},"on_no_match":\#(action("inner"))}}"#
        let tree =
            #"{"matcher_tree":{"input":\#(input("tenant")),"exact_match_map":{"map":{"t1":\#(action("t1", "/only")),"t2":\#(list),"t3":\#(inner)}}},"on_no_match":\#(action("none"))}"#
        let table = try routeTable(#"{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"matcher":\#(tree)}]}"#)
        #expect(pick(table, TestRequest("/only/x", ["tenant": "t1"])) == "t1")
        #expect(pick(table, TestRequest("/one", ["tenant": "t2"])) == "l1")
        #expect(pick(table, TestRequest("/two", ["tenant": "t2"])) == "l2")
        #expect(pick(table, TestRequest("/", ["tenant": "t3", "a": "x1"])) == "and")
        #expect(pick(table, TestRequest("/", ["tenant": "t3", "a": "x1", "b": "y"])) == "inner")
        #expect(pick(table, TestRequest("/")) == "none")
    }

    @Test("matcher trees: the first match's routes decide alone; keep_matching is refused with its path")
    func firstMatch() throws {
        func input(_ header: String) -> String {
            #"{"name":"i","typed_config":{"@type":"type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput","header_name":"\#(header)"}}"#
        }
        func action(_ name: String, _ path: String = "/", _ more: String = "") -> String {
            #"{"action":{"name":"r","typed_config":{"@type":"type.googleapis.com/envoy.config.route.v3.Route","name":"\#(name)","match":{"prefix":"\#(path)"},"direct_response":{"status":200}}}\#(more)}"#
        }
        func entry(_ header: String, _ match: String) -> String {
            #"{"predicate":{"single_predicate":{"input":\#(input(header)),"value_match":{"exact":"1"}}},"on_match":\#(match)}"#
        }
        func compiled(_ entries: [String]) throws -> RouteTable {
            let tree =
                #"{"matcher_list":{"matchers":[\#(entries.joined(separator: ","))]},"on_no_match":\#(action("none"))}"#
            return try routeTable(#"{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"matcher":\#(tree)}]}"#)
        }
        let table = try compiled([entry("a", action("a", "/only")), entry("c", action("c"))])
        #expect(pick(table, TestRequest("/only", ["a": "1", "c": "1"])) == "a")
        #expect(pick(table, TestRequest("/", ["a": "1", "c": "1"])) == nil, "its route does not take the path")
        #expect(pick(table, TestRequest("/", ["c": "1"])) == "c")
        #expect(pick(table, TestRequest("/")) == "none")
        let error = #expect(throws: ConfigurationError.self) {
            try compiled([entry("b", action("b", "/", #","keep_matching":true"#))])
        }
        #expect(error?.path == "virtual_hosts[0].matcher.matcher_list.matchers[0].on_match.keep_matching")
    }

    @Test("matcher trees: of nested address ranges the narrowest is asked first, exclusive ones only if they are that")
    func addressTree() throws {
        func input(_ type: String, _ fields: String = "") -> String {
            #"{"name":"i","typed_config":{"@type":"type.googleapis.com/\#(type)"\#(fields)}}"#
        }
        let source = input("envoy.extensions.matching.common_inputs.network.v3.SourceIPInput")
        let header = input("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", #","header_name":"a""#)
        func action(_ name: String) -> String {
            #"{"action":{"name":"r","typed_config":{"@type":"type.googleapis.com/envoy.config.route.v3.Route","name":"\#(name)","match":{"prefix":"/"},"direct_response":{"status":200}}}}"#
        }
        func ifHeader(_ name: String) -> String {
            #"{"matcher":{"matcher_tree":{"input":\#(header),"exact_match_map":{"map":{"\#(name)":\#(action(name))}}}}}"#
        }
        func range(_ prefix: String, _ bits: Int, _ match: String, _ more: String = "") -> String {
            #"{"ranges":[{"address_prefix":"\#(prefix)","prefix_len":\#(bits)}],"on_match":\#(match)\#(more)}"#
        }
        let ranges = [
            range("10.0.0.0", 8, action("wide")), range("10.1.0.0", 16, action("alone"), #","exclusive":true"#),
            range("10.1.2.0", 24, ifHeader("narrow")), range("2001:db8::", 32, action("six")),
        ]
        func table(_ ranges: [String]) throws -> RouteTable {
            let tree =
                #"{"matcher_tree":{"input":\#(source),"custom_match":{"name":"ip","typed_config":{"@type":"type.googleapis.com/xds.type.matcher.v3.IPMatcher","range_matchers":[\#(ranges.joined(separator: ","))]}}},"on_no_match":\#(action("none"))}"#
            return try routeTable(#"{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"matcher":\#(tree)}]}"#)
        }
        let compiled = try table(ranges)
        func picked(_ address: String, _ fields: KeyValuePairs<String, String> = [:]) -> String? {
            pick(compiled, TestRequest("/", fields), TestFacts(connection: [.sourceIP: address]))
        }
        #expect(picked("10.9.9.9") == "wide")
        #expect(picked("10.1.9.9") == "alone")
        #expect(picked("10.1.2.3", ["a": "narrow"]) == "narrow")
        #expect(picked("10.1.2.3") == "wide", "the exclusive range is not the narrowest here")
        #expect(picked("2001:db8::7") == "six")
        #expect(picked("11.0.0.1") == "none")
        for (bad, path) in [
            (range("10.0.0", 8, action("x")), "ranges[0].address_prefix"),
            (range("10.0.0.0", 33, action("x")), "ranges[0].prefix_len"),
        ] {
            let error = #expect(throws: ConfigurationError.self) { _ = try table([bad]) }
            #expect(error?.path.hasSuffix("custom_match.typed_config.range_matchers[0].\(path)") == true)
        }
    }

    @Test("path parameters are ignored where the table says so; the virtual host comes from a header where it says so")
    func tableOptions() throws {
        let parameters = try routeTable(
            #"{"name":"r","ignore_path_parameters_in_path_matching":true,"virtual_hosts":[{"name":"v","domains":["*"],"routes":[{"name":"a","match":{"path":"/a/b"},"direct_response":{"status":200}}]}]}"#
        )
        #expect(pick(parameters, TestRequest("/a;v=1/b;x?q=1;2")) == "a")
        let header = try routeTable(
            #"{"name":"r","vhost_header":"x-vhost","virtual_hosts":[{"name":"v","domains":["a.com"],"routes":[{"name":"a","match":{"prefix":"/"},"direct_response":{"status":200}}]}]}"#
        )
        #expect(pick(header, TestRequest("/", host: "b.com", ["x-vhost": "a.com"])) == "a")
        #expect(pick(header, TestRequest("/", host: "a.com")) == nil)
    }

    @Test("require_tls EXTERNAL_ONLY redirects outside requests alone")
    func externalOnly() throws {
        let table = try routeTable(
            #"{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"require_tls":"EXTERNAL_ONLY","routes":[{"name":"a","match":{"prefix":"/"},"direct_response":{"status":200}}]}]}"#
        )
        #expect(pick(table, TestRequest("/"), TestFacts(isInternal: true)) == "a")
        #expect(pick(table, TestRequest("/")) == "")
        #expect(pick(table, TestRequest("/", scheme: "https")) == "a")
    }

    @Test("ATK-36 one bad expression is refused with its exact path, at each place where there can be one")
    func badExpressions() {
        func refusal(_ route: String) -> String? {
            do {
                _ = try routeList("[" + route + "]")
                return nil
            } catch { return "\(error)" }
        }
        let start = "virtual_hosts[0].routes[0]."
        #expect(
            refusal(#"{"match":{"safe_regex":{"regex":"("}},"route":{"cluster":"c"}}"#)?.hasPrefix(
                start + "match.safe_regex.regex: ") == true)
        #expect(
            refusal(
                #"{"match":{"prefix":"/","headers":[{"name":"a","string_match":{"safe_regex":{"regex":"("}}}]},"route":{"cluster":"c"}}"#
            )?
            .hasPrefix(start + "match.headers[0].string_match.safe_regex.regex: ") == true)
        #expect(
            refusal(
                #"{"match":{"prefix":"/"},"route":{"cluster":"c","hash_policy":[{"header":{"header_name":"a","regex_rewrite":{"pattern":{"regex":"("},"substitution":"x"}}}]}}"#
            )?
            .hasPrefix(start + "route.hash_policy[0].header.regex_rewrite.pattern.regex: ") == true)
        #expect(
            refusal(
                #"{"match":{"prefix":"/"},"route":{"cluster":"c","host_rewrite_path_regex":{"pattern":{"regex":"(a"},"substitution":"\\1"}}}"#
            )?
            .hasPrefix(start + "route.host_rewrite_path_regex.pattern.regex: ") == true)
        // One character more than a pattern may have.
        let long = String(repeating: "a", count: 1025)
        #expect(
            refusal(#"{"match":{"safe_regex":{"regex":"\#(long)"}},"route":{"cluster":"c"}}"#)?.contains("1025 bytes")
                == true)
    }
}

@Suite struct RouteActionMoreTests {
    @Test("weighted clusters: by a header's number, by runtime weights, by a header that names the cluster")
    func weighted() throws {
        func target(_ config: String, _ request: TestRequest, _ facts: TestFacts = .init(), random: UInt64 = 0) throws
            -> String?
        {
            let table = try routeList(#"[{"match":{"prefix":"/"},"route":{"weighted_clusters":\#(config)}}]"#)
            guard case .forward(let forwarding)? = table.route(for: request, random: 0)?.route.action else {
                return nil
            }
            return forwarding.target(for: request, random: random, facts: facts, hash: { 7 })?.cluster
        }
        let byHeader = #"{"header_name":"x-rand","clusters":[{"name":"a","weight":1},{"name":"b","weight":3}]}"#
        #expect(try target(byHeader, TestRequest("/", ["x-rand": "4"])) == "a")
        #expect(try target(byHeader, TestRequest("/", ["x-rand": "5"])) == "b")
        let byRuntime = #"{"runtime_key_prefix":"w","clusters":[{"name":"a","weight":1},{"name":"b","weight":1}]}"#
        #expect(try target(byRuntime, TestRequest("/"), TestFacts(runtime: ["w.a": 0])) == "b")
        #expect(try target(byRuntime, TestRequest("/")) == "a")
        let named = #"{"clusters":[{"cluster_header":"x-c","weight":1}]}"#
        #expect(try target(named, TestRequest("/", ["x-c": "z"])) == "z")
        #expect(try target(named, TestRequest("/")) == nil)
        #expect(
            try target(
                #"{"use_hash_policy":true,"clusters":[{"name":"a","weight":7},{"name":"b","weight":1}]}"#,
                TestRequest("/")) == "b")
    }

    @Test("metadata_match of a weighted cluster is laid over the route's")
    func criteria() throws {
        let table = try routeList(
            #"[{"match":{"prefix":"/"},"route":{"metadata_match":{"filter_metadata":{"envoy.lb":{"a":"1","b":"2"}}},"weighted_clusters":{"clusters":[{"name":"x","weight":1,"metadata_match":{"filter_metadata":{"envoy.lb":{"b":"3"}}}}]}}}]"#
        )
        guard case .forward(let forwarding)? = table.route(for: TestRequest("/"), random: 0)?.route.action else {
            return
        }
        let criteria = forwarding.target(for: TestRequest("/"), random: 0)?.criteria
        #expect(criteria == MetadataCriteria(["a": "1", "b": "3"]))
    }

    @Test("hash policies: a changed header, a cookie with attributes, filter state; terminal ends the list")
    func hashPolicies() throws {
        func hash(_ policies: String, _ request: TestRequest, _ facts: TestFacts = .init()) throws -> RequestHash {
            let table = try routeList(#"[{"match":{"prefix":"/"},"route":{"cluster":"c","hash_policy":\#(policies)}}]"#)
            guard case .forward(let forwarding)? = table.route(for: request, random: 0)?.route.action else {
                throw ConfigurationError(at: "", "no forward")
            }
            let none: [UInt8] = []
            return RequestHash(
                forwarding.hashPolicies, request: request, sourceAddress: none.span, random: 1, facts: facts)
        }
        let rewrite =
            #"[{"header":{"header_name":"u","regex_rewrite":{"pattern":{"regex":"^user-(.*)$"},"substitution":"\\1"}},"terminal":true},{"header":{"header_name":"z"}}]"#
        #expect(try hash(rewrite, TestRequest("/", ["u": "user-7", "z": "q"])).value == Hash.xxh64("7"))
        let cookie =
            #"[{"cookie":{"name":"s","ttl":"60s","path":"/p","attributes":[{"name":"SameSite","value":"Strict"},{"name":"Secure"}]}}]"#
        let made = try hash(cookie, TestRequest("/"))
        #expect(
            text(made.newCookie?.field) == "s=0000000000000001; Max-Age=60; Path=/p; SameSite=Strict; Secure; HttpOnly")
        #expect(try hash(cookie, TestRequest("/", ["cookie": "s=abc"])).value == Hash.xxh64("abc"))
        #expect(
            try hash(#"[{"filter_state":{"key":"k"}}]"#, TestRequest("/"), TestFacts(state: ["k": "v"])).value
                == Hash.xxh64("v"))
    }

    @Test("H-16 mirrors: share, suffix before the port, the virtual host's where the route has none")
    func mirrors() throws {
        let table = try routeTable(
            #"{"name":"r","virtual_hosts":[{"name":"v","domains":["*"],"request_mirror_policies":[{"cluster":"m"}],"routes":[{"name":"own","match":{"prefix":"/own"},"route":{"cluster":"c","request_mirror_policies":[{"cluster_header":"x-m","disable_shadow_host_suffix_append":true,"runtime_fraction":{"default_value":{"numerator":50}}}]}},{"match":{"prefix":"/"},"route":{"cluster":"c"}}]}]}"#
        )
        func mirrors(_ path: String) -> [MirrorPolicy] {
            guard case .forward(let forwarding)? = table.route(for: TestRequest(path), random: 0)?.route.action else {
                return []
            }
            return forwarding.mirrors
        }
        let host = Array("a.com:8080".utf8)
        let shared = try #require(mirrors("/").first)
        #expect(shared.cluster(for: TestRequest("/"), facts: NoFacts(), random: .max) == "m")
        #expect(text(shared.authority(of: host.span)) == "a.com-shadow:8080")
        let own = try #require(mirrors("/own").first)
        #expect(own.cluster(for: TestRequest("/own", ["x-m": "n"]), facts: NoFacts(), random: 0) == "n")
        #expect(own.cluster(for: TestRequest("/own", ["x-m": "n"]), facts: NoFacts(), random: .max) == nil)
        #expect(text(own.authority(of: host.span)) == "a.com:8080")
    }

    @Test("internal redirects: absolute and relative targets, schemes, predicates")
    func internalRedirects() throws {
        let table = try routeList(
            #"[{"name":"a","match":{"prefix":"/"},"route":{"cluster":"c","internal_redirect_policy":{"max_internal_redirects":2,"redirect_response_codes":[302,307],"allow_cross_scheme_redirect":true,"predicates":[{"name":"p","typed_config":{"@type":"type.googleapis.com/envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig"}},{"name":"s","typed_config":{"@type":"type.googleapis.com/envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig"}}],"response_headers_to_copy":["x-a"]}}}]"#
        )
        let route = try #require(table.route(for: TestRequest("/"), random: 0)?.route)
        guard case .forward(let forwarding) = route.action, let policy = forwarding.internalRedirects else { return }
        #expect(policy.follows(status: 307, redirectsSoFar: 1) && !policy.follows(status: 307, redirectsSoFar: 2))
        #expect(!policy.follows(status: 301, redirectsSoFar: 0))
        func target(_ location: String) -> InternalRedirectPolicy.Target? {
            let bytes = Array(location.utf8)
            let scheme = Array("http".utf8)
            let host = Array("h:1".utf8)
            return .init(location: bytes.span, scheme: scheme.span, authority: host.span)
        }
        #expect(text(target("/x?y#z")?.path) == "/x?y" && text(target("/x")?.authority) == "h:1")
        #expect(text(target("HTTPS://b.com:8/p")?.scheme) == "https" && text(target("https://b.com")?.path) == "/")
        #expect(target("ftp://b.com/") == nil && target("//b.com/x") == nil && target("http://u@b/") == nil)
        #expect(target("x") == nil && target("") == nil && target("http:///x") == nil)
        let secure = try #require(target("https://b/"))
        let plain = try #require(target("http://b/"))
        #expect(!policy.allows(schemeTo: secure, clientUsesTLS: false))
        #expect(policy.allows(schemeTo: plain, clientUsesTLS: true))
        #expect(policy.allows(route: route, previous: []) && !policy.allows(route: route, previous: [route]))
    }

    @Test("direct responses read their body from a file, within the table's limit")
    func directBody() throws {
        let json =
            #"{"name":"r","max_direct_response_body_size_bytes":5,"virtual_hosts":[{"name":"v","domains":["*"],"routes":[{"match":{"prefix":"/"},"direct_response":{"status":200,"body":{"filename":"/f"}}}]}]}"#
        let message = try routeConfiguration(json)
        let table = try RouteTable(compiling: message, files: { $0 == "/f" ? Array("hello".utf8) : nil })
        guard case .directResponse(let direct)? = table.route(for: TestRequest("/"), random: 0)?.route.action else {
            return
        }
        #expect(text(direct.body) == "hello")
        #expect(throws: ConfigurationError.self) { try RouteTable(compiling: message, files: { _ in nil }) }
        #expect(throws: ConfigurationError.self) {
            try RouteTable(compiling: message, files: { _ in Array("hello!".utf8) })
        }
    }

    @Test("retry back-off follows reset headers in seconds or as a time, within the limit; else the usual one")
    func rateLimitedBackOff() throws {
        let table = try routeList(
            #"[{"match":{"prefix":"/"},"route":{"cluster":"c","retry_policy":{"retry_on":"5xx","num_retries":9,"rate_limited_retry_back_off":{"reset_headers":[{"name":"retry-after"},{"name":"x-reset","format":"UNIX_TIMESTAMP"}],"max_interval":"100s"}}}}]"#
        )
        guard case .forward(let forwarding)? = table.route(for: TestRequest("/"), random: 0)?.route.action else {
            return
        }
        func wait(_ headers: KeyValuePairs<String, String>) -> Duration? {
            var state = RetryState(policy: forwarding.retryPolicy, request: TestRequest("/"), honorsHeaders: false)
            guard
                case .retry(let wait) = state.decide(
                    after: .response(status: 503), response: TestResponse(headers), random: 0, wallSeconds: 1000)
            else { return nil }
            return wait
        }
        #expect(wait(["retry-after": "30"]) == .seconds(30))
        #expect(wait(["x-reset": "1040"]) == .seconds(40))
        #expect(wait(["retry-after": "101"]) == .zero)
        #expect(wait(["retry-after": "soon"]) == .zero)
    }

    @Test("grpc-timeout: capped, with an offset, and the cap alone without the header")
    func grpcTimeouts() throws {
        func total(_ request: TestRequest, _ config: String) throws -> Duration? {
            let table = try routeList(#"[{"match":{"prefix":"/"},"route":{"cluster":"c",\#(config)}}]"#)
            guard case .forward(let forwarding)? = table.route(for: request, random: 0)?.route.action else {
                return nil
            }
            return RequestTimeouts(forwarding, request: request, honorsHeaders: false).total
        }
        let grpc = TestRequest("/", ["content-type": "application/grpc", "grpc-timeout": "2S"])
        #expect(try total(grpc, #""max_grpc_timeout":"1s""#) == .seconds(1))
        #expect(try total(grpc, #""max_grpc_timeout":"0s","grpc_timeout_offset":"0.5s""#) == .milliseconds(1500))
        #expect(try total(grpc, #""max_grpc_timeout":"0s","grpc_timeout_offset":"5s""#) == .seconds(2))
        #expect(
            try total(TestRequest("/", ["content-type": "application/grpc"]), #""max_grpc_timeout":"3s""#)
                == .seconds(3))
        #expect(try total(TestRequest("/"), #""max_grpc_timeout":"3s""#) == .seconds(15))
    }

    @Test("retry predicates and priorities by their typed names")
    func retryPredicates() throws {
        let base = "type.googleapis.com/envoy.extensions.retry"
        let table = try routeList(
            #"[{"match":{"prefix":"/"},"route":{"cluster":"c","retry_policy":{"retry_on":"5xx","retry_host_predicate":[{"name":"a","typed_config":{"@type":"\#(base).host.previous_hosts.v3.PreviousHostsPredicate"}},{"name":"b","typed_config":{"@type":"\#(base).host.omit_canary_hosts.v3.OmitCanaryHostsPredicate"}},{"name":"c","typed_config":{"@type":"\#(base).host.omit_host_metadata.v3.OmitHostMetadataConfig","metadata_match":{"filter_metadata":{"envoy.lb":{"k":"v"}}}}}],"retry_priority":{"name":"p","typed_config":{"@type":"\#(base).priority.previous_priorities.v3.PreviousPrioritiesConfig","update_frequency":2}}}}}]"#
        )
        guard case .forward(let forwarding)? = table.route(for: TestRequest("/"), random: 0)?.route.action else {
            return
        }
        let policy = try #require(forwarding.retryPolicy)
        #expect(policy.avoidsPreviousHosts && policy.avoidsCanaries && policy.priorityUpdateFrequency == 2)
        #expect(policy.avoidedMetadata == MetadataCriteria(["k": "v"]))
    }
}

@Suite struct RateLimitRuleTests {
    private func descriptor(
        _ rule: String, _ request: TestRequest, _ facts: TestFacts = .init(), _ context: RateLimitRule.Context = .init()
    ) throws -> String? {
        let table = try routeList(#"[{"match":{"prefix":"/"},"route":{"cluster":"c","rate_limits":[\#(rule)]}}]"#)
        let route = try #require(table.route(for: TestRequest("/"), random: 0)?.route)
        return route.rateLimits[0].descriptor(for: request, facts: facts, context: context)?.entries.map {
            "\($0.key)=\($0.value)"
        }.joined(separator: ",")
    }

    @Test("each action makes its entry; one that must have a value and has none unmakes the descriptor")
    func actions() throws {
        var context = RateLimitRule.Context()
        context.sourceCluster = "s"
        context.destinationCluster = "d"
        context.remoteAddress = [10, 1, 2, 3]
        context.remoteAddressText = "10.1.2.3"
        context.routeMetadata = ["m": ["k": "v"]]
        #expect(
            try descriptor(
                #"{"actions":[{"source_cluster":{}},{"destination_cluster":{}},{"remote_address":{}},{"masked_remote_address":{"v4_prefix_mask_len":16}},{"generic_key":{"descriptor_value":"g"}},{"metadata":{"descriptor_key":"r","source":"ROUTE_ENTRY","metadata_key":{"key":"m","path":[{"key":"k"}]}}}]}"#,
                TestRequest("/"), .init(), context)
                == "source_cluster=s,destination_cluster=d,remote_address=10.1.2.3,masked_remote_address=10.1.0.0/16,generic_key=g,r=v"
        )
        let header = #"{"actions":[{"request_headers":{"header_name":"u","descriptor_key":"user"}}]}"#
        #expect(try descriptor(header, TestRequest("/", ["u": "7"])) == "user=7")
        #expect(try descriptor(header, TestRequest("/")) == nil)
        #expect(
            try descriptor(
                #"{"actions":[{"request_headers":{"header_name":"u","descriptor_key":"user","skip_if_absent":true}},{"query_parameters":{"query_parameter_name":"q","descriptor_key":"q"}}]}"#,
                TestRequest("/?q=1")) == "q=1")
        let match =
            #"{"actions":[{"header_value_match":{"descriptor_value":"x","expect_match":false,"headers":[{"name":"a","present_match":true}]}}]}"#
        #expect(try descriptor(match, TestRequest("/")) == "header_match=x")
        #expect(try descriptor(match, TestRequest("/", ["a": "1"])) == nil)
        let dynamic =
            #"{"actions":[{"metadata":{"descriptor_key":"t","default_value":"none","metadata_key":{"key":"f","path":[{"key":"t"}]}}}]}"#
        #expect(try descriptor(dynamic, TestRequest("/"), TestFacts(dynamic: ["f": ["t": "gold"]])) == "t=gold")
        #expect(try descriptor(dynamic, TestRequest("/")) == "t=none")
    }

    @Test("a header as a matcher's input makes an entry under the extension's name; an empty one makes none")
    func matcherInput() throws {
        let rule =
            #"{"actions":[{"generic_key":{"descriptor_value":"g"}},{"extension":{"name":"who","typed_config":{"@type":"type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput","header_name":"u"}}}]}"#
        #expect(try descriptor(rule, TestRequest("/", ["u": "7"])) == "generic_key=g,who=7")
        #expect(try descriptor(rule, TestRequest("/", ["u": ""])) == "generic_key=g")
        #expect(try descriptor(rule, TestRequest("/")) == nil)
        #expect {
            try descriptor(rule.replacing(#""header_name":"u""#, with: #""header_name":"""#), TestRequest("/"))
        } throws: { "\($0)".contains("actions[1].extension.typed_config.header_name: is empty") }
    }

    @Test("an address in the ranges makes an entry, or one in none of them; values are formats")
    func addressMatch() throws {
        func rule(_ matcher: String, _ more: String = #""descriptor_value":"net""#) -> String {
            #"{"actions":[{"remote_address_match":{\#(more),"address_matcher":{\#(matcher)}}}]}"#
        }
        let ranges =
            #""ranges":[{"address_prefix":"10.0.0.0","prefix_len":8},{"address_prefix":"2001:db8::","prefix_len":32}]"#
        var context = RateLimitRule.Context()
        func made(_ rule: String) throws -> String? { try descriptor(rule, TestRequest("/"), .init(), context) }
        #expect(try made(rule(ranges)) == nil)
        #expect(try made(rule(ranges + #","invert_match":true"#)) == nil)
        context.remoteAddress = [10, 1, 2, 3]
        #expect(try made(rule(ranges)) == "remote_address_match=net")
        #expect(try made(rule(ranges, #""descriptor_value":"net","descriptor_key":"k""#)) == "k=net")
        #expect(try made(rule(ranges + #","invert_match":true"#)) == nil)
        context.render = { _ in [] }
        #expect(try made(rule(ranges, #""descriptor_value":"%REQ(x)%""#)) == nil)
        let standard = #""descriptor_value":"%REQ(x)%","default_value":"d""#
        #expect(try made(rule(ranges, standard)) == "remote_address_match=d")
        context.render = { $0.literal ?? [] }
        context.remoteAddress = [11, 1, 2, 3]
        #expect(try made(rule(ranges)) == nil)
        #expect(try made(rule(ranges + #","invert_match":true"#)) == "remote_address_match=net")
        context.remoteAddress = [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 7, count: 12)
        #expect(try made(rule(ranges)) == "remote_address_match=net")
        for (wrong, place) in [
            (rule(#""ranges":[]"#), "ranges"), (rule(ranges, #""descriptor_value":"%X""#), "descriptor_value"),
            (rule(ranges, #""descriptor_key":"k""#), "descriptor_value"),
            (rule(#""ranges":[{"address_prefix":"x"}]"#), "ranges[0].address_prefix"),
        ] {
            #expect { try made(wrong) } throws: { "\($0)".contains(place) }
        }
    }

    @Test("runtime switches a rule off by its key; IPv6 addresses are masked and written short")
    func switches() throws {
        let rule = #"{"disable_key":"k","actions":[{"masked_remote_address":{"v6_prefix_mask_len":32}}]}"#
        var context = RateLimitRule.Context()
        context.remoteAddress = [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 7, count: 12)
        #expect(try descriptor(rule, TestRequest("/"), .init(), context) == "masked_remote_address=2001:db8::/32")
        #expect(
            try descriptor(rule, TestRequest("/"), TestFacts(runtime: ["ratelimit.k.http_filter_enabled": 0]), context)
                == nil)
    }
}
