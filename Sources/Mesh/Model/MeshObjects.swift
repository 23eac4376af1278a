public import KubernetesAPI
import Serialization

/// Namespace and name of an object; ordered by namespace, then name.
public struct NamespacedName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The namespace; empty for cluster-scoped kinds.
    public var namespace: String
    /// The name.
    public var name: String

    /// Makes the pair.
    public init(namespace: String, name: String) {
        self.namespace = namespace
        self.name = name
    }

    /// `namespace/name`.
    public var description: String { "\(namespace)/\(name)" }

    /// By namespace, then name.
    public static func < (left: NamespacedName, right: NamespacedName) -> Bool {
        (left.namespace, left.name) < (right.namespace, right.name)
    }
}

/// The objects that the mesh is made of, as the watch delivered them.
public struct MeshObjects: Sendable, Hashable {
    /// The kinds that matter to the mesh.
    public enum Kind: String, CaseIterable, Sendable, Hashable {
        /// `v1` Service.
        case service = "Service"
        /// `discovery.k8s.io` EndpointSlice.
        case endpointSlice = "EndpointSlice"
        /// `v1` Pod.
        case pod = "Pod"
        /// `v1` Namespace.
        case namespace = "Namespace"
        /// `v1` Node.
        case node = "Node"
        /// `v1` Secret.
        case secret = "Secret"
        /// `networking.istio.io` ServiceEntry.
        case serviceEntry = "ServiceEntry"
        /// `networking.istio.io` WorkloadEntry.
        case workloadEntry = "WorkloadEntry"
        /// `networking.istio.io` WorkloadGroup.
        case workloadGroup = "WorkloadGroup"
        /// `networking.istio.io` VirtualService.
        case virtualService = "VirtualService"
        /// `networking.istio.io` DestinationRule.
        case destinationRule = "DestinationRule"
        /// `networking.istio.io` Gateway.
        case gateway = "Gateway"
        /// `networking.istio.io` Sidecar.
        case sidecar = "Sidecar"
        /// `networking.istio.io` ProxyConfig.
        case proxyConfig = "ProxyConfig"
        /// `networking.istio.io` EnvoyFilter.
        case envoyFilter = "EnvoyFilter"
        /// `security.istio.io` PeerAuthentication.
        case peerAuthentication = "PeerAuthentication"
        /// `security.istio.io` RequestAuthentication.
        case requestAuthentication = "RequestAuthentication"
        /// `security.istio.io` AuthorizationPolicy.
        case authorizationPolicy = "AuthorizationPolicy"
        /// `telemetry.istio.io` Telemetry.
        case telemetry = "Telemetry"
        /// `gateway.networking.k8s.io` GatewayClass.
        case gatewayClass = "GatewayClass"
        /// `gateway.networking.k8s.io` Gateway.
        case gatewayAPIGateway = "GatewayAPIGateway"
        /// `gateway.networking.k8s.io` HTTPRoute.
        case httpRoute = "HTTPRoute"
        /// `gateway.networking.k8s.io` GRPCRoute.
        case grpcRoute = "GRPCRoute"
        /// `gateway.networking.k8s.io` TLSRoute.
        case tlsRoute = "TLSRoute"
        /// `gateway.networking.k8s.io` TCPRoute.
        case tcpRoute = "TCPRoute"
        /// `gateway.networking.k8s.io` UDPRoute.
        case udpRoute = "UDPRoute"
        /// `gateway.networking.k8s.io` ReferenceGrant.
        case referenceGrant = "ReferenceGrant"
        /// `gateway.networking.k8s.io` BackendTLSPolicy.
        case backendTLSPolicy = "BackendTLSPolicy"
        /// `gateway.networking.k8s.io` ListenerSet.
        case listenerSet = "ListenerSet"
        /// `networking.k8s.io` Ingress.
        case ingress = "Ingress"
        /// `networking.k8s.io` IngressClass.
        case ingressClass = "IngressClass"
        /// `v1` ConfigMap; only the mesh configuration and those with a `ca.crt` are kept.
        case configMap = "ConfigMap"

