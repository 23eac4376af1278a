import Testing

@testable import Proxy

@Suite("Matcher trees: addresses, metadata, filter state, and nothing but on_no_match")
struct MatchInputTests {
    private static let rbac = "envoy.extensions.filters.http.rbac.v3.RBAC"
    private static let network = "envoy.extensions.matching.common_inputs.network.v3."
    private static let matchers = "envoy.extensions.matching.input_matchers."

    private static func typed(_ type: String, _ fields: String = "") -> String {
        "{ name: x, typed_config: \(FilterScene.any(type, fields)) }"
    }

    private static func action(_ action: String) -> String {
        "{ action: \(typed("envoy.config.rbac.v3.Action", "name: \(action), action: \(action)")) }"
    }

    /// A tree with one condition: who passes it is allowed, and others get `otherwise`.
    private static func tree(_ input: String, custom: String, otherwise: String = action("DENY")) -> String {
        """
        matcher: { matcher_list: { matchers: [ { predicate: { single_predicate: { input: \(input), custom_match: \(custom) } }, \
        on_match: \(action("ALLOW")) } ] }, on_no_match: \(otherwise) }
        """
    }

    private static func ip(_ ranges: String) -> String {
        typed(matchers + "ip.v3.Ip", "stat_prefix: s, cidr_ranges: [ \(ranges) ]")
    }

    @Test(
        "a range of addresses decides by each address of a connection",
        arguments: ["SourceIPInput", "DirectSourceIPInput", "DestinationIPInput"])
    func addresses(_ input: String) async throws {
        for (range, status) in [
            ("{ address_prefix: 127.0.0.0, prefix_len: 8 }", 200), ("{ address_prefix: 10.0.0.0, prefix_len: 8 }", 403),
            ("{ address_prefix: 10.0.0.0, prefix_len: 8 }, { address_prefix: 127.0.0.1, prefix_len: 32 }", 200),
            ("{ address_prefix: '::', prefix_len: 0 }", 403),
        ] {
            let config = Self.tree(Self.typed(Self.network + input), custom: Self.ip(range))
            try await FilterScene.run([("rbac", FilterScene.any(Self.rbac, config))]) { scene async throws in
                #expect(try await Int(scene.client.get("/").status) == status, "\(input) \(range)")
            }
        }
    }

    @Test("metadata decides by its value, by an element of a list, and turned round; nothing there is nothing")
    func metadata() async throws {
        let rules = """
            request_rules: [ { header: x-v, on_header_present: { metadata_namespace: ns, key: k, type: STRING } } ]
            """
        let filter = ("meta", FilterScene.any("envoy.extensions.filters.http.header_to_metadata.v3.Config", rules))
        let input = Self.typed(Self.network + "DynamicMetadataInput", "filter: ns, path: [ { key: k } ]")
        func matcher(_ fields: String) -> String { Self.typed(Self.matchers + "metadata.v3.Metadata", fields) }
        let exact = "value: { string_match: { exact: gold } }"
        for (fields, gold, silver, none) in [
            (exact, 200, 403, 403), (exact + ", invert: true", 403, 200, 200),
            ("value: { list_match: { one_of: { string_match: { exact: gold } } } }", 403, 403, 403),
            ("value: { present_match: true }", 200, 200, 403),
        ] {
            let config = Self.tree(input, custom: matcher(fields))
            try await FilterScene.run([filter, ("rbac", FilterScene.any(Self.rbac, config))]) { scene async throws in
                #expect(try await Int(scene.client.get("/", "x-v: gold\r\n").status) == gold, "\(fields)")
                #expect(try await Int(scene.client.get("/", "x-v: silver\r\n").status) == silver, "\(fields)")
                #expect(try await Int(scene.client.get("/").status) == none, "\(fields)")
            }
        }
    }

