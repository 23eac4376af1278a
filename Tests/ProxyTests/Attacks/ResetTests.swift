import HTTP
import IO
import Testing

@testable import Proxy

/// ATK-07: a request that is taken back at every point of its way leaves nothing behind.
@Suite("Resets at every point of a request's way")
struct ResetTests {
    /// Where a request stands when its client goes.
    enum Point: String, CaseIterable, Sendable {
        case headHalf, bodyHalf, filterWaits, filterHoldsBody, connecting, queued, sent, interim, responseHead,
            responseBody
        case backOff, hedged, mirrored
    }

    private static let fault = """
                  - name: envoy.filters.http.fault
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
                      delay: { fixed_delay: 30s, percentage: { numerator: 100 } }
                      headers: [ { name: x-delay, present_match: true } ]
                  - name: envoy.filters.http.buffer
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 1000000 }

        """

    private static let routes = """
        [ { match: { prefix: /back }, route: { cluster: backend, timeout: 60s, retry_policy: { retry_on: 5xx, num_retries: 5, retry_back_off: { base_interval: 20s, max_interval: 20s } } } }, \
        { match: { prefix: /hedge }, route: { cluster: backend, timeout: 60s, retry_policy: { retry_on: 5xx, num_retries: 2, per_try_timeout: 0.02s }, hedge_policy: { hedge_on_per_try_timeout: true } } }, \
        { match: { prefix: /mirror }, route: { cluster: backend, timeout: 60s, request_mirror_policies: [ { cluster: backend } ] } }, \
        { match: { prefix: /hole }, route: { cluster: hole, timeout: 60s } }, \
        { match: { prefix: /queue }, route: { cluster: single, timeout: 60s } }, \
        { match: { prefix: / }, route: { cluster: backend, timeout: 60s } } ]
        """

    private static func path(_ point: Point) -> String {
        switch point {
        case .connecting: "/hole"
        case .queued: "/queue"
        case .backOff: "/back"
        case .hedged: "/hedge"
        case .mirrored: "/mirror"
        default: "/\(point.rawValue)"
        }
    }

    /// A host that stops where the path says.
    private static let script: @Sendable (Wire, Int) async throws -> Void = { wire, _ in
        let (head, _) = try await wire.request()
        let path = String(head.split(separator: " ")[1])
        switch path {
        case "/interim": try await wire.write("HTTP/1.1 103 Early\r\n\r\n")
        case "/responseHead": try await wire.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
        case "/responseBody": try await wire.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        case "/back": try await wire.write("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
        case "/good": return try await wire.write(ScriptedUpstream.ok("good"))
        default: break
        }
        _ = await wire.readToEnd()
    }

    @Test(
        "ATK-07 a reset leaves no request, no connection's use and no timer behind, wherever it strikes",
        arguments: Point.allCases, [false, true])
    func reset(_ point: Point, _ http2: Bool) async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop, Self.script)
            // Full: nobody is accepted.
            let hole = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0), backlog: 0)
            defer { hole.close() }
            let holePort = hole.localAddress?.port ?? 0
            var waiting: [Socket] = []
            for _ in 0..<4 { waiting.append(try Socket.connect(to: .ip(.v4(0x7F00_0001), port: holePort))) }
            defer { for socket in waiting { socket.close() } }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: Self.fault, routes: Self.routes),
                    clusters: Yaml.cluster("backend", [upstream.port]) + Yaml.cluster("hole", [holePort])
                        + Yaml.cluster(
                            "single", [upstream.port], "circuit_breakers: { thresholds: [ { max_connections: 1 } ] }"),
                    admin: true))
            defer { proxy.stop() }
            func stat(_ name: String) async throws -> Int { try await Admin.stat(proxy, name, on: loop) ?? 0 }
            func wait(_ name: String, _ isSo: (Int) -> Bool) async throws {
                try await until { try await isSo(stat(name)) }
            }
            var closers: [() -> Void] = []
            func begin(_ path: String) async throws {
                let hasBody = point == .bodyHalf || point == .filterHoldsBody
                let delay = point == .filterWaits
                if http2, point != .headHalf {
                    let client = try await HTTP2End.connect(to: proxy.address, on: loop)
                    let exchange = try client.begin(
                        hasBody ? "POST" : "GET", path, fields: delay ? [("x-delay", "1")] : [], isEnd: !hasBody)
                    if hasBody { try exchange.send("half") }
                    closers.append { exchange.reset() }
                } else {
                    let client = try await Wire.connect(to: proxy.address, on: loop)
                    var head =
                        "\(hasBody ? "POST" : "GET") \(path) HTTP/1.1\r\nHost: a\r\n\(delay ? "x-delay: 1\r\n" : "")"
                    head += hasBody ? "Content-Length: 10\r\n\r\nhalf" : "\r\n"
                    try await client.write(point == .headHalf ? String(head.dropLast(4)) : head)
                    closers.append { client.close() }
                }
            }
            try await begin(Self.path(point))
            if point == .queued { try await begin(Self.path(point)) }
            // It has come to where it shall end.
            switch point {
            case .headHalf: try await wait("http.ingress.downstream_cx_active") { $0 == 1 }
            case .connecting: try await wait("cluster.hole.upstream_cx_total") { $0 >= 1 }
            case .queued: try await wait("cluster.single.upstream_rq_pending_active") { $0 == 1 }
            case .bodyHalf, .filterHoldsBody: try await wait("http.ingress.downstream_rq_active") { $0 == 1 }
            case .filterWaits: try await wait("http.ingress.fault.delays_injected") { $0 == 1 }
            case .backOff: try await wait("cluster.backend.upstream_rq_retry") { $0 >= 0 }
            case .hedged: while upstream.connections < 2 { await loop.sleep(for: .milliseconds(1)) }
            case .mirrored: while upstream.connections < 2 { await loop.sleep(for: .milliseconds(1)) }
            default: while upstream.connections < 1 { await loop.sleep(for: .milliseconds(1)) }
            }
            for close in closers { close() }
            for gauge in [
                "http.ingress.downstream_rq_active", "cluster.backend.upstream_rq_active",
                "cluster.single.upstream_rq_active",
                "cluster.single.upstream_rq_pending_active", "cluster.hole.upstream_rq_pending_active",
                "http.ingress.fault.active_faults",
            ] where !(point == .mirrored && gauge.hasPrefix("cluster.backend")) { try await wait(gauge) { $0 == 0 } }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/good").body == "good")
        }
    }
}
