public import KubernetesAPI

/// A Kubernetes service as the mesh sees it.
public struct MeshService: Sendable, Hashable {
    /// A port of the service.
    public struct Port: Sendable, Hashable {
        /// The service port.
        public var number: Int
        /// Its name; empty when it has none.
        public var name: String
        /// What is spoken there.
        public var portProtocol: PortProtocol
        /// The pod's port by number or name.
        public var target: IntOrString
    }

    /// Namespace and name.
    public var key: NamespacedName
    /// `name.namespace.svc.cluster.local`.
    public var host: String
    /// The service addresses; empty for headless services and external names.
    public var addresses: [String]
    /// Whether it has no address of its own (`clusterIP: None`).
    public var isHeadless: Bool
    /// The host that it stands for (`type: ExternalName`).
    public var externalName: String?
    /// The ports that are not UDP.
    public var ports: [Port]
    /// The labels of its pods; empty when the endpoints are made by hand (S-13).
    public var selector: [String: String]
    /// Whether all endpoints count as ready (S-7).
    public var publishesNotReady: Bool
    /// The namespaces that see it; empty means all.
    public var exportTo: [String]

    /// Reads a Service object.
    init(_ object: KubernetesObject) {
        let service = Service(json: object.json)
        key = NamespacedName(namespace: object.namespace, name: object.name)
        host = HostName.ofService(key)
        let spec = service.spec
        externalName = spec.type == "ExternalName" ? spec.externalName : nil
        isHeadless = spec.clusterIP == "None"
        let listed = spec.clusterIPs.isEmpty ? [spec.clusterIP] : spec.clusterIPs
        addresses = externalName == nil ? listed.filter { !$0.isEmpty && $0 != "None" } : []
        ports = spec.ports.compactMap { port in
            guard (1...65535).contains(port.port) else { return nil }
            let spoken = PortProtocol(
                transport: port.protocol, appProtocol: port.appProtocol, name: port.name, port: port.port)
            guard spoken != .udp else { return nil }
            return Port(
                number: port.port, name: port.name, portProtocol: spoken, target: port.targetPort ?? .int(port.port))
        }
        selector = spec.selector
        publishesNotReady = spec.publishNotReadyAddresses
        exportTo = (object.metadata.annotations["networking.istio.io/exportTo"] ?? "")
            .split(separator: ",").map { String($0.filter { !$0.isWhitespace }) }
    }

    /// The port of that number.
    func port(_ number: Int) -> Port? { ports.first { $0.number == number } }
}

/// One endpoint of a service.
public struct MeshEndpoint: Sendable, Hashable {
    /// The address.
    public var address: String
    /// Port numbers by the name of the service port (S-5).
    public var ports: [String: Int]
    /// `ready`, with the API's default (S-6).
    public var isReady: Bool
    /// `serving`, with the API's default.
    public var isServing: Bool
    /// `terminating`, with the API's default.
    public var isTerminating: Bool
    /// The pod behind it.
    public var pod: NamespacedName?
    /// The pod's own name in a headless service.
    public var hostname: String?
    /// The labels of the pod.
    public var labels: [String: String]
    /// The EndpointSlice that named it.
    public var slice: NamespacedName
}
