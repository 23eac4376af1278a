public import KubernetesAPI

/// A service as the mesh sees it: a Kubernetes Service, or one host of an Istio ServiceEntry.
///
/// Routes, clusters, names and policies treat both alike; what differs is in these fields.
public struct MeshService: Sendable, Hashable {
    /// Who declares services.
    public enum Registry: Sendable, Hashable {
        /// A Kubernetes Service.
        case kubernetes
        /// An Istio ServiceEntry.
        case serviceEntry
    }

    /// How the endpoints are found (S-14).
    public enum Resolution: String, Sendable, Hashable {
        /// There are none: connections go where they were going.
        case none = "NONE"
        /// They are listed.
        case fixed = "STATIC"
        /// Their names, or that of the service, are resolved; all answers count.
        case dns = "DNS"
        /// The name is resolved; a new connection takes the address of the moment.
        case dnsRoundRobin = "DNS_ROUND_ROBIN"
        /// The name that a request asks for is resolved.
        case dynamicDNS = "DYNAMIC_DNS"
    }

    /// The namespace and host by which a service is told from all others.
    public struct ID: Sendable, Hashable {
        /// The namespace of the object.
        public var namespace: String
        /// The full host name.
        public var host: String
    }

    /// Which endpoints a caller likes best (B-10).
    public enum Distribution: Sendable, Hashable {
        /// Those of its zone, then its region, then the others.
        case sameZone
        /// Those of its node, then its zone, then its region, then the others.
        case sameNode
    }

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

    /// Namespace and name of the object that declares it.
    public var key: NamespacedName
    /// What kind of object that is.
    public var registry = Registry.kubernetes
    /// `name.namespace.svc.cluster.local`, or the host of a ServiceEntry, which may begin with `*.`.
    public var host: String
    /// The addresses by which callers reach it, single ones or CIDR ranges; empty for headless services, external names,
    /// and ServiceEntries that stand for any address.
    public var addresses: [String] = []
    /// Whether the mesh chose the addresses, because the ServiceEntry has none (S-17).
    public var hasAllocatedAddresses = false
    /// Whether it has no address of its own (`clusterIP: None`).
    public var isHeadless = false
    /// The host that it stands for (`type: ExternalName`).
    public var externalName: String?
    /// The ports that are not UDP.
    public var ports: [Port] = []
    /// The labels of its pods and WorkloadEntries; empty when the endpoints are made by hand (S-13).
    public var selector: [String: String] = [:]
    /// Whether all endpoints count as ready (S-7).
    public var publishesNotReady = false
    /// The namespaces that see it; empty means all.
    public var exportTo: [String] = []
    /// How its endpoints are found.
    public var resolution = Resolution.fixed
    /// Whether it is outside of the mesh: no automatic mTLS (S-16).
    public var isExternal = false
    /// The names of which the certificate of an endpoint must have one; empty leaves it to the identity of the endpoints.
    public var subjectAltNames: [String] = []
    /// How long a client stays with its endpoint (`sessionAffinity: ClientIP`); `nil` when it does not (S-10).
    public var sessionAffinitySeconds: Int?
    /// Whether only endpoints on the caller's node count (`internalTrafficPolicy: Local`, S-11).
    public var isNodeLocal = false
    /// Whether pods that have addresses of both families are reached by IPv6: the service's first family.
    public var prefersIPv6 = false
    /// Which endpoints are preferred.
    public var distribution: Distribution?

    /// Whether the cluster's DNS answers for its host: a ServiceEntry with a single name and single addresses (S-17).
    public var isNamed: Bool {
        registry == .serviceEntry && !HostName.isWildcard(host) && addresses.contains { !$0.contains("/") }
    }

    /// What tells it from all others.
    public var id: ID { ID(namespace: key.namespace, host: host) }

    /// Where something about it is written.
    public func place(_ field: String = "spec") -> Provenance {
        Provenance(kind: registry == .kubernetes ? "Service" : "ServiceEntry", object: key, field: field)
    }

    /// The port of that number.
    func port(_ number: Int) -> Port? { ports.first { $0.number == number } }

    /// What callers in a namespace may type for it; hosts of ServiceEntries have no short forms.
    func names(callerNamespace: String) -> [String] {
        registry == .kubernetes ? HostName.forms(of: key, callerNamespace: callerNamespace) : [host]
    }

    /// Its single addresses, for virtual host domains; ranges cannot be domains.
    var domainAddresses: [String] { addresses.filter { !$0.contains("/") } }

    /// Whether connections to any address may be meant for it: a ServiceEntry without addresses (S-4, S-14).
    var takesAnyAddress: Bool { registry == .serviceEntry && addresses.isEmpty }
}

extension MeshService {
    /// How long `ClientIP` affinity lasts unless it is said (S-10).
    static let defaultAffinitySeconds = 10_800

    /// Reads a Service object.
    init(_ object: KubernetesObject) {
        let spec = Service(json: object.json).spec
        let annotations = object.metadata.annotations
        key = NamespacedName(namespace: object.namespace, name: object.name)
        host = HostName.ofService(key)
        externalName = spec.type == "ExternalName" ? spec.externalName : nil
        isHeadless = spec.clusterIP == "None"
        prefersIPv6 = (spec.ipFamilies.first ?? "") == "IPv6"
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
        exportTo = (annotations["networking.istio.io/exportTo"] ?? "")
            .split(separator: ",").map { String($0.filter { !$0.isWhitespace }) }
        if spec.sessionAffinity == "ClientIP" {
            sessionAffinitySeconds = min(max(spec.sessionAffinitySeconds ?? Self.defaultAffinitySeconds, 1), 86_400)
        }
        isNodeLocal = spec.internalTrafficPolicy == "Local"
        distribution = Self.distribution(spec.trafficDistribution) ?? Self.annotatedDistribution(annotations)
    }

    /// One host of a ServiceEntry, without allocated addresses.
    init(_ entry: ServiceEntry, key: NamespacedName, host: String, annotations: [String: String]) {
        self.key = key
        self.host = host
        registry = .serviceEntry
        addresses = entry.addresses.filter(Addresses.isAddressOrRange)
        ports = entry.ports.compactMap { port in
            guard (1...65535).contains(port.number) else { return nil }
            let spoken = PortProtocol(
                transport: port.protocol.uppercased() == "UDP" ? "UDP" : "TCP", appProtocol: port.protocol,
                name: port.name, port: port.number)
            guard spoken != .udp else { return nil }
            return Port(
                number: port.number, name: port.name, portProtocol: spoken, target: .int(port.targetPort ?? port.number)
            )
        }
        selector = entry.workloadSelector ?? [:]
        exportTo = entry.exportTo
        resolution = Resolution(rawValue: entry.resolution) ?? .none
        isExternal = entry.location != "MESH_INTERNAL"
        subjectAltNames = entry.subjectAltNames
        distribution = Self.annotatedDistribution(annotations)
    }

    /// `PreferClose` is the older name of `PreferSameZone` (B-10).
    private static func distribution(_ written: String) -> Distribution? {
        switch written.lowercased() {
        case "preferclose", "prefersamezone": .sameZone
        case "prefersamenode": .sameNode
        default: nil
        }
    }

    private static func annotatedDistribution(_ annotations: [String: String]) -> Distribution? {
        annotations["networking.istio.io/traffic-distribution"].flatMap(distribution)
    }
}
