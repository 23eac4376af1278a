import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import Telemetry
import Testing

@testable import Proxy

@Suite("Metrics to a metrics service")
struct MetricsServiceTests {
    private static func families(
        deltas: Bool = false, mode: HistogramEmitMode = .summaryAndHistogram, batch: UInt32 = 0
    ) throws -> MetricFamilies {
        var target = GrpcService.EnvoyGrpc()
        target.clusterName = "collector"
        var service = GrpcService()
        service.targetSpecifier = .envoyGrpc(target)
        var message = MetricsServiceConfig()
        message.grpcService = service
        message.reportCountersAsDeltas = deltas
        message.histogramEmitMode = mode
        message.batchSize = batch
        return MetricFamilies(try MetricsServiceSinkConfig(compiling: message, node: Node(), at: "sink"))
    }

    private static func points(_ count: UInt64, _ counts: [UInt64], sum: Double) -> [MetricExport.Point] {
        [
            .init(
                name: "times", attributes: [],
                value: .histogram(HistogramSnapshot(bounds: [1, 5], counts: counts, sum: sum))),
            .init(name: "open", attributes: [], value: .gauge(-3)),
            .init(name: "requests", attributes: [("code", "200")], value: .counter(count)),
        ]
    }

    private static func read(_ messages: [(bytes: [UInt8], families: Int)]) throws -> [PrometheusFamily] {
        try messages.flatMap { message in
            let read = try StreamMetricsMessage(serialized: message.bytes)
            #expect(read.envoyMetrics.count == message.families && read.identifier == nil)
            return read.envoyMetrics
        }
    }

    @Test("counters come before gauges and distributions; a distribution tells what has come since the message before")
    func order() throws {
        var families = try Self.families()
        var read = try Self.read(families.messages(Self.points(5, [2, 1, 0], sum: 4), now: 77).messages)
        #expect(read.map(\.name) == ["requests", "open", "times", "times"])
        #expect(read.map(\.type) == [.counter, .gauge, .summary, .histogram])
        #expect(read[0].metric.first?.label.first?.name == "code" && read[0].metric.first?.label.first?.value == "200")
        #expect(read[0].metric.first?.counter?.value == 5 && read[1].metric.first?.gauge?.value == -3)
        #expect(read.allSatisfy { $0.metric.first?.timestampMs == 77 })
        let summary = try #require(read[2].metric.first?.summary)
        #expect(summary.sampleCount == 3 && summary.sampleSum == 4 && summary.quantile.count == 10)
        #expect(summary.quantile.last?.quantile == 1 && summary.quantile.last?.value == 5)
        read = try Self.read(families.messages(Self.points(9, [2, 4, 1], sum: 20), now: 78).messages)
        #expect(read[0].metric.first?.counter?.value == 9)
        let histogram = try #require(read[3].metric.first?.histogram)
        #expect(histogram.sampleCount == 4 && histogram.sampleSum == 16)
        #expect(histogram.bucket.map(\.cumulativeCount) == [0, 3] && histogram.bucket.map(\.upperBound) == [1, 5])
    }

    @Test("counters as deltas begin anew after a reset; each mode of distributions has its own families")
    func deltas() throws {
        var families = try Self.families(deltas: true, mode: .histogram)
        func counter(_ count: UInt64) throws -> Double? {
            let read = try Self.read(families.messages(Self.points(count, [1, 0, 0], sum: 1), now: 1).messages)
            #expect(read.map(\.type) == [.counter, .gauge, .histogram])
            return read[0].metric.first?.counter?.value
        }
        #expect(try counter(5) == 5)
        #expect(try counter(8) == 3)
        #expect(try counter(8) == 0)
        #expect(try counter(2) == 2)
        families = try Self.families(mode: .summary)
        let read = try Self.read(families.messages(Self.points(1, [1, 0, 0], sum: 1), now: 1).messages)
        #expect(read.map(\.type) == [.counter, .gauge, .summary])
    }

    @Test("ATK-19 a flush is bounded and cut into messages that receivers take; batch_size cuts finer")
    func bounds() throws {
        var families = try Self.families(batch: 2)
        #expect(families.messages(Self.points(1, [1, 0, 0], sum: 1), now: 1).messages.map(\.families) == [2, 2])
        families = try Self.families()
        let points = (0..<MetricExport.pointsMax + 100).map {
            MetricExport.Point(name: "n", attributes: [("label", "value \($0)")], value: .counter(1))
        }
        let (messages, left) = families.messages(points, now: 1)
        #expect(left == 100 && messages.reduce(0) { $0 + $1.families } == MetricExport.pointsMax)
        #expect(messages.allSatisfy { $0.bytes.count < 4 << 20 })
    }

    @Test("a proxy streams its metrics; each stream begins with who speaks, and one that ends is followed by another")
    func streamed() async throws {
        try await onLoop { loop in
            let received = Received()
            let streams = Mutex(0)
            let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
            let port = socket.localAddress?.port ?? 0
            let listener = try SocketListener(socket, on: loop)
            let server = GRPCServer(
                on: loop,
                methods: [
                    "/envoy.service.metrics.v3.MetricsService/StreamMetrics": { call throws(GRPCStatus) in
                        let stream = streams.withLock { count in
                            count += 1
                            return count
                        }
                        while let message = try await call.next() {
                            received.add("\(stream)", message)
                            if stream == 1 { throw GRPCStatus(.unavailable, "gone") }
                        }
                    }
                ])
            Task(executorPreference: loop) {
                while let accepted = try? await listener.accept() {
                    guard let stream = try? SocketStream(accepted, on: loop) else { continue }
                    Task(executorPreference: loop) { await server.serve(stream) }
                }
            }
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("hello") }
            let text = """
                stats_flush_interval: 0.1s
                stats_sinks: [ { name: m, typed_config: { "@type": type.googleapis.com/envoy.config.metrics.v3.MetricsServiceConfig, transport_api_version: V3, grpc_service: { envoy_grpc: { cluster_name: collector } }, emit_tags_as_labels: true, batch_size: 40 } } ]
                node: { id: n1, cluster: shop }

                """
            let proxy = try await RunningProxy.start(
                text
                    + Yaml.bootstrap(
                        listeners: Yaml.listener(routes: Yaml.forward()),
                        clusters: Yaml.cluster("backend", [upstream.port]) + Yaml.cluster("collector", [port]),
                        admin: true))
            defer { proxy.stop() }
            let wire = try await Wire.connect(to: proxy.address, on: loop)
            for _ in 0..<3 { _ = try await wire.get("/") }
            try await until {
                for message in received.all where message.head != "1" {
                    let read = try StreamMetricsMessage(serialized: message.body)
                    for family in read.envoyMetrics where family.name == "cluster.upstream_rq_total" {
                        let metric = family.metric.first
                        let isBackend = metric?.label.contains { $0.value == "backend" } ?? false
                        if isBackend, metric?.counter?.value == 3 { return true }
                    }
                }
                return false
            }
            var begun: Set<String> = []
            for message in received.all {
                let read = try StreamMetricsMessage(serialized: message.body)
                let isFirst = begun.insert(message.head).inserted
                #expect((read.identifier?.node?.id == "n1") == isFirst)
                #expect(read.envoyMetrics.count <= 40)
            }
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            let stats = try await admin.get("/stats?filter=stats_sinks").body
            #expect(!stats.contains("messages_sent: 0") && stats.contains("families_sent"))
        }
    }

    @Test("an unknown mode of distributions is refused with its path")
    func unknown() throws {
        #expect(throws: (any Error).self) { try Self.families(mode: .unrecognized(7)) }
    }
}
