import EnvoyAPI
import IO
import Serialization
import Testing

@testable import Proxy

@Suite("Listener filters and network filters")
struct ListenerFilterTests {
    private static let proxyProtocol = """
        { name: pp, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol } }
        """
    private static let tlsInspector = """
        { name: tls, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }
        """
    private static let httpInspector = """
        { name: http, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector } }
        """

    private static func answer(_ text: String) -> String {
        """
        { name: answer, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config, response: { inline_string: "\(text)" } } }
        """
    }

    private static let echo = """
        { name: echo, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo } }
        """

    private static func network(_ type: String, _ fields: String) -> String {
        """
        { name: f, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.\(type), \(fields) } }
        """
    }

    private static func bootstrap(_ filters: [String], _ chains: [String], _ more: String = "") -> String {
        """
        admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
        static_resources:
          listeners:
          - name: l
            address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
            listener_filters: [ \(filters.joined(separator: ", ")) ]
            \(more)
            filter_chains: [ \(chains.joined(separator: ", ")) ]

        """
    }

    private static func chain(_ match: String, _ filters: String...) -> String {
        "{ filter_chain_match: { \(match) }, filters: [ \(filters.joined(separator: ", ")) ] }"
    }

    private func talk(_ proxy: RunningProxy, _ loop: EventLoop, _ bytes: [UInt8]) async throws -> String {
        let client = try await Wire.connect(to: proxy.address, on: loop)
        if !bytes.isEmpty { try await client.stream.write(bytes) }
        return await client.readToEnd()
    }

    @Test("a listener with ipv4_compat serves IPv4 clients by their IPv4 addresses")
    func bothFamilies() async throws {
        try await onLoop { loop in
            let chains = [
                Self.chain(
                    "source_prefix_ranges: [ { address_prefix: 127.0.0.0, prefix_len: 8 } ]", Self.answer("four")),
                Self.chain("", Self.answer("six")),
            ]
            let proxy = try await RunningProxy.start(
                Self.bootstrap([], chains).replacing(
                    "name: l\n    address: { socket_address: { address: 127.0.0.1",
                    with: "name: l\n    address: { socket_address: { ipv4_compat: true, address: \"::\""))
            defer { proxy.stop() }
            let port = proxy.address.port ?? 0
            let six = try await Wire.connect(to: .ip(.v6(high: 0, low: 1), port: port), on: loop)
            #expect(await six.readToEnd() == "six")
            let four = try await Wire.connect(to: .ip(.v4(0x7F00_0001), port: port), on: loop)
            #expect(await four.readToEnd() == "four")
        }
    }

