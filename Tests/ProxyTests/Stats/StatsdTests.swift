import IO
import Telemetry
import Testing

@testable import Proxy

@Suite("statsd")
struct StatsdTests {
    private static func counter(_ value: UInt64) -> MetricSample {
        MetricSample(MetricName("cluster", "a.b", "upstream_rq_total"), .counter(value))
    }

    @Test("counters and histograms tell what has come since the last time, gauges what is")
    func lines() {
        var lines = StatsdLines(prefix: "envoy.", tagsValues: false)
        let none: (MetricName) -> (String, [(name: String, value: String)]) = { ($0.dotted, []) }
        let gauge = MetricSample(MetricName(masked: "server.live"), .gauge(1))
        func time(_ counts: [UInt64]) -> MetricSample {
            MetricSample(
                MetricName(masked: "t"), .histogram(HistogramSnapshot(bounds: [1, 5], counts: counts, sum: 0)))
        }
        #expect(
            lines.make([Self.counter(3), gauge, time([1, 0, 0])], tags: none) == [
                "envoy.cluster.a.b.upstream_rq_total:3|c", "envoy.server.live:1|g", "envoy.t:1|ms",
            ])
        #expect(
            lines.make([Self.counter(5), gauge, time([1, 4, 0])], tags: none) == [
                "envoy.cluster.a.b.upstream_rq_total:2|c", "envoy.server.live:1|g", "envoy.t:5|ms|@0.25",
            ])
        // Reset: what it has is new.
        #expect(lines.make([Self.counter(1)], tags: none) == ["envoy.cluster.a.b.upstream_rq_total:1|c"])
    }

    @Test("with tags names lose what the tags say")
    func tags() {
        var lines = StatsdLines(prefix: "p.", tagsValues: true)
        let made = lines.make([Self.counter(1)]) { _ in ("cluster.upstream_rq_total", [("envoy.cluster_name", "a.b")]) }
        #expect(made == ["p.cluster.upstream_rq_total:1|c|#envoy.cluster_name:a.b"])
    }

    @Test("lines share datagrams up to their size")
    func datagrams() {
        let made = StatsdLines.datagrams(["aaaa", "bbbb", "cccccccccccc", "d"], bytesMax: 9)
        #expect(made.map(\.text) == ["aaaa\nbbbb", "cccccccccccc", "d"])
        #expect(StatsdLines.datagrams(["a", "b"], bytesMax: 0).map(\.count) == [1, 1])
    }

    @Test("a running proxy sends them by UDP")
    func udp() async throws {
        try await onLoop { loop in
            let sink = try Socket.datagram(on: .ip(.v4(0x7F00_0001), port: 0), reusePort: false)
            defer { sink.close() }
            let port = sink.localAddress?.port ?? 0
            let proxy = try await RunningProxy.start(
                """
                stats_flush_interval: 0.1s
                stats_sinks: [ { name: s, typed_config: { "@type": type.googleapis.com/envoy.config.metrics.v3.StatsdSink, prefix: me, address: { socket_address: { address: 127.0.0.1, port_value: \(port) } } } } ]

                """
                    + Yaml.bootstrap(
                        listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [9])))
            defer { proxy.stop() }
            var text = ""
            var buffer = [UInt8](repeating: 0, count: 65_536)
            try await until {
                while let received = buffer.withUnsafeMutableBytes({ try? sink.receiveDatagram(into: $0) }) {
                    text += String(decoding: buffer.prefix(received.0), as: UTF8.self) + "\n"
                }
                return text.contains("me.server.live:1|g\n")
            }
        }
    }

    @Test("by TCP lines go to a cluster's host; a connection that ends is followed by another, and nothing is cut")
    func tcp() async throws {
        try await onLoop { loop in
            let received = Received()
            let server = try await ScriptedUpstream(on: loop) { wire, number in
                while true {
                    let line = try await wire.read(until: "\n")
                    received.add("\(number)", Array(line.utf8.prefix { $0 != UInt8(ascii: "\n") }))
                    // The first connection ends in the middle of everything.
                    if number == 0, received.all.count == 5 { return }
                }
            }
            let proxy = try await RunningProxy.start(
                """
                stats_flush_interval: 0.1s
                stats_sinks: [ { name: s, typed_config: { "@type": type.googleapis.com/envoy.config.metrics.v3.StatsdSink, prefix: me, tcp_cluster_name: collector } } ]

                """
                    + Yaml.bootstrap(
                        listeners: Yaml.listener(routes: Yaml.forward()),
                        clusters: Yaml.cluster("backend", [9]) + Yaml.cluster("collector", [server.port]), admin: true))
            defer { proxy.stop() }
            try await until {
                received.all.contains {
                    $0.head != "0" && String(decoding: $0.body, as: UTF8.self) == "me.server.live:1|g"
                }
            }
            let lines = received.all.map { String(decoding: $0.body, as: UTF8.self) }
            for line in lines {
                let parts = line.split(separator: "|", omittingEmptySubsequences: false)
                #expect(
                    parts.count >= 2 && ["c", "g", "ms"].contains(parts[1]) && parts[0].hasPrefix("me."), "\(line)")
                #expect(parts[0].split(separator: ":").count == 2, "\(line)")
            }
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            let stats = try await admin.get("/stats?filter=stats_sinks").body
            #expect(!stats.contains("lines_sent: 0"))
        }
    }
}
