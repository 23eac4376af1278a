import IO
import Synchronization
import Testing

@testable import Proxy

/// A socket that sends datagrams and waits for answers, on a loop of its own kind: it blocks nobody.
final class Datagrams: @unchecked Sendable, ReadinessHandler {
    let socket: Socket
    private let loop: EventLoop
    private var registration: Registration?
    private var waiter: CheckedContinuation<Void, Never>?
    private var answer: (@Sendable (String) -> String?)?
    private(set) var taken: [String] = []
    var port: UInt16 { socket.localAddress?.port ?? 0 }

    /// - Parameter answer: what a server says to a datagram.
    init(
        on loop: EventLoop, to address: SocketAddress? = nil, answering answer: (@Sendable (String) -> String?)? = nil
    ) throws {
        self.loop = loop
        self.answer = answer
        if let address {
            socket = try Socket.datagram(connectedTo: address)
        } else {
            socket = try Socket.datagram(on: .ip(.v4(0x7F00_0001), port: 0))
        }
        registration = try loop.register(socket.fd, self)
    }

    func ready(_ readiness: Readiness) {
        withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 1) { room in
            while let datagram = (try? socket.receiveDatagram(into: room)) ?? nil {
                let (count, from) = datagram
                let text = String(decoding: room[..<min(count, room.count)], as: UTF8.self)
                taken.append(text)
                if let from, let reply = answer?(text) {
                    Array(reply.utf8).withUnsafeBytes { bytes in _ = try? socket.send(bytes, to: from) }
                }
            }
        }
        waiter?.resume()
        waiter = nil
    }

    func send(_ text: String) {
        Array(text.utf8).withUnsafeBytes { bytes in _ = try? socket.sendDatagram(bytes) }
    }

    /// The next datagram; says so when none comes.
    func next() async -> String {
        let timer = loop.schedule(after: .seconds(60)) { [weak self] in
            self?.taken.append("(no datagram came)")
            self?.waiter?.resume()
            self?.waiter = nil
        }
        defer { timer.cancel() }
        while taken.isEmpty { await withCheckedContinuation { waiter = $0 } }
        return taken.removeFirst()
    }

    func close() {
        registration?.cancel()
        socket.close()
    }
}

@Suite("UDP proxy")
struct UDPProxyTests {
    static let type = "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3."

    static func route(_ cluster: String = "backend") -> String {
        "matcher: { on_no_match: { action: { name: route, typed_config: { \"@type\": \(type)Route, cluster: \(cluster) } } } }"
    }

    static func listener(_ fields: String, _ more: String = "") -> String {
        """
          - name: udp
            address: { socket_address: { protocol: UDP, address: 127.0.0.1, port_value: 0 } }
            \(more)
            listener_filters:
            - name: udp_proxy
              typed_config: { "@type": \(type)UdpProxyConfig, stat_prefix: dns, \(fields) }

        """
    }

    static func stats(_ proxy: RunningProxy, _ loop: EventLoop, until wanted: String...) async throws {
        var text = ""
        try await until("one of \(wanted) in \(text.split(separator: "\n").filter { $0.contains("udp") })") {
            text = try await Admin.get(proxy, "/stats", on: loop)
            return wanted.allSatisfy { text.contains($0 + "\n") }
        }
    }

