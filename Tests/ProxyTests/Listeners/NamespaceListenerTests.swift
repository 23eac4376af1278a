import Glibc
import IO
import Testing

@testable import Proxy

@Suite("Listeners elsewhere, and clients' own addresses")
struct NamespaceListenerTests {
    /// Whether this process may make network namespaces and use foreign addresses.
    static let isPrivileged = geteuid() == 0 && (try? NetworkNamespace.create()) != nil

    /// Switches loopback on in the calling thread's namespace.
    private static func raiseLoopback() {
        let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { Glibc.close(fd) }
        // struct ifreq: the name, and the flags behind it (SIOCSIFFLAGS, IFF_UP).
        var request = [UInt8](repeating: 0, count: 40)
        request.replaceSubrange(0..<2, with: Array("lo".utf8))
        request[16] = 1
        request.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            _ = ioctl(fd, 0x8914, base)
        }
    }

    /// An address that no other test listens on: the port is free in the other namespace, and may be somebody's here.
    private static let ours = "127.77.31.5"

    private static func hex(_ port: UInt16) -> String {
        let digits = String(port, radix: 16, uppercase: true)
        return String(repeating: "0", count: 4 - digits.count) + digits
    }

    @Test("network_namespace_filepath: the socket is there and nowhere else", .enabled(if: isPrivileged))
    func namespace() async throws {
        let directory = "/tmp/skein-netns-\(Environment.processID)"
        let namespace = try NetworkNamespace.create(named: "there", in: directory)
        defer {
            try? NetworkNamespace.remove(named: "there", in: directory)
            try? NetworkNamespace.removeDirectory(directory)
        }
        try namespace.run { Self.raiseLoopback() }
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("from here") }
            let listener = Yaml.listener(routes: Yaml.forward()).split(separator: "\n").map { line in
                line.contains("port_value: 0")
                    ? Substring(
                        "    address: { socket_address: { address: \(Self.ours), port_value: 0, network_namespace_filepath: \"\(namespace.path ?? "")\" } }"
                    ) : line
            }.joined(separator: "\n")
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(listeners: listener + "\n", clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let address = proxy.address
            // Asked of the kernel: to connect would find whoever has the same port on all addresses here.
            let listed = "051F4D7F:" + Self.hex(address.port ?? 0)
            #expect(try !String(decoding: File.read("/proc/thread-self/net/tcp"), as: UTF8.self).contains(listed))
            let there = try namespace.run { () throws(SystemError) in try File.read("/proc/thread-self/net/tcp") }
            #expect(String(decoding: there, as: UTF8.self).contains(listed))
            let fd = try namespace.run { () throws(SystemError) in try Socket.connect(to: address).release() }
            let stream = try SocketStream(Socket(adopting: fd), on: loop)
            #expect(await stream.connected() == nil)
            #expect(try await Wire(stream).get("/").body == "from here")
        }
    }

    @Test("a namespace that is not there is refused when the listener binds")
    func noNamespace() async throws {
        let listener = Yaml.listener(routes: Yaml.forward()).split(separator: "\n").map { line in
            line.contains("port_value: 0")
                ? Substring(
                    "    address: { socket_address: { address: 127.0.0.1, port_value: 0, network_namespace_filepath: /none } }"
                ) : line
        }.joined(separator: "\n")
        await #expect(throws: ProxyError.self) {
            _ = try await RunningProxy.start(
                Yaml.bootstrap(listeners: listener + "\n", clusters: Yaml.cluster("backend", [1])))
        }
    }

    /// A server that says who speaks to it.
    private static func mirror(on loop: EventLoop, isHTTP: Bool) async throws -> ScriptedUpstream {
        try await ScriptedUpstream(on: loop) { wire, number in
            let peer = (wire.stream as? SocketStream)?.socket.peerAddress?.address
            let text = "\(number) \(peer.map { "\($0)" } ?? "")"
            if !isHTTP { return try await wire.write(text) }
            while true {
                _ = try await wire.request()
                try await wire.write(ScriptedUpstream.ok(text))
            }
        }
    }

    private static func client(_ last: UInt32, to address: SocketAddress, on loop: EventLoop) async throws -> Wire {
        let socket = try Socket.connect(to: address, from: .ip(.v4(0x7F00_0000 | last), port: 0))
        let stream = try SocketStream(socket, on: loop)
        if let error = await stream.connected() { throw error }
        return Wire(stream)
    }

    private static let filter =
        "listener_filters: [ { name: src, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.original_src.v3.OriginalSrc } } ]"

    @Test("original_src: hosts see the client's address, by TCP and HTTP", .enabled(if: isPrivileged))
    func originalSource() async throws {
        try await onLoop { loop in
            let tcp = try await Self.mirror(on: loop, isHTTP: false)
            let http = try await Self.mirror(on: loop, isHTTP: true)
            for (listener, upstream, isHTTP) in [
                (Yaml.tcpListener("in", "cluster: backend"), tcp, false),
                (Yaml.listener(routes: Yaml.forward()), http, true),
            ] {
                let text = listener.replacing("filter_chains:", with: Self.filter + "\n    filter_chains:")
                let proxy = try await RunningProxy.start(
                    Yaml.bootstrap(listeners: text, clusters: Yaml.cluster("backend", [upstream.port])))
                defer { proxy.stop() }
                for (number, last) in [UInt32(5), 6].enumerated() {
                    let client = try await Self.client(last, to: proxy.address, on: loop)
                    let wanted = "\(number) 127.0.0.\(last)"
                    if isHTTP {
                        #expect(try await client.get("/").body == wanted)
                        #expect(try await client.get("/").body == wanted)
                    } else {
                        #expect(await client.readToEnd() == wanted)
                    }
                }
            }
        }
    }

    @Test("the HTTP filter original_src takes the address that is trusted", .enabled(if: isPrivileged))
    func originalSourceFilter() async throws {
        try await onLoop { loop in
            let upstream = try await Self.mirror(on: loop, isHTTP: true)
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        manager: "use_remote_address: false",
                        filters:
                            "          - { name: src, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.original_src.v3.OriginalSrc } }\n",
                        routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/", "x-forwarded-for: 127.0.0.9\r\n").body == "0 127.0.0.9")
            #expect(try await client.get("/", "x-forwarded-for: 127.0.0.8\r\n").body == "1 127.0.0.8")
            #expect(try await client.get("/", "x-forwarded-for: 127.0.0.9\r\n").body == "0 127.0.0.9")
        }
    }
}
