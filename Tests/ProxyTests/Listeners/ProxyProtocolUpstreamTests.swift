import HTTP
import IO
import TLS
import Testing

@testable import Proxy

@Suite("PROXY protocol towards hosts")
struct ProxyProtocolUpstreamTests {
    private func parse(_ bytes: [UInt8]) -> ProxyHeaderParser.Verdict {
        bytes.withUnsafeBytes { ProxyHeaderParser.parse($0) }
    }

    @Test("what the writer writes the parser reads")
    func roundTrip() throws {
        let tlvs = [ProxyHeader.TLV(type: 5, value: [1, 2]), ProxyHeader.TLV(type: 240, value: [])]
        for version in [1, 2] {
            for (source, destination) in [("1.2.3.4:5", "6.7.8.9:65535"), ("[fd00::1]:0", "[::1]:80")] {
                let header = ProxyHeader(
                    version: version, source: SocketAddress(source), destination: SocketAddress(destination),
                    tlvs: version == 2 ? tlvs : [])
                let bytes = try #require(ProxyHeaderWriter.write(header))
                #expect(parse(bytes) == .header(header, bytes: bytes.count))
            }
        }
        #expect(parse(ProxyHeaderWriter.local) == .header(ProxyHeader(version: 2), bytes: 16))
        #expect(parse(ProxyHeaderWriter.unknown) == .header(ProxyHeader(version: 1), bytes: 15))
    }

