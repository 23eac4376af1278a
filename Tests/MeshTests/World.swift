import EnvoyAPI
import KubernetesAPI
import Mesh
import Serialization
import Testing

/// A mesh described in YAML, and the questions that tests ask it.
struct World {
    var objects: MeshObjects
    var model: MeshModel

    init(_ yaml: String...) throws {
        objects = MeshObjects()
        for text in yaml {
            for document in try YAML.parse(text, file: "test") where !document.json.isNull {
                objects.set(KubernetesObject(json: document.json))
            }
        }
        model = MeshModel(objects)
    }

    func snapshot(_ pod: String = "default/caller", gateway: Bool = false) -> ProxySnapshot {
        let parts = pod.split(separator: "/").map(String.init)
        var translator = MeshTranslator(model)
        return translator.snapshot(
            for: ProxyIdentity(
                pod: NamespacedName(namespace: parts.first ?? "", name: parts.last ?? ""),
                role: gateway ? .gateway : .sidecar))
    }

    func gatewaySnapshot() -> ProxySnapshot { snapshot("skein-system/gateway", gateway: true) }

    func warnings(_ kind: MeshObjects.Kind) -> [String] {
        objects.inOrder(kind).flatMap(model.analyze).map(\.description)
    }

    /// A service without pods on port 80 that says HTTP.
    static func service(
        _ name: String, ip: Int, port: String = "{name: http, port: 80, targetPort: 8080}", extra: String = "",
        namespace: String = "default"
    ) -> String {
        """
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: \(name), namespace: \(namespace), creationTimestamp: "2026-01-01T00:00:00Z"}
        spec: {clusterIP: 10.96.0.\(ip), selector: {app: \(name)}, ports: [\(port)]\(extra)}

        """
    }

    /// A pod with its endpoint slice entry.
    static func pod(
        _ name: String, _ app: String, ip: Int, version: String = "v1", ready: Bool = true, port: Int = 8080,
        portName: String = "http", namespace: String = "default"
    ) -> String {
        """
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: \(name), namespace: \(namespace), labels: {app: \(app), version: \(version)}}
        spec: {containers: [{name: c, ports: [{name: web, containerPort: \(port)}]}]}
        status: {podIP: 10.244.0.\(ip)}
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {name: \(name), namespace: \(namespace), labels: {kubernetes.io/service-name: \(app)}}
        addressType: IPv4
        ports: [{name: "\(portName)", port: \(port)}]
        endpoints: [{addresses: [10.244.0.\(ip)], conditions: {ready: \(ready)}, targetRef: {kind: Pod, name: \(name)}}]

        """
    }

    static let gatewayPod = """
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: gateway, namespace: skein-system, labels: {istio: ingressgateway, app: istio-ingressgateway}}
        spec: {containers: []}
        status: {podIP: 10.244.0.250}

        """

    static let gateway =
        gatewayPod + """
            ---
            apiVersion: networking.istio.io/v1
            kind: Gateway
            metadata: {name: my-gateway, namespace: default}
            spec:
              selector: {istio: ingressgateway}
              servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]

            """

    /// A VirtualService in `default` with that spec.
    static func rule(
        _ name: String, created: String = "2026-01-01T00:00:00Z", namespace: String = "default", _ spec: String
    ) -> String {
        """
        ---
        apiVersion: networking.istio.io/v1
        kind: VirtualService
        metadata: {name: \(name), namespace: \(namespace), creationTimestamp: "\(created)"}
        spec:
        \(spec.split(separator: "\n", omittingEmptySubsequences: false).map { "  " + $0 }.joined(separator: "\n"))

        """
    }

    /// A DestinationRule with that spec.
    static func policy(
        _ name: String, created: String = "2026-01-01T00:00:00Z", namespace: String = "default", _ spec: String
    ) -> String {
        rule(name, created: created, namespace: namespace, spec)
            .replacing("kind: VirtualService", with: "kind: DestinationRule")
    }
}

extension ProxySnapshot {
    func route(_ name: String) throws -> RouteConfiguration {
        try #require(routes[name], "no routes \(name)").message.unpack()
    }

    /// The virtual host that answers to a domain.
    func virtualHost(_ routes: String, _ domain: String) throws -> VirtualHost {
        try #require(try route(routes).virtualHosts.first { $0.domains.contains(domain) }, "no domain \(domain)")
    }

    func cluster(_ name: String) throws -> Cluster {
        try #require(clusters[name], "no cluster \(name)").message.unpack()
    }

    func listener(_ name: String) throws -> Listener {
        try #require(listeners[name], "no listener \(name)").message.unpack()
    }

    /// The addresses of a cluster, as `IP:PORT`.
    func hosts(_ name: String) throws -> [String] {
        let assignment: ClusterLoadAssignment = try #require(endpoints[name], "no endpoints \(name)").message.unpack()
        return assignment.endpoints.flatMap(\.lbEndpoints).map { host in
            guard case .endpoint(let endpoint) = host.hostIdentifier,
                case .socketAddress(let socket) = endpoint.address?.address,
                case .portValue(let port) = socket.portSpecifier
            else { return "?" }
            return "\(socket.address):\(port)"
        }
    }

    /// Everything as JSON, for golden files.
    var json: JSON {
        get throws {
            .object([
                "clusters": try JSON.list(clusters, as: Cluster.self),
                "endpoints": try JSON.list(endpoints, as: ClusterLoadAssignment.self),
                "listeners": try JSON.list(listeners, as: Listener.self),
                "routes": try JSON.list(routes, as: RouteConfiguration.self),
            ])
        }
    }
}

extension JSON {
    fileprivate static func list<M: Message>(_ resources: [String: MeshResource], as type: M.Type) throws -> JSON {
        .object(try resources.mapValues { resource in try resource.message.unpack(as: type).json })
    }
}

extension VirtualHost {
    /// `prefix:/a -> cluster` for each route, in order; the twin routes of X-1 are shown once.
    var outline: [String] {
        var lines: [String] = []
        for route in routes {
            if lines.last != route.outline { lines.append(route.outline) }
        }
        return lines
    }
}

extension Route {
    var outline: String { "\(match?.outline ?? "?") -> \(destination)" }

    var forward: RouteAction? {
        if case .route(let action) = action { action } else { nil }
    }

    var destination: String {
        switch action {
        case .route(let action):
            switch action.clusterSpecifier {
            case .cluster(let name): name
            case .weightedClusters(let clusters):
                clusters.clusters.map { "\($0.name)=\($0.weight ?? 0)" }.joined(separator: " ")
            default: "?"
            }
        case .redirect: "redirect"
        case .directResponse(let response): "status \(response.status)"
        default: "?"
        }
    }
}

extension RouteMatch {
    var outline: String {
        switch pathSpecifier {
        case .prefix(let path): "prefix:\(path)"
        case .path(let path): "path:\(path)"
        case .pathSeparatedPrefix(let path): "elements:\(path)"
        case .safeRegex(let regex): "regex:\(regex.regex)"
        default: "?"
        }
    }
}

/// What is inside filter chains.
enum Chains {
    static func manager(_ chain: FilterChain?) throws -> HttpConnectionManager {
        guard case .typedConfig(let any) = chain?.filters.first?.configType else { throw Missing() }
        return try any.unpack()
    }

    static func proxy(_ chain: FilterChain?) throws -> TcpProxy {
        guard case .typedConfig(let any) = chain?.filters.first?.configType else { throw Missing() }
        return try any.unpack()
    }

    struct Missing: Error {}
}
