import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import Telemetry
import Testing

@testable import Proxy

@Suite("Metrics by OTLP")
struct MetricSinkTests {
    private static func config(deltas: Bool) throws -> MetricSinkConfig {
        var target = GrpcService.EnvoyGrpc()
        target.clusterName = "collector"
        var service = GrpcService()
        service.targetSpecifier = .envoyGrpc(target)
        var message = OpenTelemetrySinkConfig()
        message.protocolSpecifier = .grpcService(service)
        message.reportCountersAsDeltas = deltas
        message.reportHistogramsAsDeltas = deltas
        return try MetricSinkConfig(compiling: message, node: Node(), at: "sink")
    }

    private static func points(_ count: UInt64, _ counts: [UInt64], sum: Double) -> [MetricExport.Point] {
        [
            .init(name: "requests", attributes: [("code", "200")], value: .counter(count)),
            .init(name: "open", attributes: [], value: .gauge(-3)),
            .init(
                name: "times", attributes: [("code", "200")],
                value: .histogram(HistogramSnapshot(bounds: [1, 5], counts: counts, sum: sum))),
        ]
    }

    private struct Told {
        var requests: UInt64?
        var counts: [UInt64]?
        var begin: UInt64?
        var temporality: AggregationTemporality?
        var open: Int64?
    }

    private static func read(_ batches: [MetricExport.Batch]) throws -> Told {
        var told = Told()
        for batch in batches {
            let message = try ExportMetricsServiceRequest(serialized: batch.message)
            for metric in message.resourceMetrics.flatMap(\.scopeMetrics).flatMap(\.metrics) {
                switch metric.data {
                case .sum(let sum)?:
                    if case .asInt(let value)? = sum.dataPoints.first?.value { told.requests = value.rawValue }
                    told.begin = sum.dataPoints.first?.startTimeUnixNano.rawValue
                    told.temporality = sum.aggregationTemporality
                    #expect(sum.isMonotonic && sum.dataPoints.first?.attributes.first?.key == "code")
                case .histogram(let histogram)?:
                    told.counts = histogram.dataPoints.first?.bucketCounts.map(\.rawValue)
                    #expect(histogram.dataPoints.first?.explicitBounds == [1, 5])
                case .gauge(let gauge)?:
                    if case .asInt(let value)? = gauge.dataPoints.first?.value {
                        told.open = Int64(bitPattern: value.rawValue)
                    }
                case nil: Issue.record("no data")
                }
            }
        }
        return told
    }

    @Test("cumulative values count from the beginning, whatever arrived")
    func cumulative() throws {
        var export = MetricExport(try Self.config(deltas: false))
        for (number, count) in [UInt64(5), 9].enumerated() {
            let (batches, left) = export.batches(
                Self.points(count, [2, 1, 0], sum: 4), now: 100 + UInt64(number), started: 7)
            let told = try Self.read(batches)
            #expect(told.requests == count && told.counts == [2, 1, 0] && told.begin == 7 && left == 0)
            #expect(told.temporality == .cumulative && told.open == -3)
            for batch in batches { export.arrived(batch) }
        }
    }

    @Test(
        "deltas count from what has arrived: a lost message is made up for, a reset begins anew, silence tells nothing")
    func deltas() throws {
        var export = MetricExport(try Self.config(deltas: true))
        var batches = export.batches(Self.points(5, [2, 1, 0], sum: 4), now: 100, started: 7).batches
        #expect(try Self.read(batches).requests == 5)
        for batch in batches { export.arrived(batch) }
        // Lost.
        batches = export.batches(Self.points(8, [3, 1, 0], sum: 5), now: 200, started: 7).batches
        #expect(try Self.read(batches).requests == 3)
        batches = export.batches(Self.points(10, [4, 1, 2], sum: 9), now: 300, started: 7).batches
        var told = try Self.read(batches)
        #expect(told.requests == 5 && told.counts == [2, 0, 2] && told.begin == 100 && told.temporality == .delta)
        for batch in batches { export.arrived(batch) }
        told = try Self.read(export.batches(Self.points(10, [4, 1, 2], sum: 9), now: 400, started: 7).batches)
        #expect(told.requests == nil && told.counts == nil && told.open == -3)
        told = try Self.read(export.batches(Self.points(2, [1, 0, 0], sum: 1), now: 500, started: 7).batches)
        #expect(told.requests == 2 && told.counts == [1, 0, 0])
    }

    @Test("ATK-19 an export is bounded, and cut into messages that receivers take; what is left out is counted")
    func bounds() throws {
        var export = MetricExport(try Self.config(deltas: true))
        let points = (0..<MetricExport.pointsMax + 100).map {
            MetricExport.Point(name: "n", attributes: [("label", "value \($0)")], value: .counter(1))
        }
        let (batches, left) = export.batches(points, now: 1, started: 0)
        #expect(left == 100 && batches.reduce(0) { $0 + $1.points } == MetricExport.pointsMax)
        #expect(batches.allSatisfy { $0.message.count < 4 << 20 })
    }

