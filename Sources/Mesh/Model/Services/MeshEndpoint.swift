import KubernetesAPI

/// Where something runs.
public struct MeshLocality: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The region; empty when it is not known.
    public var region = ""
    /// The zone in it.
    public var zone = ""
    /// The part of the zone.
    public var subzone = ""

    /// Nowhere in particular.
    public init() {}

    /// Reads `region/zone/subzone`, or the same with dots (label `istio-locality`); what is missing is empty.
    public init(_ text: String) {
        let separator: Character = text.contains("/") ? "/" : "."
        let parts = text.split(separator: separator, maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
        if let first = parts.first { region = first }
        if parts.count > 1 { zone = parts[1] }
        if parts.count > 2 { subzone = parts[2] }
    }

    /// What the labels of a node say.
    init(nodeLabels: [String: String]) {
        region = nodeLabels["topology.kubernetes.io/region"] ?? ""
        zone = nodeLabels["topology.kubernetes.io/zone"] ?? ""
        subzone = nodeLabels["topology.istio.io/subzone"] ?? ""
    }

    /// Whether nothing is known.
    public var isEmpty: Bool { region.isEmpty && zone.isEmpty && subzone.isEmpty }

    /// `region/zone/subzone`.
    public var description: String { "\(region)/\(zone)/\(subzone)" }

    /// By region, zone, subzone.
    public static func < (left: MeshLocality, right: MeshLocality) -> Bool {
        (left.region, left.zone, left.subzone) < (right.region, right.zone, right.subzone)
    }
}

/// One endpoint of a service.
public struct MeshEndpoint: Sendable, Hashable {
    /// An IP address; for services that are resolved a DNS name; or `unix://PATH`.
    public var address: String
    /// Port numbers by the name of the service port (S-5).
    public var ports: [String: Int]
    /// `ready`, with the API's default (S-6).
    public var isReady = true
    /// `serving`, with the API's default.
    public var isServing = true
    /// `terminating`, with the API's default.
    public var isTerminating = false
    /// The pod behind it.
    public var pod: NamespacedName?
    /// The pod's own name in a headless service.
    public var hostname: String?
    /// The labels of the pod or WorkloadEntry.
    public var labels: [String: String] = [:]
    /// Where it runs.
    public var locality = MeshLocality()
    /// The node that it runs on; empty when it is not known.
    public var node = ""
    /// Its share of the traffic compared with its neighbours'.
    public var weight = 1
    /// The service account by which it is known; empty when it is not.
    public var serviceAccount = ""
    /// The network that it is in; empty for that of the mesh.
    public var network = ""
    /// Where it is written.
    public var place: Provenance

    /// An endpoint that a WorkloadEntry describes, for the ports of a service.
    ///
    /// Its own port numbers go before the service's target ports.
    init(
        _ entry: WorkloadEntry, namespace: String, ports servicePorts: [MeshService.Port], place: Provenance
    ) {
        address = entry.address
        let own = entry.ports
        ports = Dictionary(
            servicePorts.map { port in
                let number: Int
                switch port.target {
                case .int(let target): number = own[port.name] ?? target
                case .string(let name): number = own[port.name] ?? own[name] ?? port.number
                }
                return (port.name, number)
            }, uniquingKeysWith: { first, _ in first })
        labels = entry.labels
        locality = MeshLocality(entry.locality.isEmpty ? labels["istio-locality"] ?? "" : entry.locality)
        weight = max(1, entry.weight ?? 1)
        serviceAccount = entry.serviceAccount
        network = entry.network
        self.place = place
    }

    /// An endpoint with the least that must be known.
    init(address: String, ports: [String: Int], place: Provenance) {
        self.address = address
        self.ports = ports
        self.place = place
    }

    /// The number of a service port at this endpoint; a slice made by hand may leave its only port unnamed (S-13).
    func number(of port: MeshService.Port) -> Int? {
        ports[port.name] ?? (ports.count == 1 ? ports[""] : nil)
    }

    /// Whether its labels are at least these.
    func has(_ labels: [String: String]) -> Bool { labels.allSatisfy { self.labels[$0.key] == $0.value } }
}