    @Test("the chain follows server name, protocol and HTTP version, also behind a PROXY header")
    func chains() async throws {
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(
                Self.bootstrap(
                    [Self.proxyProtocol, Self.tlsInspector, Self.httpInspector],
                    [
                        Self.chain("server_names: [ a.test ]", Self.answer("name")),
                        Self.chain("transport_protocol: tls", Self.answer("tls")),
                        Self.chain(
                            "application_protocols: [ http/1.1 ], source_prefix_ranges: [ { address_prefix: 192.0.2.0, prefix_len: 24 } ]",
                            Self.answer("http")),
                        Self.chain("transport_protocol: raw_buffer", Self.answer("raw")),
                    ]))
            defer { proxy.stop() }
            let header = Array("PROXY TCP4 192.0.2.7 192.0.2.8 1000 80\r\n".utf8)
            let name = Self.hello("a.test")
            #expect(try await talk(proxy, loop, header + name) == "name")
            #expect(try await talk(proxy, loop, header + Self.hello("b.test")) == "tls")
            #expect(try await talk(proxy, loop, header + Array("GET / HTTP/1.1\r\n\r\n".utf8)) == "raw")
            #expect(try await talk(proxy, loop, header + Array("\u{1}binary".utf8)) == "raw")
            // ATK-15: no header, no service.
            #expect(try await talk(proxy, loop, Array("GET / HTTP/1.1\r\n\r\n".utf8)) == "")
            // ATK-27: what looks like TLS and is none never lands in the chain for plain text.
            #expect(try await talk(proxy, loop, header + [22, 3, 1, 0, 1, 99]) == "")
        }
    }

    private static func hello(_ name: String) -> [UInt8] {
        let name = Array(name.utf8)
        let sni = [0, 0, 0, UInt8(name.count + 5), 0, UInt8(name.count + 3), 0, 0, UInt8(name.count)] + name
        let body = [3, 3] + [UInt8](repeating: 1, count: 32) + [0, 0, 2, 0x13, 1, 1, 0, 0, UInt8(sni.count)] + sni
        let message = [1, 0, 0, UInt8(body.count)] + body
        return [22, 3, 1, 0, UInt8(message.count)] + message
    }

    @Test("X-3 a silent client is served after the timeout when the listener continues, and closed when not")
    func silent() async throws {
        for (continues, expected) in [(true, "raw"), (false, "")] {
            try await onLoop { loop in
                let proxy = try await RunningProxy.start(
                    Self.bootstrap(
                        [Self.tlsInspector], [Self.chain("transport_protocol: raw_buffer", Self.answer("raw"))],
                        "{ listener_filters_timeout: 0.05s, continue_on_listener_filters_timeout: \(continues) }"
                            .dropFirst(2).dropLast(2).split(separator: ", ").joined(separator: "\n    ")))
                defer { proxy.stop() }
                #expect(try await talk(proxy, loop, []) == expected)
            }
        }
    }

    @Test("ATK-27 half a ClientHello is no plain text, not even when the listener continues")
    func halfHello() async throws {
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(
                Self.bootstrap(
                    [Self.tlsInspector], [Self.chain("transport_protocol: raw_buffer", Self.answer("raw"))],
                    "listener_filters_timeout: 0.05s\n    continue_on_listener_filters_timeout: true"))
            defer { proxy.stop() }
            #expect(try await talk(proxy, loop, [22, 3]) == "")
        }
    }

    @Test("a matcher tree chooses the chain by name")
    func tree() async throws {
        try await onLoop { loop in
            let tree = """
                filter_chain_matcher:
                      matcher_tree:
                        input: { name: name, typed_config: { "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.ServerNameInput } }
                        exact_match_map:
                          map:
                            a.test: { action: { name: a, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: a } } }
                      on_no_match: { action: { name: b, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: b } } }
                """
            let proxy = try await RunningProxy.start(
                Self.bootstrap(
                    [],
                    [
                        "{ name: a, filters: [ \(Self.answer("chain a")) ] }",
                        "{ name: b, filters: [ \(Self.answer("chain b")) ] }",
                    ], tree))
            defer { proxy.stop() }
            #expect(try await talk(proxy, loop, Self.hello("a.test")) == "chain a")
            #expect(try await talk(proxy, loop, Self.hello("x.test")) == "chain b")
        }
    }

    @Test("echo sends back, also what comes before the end")
    func echoes() async throws {
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(Self.bootstrap([], [Self.chain("", Self.echo)]))
            defer { proxy.stop() }
            let socket = try Socket.connect(to: proxy.address)
            let client = Wire(try SocketStream(socket, on: loop))
            let text = String(repeating: "0123456789", count: 30_000)
            Task(executorPreference: loop) {
                try await client.write(text)
                socket.shutdownWrite()
            }
            #expect(await client.readToEnd() == text)
        }
    }

    @Test("rbac refuses by address, and counts")
    func rbac() async throws {
        try await onLoop { loop in
            let rules = { (prefix: String) in
                "stat_prefix: a, rules: { policies: { local: { permissions: [ { any: true } ], principals: [ { source_ip: { address_prefix: \(prefix), prefix_len: 8 } } ] } } }"
            }
            for (prefix, expected) in [("127.0.0.0", "in"), ("10.0.0.0", "")] {
                let proxy = try await RunningProxy.start(
                    Self.bootstrap(
                        [], [Self.chain("", Self.network("rbac.v3.RBAC", rules(prefix)), Self.answer("in"))]))
                defer { proxy.stop() }
                #expect(try await talk(proxy, loop, []) == expected)
                let admin = try await Wire.connect(to: #require(proxy.admin), on: loop)
                let stats = try await admin.get("/stats").body
                #expect(stats.contains("a.rbac.\(expected == "in" ? "allowed" : "denied"): 1"))
            }
        }
    }

    @Test("connection_limit and local_ratelimit refuse what is too much, and let in again")
    func limits() async throws {
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(
                Self.bootstrap(
                    [],
                    [
                        Self.chain(
                            "",
                            Self.network(
                                "connection_limit.v3.ConnectionLimit", "stat_prefix: c, max_connections: 1"),
                            Self.echo)
                    ]))
            defer { proxy.stop() }
            let first = try await Wire.connect(to: proxy.address, on: loop)
            try await first.write("x")
            #expect(try await first.read(1) == "x")
            #expect(try await talk(proxy, loop, []) == "")
            first.close()
            // The place is free once the proxy has seen the end.
            while true {
                let next = try await Wire.connect(to: proxy.address, on: loop)
                try? await next.write("y")
                if let back = try? await next.read(1) {
                    #expect(back == "y")
                    break
                }
            }
            let bucket = "stat_prefix: r, token_bucket: { max_tokens: 2, fill_interval: 3600s }"
            let limited = try await RunningProxy.start(
                Self.bootstrap(
                    [],
                    [
                        Self.chain(
                            "", Self.network("local_ratelimit.v3.LocalRateLimit", bucket), Self.answer("in"))
                    ]))
            defer { limited.stop() }
            for expected in ["in", "in", "", ""] { #expect(try await talk(limited, loop, []) == expected) }
        }
    }

    @Test("a matcher tree knows the network namespace of its listener")
    func namespaces() throws {
        let matcher = try Matcher(
            json: try #require(
                YAML.parse(
                    """
                    matcher_tree:
                      input: { name: n, typed_config: { "@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.NetworkNamespaceInput } }
                      exact_match_map:
                        map:
                          /run/netns/a: { action: { name: a, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: a } } }
                    on_no_match: { action: { name: b, typed_config: { "@type": type.googleapis.com/google.protobuf.StringValue, value: b } } }
                    """
                ).first
            ).json)
        let place = IO.SocketAddress.ip(.v4(0x7F00_0001), port: 1)
        let connection = FilterChainMatcher.Connection(destination: place, source: place, directSource: place)
        for (namespace, chain) in [("/run/netns/a", 0), ("/run/netns/b", 1), ("", 1)] {
            let tree = try FilterChainTree(compiling: matcher, chains: ["a", "b"], namespace: namespace, at: "m")
            #expect(tree.find(connection) == chain)
        }
        #expect(NetworkMatchInput(typeName: NetworkMatchInput.package + "NetworkNamespaceInput") == nil)
    }
}
