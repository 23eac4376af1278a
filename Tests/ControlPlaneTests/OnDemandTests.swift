import ControlPlane
import EnvoyAPI
import IO
import KubernetesAPI
import Mesh
import Serialization
import Testing
import XDS

/// One subscriber of a publisher, which answers everything and remembers what it has.
final class Subscriber {
    let stream: Int
    private(set) var resources: [String: [String: Resource]] = [:]
    private(set) var removed: [String: Set<String>] = [:]
    private var waiting: [DeltaDiscoveryResponse] = []
    private var hasSentNode = false
    private let node: EnvoyAPI.Node

    init(_ publisher: inout SnapshotPublisher, pod: String, features: [String] = [], agent: String = "skein-proxy") {
        stream = publisher.open(
            ProxyIdentity(pod: NamespacedName(namespace: "default", name: pod), role: .sidecar))
        var node = EnvoyAPI.Node()
        node.id = "sidecar~10.0.0.1~\(pod).default~default.svc.cluster.local"
        node.userAgentName = agent
        node.clientFeatures = features
        self.node = node
    }

    private func send(_ publisher: inout SnapshotPublisher, _ request: DeltaDiscoveryRequest) throws {
        var request = request
        if !hasSentNode { request.node = node }
        hasSentNode = true
        take(try publisher.received(.delta(request), on: stream))
        try answer(&publisher)
    }

    /// Takes messages, without answering them.
    func take(_ messages: [DiscoveryMessage]) {
        for message in messages {
            guard let response = try? DeltaDiscoveryResponse(serialized: message.bytes) else { continue }
            waiting.append(response)
            for resource in response.resources {
                resources[response.typeUrl, default: [:]][resource.name] = resource
                removed[response.typeUrl]?.remove(resource.name)
            }
            for name in response.removedResources {
                resources[response.typeUrl]?[name] = nil
                removed[response.typeUrl, default: []].insert(name)
            }
        }
    }

    /// Acknowledges what came until nothing comes any more.
    func answer(_ publisher: inout SnapshotPublisher) throws {
        while !waiting.isEmpty {
            let response = waiting.removeFirst()
            var request = DeltaDiscoveryRequest()
            request.typeUrl = response.typeUrl
            request.responseNonce = response.nonce
            take(try publisher.received(.delta(request), on: stream))
        }
    }

    func ask(_ publisher: inout SnapshotPublisher, _ typeURL: String, _ names: [String], drop: [String] = []) throws {
        var request = DeltaDiscoveryRequest()
        request.typeUrl = typeURL
        request.resourceNamesSubscribe = names
        request.resourceNamesUnsubscribe = drop
        try send(&publisher, request)
    }

    func names(_ typeURL: String) -> [String] { (resources[typeURL] ?? [:]).keys.sorted() }

    func message<M: Message>(_ type: M.Type, _ name: String) throws -> M? {
        try resources[M.typeURL]?[name]?.resource?.unpack(as: M.self)
    }
}

@Suite("Configuration on demand")
struct OnDemandTests {
    private let now = MonotonicTime(nanoseconds: 1_000_000_000)
    private let hosts = VirtualHost.typeURL

    private func service(_ name: String, _ address: Int) -> KubernetesObject {
        KubernetesObject(json: [
            "apiVersion": "v1", "kind": "Service", "metadata": ["name": .string(name), "namespace": "default"],
            "spec": ["clusterIP": .string("10.96.0.\(address)"), "ports": [["name": "http", "port": 80]]],
        ])
    }

    private func start() throws -> (SnapshotPublisher, Subscriber) {
        var publisher = SnapshotPublisher()
        for (index, name) in ["reviews", "ratings"].enumerated() { publisher.set(service(name, index + 1), now: now) }
        _ = publisher.flush()
        let subscriber = Subscriber(&publisher, pod: "caller", features: ["skein.on_demand"])
        try subscriber.ask(&publisher, Listener.typeURL, [])
        try subscriber.ask(&publisher, RouteConfiguration.typeURL, ["80"])
        return (publisher, subscriber)
    }

