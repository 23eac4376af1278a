import IO
import Testing

@testable import Proxy

@Suite("Filters chosen by a matcher")
struct CompositeTests {
    private static let input =
        "{ name: in, typed_config: { \"@type\": type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput, header_name: x-kind } }"

    private static func tree(_ entries: String) -> String {
        "{ matcher_tree: { input: \(input), exact_match_map: { map: { \(entries) } } } }"
    }

    private static func mark(_ value: String) -> String {
        "{ name: m\(value), typed_config: \(FilterScene.any("envoy.extensions.filters.http.header_mutation.v3.HeaderMutation", "mutations: { request_mutations: [ { append: { header: { key: x-mark, value: \"\(value)\" } } } ], response_mutations: [ { append: { header: { key: x-back, value: \"\(value)\" } } } ] }")) }"
    }

    private static func execute(_ fields: String) -> String {
        "{ action: { name: x, typed_config: \(FilterScene.any("envoy.extensions.filters.http.composite.v3.ExecuteFilterAction", fields)) } }"
    }

    @Test("composite puts one filter or a chain of them into the walk, and nothing where nothing matches")
    func composite() async throws {
        let matcher = Self.tree(
            "one: \(Self.execute("typed_config: \(Self.mark("1"))")), two: \(Self.execute("filter_chain: { typed_config: [ \(Self.mark("1")), \(Self.mark("2")) ] }")), named: \(Self.execute("filter_chain_name: pair"))"
        )
        let config = FilterScene.any(
            "envoy.extensions.filters.http.composite.v3.Composite",
            "matcher: \(matcher), named_filter_chains: { pair: { typed_config: [ \(Self.mark("3")) ] } }")
        try await FilterScene.run([("composite", config)]) { scene in
            for (kind, marks) in [("one", ["1"]), ("two", ["1", "2"]), ("named", ["3"]), ("none", [])] {
                let response = try await scene.client.get("/", "x-kind: \(kind)\r\n")
                #expect(marks.allSatisfy { response.body.contains("x-mark: \($0)") }, "\(kind): \(response.body)")
                #expect(response.body.contains("x-mark") == !marks.isEmpty)
                #expect(response.head.contains("x-back") == !marks.isEmpty)
            }
            #expect(try await scene.stat("http.ingress.composite.filter_delegation_success") == 3)
        }
    }

    @Test("a filter with a matcher is skipped for requests that match")
    func skip() async throws {
        let skip =
            "{ action: { name: skip, typed_config: \(FilterScene.any("envoy.extensions.filters.common.matcher.action.v3.SkipFilter")) } }"
        let config = FilterScene.any(
            "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            "xds_matcher: \(Self.tree("skip: \(skip)")), extension_config: \(Self.mark("1"))")
        try await FilterScene.run([("delegate", config)]) { scene in
            let skipped = try await scene.client.get("/", "x-kind: skip\r\n").body
            let kept = try await scene.client.get("/", "x-kind: keep\r\n").body
            #expect(!skipped.contains("x-mark") && kept.contains("x-mark: 1"))
        }
    }

    @Test("an action that a filter does not have is refused with its path")
    func refused() async throws {
        let config = FilterScene.any(
            "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
            "xds_matcher: \(Self.tree("x: \(Self.execute("typed_config: \(Self.mark("1"))"))")), extension_config: \(Self.mark("1"))"
        )
        do {
            try await FilterScene.run([("delegate", config)]) { _ in }
            Issue.record("it was taken")
        } catch {
            #expect("\(error)".contains("exact_match_map.map[x].action.typed_config"), "\(error)")
        }
    }
}
