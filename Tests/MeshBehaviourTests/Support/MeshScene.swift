import EnvoyAPI
import IO
import Mesh
import Proxy
import Serialization
import TLS
import Testing

/// A mesh described in YAML, one of whose proxies really runs: with the listener, routes and clusters of its snapshot,
/// in front of servers that stand for the pods.
///
/// Only addresses differ from the snapshot: the listener takes a free port of this host instead of captured connections,
/// routes and endpoints that a stream would deliver are put in place, and each pod's address is that of its server.
struct MeshScene {
    let client: Wire
    let proxy: RunningProxy
    let loop: EventLoop
    let pods: [String: ScriptedUpstream]

    /// Which of a snapshot's listeners runs, and what connections to it look like.
    struct Door: Sendable {
        var listener = "virtualOutbound"
        /// The port that the caller asked for; it chooses the filter chains.
        var port = 80
        /// Whether the chain with HTTP is meant, or the one with bytes.
        var isHTTP = true
        var isGateway = false
        /// The name of the chain that is meant, where the port has several.
        var chain: String?
        /// Whether the network filters before the one that serves run: without, the connection is one from before they came.
        var hasFilters = true
        /// The pod whose proxy it is.
        var pod = "default/caller"

        /// A sidecar's way out.
        static func outbound(_ port: Int = 80, isHTTP: Bool = true, pod: String = "default/caller") -> Door {
            Door(port: port, isHTTP: isHTTP, pod: pod)
        }
        /// A sidecar's way in.
        static func inbound(_ port: Int, isHTTP: Bool = true, pod: String) -> Door {
            Door(listener: "virtualInbound", port: port, isHTTP: isHTTP, pod: pod)
        }
        /// A port of the gateway pod of `World`.
        static func gateway(_ port: Int = 80) -> Door {
            Door(listener: "0.0.0.0_\(port)", port: port, isGateway: true, pod: "skein-system/gateway")
        }
    }

    /// A pod that answers HTTP: its name in the scene and the address it has in the mesh.
    struct Pod: Sendable {
        var name: String
        var address: String
        var answer: @Sendable (_ head: String, _ body: String) -> String
        /// What it speaks TLS with; plain text without.
        var tls: TLSContext?

        /// One that answers 200 with its own name and what it was asked.
        init(_ name: String, ip: Int) {
            self.init(name, ip: ip) { head, body in ScriptedUpstream.ok("\(name)\n\(head)\(body)") }
        }

        init(_ name: String, ip: Int, answer: @escaping @Sendable (_ head: String, _ body: String) -> String) {
            self.name = name
            address = "10.244.0.\(ip)"
            self.answer = answer
        }
    }

    /// Runs the proxy behind `door` of the mesh that the YAML describes, until `body` is done.
    ///
    /// Before the pods that are `secured` run their sidecars, with the mesh's mutual TLS in between.
    ///
    /// `change` may alter the bootstrap before the start: for what a test needs and a mesh does not write.
    static func run(
        _ yaml: [String], pods: [Pod], door: Door = .outbound(), secured: [String] = [], caller: String = "caller",
        change: @escaping @Sendable (inout JSON) -> Void = { _ in },
        _ body: @escaping @Sendable (MeshScene) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            var running: [String: ScriptedUpstream] = [:]
            var places: [String: UInt16] = [:]
            for pod in pods {
                let upstream = try await ScriptedUpstream(on: loop, tls: pod.tls, answering: pod.answer)
                running[pod.name] = upstream
                places[pod.address] = upstream.port
            }
            let world = try World(yaml.joined(separator: "\n"))
            let identities = secured.isEmpty ? nil : try SceneIdentities()
            var sidecars: [RunningProxy] = []
            defer { sidecars.forEach { $0.stop() } }
            for pod in pods where secured.contains(pod.name) {
                let sidecar = try await RunningProxy.start(
                    try world.snapshot("default/\(pod.name)").sidecarBootstrap(
                        port: 8080, application: places[pod.address] ?? 0, identities
                    ).pretty)
                sidecars.append(sidecar)
                places[pod.address] = sidecar.address.port ?? 0
            }
            let snapshot = world.snapshot(door.pod, gateway: door.isGateway)
            var bootstrap = try snapshot.bootstrap(door, places, identities, caller)
            change(&bootstrap)
            let proxy = try await RunningProxy.start(bootstrap.pretty)
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await body(MeshScene(client: client, proxy: proxy, loop: loop, pods: running))
        }
    }

    /// A further connection to the proxy.
    func connect() async throws -> Wire { try await Wire.connect(to: proxy.address, on: loop) }

    /// Sends a request to a host and returns the response.
    func get(
        _ path: String, host: String, method: String = "GET", _ fields: String = ""
    ) async throws -> Wire.Response {
        try await client.write("\(method) \(path) HTTP/1.1\r\nHost: \(host)\r\n\(fields)\r\n")
        return try await client.response(toHead: method == "HEAD")
    }
}