    @Test(
        "a proxy tells its counters, gauges and histograms to a collector; what it does not take at first comes again")
    func sent() async throws {
        try await onLoop { loop in
            let received = Received()
            let calls = Mutex(0)
            let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
            let port = socket.localAddress?.port ?? 0
            let listener = try SocketListener(socket, on: loop)
            let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
            let server = GRPCServer(
                on: loop,
                methods: [
                    path: { call throws(GRPCStatus) in
                        let message = try await call.next() ?? []
                        let number = calls.withLock { count in
                            count += 1
                            return count
                        }
                        if number <= 2 { throw GRPCStatus(.resourceExhausted, "not now") }
                        received.add(path, message)
                        try await call.send([])
                    }
                ])
            Task(executorPreference: loop) {
                while let accepted = try? await listener.accept() {
                    guard let stream = try? SocketStream(accepted, on: loop) else { continue }
                    Task(executorPreference: loop) { await server.serve(stream) }
                }
            }
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("hello") }
            let sink =
                "stats_flush_interval: 0.2s\nstats_sinks: [ { name: o, typed_config: { \"@type\": type.googleapis.com/envoy.extensions.stat_sinks.open_telemetry.v3.SinkConfig, grpc_service: { envoy_grpc: { cluster_name: collector } }, prefix: mesh } } ]\n"
            let text =
                sink + "node: { id: n1, cluster: shop }\n"
                + Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port]) + Yaml.cluster("collector", [port]), admin: true)
            let proxy = try await RunningProxy.start(text)
            defer { proxy.stop() }
            let wire = try await Wire.connect(to: proxy.address, on: loop)
            for _ in 0..<3 { _ = try await wire.get("/") }
            var names: [String: OTLPMetric] = [:]
            for _ in 0..<3000 {
                for message in received.all {
                    let request = try ExportMetricsServiceRequest(serialized: message.body)
                    for metric in request.resourceMetrics.flatMap(\.scopeMetrics).flatMap(\.metrics) {
                        names[metric.name] = metric
                    }
                }
                if case .sum(let sum)? = names["mesh.cluster.upstream_rq_total"]?.data,
                    sum.dataPoints.contains(where: { $0.value == .asInt(Fixed64(rawValue: 3)) })
                {
                    break
                }
                await loop.sleep(for: .milliseconds(10))
            }
            guard case .sum(let sum)? = names["mesh.cluster.upstream_rq_total"]?.data else {
                Issue.record("no counter: \(names.keys.sorted())")
                return
            }
            let point = try #require(sum.dataPoints.first { $0.value == .asInt(Fixed64(rawValue: 3)) })
            #expect(point.attributes.contains { $0.key == "envoy.cluster_name" })
            #expect(names["mesh.server.live"] != nil && names["mesh.cluster.upstream_rq_time"] != nil)
            let page = try await wire.get("/")
            #expect(page.status == 200)
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            let stats = try await admin.get("/stats?filter=stats_sinks").body
            #expect(stats.contains("stats_sinks.open_telemetry.exports_retried: 2"))
            #expect(!stats.contains("exports_sent: 0"))
        }
    }

    @Test("the same by POSTs, with no more values in one than are wanted")
    func posted() async throws {
        try await onLoop { loop in
            let received = Received()
            let collector = try await ScriptedUpstream(on: loop) { wire, _ in
                while true {
                    let head = try await wire.read(until: "\r\n\r\n")
                    let length = head.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
                    let count = length.flatMap { Int($0.dropFirst("content-length:".count).filter(\.isNumber)) } ?? 0
                    received.add(head, try await wire.bytes(count))
                    try await wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                }
            }
            let proxy = try await RunningProxy.start(
                """
                stats_flush_interval: 0.2s
                stats_sinks: [ { name: o, typed_config: { "@type": type.googleapis.com/envoy.extensions.stat_sinks.open_telemetry.v3.SinkConfig, http_service: { http_uri: { uri: "http://otel.example/v1/metrics", cluster: collector, timeout: 30s } }, max_data_points_per_request: 5 } } ]

                """
                    + Yaml.bootstrap(
                        listeners: Yaml.listener(routes: Yaml.forward()),
                        clusters: Yaml.cluster("backend", [9]) + Yaml.cluster("collector", [collector.port])))
            defer { proxy.stop() }
            try await until {
                try received.all.contains { message in
                    let request = try ExportMetricsServiceRequest(serialized: message.body)
                    return request.resourceMetrics.flatMap(\.scopeMetrics).flatMap(\.metrics).contains {
                        $0.name == "server.live"
                    }
                }
            }
            for message in received.all {
                #expect(message.head.hasPrefix("POST /v1/metrics HTTP/1.1\r\n"))
                #expect(message.head.lowercased().contains("content-type: application/x-protobuf\r\n"))
                let request = try ExportMetricsServiceRequest(serialized: message.body)
                let metrics = request.resourceMetrics.flatMap(\.scopeMetrics).flatMap(\.metrics)
                #expect(metrics.count <= 5)
            }
        }
    }
}