    @Test("routes come without virtual hosts, listeners say where hosts and clusters are asked for")
    func shape() throws {
        let (_, subscriber) = try start()
        let routes = try #require(try subscriber.message(RouteConfiguration.self, "80"))
        #expect(routes.virtualHosts.isEmpty && routes.vhds?.configSource != nil)
        let listener = try #require(try subscriber.message(Listener.self, "virtualOutbound"))
        var filters: [String] = []
        var proxies: [TcpProxy] = []
        for case .typedConfig(let config)? in (listener.filterChains + [listener.defaultFilterChain].compactMap(\.self))
            .flatMap(\.filters).map(\.configType)
        {
            if let manager = try? config.unpack(as: HttpConnectionManager.self) {
                filters = manager.httpFilters.map(\.name)
            }
            if let proxy = try? config.unpack(as: TcpProxy.self) { proxies.append(proxy) }
        }
        #expect(filters.first == "envoy.filters.http.on_demand")
        #expect(Array(filters.suffix(2)) == ["envoy.filters.http.on_demand", "envoy.filters.http.router"])
        #expect(!proxies.isEmpty && proxies.allSatisfy { $0.onDemand?.odcdsConfig != nil })
    }

    @Test("MeshClusterIPMatching the routes for a service's own address are asked for once, whatever the requests say")
    func addressed() throws {
        var (publisher, subscriber) = try start()
        publisher.set(
            KubernetesObject(json: [
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "metadata": ["name": "r", "namespace": "default"],
                "spec": [
                    "parentRefs": [["group": "", "kind": "Service", "name": "reviews"]],
                    "rules": [["backendRefs": [["name": "ratings", "port": 80]]]],
                ],
            ]), now: now)
        for (_, messages) in publisher.flush() { subscriber.take(messages) }
        try subscriber.answer(&publisher)
        let routes = "80|reviews.default.svc.cluster.local"
        try subscriber.ask(&publisher, RouteConfiguration.typeURL, [routes])
        let own = try #require(try subscriber.message(RouteConfiguration.self, routes))
        #expect(own.virtualHosts.isEmpty && own.vhds != nil)
        // Asked for by another name first: it is answered for that name alone, and never for two.
        try subscriber.ask(&publisher, hosts, ["\(routes)/nobody.example"])
        let other = try #require(try subscriber.message(VirtualHost.self, "\(routes)/nobody.example"))
        #expect(other.domains == ["nobody.example"])
        try subscriber.ask(&publisher, hosts, ["\(routes)/reviews"])
        let name = try #require(subscriber.names(hosts).first { !$0.hasSuffix("/nobody.example") })
        let host = try #require(try subscriber.message(VirtualHost.self, name))
        #expect(host.domains.contains("*") && host.domains.contains("reviews") && subscriber.names(hosts).count == 2)
        #expect(host.routes.map(\.match?.filterState.count) == other.routes.map { _ in 0 })
        // The virtual host of the port is another, and asked for by its own name.
        try subscriber.ask(&publisher, hosts, ["80/reviews"])
        #expect(subscriber.names(hosts).count == 3)
    }

    @Test("a virtual host comes under its own name with its aliases, and only that one")
    func aliases() throws {
        var (publisher, subscriber) = try start()
        try subscriber.ask(&publisher, hosts, ["80/reviews"])
        let name = try #require(subscriber.names(hosts).first)
        #expect(subscriber.names(hosts).count == 1 && name.contains("reviews"))
        let aliases = subscriber.resources[hosts]?[name]?.aliases ?? []
        #expect(aliases.contains("80/reviews") && aliases.contains("80/reviews.default.svc.cluster.local:80"))
        try subscriber.ask(&publisher, hosts, ["80/10.96.0.1"])
        #expect(subscriber.names(hosts) == [name], "another name of the same host")
        publisher.set(
            KubernetesObject(json: [
                "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": ["name": "ratings", "namespace": "default"],
                "spec": [
                    "hosts": ["ratings"], "http": [["route": [["destination": ["host": "ratings"]]]]],
                ],
            ]), now: now)
        #expect(publisher.flush().isEmpty, "a change of another host concerns nobody here")
        try subscriber.ask(&publisher, hosts, [], drop: ["80/reviews"])
        try subscriber.ask(&publisher, hosts, [], drop: ["80/10.96.0.1"])
        #expect(publisher.flush().isEmpty)
    }

