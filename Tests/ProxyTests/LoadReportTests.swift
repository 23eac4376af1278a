import EnvoyAPI
import HTTP
import IO
import Serialization
import Testing
import Upstream

@testable import Proxy

@Suite("Load reports")
struct LoadReportTests {
    /// A load reporting service: says what it wants, keeps what it is told.
    private final class LoadServer: @unchecked Sendable {
        let port: UInt16
        private(set) var requests: [LoadStatsRequest] = []
        private let wish: LoadStatsResponse

        init(on loop: EventLoop, wants wish: LoadStatsResponse) throws {
            self.wish = wish
            let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
            port = socket.localAddress?.port ?? 0
            let listener = try SocketListener(socket, on: loop)
            let method: GRPCServer.Method = { [weak self] stream throws(GRPCStatus) in try await self?.talk(stream) }
            let path = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"
            let grpc = GRPCServer(on: loop, methods: [path: method])
            Task(executorPreference: loop) {
                while let accepted = try? await listener.accept() {
                    guard let stream = try? SocketStream(accepted, on: loop) else { continue }
                    Task(executorPreference: loop) { await grpc.serve(stream) }
                }
            }
        }

        private func talk(_ stream: GRPCStream) async throws(GRPCStatus) {
            var isFirst = true
            while let bytes = try await stream.next() {
                guard let request = try? LoadStatsRequest(serialized: bytes) else { return }
                requests.append(request)
                if isFirst { try await stream.send(wish.serialized()) }
                isFirst = false
            }
        }

        /// Everything told of a cluster so far.
        func told(_ cluster: String) -> [ClusterStats] {
            requests.flatMap(\.clusterStats).filter { $0.clusterName == cluster }
        }
    }

    private func bootstrap(_ server: UInt16, _ upstream: UInt16, type: String = "GRPC") -> String {
        """
        node: { id: n, cluster: c }
        admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
        cluster_manager:
          load_stats_config: { api_type: \(type), transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: lrs } } ] }
        static_resources:
          listeners:
        \(Yaml.listener(routes: "[ { match: { prefix: / }, route: { cluster: web } } ]"))
          clusters:
          - name: web
            type: STATIC
            load_assignment:
              cluster_name: web
              policy: { drop_overloads: [ { category: throttle, drop_percentage: { numerator: 0 } } ] }
              endpoints:
              - locality: { region: r, zone: z }
                lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(upstream) } } } } ]
          - name: lrs
            type: STATIC
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: { http2_protocol_options: {} }
            load_assignment: { cluster_name: lrs, endpoints: [ { lb_endpoints: [ { endpoint: { address: { \
        socket_address: { address: 127.0.0.1, port_value: \(server) } } } } ] } ] }
        """
    }