    @Test("a matcher with on_no_match alone decides for all")
    func otherwise() async throws {
        for (action, status) in [("ALLOW", 200), ("DENY", 403)] {
            let config = "matcher: { on_no_match: \(Self.action(action)) }"
            try await FilterScene.run([("rbac", FilterScene.any(Self.rbac, config))]) { scene async throws in
                #expect(try await Int(scene.client.get("/").status) == status)
            }
        }
    }

    @Test("a connection is let in or closed by the range that it comes from")
    func network() async throws {
        for (range, isLetIn) in [("127.0.0.0", true), ("10.0.0.0", false)] {
            let config = Self.tree(
                Self.typed(Self.network + "DirectSourceIPInput"),
                custom: Self.ip("{ address_prefix: \(range), prefix_len: 8 }"))
            let filter = FilterScene.any("envoy.extensions.filters.network.rbac.v3.RBAC", "stat_prefix: n, \(config)")
            try await onLoop { loop in
                let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("in") }
                let listener = Yaml.listener(routes: Yaml.forward()).replacing(
                    "filters:\n", with: "filters:\n      - { name: n, typed_config: \(filter) }\n", maxReplacements: 1)
                let proxy = try await RunningProxy.start(
                    Yaml.bootstrap(listeners: listener, clusters: Yaml.cluster("backend", [upstream.port])))
                defer { proxy.stop() }
                let client = try await Wire.connect(to: proxy.address, on: loop)
                let answer = try? await client.get("/")
                #expect((answer?.status == 200) == isLetIn, "\(range)")
            }
        }
    }

    @Test(
        "what is not known, and what is empty, is refused with its place",
        arguments: [
            ("SourceIPInput", typed(matchers + "ip.v3.Ip", "stat_prefix: s"), "custom_match.typed_config.cidr_ranges"),
            (
                "SourceIPInput", typed(matchers + "ip.v3.Ip", "cidr_ranges: [ { address_prefix: '::' } ]"),
                "custom_match.typed_config.stat_prefix"
            ),
            ("SourceIPInput", ip("{ address_prefix: x }"), "cidr_ranges[0]"),
            ("SourceIPInput", typed(matchers + "metadata.v3.Metadata"), "custom_match.typed_config.value"),
            ("DynamicMetadataInput", ip("{ address_prefix: '::' }"), "input.typed_config.filter"),
            (
                "SourceIPInput", typed(matchers + "consistent_hashing.v3.ConsistentHashing", "modulo: 2"),
                "custom_match: unknown matcher"
            ),
        ])
    func refused(_ input: String, _ matcher: String, _ place: String) async throws {
        let config = Self.tree(Self.typed(Self.network + input), custom: matcher)
        await #expect {
            try await FilterScene.run([("rbac", FilterScene.any(Self.rbac, config))]) { _ in }
        } throws: {
            "\($0)".contains(place)
        }
    }

    @Test("custom_response tells a local reply from an upstream's answer")
    func localReply() async throws {
        let input = Self.typed("envoy.type.matcher.v3.HttpResponseLocalReplyMatchInput")
        let policy = Self.typed(
            "envoy.extensions.http.custom_response.local_response_policy.v3.LocalResponsePolicy",
            "status_code: 418, body: { inline_string: ours }")
        let custom = FilterScene.any(
            "envoy.extensions.filters.http.custom_response.v3.CustomResponse",
            """
            custom_response_matcher: { matcher_list: { matchers: [ { predicate: { single_predicate: { input: \(input), \
            value_match: { exact: 'true' } } }, on_match: { action: \(policy) } } ] } }
            """)
        let routes = """
            [ { match: { path: /local }, direct_response: { status: 500 } }, \
            { match: { prefix: / }, route: { cluster: backend } } ]
            """
        try await FilterScene.run([("custom", custom)], routes: routes) { _, _ in
            "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
        } _: { scene async throws in
            #expect(try await scene.client.get("/local").status == 418)
            #expect(try await scene.client.get("/up").status == 500)
        }
    }
}