    @Test("datagrams of a client keep their host, and answers come back", arguments: [1, 3])
    func sessions(workers: Int) async throws {
        try await onLoop { loop in
            let hosts = try (0..<2).map { number in
                try Datagrams(on: loop) { text in "\(number):\(text)" }
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Self.listener(Self.route()),
                    clusters: Yaml.cluster("backend", hosts.map(\.port)), admin: true), concurrency: workers)
            defer { proxy.stop() }
            var used: Set<Character> = []
            for _ in 0..<8 {
                let client = try Datagrams(on: loop, to: proxy.address)
                defer { client.close() }
                client.send("a")
                let first = await client.next()
                client.send("b")
                let second = await client.next()
                #expect(first.prefix(2) == second.prefix(2))
                #expect(first.hasSuffix(":a") && second.hasSuffix(":b"))
                if let digit = first.first { used.insert(digit) }
            }
            #expect(used == ["0", "1"])
            try await Self.stats(
                proxy, loop, until: "udp.dns.downstream_sess_total: 8", "udp.dns.downstream_sess_active: 8",
                "udp.dns.downstream_sess_rx_datagrams: 16", "udp.dns.downstream_sess_rx_bytes: 16",
                "udp.dns.downstream_sess_tx_datagrams: 16", "udp.dns.downstream_sess_tx_bytes: 48",
                "cluster.backend.udp.sess_tx_datagrams: 16", "cluster.backend.udp.sess_rx_datagrams: 16",
                "cluster.backend.upstream_cx_tx_bytes_total: 16")
            for host in hosts { host.close() }
        }
    }

    @Test(
        "a listener for all addresses answers from the one that was spoken to",
        arguments: [("0.0.0.0", false), ("::", false), ("::", true)])
    func wildcard(address: String, ipv4Compat: Bool) async throws {
        try await onLoop { loop in
            let host = try Datagrams(on: loop) { "got \($0)" }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Self.listener(Self.route()).replacing(
                        "address: 127.0.0.1, port_value",
                        with: "address: \"\(address)\", ipv4_compat: \(ipv4Compat), port_value"),
                    clusters: Yaml.cluster("backend", [host.port])))
            defer { proxy.stop() }
            // A connected socket takes what comes from there alone.
            var spokenTo: [IPAddress] = address == "::" ? [.v6(high: 0, low: 1)] : []
            if address != "::" || ipv4Compat {
                spokenTo += (1...3 as ClosedRange<UInt32>).map { IPAddress.v4(0x7F00_0000 + $0) }
            }
            for (number, ip) in spokenTo.enumerated() {
                let client = try Datagrams(on: loop, to: .ip(ip, port: proxy.address.port ?? 0))
                client.send("\(number)")
                #expect(await client.next() == "got \(number)")
                client.close()
            }
            host.close()
        }
    }

    @Test("a silent session ends")
    func idle() async throws {
        try await onLoop { loop in
            let host = try Datagrams(on: loop) { $0 }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Self.listener("idle_timeout: 0.05s, " + Self.route()),
                    clusters: Yaml.cluster("backend", [host.port]), admin: true))
            defer { proxy.stop() }
            let client = try Datagrams(on: loop, to: proxy.address)
            client.send("a")
            #expect(await client.next() == "a")
            try await Self.stats(proxy, loop, until: "udp.dns.idle_timeout: 1", "udp.dns.downstream_sess_active: 0")
            client.send("b")
            #expect(await client.next() == "b")
            client.close()
            host.close()
        }
    }

    @Test("each datagram chooses its host where that is wanted; hosts are chosen by hash where that is")
    func balancing() async throws {
        try await onLoop { loop in
            let hosts = try (0..<2).map { number in try Datagrams(on: loop) { _ in "\(number)" } }
            let each = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Self.listener("use_per_packet_load_balancing: true, " + Self.route()),
                    clusters: Yaml.cluster("backend", hosts.map(\.port), "lb_policy: ROUND_ROBIN"), admin: true))
            defer { each.stop() }
            let client = try Datagrams(on: loop, to: each.address)
            var answers: [String] = []
            for _ in 0..<4 {
                client.send("x")
                answers.append(await client.next())
            }
            #expect(Set(answers) == ["0", "1"])
            #expect(answers[0] == answers[2] && answers[1] == answers[3])
            try await Self.stats(each, loop, until: "udp.dns.downstream_sess_total: 2")
            let hashed = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Self.listener("hash_policies: [ { source_ip: true } ], " + Self.route()),
                    clusters: Yaml.cluster("backend", hosts.map(\.port), "lb_policy: RING_HASH")))
            defer { hashed.stop() }
            var seen: Set<String> = []
            for _ in 0..<8 {
                let one = try Datagrams(on: loop, to: hashed.address)
                one.send("x")
                seen.insert(await one.next())
                one.close()
            }
            #expect(seen.count == 1)
            client.close()
            for host in hosts { host.close() }
        }
    }

    @Test("no route, no host, too many sessions and too long datagrams are counted, and nothing is sent")
    func dropped() async throws {
        try await onLoop { loop in
            let host = try Datagrams(on: loop) { $0 }
            let matcher =
                "matcher: { matcher_tree: { input: { name: i, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourceIPInput } }, exact_match_map: { map: { 127.0.0.1: { action: { name: r, typed_config: { \"@type\": \(Self.type)Route, cluster: backend } } } } } } }"
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Self.listener(
                        "upstream_socket_config: { max_rx_datagram_size: 8 }, " + matcher,
                        "udp_listener_config: { downstream_socket_config: { max_rx_datagram_size: 10 } }"),
                    clusters: Yaml.cluster(
                        "backend", [host.port], "circuit_breakers: { thresholds: [ { max_connections: 1 } ] }"),
                    admin: true))
            defer { proxy.stop() }
            let client = try Datagrams(on: loop, to: proxy.address)
            client.send("more than ten bytes")
            client.send("nine bytes")
            client.send("eight by")
            #expect(await client.next() == "eight by")
            let second = try Datagrams(on: loop, to: proxy.address)
            second.send("x")
            let port = proxy.address.port ?? 0
            try await Self.stats(
                proxy, loop, until: "listener.127.0.0.1_0.udp.downstream_rx_datagram_dropped: 1",
                "cluster.backend.udp.sess_rx_datagrams_dropped: 1", "cluster.backend.upstream_cx_overflow: 1",
                "udp.dns.downstream_sess_total: 1")
            #expect(port > 0)
            #expect(host.taken.count == 2)
            for unrouted in ["cluster: nobody", "cluster: empty"] {
                let other = try await RunningProxy.start(
                    Yaml.bootstrap(
                        listeners: Self.listener(unrouted), clusters: Yaml.cluster("empty", []), admin: true))
                defer { other.stop() }
                let client = try Datagrams(on: loop, to: other.address)
                client.send("x")
                try await Self.stats(
                    other, loop,
                    until: unrouted == "cluster: empty"
                        ? "cluster.empty.upstream_cx_none_healthy: 1" : "udp.dns.downstream_sess_no_route: 1")
                client.close()
            }
            client.close()
            second.close()
            host.close()
        }
    }

    @Test("what has no meaning is refused with its path")
    func refused() throws {
        for (listener, part) in [
            (Self.listener("use_original_src_ip: true, " + Self.route()), "use_original_src_ip"),
            (Self.listener("idle_timeout: 0s, " + Self.route()), "idle_timeout"),
            (Self.listener("hash_policies: [ {} ], " + Self.route()), "hash_policies[0]"),
            (
                Self.listener(Self.route(), "udp_listener_config: { quic_options: {} }"),
                "udp_listener_config.quic_options"
            ),
            (
                Self.listener("upstream_socket_config: { max_rx_datagram_size: 70000 }, " + Self.route()),
                "max_rx_datagram_size"
            ),
            (Self.listener("tunneling_config: { proxy_host: a, target_host: b }, cluster: a"), "tunneling_config"),
        ] {
            var options = Options()
            options.configYAML = Yaml.bootstrap(listeners: listener, clusters: Yaml.cluster("backend", [1]))
            #expect { _ = try ProxyServer.validate(options) } throws: { "\($0)".contains(part) }
        }
    }
}
