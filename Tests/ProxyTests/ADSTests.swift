import EnvoyAPI
import HTTP
import IO
import Proxy
import Serialization
import Testing
import XDS

@Suite("ADS")
struct ADSTests {
    private static let method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

    /// A management server: the real delta state machine over real gRPC.
    final class ManagementServer: @unchecked Sendable {
        let address: IO.SocketAddress
        private var server = DiscoveryServer(.delta)
        private var changes = SnapshotChanges()
        private var maker = ResponseMaker()
        private var stream: GRPCStream?
        private(set) var rejections: [String] = []
        /// The names, of any type, that are subscribed to.
        private(set) var wanted: Set<String> = []
        private var snapshot = Snapshot()
        /// Whether it says anything at all.
        private let isSilent: Bool
        /// Told what each stream begins with.
        private let began: (HeaderTable) -> Void
        private var connections: [SocketStream] = []

        init(
            on loop: EventLoop, path: String = ADSTests.method, isSilent: Bool = false,
            began: @escaping (HeaderTable) -> Void = { _ in }
        ) throws {
            self.isSilent = isSilent
            self.began = began
            let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
            address = socket.localAddress ?? .ip(.v4(0), port: 0)
            let listener = try SocketListener(socket, on: loop)
            let method: GRPCServer.Method = { [weak self] stream throws(GRPCStatus) in try await self?.talk(stream) }
            let grpc = GRPCServer(on: loop, methods: [path: method])
            Task(executorPreference: loop) {
                while let accepted = try? await listener.accept() {
                    guard let stream = try? SocketStream(accepted, on: loop) else { continue }
                    self.connections.append(stream)
                    Task(executorPreference: loop) { await grpc.serve(stream) }
                }
            }
        }

        /// Ends all connections.
        func cutOff() {
            for connection in connections { connection.close() }
            connections = []
        }

        private func talk(_ stream: GRPCStream) async throws(GRPCStatus) {
            self.stream = stream
            began(stream.metadata)
            server = DiscoveryServer(.delta)
            _ = server.publish(snapshot, &changes, &maker)
            while let bytes = try await stream.next() {
                guard let request = try? DeltaDiscoveryRequest(serialized: bytes) else { return }
                if let error = request.errorDetail { rejections.append(error.message) }
                wanted.formUnion(request.resourceNamesSubscribe)
                wanted.subtract(request.resourceNamesUnsubscribe)
                guard !isSilent, let responses = try? server.received(request, &maker) else { continue }
                for response in responses { try await stream.send(response.bytes) }
            }
        }

        func publish(_ snapshot: Snapshot) async throws {
            self.snapshot = snapshot
            for response in server.publish(snapshot, &changes, &maker) { try await stream?.send(response.bytes) }
        }
    }

