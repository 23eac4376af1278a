import EnvoyAPI
import HTTP
import IO
import Proxy
import Serialization
import Testing
import XDS

@Suite("Discovery beside ADS")
struct DiscoveryTests {
    private static func temporary(_ name: String) throws -> String {
        let path = "/tmp/skein-discovery-\(Environment.processID)-\(name)"
        try? File.removeTree(path)
        try File.makeDirectory(path)
        return path
    }

    /// What Envoy's documentation does: write beside it, then move.
    private static func move(_ text: String, to path: String) throws {
        try File.write(path + ".new", Array(text.utf8))
        try File.rename(path + ".new", path)
    }

    private static func endpoints(_ ports: [UInt16]) -> String {
        let hosts = ports.map {
            "{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \($0) } } } }"
        }.joined(separator: ", ")
        return """
            resources:
            - "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
              cluster_name: web
              endpoints: [ { lb_endpoints: [ \(hosts) ] } ]

            """
    }

    private static func routes(_ body: String, name: String = "local") -> String {
        """
        version_info: "\(body)"
        resources:
        - "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
          name: \(name)
          virtual_hosts:
          - name: all
            domains: ["*"]
            routes:
            - { match: { path: "/direct" }, direct_response: { status: 200, body: { inline_string: "\(body)" } } }
            - { match: { prefix: "/" }, route: { cluster: web } }

        """
    }

    private static func listener(_ directory: String, routes: String = "local", in file: String = "rds.yaml") -> String
    {
        """
        resources:
        - "@type": type.googleapis.com/envoy.config.listener.v3.Listener
          name: in
          address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
          filter_chains:
          - filters:
            - name: hcm
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: in
                rds: { route_config_name: \(routes), config_source: { path_config_source: { path: \(directory)/\(file) } } }
                http_filters:
                - name: router
                  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }

        """
    }

    private static func cluster(_ directory: String) -> String {
        """
        resources:
        - "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
          name: web
          type: EDS
          eds_cluster_config: { eds_config: { path_config_source: { path: \(directory)/eds.yaml } } }

        """
    }