    @Test("an authority that nobody claims is answered at once with what is for everything else")
    func unknown() throws {
        var (publisher, subscriber) = try start()
        try subscriber.ask(&publisher, hosts, ["80/example.org", "80/example.net:80"])
        #expect(subscriber.names(hosts) == ["80/example.net:80", "80/example.org"])
        let host = try #require(try subscriber.message(VirtualHost.self, "80/example.org"))
        #expect(host.domains == ["example.org"])
        guard case .route(let action)? = host.routes.first?.action,
            case .cluster(let cluster)? = action.clusterSpecifier
        else { return #expect(Bool(false), "\(host)") }
        #expect(cluster == "PassthroughCluster")
        // When somebody claims it, the proxy hears of it.
        publisher.set(
            KubernetesObject(json: [
                "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": ["name": "example", "namespace": "default"],
                "spec": [
                    "hosts": ["example.org"], "http": [["route": [["destination": ["host": "ratings"]]]]],
                ],
            ]), now: now)
        for (_, messages) in publisher.flush() { subscriber.take(messages) }
        try subscriber.answer(&publisher)
        let claimed = try #require(try subscriber.message(VirtualHost.self, "80/example.org"))
        #expect("\(claimed)".contains("ratings"), "\(claimed)")
        publisher.remove(
            KubernetesObject(json: [
                "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": ["name": "example", "namespace": "default"],
            ]), now: now)
        for (_, messages) in publisher.flush() { subscriber.take(messages) }
        try subscriber.answer(&publisher)
        let again = try #require(try subscriber.message(VirtualHost.self, "80/example.org"))
        #expect(again.domains == ["example.org"] && "\(again)".contains("PassthroughCluster"))
    }

    @Test("clusters come by name, one that there is not is told at once, unused ones leave")
    func clusters() throws {
        var (publisher, subscriber) = try start()
        let (type, name) = (Cluster.typeURL, "outbound|80||reviews.default.svc.cluster.local")
        try subscriber.ask(&publisher, type, [name, "outbound|80||nobody.default.svc.cluster.local"])
        #expect(subscriber.names(type) == [name])
        #expect(subscriber.removed[type] == ["outbound|80||nobody.default.svc.cluster.local"])
        try subscriber.ask(&publisher, ClusterLoadAssignment.typeURL, [name])
        #expect(subscriber.names(ClusterLoadAssignment.typeURL) == [name], "endpoints only for clusters in use")
        publisher.set(service("nobody", 9), now: now)
        for (_, messages) in publisher.flush() { subscriber.take(messages) }
        try subscriber.answer(&publisher)
        #expect(subscriber.names(type).count == 2, "what was asked for comes when it is there")
        try subscriber.ask(&publisher, type, [], drop: [name])
        publisher.remove(service("reviews", 1), now: now)
        for (_, messages) in publisher.flush() { subscriber.take(messages) }
        #expect(subscriber.names(type).contains(name), "who has dropped it hears no more of it")
    }

    @Test(
        "who asks for all clusters gets what nobody would ask for: those of no service, and those that listeners name")
    func wildcard() throws {
        var (publisher, subscriber) = try start()
        let type = Cluster.typeURL
        try subscriber.ask(&publisher, type, ["*"])
        #expect(subscriber.names(type) == ["BlackHoleCluster", "InboundPassthroughCluster", "PassthroughCluster"])
        let name = "outbound|80||reviews.default.svc.cluster.local"
        try subscriber.ask(&publisher, type, [name])
        #expect(subscriber.names(type).contains(name) && subscriber.names(type).count == 4)
        let caller = NamespacedName(namespace: "default", name: "caller")
        #expect(publisher.resources(of: caller, typeURL: type)?.count == 4, "what is shown is what the proxy has")
        try subscriber.ask(&publisher, hosts, ["80/reviews"])
        let routes = publisher.resources(of: caller, typeURL: RouteConfiguration.typeURL)?.first
        #expect(try routes?.unpack(as: RouteConfiguration.self).virtualHosts.count == 1)
        publisher.set(service("other", 8), now: now)
        for (_, messages) in publisher.flush() { subscriber.take(messages) }
        try subscriber.answer(&publisher)
        #expect(subscriber.names(type).count == 4, "a new service concerns nobody who has not named it")
        publisher.set(
            KubernetesObject(json: [
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": ["name": "istio", "namespace": "istio-system"],
                "data": [
                    "mesh": """
                    accessLogFile: ""
                    extensionProviders:
                    - name: logs
                      envoyOtelAls: { service: ratings.default.svc.cluster.local, port: 80 }
                    defaultProviders: { accessLogging: [logs] }
                    """
                ],
            ]), now: now)
        for (_, messages) in publisher.flush() { subscriber.take(messages) }
        try subscriber.answer(&publisher)
        #expect(
            subscriber.names(type).contains("outbound|80||ratings.default.svc.cluster.local"),
            "the collector of the logs: \(subscriber.names(type))")
    }

    @Test("without the feature everything is as ever")
    func off() throws {
        var (publisher, _) = try start()
        let other = Subscriber(&publisher, pod: "other")
        try other.ask(&publisher, RouteConfiguration.typeURL, ["80"])
        #expect(try other.message(RouteConfiguration.self, "80")?.virtualHosts.isEmpty == false)
    }
}