extension ProxySnapshot {
    /// The snapshot as static configuration.
    fileprivate func bootstrap(
        _ door: MeshScene.Door, _ places: [String: UInt16], _ identities: SceneIdentities?, _ caller: String
    ) throws -> JSON {
        let clusters = try clusters.keys.sorted().map { name in
            var cluster = try cluster(name)
            // Mutual TLS takes certificates from a node's agent, which is not there.
            if identities == nil { cluster.transportSocketMatches = [] }
            if cluster.clusterDiscoveryType == .type(.eds) {
                cluster.clusterDiscoveryType = .type(.static)
                let key = cluster.edsClusterConfig?.serviceName ?? ""
                var assignment: ClusterLoadAssignment =
                    try endpoints[key.isEmpty ? name : key]?.message.unpack() ?? ClusterLoadAssignment()
                assignment.clusterName = name
                Self.move(&assignment, places)
                cluster.loadAssignment = assignment
                cluster.edsClusterConfig = nil
            }
            return cluster.json.withStaticSecrets
        }
        var listener = try listener(door.listener)
        listener.address = EnvoyAPI.Address.local
        listener.listenerFilters = []
        listener.useOriginalDst = nil
        listener.continueOnListenerFiltersTimeout = false
        listener.filterChains = try listener.filterChains.compactMap { try chain($0, door) }.prefix(1).map { $0 }
        listener.defaultFilterChain = nil
        return [
            "static_resources": [
                "listeners": [listener.json], "clusters": .array(clusters),
                "secrets": .array(
                    try (identities?.secrets(caller).array ?? [])
                        + secrets.values.map { try $0.message.unpack(as: Secret.self).json }),
            ],
            "admin": ["address": EnvoyAPI.Address.local.json],
        ]
    }

    /// A chain without conditions and with its routes in it; `nil` when it is not the one that is meant.
    private func chain(_ chain: FilterChain, _ door: MeshScene.Door) throws -> FilterChain? {
        if let port = chain.filterChainMatch?.destinationPort, Int(port) != door.port { return nil }
        guard chain.transportSocket == nil, door.chain == nil || door.chain == chain.name else { return nil }
        var chain = chain
        if !door.hasFilters { chain.filters = Array(chain.filters.suffix(1)) }
        chain.filterChainMatch = nil
        guard case .typedConfig(let any) = chain.filters.last?.configType,
            any.holds(HttpConnectionManager.self) == door.isHTTP
        else { return nil }
        guard door.isHTTP else { return chain }
        var manager: HttpConnectionManager = try any.unpack()
        if case .rds(let rds) = manager.routeSpecifier {
            manager.routeSpecifier = .routeConfig(try route(rds.routeConfigName))
        }
        chain.filters[chain.filters.count - 1].configType = .typedConfig(AnyMessage(packing: manager))
        return chain
    }

    private static func move(_ assignment: inout ClusterLoadAssignment, _ places: [String: UInt16]) {
        for locality in assignment.endpoints.indices {
            for index in assignment.endpoints[locality].lbEndpoints.indices {
                guard case .endpoint(var endpoint) = assignment.endpoints[locality].lbEndpoints[index].hostIdentifier,
                    case .socketAddress(var socket) = endpoint.address?.address, let port = places[socket.address]
                else { continue }
                socket.address = "127.0.0.1"
                socket.portSpecifier = .portValue(UInt32(port))
                var address = EnvoyAPI.Address()
                address.address = .socketAddress(socket)
                endpoint.address = address
                assignment.endpoints[locality].lbEndpoints[index].hostIdentifier = .endpoint(endpoint)
            }
        }
    }
}

extension EnvoyAPI.Address {
    /// A free port of this host.
    static var local: EnvoyAPI.Address {
        var socket = EnvoyAPI.SocketAddress()
        socket.address = "127.0.0.1"
        socket.portSpecifier = .portValue(0)
        var address = EnvoyAPI.Address()
        address.address = .socketAddress(socket)
        return address
    }
}