        /// The API group of the kind.
        public var group: String {
            switch self {
            case .service, .pod, .namespace, .configMap, .node, .secret: ""
            case .endpointSlice: "discovery.k8s.io"
            case .virtualService, .destinationRule, .gateway, .serviceEntry, .workloadEntry, .workloadGroup, .sidecar,
                .proxyConfig, .envoyFilter:
                "networking.istio.io"
            case .peerAuthentication, .requestAuthentication, .authorizationPolicy: "security.istio.io"
            case .telemetry: "telemetry.istio.io"
            case .gatewayClass, .gatewayAPIGateway, .httpRoute, .grpcRoute, .tlsRoute, .tcpRoute, .udpRoute,
                .referenceGrant, .backendTLSPolicy, .listenerSet:
                "gateway.networking.k8s.io"
            case .ingress, .ingressClass: "networking.k8s.io"
            }
        }

        /// The `kind` of its objects; two groups have a `Gateway`.
        public var name: String { self == .gatewayAPIGateway ? "Gateway" : rawValue }

        private struct GroupKind: Hashable {
            var group: String
            var kind: String
        }

        private static let byGroupKind: [GroupKind: Kind] = Dictionary(
            allCases.map { (GroupKind(group: $0.group, kind: $0.name), $0) }, uniquingKeysWith: { first, _ in first })

        /// The kind of that group and name, if it matters to the mesh.
        public init?(group: String, kind: String) {
            guard let found = Self.byGroupKind[GroupKind(group: group, kind: kind)] else { return nil }
            self = found
        }
    }

    private var objects: [Kind: [NamespacedName: KubernetesObject]] = [:]

    /// No objects.
    public init() {}

    /// The objects of that list.
    public init(_ list: some Sequence<KubernetesObject>) {
        for object in list { set(object) }
    }

    /// The kind of the object, if it matters to the mesh.
    public static func kind(of object: KubernetesObject) -> Kind? {
        guard let kind = Kind(group: object.group, kind: object.kind) else { return nil }
        if kind == .configMap && !isUsed(configMap: object) { return nil }
        return kind
    }

    /// The mesh configuration, and certificate authorities that gateways may refer to.
    private static func isUsed(configMap object: KubernetesObject) -> Bool {
        (object.namespace == Mesh.rootNamespace && object.name == "istio")
            || object.json["data"]?["ca.crt"]?.string != nil
    }

    /// Adds or replaces an object and tells its kind when the mesh differs afterwards; other kinds are left out.
    @discardableResult
    public mutating func set(_ object: KubernetesObject) -> Kind? {
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        guard let kind = Self.kind(of: object) else {
            // A ConfigMap may have lost what made it matter.
            guard object.group.isEmpty, object.kind == Kind.configMap.name else { return nil }
            return objects[.configMap]?.removeValue(forKey: key) == nil ? nil : .configMap
        }
        guard objects[kind]?[key] != object else { return nil }
        objects[kind, default: [:]][key] = object
        return kind
    }

    /// Removes an object and tells its kind when it was there.
    @discardableResult
    public mutating func remove(_ object: KubernetesObject) -> Kind? {
        guard let kind = Kind(group: object.group, kind: object.kind) else { return nil }
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        return objects[kind]?.removeValue(forKey: key) == nil ? nil : kind
    }

    /// Puts an object in its place, or takes away what is there.
    mutating func put(_ object: KubernetesObject?, _ kind: Kind, _ key: NamespacedName) {
        objects[kind, default: [:]][key] = object
    }

    /// The names of all objects by kind.
    var keys: [Kind: Set<NamespacedName>] { objects.mapValues { Set($0.keys) } }

    /// The object of that kind and name.
    public func object(_ kind: Kind, _ key: NamespacedName) -> KubernetesObject? { objects[kind]?[key] }

    /// The objects of one kind, oldest first, then by name and namespace: the order in which configuration counts (H-6).
    public func inOrder(_ kind: Kind) -> [KubernetesObject] {
        (objects[kind] ?? [:]).values.map { (ObjectAge($0), $0) }.sorted { $0.0 < $1.0 }.map(\.1)
    }
}
