import EnvoyAPI
import HTTP
import Serialization
import Testing
import Upstream

@testable import Proxy

@Suite("Filters: filter state and metadata values")
struct FilterStateTests {
    @Test("factories take what is theirs, and nothing else becomes an object")
    func factories() throws {
        let cases: [(String, String, String?)] = [
            ("envoy.string", "a b", "a b"), ("envoy.network.ip", "10.0.0.1", "10.0.0.1:0"),
            ("envoy.network.ip", "::1", "[::1]:0"),
            ("envoy.network.ip", "x", nil),
            ("envoy.network.upstream_server_name", "API.test:443", "api.test"),
            ("envoy.network.upstream_server_name", "a b", nil),
            ("envoy.network.application_protocols", "h2,http/1.1", "h2,http/1.1"),
            ("envoy.network.application_protocols", "h2,", nil), ("envoy.network.application_protocols", "", nil),
            ("envoy.ratelimit.hits_addend", "3", "3"),
            ("envoy.ratelimit.hits_addend", "-3", nil), ("envoy.upstream.dynamic_port", "4294967296", nil),
        ]
        for (name, text, object) in cases {
            #expect(
                try FilterStateFactory.find(name, key: "any", isOfConnection: false, at: "").object(text) == object,
                "\(name) \(text)")
        }
        // Without a factory the key names it.
        #expect(
            try FilterStateFactory.find("", key: "envoy.upstream.dynamic_host", isOfConnection: false, at: "").object(
                "h") == "h")
    }

    @Test("a factory that is unknown, or whose objects nobody looks at, is refused with its place")
    func refused() async throws {
        for (fields, place) in [
            ("object_key: my.key", "object_key"), ("object_key: a, factory_key: x", "factory_key"),
            ("object_key: envoy.network.upstream_subject_alt_names", "object_key"),
            ("object_key: envoy.tcp_proxy.cluster, factory_key: envoy.string", "factory_key"),
        ] {
            let config = FilterScene.any(
                "envoy.extensions.filters.http.set_filter_state.v3.Config",
                "on_request_headers: [ { \(fields), format_string: { text_format_source: { inline_string: x } } } ]")
            do {
                try await FilterScene.run([("state", config)]) { _ in }
                Issue.record("taken: \(fields)")
            } catch {
                #expect("\(error)".contains("on_request_headers[0].\(place)"), "\(error)")
            }
        }
    }

    @Test("header_to_metadata: a protobuf value keeps its bytes, whatever they are")
    func protobufValue() throws {
        var message = HeaderToMetadata.Rule()
        message.header = "x-value"
        var target = HeaderToMetadata.KeyValuePair()
        target.key = "v"
        target.type = .protobufValue
        target.encode = .base64
        message.onHeaderPresent = target
        let rule = try HeaderToMetadataRule(compiling: message, at: "", defaultNamespace: "ns")
        func value(_ bytes: [UInt8]) throws -> JSON? {
            var headers = HeaderTable()
            try headers.append("x-value", Base64.encode(bytes))
            var metadata: [String: JSON] = [:]
            rule.apply(to: &headers, value: { _ in nil }, &metadata)
            return metadata["ns"]?["v"]
        }
        // `number_value: 1.5` and `string_value: "é"`; the first holds bytes that are no UTF-8.
        #expect(try value([0x11, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F]) == 1.5)
        #expect(try value([0x1A, 0x02, 0xC3, 0xA9]) == "é")
        #expect(try value([0xFF, 0xFF]) == nil)
    }
}