    static func snapshot(backend: UInt16, listener: UInt16?, body: String? = nil) throws -> Snapshot {
        var snapshot = Snapshot(version: "1")
        let cluster = try Cluster(
            json: try JSON.parse(
                #"{"name":"web","type":"EDS","connect_timeout":"1s","eds_cluster_config":{"eds_config":{"ads":{}}}}"#))
        snapshot.add(cluster, name: "web")
        let endpoints = try ClusterLoadAssignment(
            json: try JSON.parse(
                #"{"cluster_name":"web","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"127.0.0.1","port_value":\#(backend)}}}}]}]}"#
            ))
        snapshot.add(endpoints, name: "web")
        guard let port = listener else { return snapshot }
        let manager = #"""
            {"@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix":"in","rds":{"route_config_name":"routes","config_source":{"ads":{}}},
            "http_filters":[{"name":"r","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}
            """#
        let listener = try Listener(
            json: try JSON.parse(
                #"{"name":"in","address":{"socket_address":{"address":"127.0.0.1","port_value":\#(port)}},"filter_chains":[{"filters":[{"name":"hcm","typed_config":\#(manager)}]}]}"#
            ))
        snapshot.add(listener, name: "in")
        let action =
            body.map { #""direct_response":{"status":200,"body":{"inline_string":"\#($0)"}}"# }
            ?? #""route":{"cluster":"web"}"#
        let routes = try RouteConfiguration(
            json: try JSON.parse(
                #"{"name":"routes","virtual_hosts":[{"name":"all","domains":["*"],"routes":[{"match":{"prefix":"/"},\#(action)}]}]}"#
            ))
        snapshot.add(routes, name: "routes")
        return snapshot
    }

    static func bootstrap(_ server: IO.SocketAddress) -> String {
        """
        node: { id: "sidecar~10.0.0.1~a.b~b.svc.cluster.local", cluster: test }
        admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
        dynamic_resources:
          ads_config: { api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: xds } } ] }
          cds_config: { ads: {}, resource_api_version: V3 }
          lds_config: { ads: {}, resource_api_version: V3 }
        static_resources:
          clusters:
          - name: xds
            type: STATIC
            connect_timeout: 1s
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: { http2_protocol_options: {} }
            load_assignment: { cluster_name: xds, endpoints: [ { lb_endpoints: [ { endpoint: { address: { \
        socket_address: { address: 127.0.0.1, port_value: \(server.port ?? 0) } } } } ] } ] }
        """
    }

    @Test("a connection that has not said what it is ends with its listener, and the proxy goes on")
    func removedWhileSniffing() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("here") }
            let server = try ManagementServer(on: loop)
            var snapshot = try Self.snapshot(backend: upstream.port, listener: nil)
            let proxyFilter =
                #"{"name":"tcp","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy","stat_prefix":"t","cluster":"web"}}"#
            let listener = try Listener(
                json: try JSON.parse(
                    #"{"name":"in","address":{"socket_address":{"address":"127.0.0.1","port_value":0}},"listener_filters_timeout":"0.2s","continue_on_listener_filters_timeout":true,"listener_filters":[{"name":"i","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"}}],"filter_chains":[{"filter_chain_match":{"application_protocols":["http/1.1"]},"filters":[\#(proxyFilter)]},{"filters":[\#(proxyFilter)]}]}"#
                ))
            snapshot.add(listener, name: "in")
            try await server.publish(snapshot)
            let proxy = try await RunningProxy.start(Self.bootstrap(server.address))
            defer { proxy.stop() }
            let silent = try await Wire.connect(to: proxy.address, on: loop)
            try await silent.write("GE")
            // Accepted before the removal: the listener takes what waits before it goes.
            try await server.publish(try Self.snapshot(backend: upstream.port, listener: nil))
            #expect(await silent.readToEnd() == "")
            let admin = try #require(proxy.admin)
            let client = try await Wire.connect(to: admin, on: loop)
            for _ in 0..<60 {
                #expect(try await client.get("/server_info").head.contains("200"))
                await loop.sleep(for: .milliseconds(5))
            }
        }
    }

    @Test("what is under way on a listener that discovery has removed is cut off when the drain time is over")
    func removedListener() async throws {
        try await onLoop { loop in
            // An upstream that takes requests and never answers.
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in _ = await wire.readToEnd() }
            let server = try ManagementServer(on: loop)
            try await server.publish(try Self.snapshot(backend: upstream.port, listener: 0))
            let proxy = try await RunningProxy.start(Self.bootstrap(server.address), drain: .milliseconds(300))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
            try await until { upstream.connections != 0 }
            try await server.publish(try Self.snapshot(backend: upstream.port, listener: nil))
            #expect(await client.readToEnd() == "")
        }
    }

    @Test(
        "P-7 clusters, endpoints, listeners and routes arrive over delta ADS; a bad update is refused and the last good one stays"
    )
    func endToEnd() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("from the upstream") }
            let server = try ManagementServer(on: loop)
            try await server.publish(try Self.snapshot(backend: upstream.port, listener: 0))
            let proxy = try await RunningProxy.start(Self.bootstrap(server.address))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").body == "from the upstream")

            try await server.publish(try Self.snapshot(backend: upstream.port, listener: 0, body: "second"))
            try await until { try await client.get("/").body == "second" }

            var bad = try Self.snapshot(backend: upstream.port, listener: 0, body: "second")
            bad.add(
                try RouteConfiguration(
                    json: try JSON.parse(
                        #"{"name":"routes","virtual_hosts":[{"name":"all","domains":["*"],"routes":[{"match":{"safe_regex":{"regex":"("}},"route":{"cluster":"web"}}]}]}"#
                    )), name: "routes")
            try await server.publish(bad)
            try await until { !server.rejections.isEmpty }
            #expect(
                server.rejections.first?.hasPrefix("routes[routes].virtual_hosts[0].routes[0].match.safe_regex.regex: ")
                    == true)
            #expect(try await client.get("/").body == "second")
        }
    }
}