    @Test("IPv4 beside IPv6 is mapped; an unspecified address and too many TLVs have no header")
    func oddAddresses() throws {
        let mixed = ProxyHeader(version: 1, source: SocketAddress("1.2.3.4:5"), destination: SocketAddress("[::1]:80"))
        #expect(
            ProxyHeaderWriter.write(mixed).map { String(decoding: $0, as: UTF8.self) }
                == "PROXY TCP6 ::ffff:1.2.3.4 ::1 5 80\r\n")
        var header = ProxyHeader(
            version: 2, source: SocketAddress("0.0.0.0:5"), destination: SocketAddress("1.1.1.1:1"))
        #expect(ProxyHeaderWriter.write(header) == nil)
        header.source = .unix("/x")
        #expect(ProxyHeaderWriter.write(header) == nil)
        header.source = SocketAddress("1.1.1.1:1")
        header.tlvs = [ProxyHeader.TLV(type: 1, value: [UInt8](repeating: 0, count: 65_520))]
        #expect(ProxyHeaderWriter.write(header) != nil)
        header.tlvs.append(ProxyHeader.TLV(type: 2, value: [1]))
        #expect(ProxyHeaderWriter.write(header) == nil)
    }

    @Test("a configured TLV stands first and wins against the client's of its type")
    func addedTLVs() throws {
        let settings = ProxyProtocolUpstream(version: 2, passedOn: [5, 240], added: [.init(type: 240, value: [1])])
        let client = try #require(SocketAddress("10.0.0.1:1"))
        var info = ConnectionInfo(localAddress: client, remoteAddress: client, directRemoteAddress: client, id: 1)
        info.facts.proxyProtocol = ProxyHeader(
            version: 2,
            tlvs: [.init(type: 5, value: [7]), .init(type: 240, value: [8]), .init(type: 6, value: [9])])
        guard case .header(let header, _) = parse(try #require(settings.header(for: info))) else {
            Issue.record("no header")
            return
        }
        #expect(header.tlvs == [.init(type: 240, value: [1]), .init(type: 5, value: [7])])
    }

    static func socket(_ config: String, _ inner: String = "{ name: envoy.transport_sockets.raw_buffer }") -> String {
        "transport_socket: { name: pp, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport, config: { \(config) }, transport_socket: \(inner) } }"
    }

    /// A line, without reading further.
    static func line(_ wire: Wire) async throws -> String {
        var bytes: [UInt8] = []
        while bytes.last != 10 {
            let byte = try await wire.stream.read(upTo: 1)
            guard !byte.isEmpty else { throw Wire.Closed() }
            bytes += byte
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A binary header.
    static func header(_ wire: Wire) async throws -> [UInt8] {
        let fixed = try await wire.bytes(16)
        return fixed + (try await wire.bytes(Int(fixed[14]) << 8 | Int(fixed[15])))
    }

    @Test("HTTP: each client has connections of its own, which it keeps")
    func http() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, number in
                let line = try await Self.line(wire)
                while true {
                    let request = try await wire.request()
                    try await wire.write(ScriptedUpstream.ok("\(number) \(Wire.firstLine(request.head)) \(line)"))
                }
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port], Self.socket("version: V1"))))
            defer { proxy.stop() }
            let port = proxy.address.port ?? 0
            for number in 0..<3 {
                let client = try await Wire.connect(to: proxy.address, on: loop)
                defer { client.close() }
                let own = (client.stream as? SocketStream)?.socket.localAddress?.port ?? 0
                for path in ["/a", "/b"] {
                    let body = try await client.get(path, "x-forwarded-for: 9.9.9.9\r\n").body
                    #expect(
                        body == "\(number) GET \(path) HTTP/1.1 PROXY TCP4 127.0.0.1 127.0.0.1 \(own) \(port)\r\n")
                }
            }
            #expect(upstream.connections == 3)
        }
    }

    @Test("version 2 passes TLVs on as both ends allow")
    func version2() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                let header = try await Self.header(wire)
                _ = try await wire.request()
                let text = header.dropFirst(16).map { "\($0)" }.joined(separator: " ")
                try await wire.write(ScriptedUpstream.ok(text))
            }
            let listener = Yaml.listener(routes: Yaml.forward()).split(
                separator: "\n", omittingEmptySubsequences: false)
            let filters =
                "    listener_filters: [ { name: pp, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol, pass_through_tlvs: { match_type: INCLUDE_ALL } } } ]"
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: (listener.prefix(2) + [Substring(filters)] + listener.dropFirst(2)).joined(
                        separator: "\n"),
                    clusters: Yaml.cluster(
                        "backend", [upstream.port],
                        Self.socket(
                            "version: V2, pass_through_tlvs: { match_type: INCLUDE, tlv_type: [ 5 ] }, added_tlvs: [ { type: 240, value: AQ== } ]"
                        ))))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.stream.write(
                ProxyHeaderTests.v2(0x21, 0x11, ProxyHeaderTests.addresses4 + [5, 0, 1, 9, 6, 0, 1, 8]))
            #expect(try await client.get("/").body == "10 0 0 1 10 0 0 2 48 57 0 80 240 0 1 1 5 0 1 9")
        }
    }

    @Test("HTTP/2 and TLS begin behind the header")
    func inner() async throws {
        let authority = try TestIdentity.authority()
        let identity = try TestIdentity(authority, "host", [.dns("host.test")])
        try await onLoop { loop in
            var configuration = TLSConfiguration()
            configuration.certificateChain = [identity.certificate]
            configuration.privateKey = identity.key
            configuration.peerCertificate = .notVerified
            let context = try TLSContext(configuration, role: .server)
            let secured = try await ScriptedUpstream(on: loop) { wire, _ in
                let line = try await Self.line(wire)
                let inner = Wire(try await TLSStream.accept(try #require(wire.stream as? SocketStream), context))
                _ = try await inner.request()
                try await inner.write(ScriptedUpstream.ok(line))
                _ = await inner.readToEnd()
            }
            let http2 = try await ScriptedUpstream(on: loop) { wire, _ in
                let line = try await Self.line(wire)
                guard let stream = wire.stream as? SocketStream else { return }
                let end = try HTTP2End(.server, stream, on: loop) { exchange in
                    try exchange.respond(200)
                    try exchange.send(line)
                    try exchange.finish()
                }
                await end.wait { end.isOver }
            }
            let trust = TestIdentity.quoted(authority.certificate.pem)
            let tls =
                "{ name: tls, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, common_tls_context: { validation_context: { trusted_ca: { inline_string: \(trust) } } } } }"
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        routes:
                            "[ { match: { prefix: /h2 }, route: { cluster: http2 } }, { match: { prefix: / }, route: { cluster: secured } } ]"
                    ),
                    clusters: Yaml.cluster("secured", [secured.port], Self.socket("version: V1", tls))
                        + Yaml.cluster("http2", [http2.port], Yaml.http2 + "\n    " + Self.socket("version: V1"))))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let own = (client.stream as? SocketStream)?.socket.localAddress?.port ?? 0
            let wanted = "PROXY TCP4 127.0.0.1 127.0.0.1 \(own) \(proxy.address.port ?? 0)\r\n"
            let answer = try await client.get("/")
            #expect(answer.body == wanted, "\(answer)")
            #expect(try await client.get("/h2").body == wanted)
        }
    }

    @Test("tcp_proxy, and health checks of our own")
    func tcp() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                let header = try await Self.header(wire)
                if header[12] == 0x20 {
                    _ = try await wire.request()
                    return try await wire.write(ScriptedUpstream.ok("ok"))
                }
                try await wire.write("\(header.count) " + (try await wire.read(4)))
            }
            let check =
                "health_checks: [ { timeout: 1s, interval: 0.02s, no_traffic_interval: 0.02s, unhealthy_threshold: 1, healthy_threshold: 1, http_health_check: { path: / } } ]\n    common_lb_config: { healthy_panic_threshold: { value: 0 } }"
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.tcpListener("tcp", "cluster: backend"),
                    clusters: Yaml.cluster(
                        "backend", [upstream.port], check + "\n    " + Self.socket("version: V2"))))
            defer { proxy.stop() }
            // Without a host that a check has found well there is none at all.
            var text = ""
            while text.isEmpty {
                let client = try await Wire.connect(to: proxy.address, on: loop)
                try await client.write("ping")
                text = await client.readToEnd()
            }
            #expect(text == "28 ping")
        }
    }

    @Test("what cannot stand in a header is refused")
    func refused() async throws {
        for (config, part) in [
            ("version: V1, added_tlvs: [ { type: 1, value: AQ== } ]", "version 1 has no TLVs"),
            ("version: V2, added_tlvs: [ { type: 256, value: AQ== } ]", "256 is not below 256"),
            ("version: V2, added_tlvs: [ { type: 1, value: AQ== }, { type: 1, value: AQ== } ]", "there twice"),
            ("version: V2, added_tlvs: [ { type: 1 } ]", "needs 1 to"),
            ("version: V2, pass_through_tlvs: { match_type: INCLUDE, tlv_type: [ 300 ] }", "300 is not below 256"),
        ] {
            var options = Options()
            options.configYAML = Yaml.bootstrap(
                listeners: Yaml.listener(routes: Yaml.forward()),
                clusters: Yaml.cluster("backend", [1], Self.socket(config)))
            #expect { _ = try ProxyServer.validate(options) } throws: { "\($0)".contains(part) }
        }
    }
}