    @Test(
        "a load reporting service is told each cluster's new requests by place and endpoint, once, as often as it wants"
    )
    func reports() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { head, _ in
                head.contains("/bad") ? "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n" : ScriptedUpstream.ok("yes")
            }
            var wish = LoadStatsResponse()
            wish.clusters = ["web"]
            wish.reportEndpointGranularity = true
            wish.loadReportingInterval = .milliseconds(100)
            let server = try LoadServer(on: loop, wants: wish)
            let proxy = try await RunningProxy.start(bootstrap(server.port, upstream.port))
            defer { proxy.stop() }
            // The first report with the cluster says that counting has begun.
            try await until { !server.told("web").isEmpty }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            for path in ["/", "/", "/bad"] { _ = try await client.get(path) }
            func sum(_ value: (UpstreamLocalityStats) -> UInt64) -> UInt64 {
                server.told("web").flatMap(\.upstreamLocalityStats).reduce(0) { $0 + value($1) }
            }
            try await until {
                sum(\.totalIssuedRequests) >= 3 && sum { $0.totalSuccessfulRequests + $0.totalErrorRequests } >= 3
            }
            // Two more reports bring nothing that was told before.
            let count = server.told("web").count
            try await until { server.told("web").count >= count + 2 }
            #expect(sum(\.totalIssuedRequests) == 3)
            #expect(sum(\.totalSuccessfulRequests) == 2)
            #expect(sum(\.totalErrorRequests) == 1)
            let busy = try #require(server.told("web").first { !$0.upstreamLocalityStats.isEmpty })
            let place = try #require(busy.upstreamLocalityStats.first)
            #expect(place.locality?.region == "r" && place.locality?.zone == "z" && place.priority == 0)
            #expect(place.upstreamEndpointStats.first?.totalIssuedRequests == place.totalIssuedRequests)
            #expect(
                place.upstreamEndpointStats.first?.address
                    == EnvoyAPI.Address(.ip(.v4(0x7F00_0001), port: upstream.port)))
            #expect((busy.loadReportInterval ?? .zero) >= .milliseconds(90))
            #expect(server.told("lrs").isEmpty)
            let first = try #require(server.requests.first)
            #expect(first.node?.id == "n" && first.clusterStats.isEmpty)
            #expect(first.node?.clientFeatures.contains("envoy.lrs.supports_send_all_clusters") == true)
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            let stats = try await admin.get("/stats?filter=load_reporter").body
            #expect(
                stats.contains("load_reporter.responses: 1") && stats.contains("load_reporter.errors: 0"), "\(stats)")
        }
    }

    @Test("who only reports load needs no node id; who is configured by a server does")
    func nodeless() throws {
        var options = Options()
        options.configYAML = bootstrap(1, 2).replacing("node: { id: n, cluster: c }\n", with: "")
        _ = try ProxyServer(options)
        let server =
            "{ api_type: GRPC, transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: lrs } } ] }"
        options.configYAML? += "\ndynamic_resources: { ads_config: \(server), cds_config: { ads: {} } }\n"
        let refused = #expect(throws: ProxyError.self) { _ = try ProxyServer(options) }
        #expect(refused?.description.contains("node.id") == true)
    }

    @Test("load is not reported by deltas: the field and the reason are told")
    func refusesDelta() {
        let refused = #expect(throws: ProxyError.self) {
            var options = Options()
            options.configYAML = bootstrap(1, 2, type: "DELTA_GRPC")
            _ = try ProxyServer(options)
        }
        #expect(refused?.description.contains("cluster_manager.load_stats_config.api_type: ") == true)
    }

    @Test(
        "what is told is what is new: hosts that come and go, drops by category, clusters that come between two reports"
    )
    func differences() {
        func cluster(
            _ name: String, _ requests: UInt64, errors: UInt64 = 0, drops: UInt64 = 0, address: String = "10.0.0.1:80"
        ) -> ClusterReport {
            var host = ClusterReport.HostReport(
                address: address, hostname: "", weight: 1, priority: 1, region: "", zone: "a", subZone: "", health: [],
                activeConnections: 0, activeRequests: 0, statistics: .init())
            host.statistics.requestsTotal = requests
            host.statistics.successes = requests - errors
            host.statistics.errors = errors
            var report = ClusterReport(named: name, limits: ResourceLimits(), hosts: [host])
            report.dropped = drops > 0 ? ["throttle": drops] : [:]
            return report
        }
        var wish = LoadStatsResponse()
        wish.sendAllClusters = true
        var report = ClusterLoadReport()
        let start = MonotonicTime(nanoseconds: 1_000_000_000)
        report.want(wish, [cluster("a", 100, drops: 7)], at: start)
        let first = report.take([cluster("a", 105, errors: 2, drops: 9), cluster("b", 3)], at: start + .seconds(1))
        #expect(first.map(\.clusterName) == ["a", "b"])
        #expect(first.first?.upstreamLocalityStats.first?.totalIssuedRequests == 5)
        #expect(first.first?.upstreamLocalityStats.first?.totalErrorRequests == 2)
        #expect(first.first?.upstreamLocalityStats.first?.priority == 1)
        #expect(first.first?.upstreamLocalityStats.first?.upstreamEndpointStats.isEmpty == true)
        #expect(first.first?.totalDroppedRequests == 2 && first.first?.droppedRequests.first?.category == "throttle")
        #expect(first.last?.upstreamLocalityStats.first?.totalIssuedRequests == 3)
        // The host left and came again between: what it counts now is new. An idle cluster is told without places.
        let second = report.take([cluster("a", 4, drops: 9), cluster("b", 3)], at: start + .seconds(3))
        #expect(second.first?.upstreamLocalityStats.first?.totalIssuedRequests == 4)
        #expect(second.first?.totalDroppedRequests == 0)
        #expect(second.last?.upstreamLocalityStats.isEmpty == true && second.last?.loadReportInterval == .seconds(2))
        wish.sendAllClusters = false
        wish.clusters = ["b"]
        report.want(wish, [], at: start + .seconds(4))
        #expect(report.take([cluster("a", 9), cluster("b", 8)], at: start + .seconds(5)).map(\.clusterName) == ["b"])
    }
}
