import EnvoyAPI
import IO
import Testing
import Upstream

@testable import Proxy

@Suite("Listeners: several addresses")
struct AdditionalAddressTests {
    private static func additional(_ addresses: [String], more: String = "") -> String {
        let list = addresses.map {
            "{ address: { socket_address: { address: \"\($0)\", port_value: 0 } }\(more) }"
        }
        return "    additional_addresses: [ \(list.joined(separator: ", ")) ]\n"
    }

    private static func listener(_ addresses: [String], body: String = "here", more: String = "") -> String {
        let plain = Yaml.listener(
            routes: "[ { match: { prefix: / }, direct_response: { status: 200, body: { inline_string: \(body) } } } ]")
        return plain.replacing("    filter_chains:", with: additional(addresses, more: more) + "    filter_chains:")
    }

    private static func address(_ text: String, _ port: UInt16?) throws -> IO.SocketAddress {
        .ip(try #require(IPAddress(text)), port: port ?? 0)
    }

    @Test(
        "a listener answers at each of its addresses, of both families",
        arguments: [1, 2])
    func serves(workers: Int) async throws {
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Self.listener(["::1", "127.77.0.5"]), clusters: Yaml.cluster("none", [1]), admin: true),
                concurrency: workers)
            defer { proxy.stop() }
            let lines = try await Admin.get(proxy, "/listeners", on: loop).split(separator: "\n")
            for (line, ip) in zip(lines, ["127.0.0.1:", "[::1]:", "127.77.0.5:"]) {
                let text = String(line.dropFirst("ingress::".count))
                #expect(text.hasPrefix(ip))
                let client = try await Wire.connect(to: try #require(SocketAddress(text)), on: loop)
                #expect(try await client.get("/").body == "here")
            }
            #expect(lines.count == 3)
            let json = try await Admin.get(proxy, "/listeners?format=json", on: loop)
            #expect(json.contains("additional_local_addresses") && json.contains("127.77.0.5"))
            // One listener: one set of metrics, under its first address.
            let stats = try await Admin.get(proxy, "/stats?filter=downstream_cx_total", on: loop)
            #expect(stats.contains("listener.127.0.0.1_0.downstream_cx_total: 3\n"))
        }
    }

    @Test("an address that somebody has refuses the listener with its place, and the other addresses are free again")
    func taken() async throws {
        // Addresses that no other test uses: what is free there stays free.
        let other = try Socket.listen(on: Self.address("127.77.0.6", 0))
        defer { other.close() }
        let port = try #require(other.localAddress?.port)
        let yaml = Self.listener(["127.77.0.8", "127.77.0.6"]).replacing("port_value: 0", with: "port_value: \(port)")
            .replacing("address: 127.0.0.1", with: "address: 127.77.0.7")
        let error = await #expect(throws: ProxyError.self) {
            try await RunningProxy.start(Yaml.bootstrap(listeners: yaml, clusters: Yaml.cluster("none", [1]))).stop()
        }
        #expect("\(try #require(error))".contains("additional_addresses[1].address"))
        for text in ["127.77.0.7", "127.77.0.8"] { try Socket.listen(on: Self.address(text, port)).close() }
    }

    @Test("what cannot be an additional address is refused with its place")
    func refused() throws {
        func compile(_ change: (inout Listener) throws -> Void) throws -> ListenerConfig {
            var listener = Listener()
            listener.name = "several"
            listener.address = Address(try Self.address("127.0.0.1", 80))
            listener.useOriginalDst = true
            try change(&listener)
            return try ListenerConfig(
                compiling: listener, at: "listener", context: CompileContext(secrets: SecretStore()))
        }
        var pipe = Pipe()
        pipe.path = "/tmp/s"
        for (change, path) in [
            ({ $0.address?.address = .pipe(pipe) }, ".address"), ({ $0.tcpKeepalive = .init() }, ".tcp_keepalive"),
            ({ $0.address = nil }, ".address"),
        ] as [((inout AdditionalAddress) -> Void, String)] {
            let error = #expect(throws: ConfigurationError.self) {
                try compile {
                    var more = AdditionalAddress()
                    more.address = Address(try Self.address("127.0.0.2", 80))
                    change(&more)
                    $0.additionalAddresses = [more]
                }
            }
            #expect(error?.path == "listener.additional_addresses[0]" + path)
        }
        let elsewhere = #expect(throws: ConfigurationError.self) {
            try compile {
                var more = AdditionalAddress()
                var socket = EnvoyAPI.SocketAddress()
                (socket.address, socket.portSpecifier) = ("127.0.0.2", .portValue(80))
                socket.networkNamespaceFilepath = "/run/netns/other"
                more.address = Address()
                more.address?.address = .socketAddress(socket)
                $0.additionalAddresses = [more]
                $0.filterChainMatcher = .init()
            }
        }
        #expect(elsewhere?.path.hasSuffix("network_namespace_filepath") == true)
        // Connections that mean any of its addresses are handed to it.
        let config = try compile {
            var more = AdditionalAddress()
            more.address = Address(try Self.address("::", 80))
            $0.additionalAddresses = [more]
        }
        #expect(config.takes(try Self.address("127.0.0.1", 80)).isExact)
        #expect(config.takes(try Self.address("fd00::7", 80)).isWildcard)
        #expect(config.takes(try Self.address("127.0.0.2", 80)) == (false, false))
    }

    @Test("options of an additional address are its own, else the listener's")
    func options() throws {
        var keepAlive = EnvoyAPI.SocketOption()
        keepAlive.level = 1
        keepAlive.name = 9
        keepAlive.value = .intValue(1)
        var (first, second) = (AdditionalAddress(), AdditionalAddress())
        first.address = Address(try Self.address("127.0.0.2", 80))
        second.address = Address(try Self.address("127.0.0.3", 80))
        second.socketOptions = SocketOptionsOverride()
        var listener = Listener()
        listener.address = Address(try Self.address("127.0.0.1", 80))
        listener.useOriginalDst = true
        listener.socketOptions = [keepAlive]
        listener.additionalAddresses = [first, second]
        let config = try ListenerConfig(
            compiling: listener, at: "listener", context: CompileContext(secrets: SecretStore()))
        #expect(config.addresses.map { $0.options(on: $0.address).count } == [1, 1, 0])
    }
}