    @Test(
        "clusters, endpoints, listeners and routes come from files; a moved file takes effect, a bad one does not"
    )
    func files() async throws {
        try await onLoop { loop in
            let directory = try Self.temporary("files")
            defer { try? File.removeTree(directory) }
            let first = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("first") }
            let second = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("second") }
            try Self.move(Self.cluster(directory), to: directory + "/cds.yaml")
            try Self.move(Self.listener(directory), to: directory + "/lds.yaml")
            try Self.move(Self.endpoints([first.port]), to: directory + "/eds.yaml")
            try Self.move(Self.routes("one"), to: directory + "/rds.yaml")
            let proxy = try await RunningProxy.start(
                """
                node: { id: n, cluster: c }
                dynamic_resources:
                  cds_config: { path_config_source: { path: \(directory)/cds.yaml } }
                  lds_config: { path_config_source: { path: \(directory)/lds.yaml } }
                """)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/direct").body == "one")
            #expect(try await client.get("/").body == "first")
            try Self.move(Self.endpoints([second.port]), to: directory + "/eds.yaml")
            try await until { try await client.get("/").body == "second" }
            try Self.move("resources: [ { no: good } ]", to: directory + "/rds.yaml")
            try Self.move(Self.routes("two"), to: directory + "/other.yaml")
            #expect(try await client.get("/direct").body == "one")
            try Self.move(Self.routes("two"), to: directory + "/rds.yaml")
            try await until { try await client.get("/direct").body == "two" }
        }
    }

    @Test(
        "P-7 a listener that changes in place serves as it did until the routes of its new chains are there",
        .timeLimit(.minutes(3)))
    func inPlace() async throws {
        try await onLoop { loop in
            let directory = try Self.temporary("in-place")
            defer { try? File.removeTree(directory) }
            try Self.move(Self.cluster(directory), to: directory + "/cds.yaml")
            try Self.move(Self.endpoints([1]), to: directory + "/eds.yaml")
            try Self.move(Self.listener(directory), to: directory + "/lds.yaml")
            try Self.move(Self.routes("one"), to: directory + "/rds.yaml")
            // There, and not what is asked for.
            try Self.move(Self.routes("other", name: "other"), to: directory + "/next.yaml")
            let proxy = try await RunningProxy.start(
                """
                node: { id: n, cluster: c }
                admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
                dynamic_resources:
                  cds_config: { path_config_source: { path: \(directory)/cds.yaml } }
                  lds_config: { path_config_source: { path: \(directory)/lds.yaml } }
                """)
            defer { proxy.stop() }
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            func answer() async throws -> String {
                try await Wire.connect(to: proxy.address, on: loop).get("/direct").body
            }
            #expect(try await answer() == "one")
            try Self.move(Self.listener(directory, routes: "next", in: "next.yaml"), to: directory + "/lds.yaml")
            try await until {
                try await admin.get("/stats?filter=listener_modified").body.contains("listener_modified: 1")
            }
            for _ in 0..<20 {
                let seen = try await answer()
                #expect(seen == "one")
            }
            try Self.move(Self.routes("two", name: "next"), to: directory + "/next.yaml")
            try await until { try await answer() == "two" }
        }
    }

    /// A server of one type's own stream, or of the aggregated one, in the state-of-the-world form.
    private final class StateServer: @unchecked Sendable {
        let address: IO.SocketAddress
        private(set) var requests: [DiscoveryRequest] = []
        private var resources: [String: (version: String, messages: [AnyMessage])] = [:]
        private var streams: [GRPCStream] = []
        private var nonces = 0
        private let loop: EventLoop

        init(on loop: EventLoop, methods: [String]) throws {
            self.loop = loop
            let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
            address = socket.localAddress ?? .ip(.v4(0), port: 0)
            let listener = try SocketListener(socket, on: loop)
            let method: GRPCServer.Method = { [weak self] stream throws(GRPCStatus) in try await self?.talk(stream) }
            let grpc = GRPCServer(on: loop, methods: Dictionary(uniqueKeysWithValues: methods.map { ($0, method) }))
            Task(executorPreference: loop) {
                while let accepted = try? await listener.accept() {
                    guard let stream = try? SocketStream(accepted, on: loop) else { continue }
                    Task(executorPreference: loop) { await grpc.serve(stream) }
                }
            }
        }

        private func talk(_ stream: GRPCStream) async throws(GRPCStatus) {
            streams.append(stream)
            var names: [String: [String]] = [:]
            var sent: [String: String] = [:]
            while let bytes = try await stream.next() {
                guard let request = try? DiscoveryRequest(serialized: bytes) else { return }
                requests.append(request)
                let isAnswer = !request.responseNonce.isEmpty && names[request.typeUrl] == request.resourceNames
                names[request.typeUrl] = request.resourceNames
                guard !isAnswer, let known = resources[request.typeUrl], request.versionInfo != known.version else {
                    continue
                }
                sent[request.typeUrl] = known.version
                try await stream.send(response(request.typeUrl).serialized())
            }
        }

        private func response(_ type: String) -> DiscoveryResponse {
            nonces += 1
            var response = DiscoveryResponse()
            response.typeUrl = type
            response.nonce = "\(nonces)"
            response.versionInfo = resources[type]?.version ?? ""
            response.resources = resources[type]?.messages ?? []
            return response
        }

        func set<M: Message>(_ version: String, _ messages: [M]) {
            resources[M.typeURL] = (version, messages.map { AnyMessage(packing: $0) })
        }

        func push(_ type: String) async throws {
            for stream in streams { try? await stream.send(response(type).serialized()) }
        }
    }

    private static func management(_ address: IO.SocketAddress) -> String {
        """
        static_resources:
          clusters:
          - name: xds
            connect_timeout: 1s
            load_assignment:
              cluster_name: xds
              endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(address.port ?? 0) } } } } ] } ]

        """
    }

    private static func message<M: Message>(_ yaml: String, as type: M.Type = M.self) throws -> M {
        try M(json: try #require(try YAML.parse(yaml).first?.json))
    }

    private static func manager(_ source: String) -> String {
        """
        name: in
        address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
        filter_chains:
        - filters:
          - name: hcm
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
              stat_prefix: in
              rds: { route_config_name: local, config_source: \(source) }
              http_filters:
              - name: router
                typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
        """
    }

    private static func table(_ body: String) throws -> RouteConfiguration {
        try message(
            """
            name: local
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [ { match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: "\(body)" } } } ]
            """)
    }

    @Test(
        "state of the world over ADS: what a response of clusters or listeners leaves out is gone; a bad update is refused with its path and the old version"
    )
    func stateOfTheWorld() async throws {
        try await onLoop { loop in
            let server = try StateServer(
                on: loop,
                methods: ["/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"])
            server.set("c1", [Cluster]())
            server.set("l1", [try Self.message(Self.manager("{ ads: {} }"), as: Listener.self)])
            server.set("r1", [try Self.table("one")])
            let proxy = try await RunningProxy.start(
                """
                node: { id: n, cluster: c }
                dynamic_resources:
                  ads_config: { api_type: GRPC, transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: xds } } ] }
                  cds_config: { ads: {} }
                  lds_config: { ads: {} }

                """ + Self.management(server.address))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").body == "one")
            server.set("r2", [try Self.table("two")])
            try await server.push(RouteConfiguration.typeURL)
            try await until { try await client.get("/").body == "two" }
            var bad = try Self.table("three")
            bad.virtualHosts[0].domains = []
            server.set("r3", [bad])
            try await server.push(RouteConfiguration.typeURL)
            try await until { server.requests.contains { $0.errorDetail != nil } }
            let refusal = try #require(server.requests.last { $0.errorDetail != nil })
            #expect(refusal.versionInfo == "r2")
            #expect(refusal.errorDetail?.message.hasPrefix("routes[local].virtual_hosts[0].domains") == true)
            #expect(try await client.get("/").body == "two")
            server.set("l2", [Listener]())
            try await server.push(Listener.typeURL)
            try await until { server.requests.last { $0.typeUrl == Listener.typeURL }?.versionInfo == "l2" }
        }
    }

    @Test("each type may have a stream of its own, and reconnects with the version it has")
    func single() async throws {
        try await onLoop { loop in
            let server = try StateServer(
                on: loop,
                methods: [
                    "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners",
                    "/envoy.service.route.v3.RouteDiscoveryService/StreamRoutes",
                ])
            let source =
                "{ api_config_source: { api_type: GRPC, transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: xds } } ] } }"
            server.set("l1", [try Self.message(Self.manager(source), as: Listener.self)])
            server.set("r1", [try Self.table("mine")])
            let proxy = try await RunningProxy.start(
                "node: { id: n, cluster: c }\ndynamic_resources: { lds_config: \(source) }\n"
                    + Self.management(server.address))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").body == "mine")
            #expect(server.requests.first { $0.typeUrl == RouteConfiguration.typeURL }?.node?.id == "n")
        }
    }

    @Test("VHDS: the virtual hosts that a server adds belong to the routes that name it")
    func virtualHosts() async throws {
        try await onLoop { loop in
            let server = try VirtualHostServer(on: loop)
            let source =
                "{ api_config_source: { api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [ { envoy_grpc: { cluster_name: xds } } ] } }"
            let directory = try Self.temporary("vhds")
            defer { try? File.removeTree(directory) }
            try Self.move(
                """
                resources:
                - "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
                  name: local
                  vhds: { config_source: \(source) }

                """, to: directory + "/rds.yaml")
            try Self.move(Self.listener(directory), to: directory + "/lds.yaml")
            let proxy = try await RunningProxy.start(
                "node: { id: n, cluster: c }\ndynamic_resources: { lds_config: { path_config_source: { path: \(directory)/lds.yaml } } }\n"
                    + Self.management(server.address))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await until { try await client.get("/").body == "discovered" }
            #expect(server.names == ["local"])
        }
    }

    /// A server of virtual hosts that sends one unasked.
    private final class VirtualHostServer: @unchecked Sendable {
        let address: IO.SocketAddress
        private(set) var names: [String] = []

        init(on loop: EventLoop) throws {
            let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
            address = socket.localAddress ?? .ip(.v4(0), port: 0)
            let listener = try SocketListener(socket, on: loop)
            let method: GRPCServer.Method = { [weak self] stream throws(GRPCStatus) in
                while let bytes = try await stream.next() {
                    guard let request = try? DeltaDiscoveryRequest(serialized: bytes) else { return }
                    guard request.responseNonce.isEmpty else { continue }
                    self?.names += request.resourceNamesSubscribe
                    var response = DeltaDiscoveryResponse()
                    response.typeUrl = VirtualHost.typeURL
                    response.nonce = "1"
                    var resource = EnvoyAPI.Resource()
                    resource.name = "local/anything"
                    resource.version = "1"
                    guard
                        let host: VirtualHost = try? DiscoveryTests.message(
                            """
                            name: anything
                            domains: ["*"]
                            routes: [ { match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: discovered } } } ]
                            """)
                    else { return }
                    resource.resource = AnyMessage(packing: host)
                    response.resources = [resource]
                    try await stream.send(response.serialized())
                }
            }
            let grpc = GRPCServer(
                on: loop, methods: ["/envoy.service.route.v3.VirtualHostDiscoveryService/DeltaVirtualHosts": method])
            Task(executorPreference: loop) {
                while let accepted = try? await listener.accept() {
                    guard let stream = try? SocketStream(accepted, on: loop) else { continue }
                    Task(executorPreference: loop) { await grpc.serve(stream) }
                }
            }
        }
    }

    @Test("a runtime fraction follows the admin layer")
    func runtime() async throws {
        try await onLoop { loop in
            let routes = """
                [ { match: { prefix: "/", runtime_fraction: { default_value: { numerator: 100 }, runtime_key: discovery.test } }, direct_response: { status: 200, body: { inline_string: old } } }, { match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: new } } } ]
                """
            let proxy = try await RunningProxy.start(
                "layered_runtime: { layers: [ { name: base, static_layer: { discovery: { test: 0 } } }, { name: admin, admin_layer: {} } ] }\n"
                    + Yaml.bootstrap(listeners: Yaml.listener(routes: routes), clusters: "", admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").body == "new")
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            func modify(_ query: String) async throws -> Int {
                try await admin.write(
                    "POST /runtime_modify?\(query) HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
                return try await admin.response().status
            }
            #expect(try await modify("discovery.test=100") == 200)
            #expect(try await client.get("/").body == "old")
            let page = try await admin.get("/runtime").body
            #expect(page.contains("\"final_value\": \"100\""))
            #expect(try await modify("discovery.test=") == 200)
            #expect(try await client.get("/").body == "new")
        }
    }
}
