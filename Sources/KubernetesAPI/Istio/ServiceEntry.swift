public import Serialization

/// An Istio ServiceEntry: services that Kubernetes does not know (`networking.istio.io`, service_entry.proto).
public struct ServiceEntry: JSONView {
    /// The whole object.
    public var json: JSON
    /// Looks at `json` as a ServiceEntry.
    public init(json: JSON) { self.json = json }

    private var spec: KubernetesObject { KubernetesObject(json: json["spec"] ?? .object([:])) }
    /// The names of the service; a name may begin with `*.`.
    public var hosts: [String] { spec.strings("hosts") }
    /// Its addresses: single ones, or ranges in CIDR form.
    public var addresses: [String] { spec.strings("addresses") }
    /// Its ports.
    public var ports: [Port] { spec.views("ports") }
    /// `MESH_EXTERNAL` (also when absent) or `MESH_INTERNAL` (S-16).
    public var location: String { spec.string("location") }
    /// `NONE` (also when absent), `STATIC`, `DNS`, `DNS_ROUND_ROBIN` or `DYNAMIC_DNS` (S-14).
    public var resolution: String { spec.string("resolution") }
    /// The endpoints, written inline.
    public var endpoints: [WorkloadEntry] { (spec.json["endpoints"]?.array ?? []).map { WorkloadEntry(spec: $0) } }
    /// The labels of the pods and WorkloadEntries of its namespace that are its endpoints; `nil` without a selector.
    public var workloadSelector: [String: String]? {
        spec.json["workloadSelector"].map { KubernetesObject(json: $0).map("labels") }
    }
    /// The namespaces that see it; empty means all.
    public var exportTo: [String] { spec.strings("exportTo") }
    /// The names of which the certificate of an endpoint must have one.
    public var subjectAltNames: [String] { spec.strings("subjectAltNames") }

    /// A port of a ServiceEntry.
    public struct Port: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a port.
        public init(json: JSON) { self.json = json }
        /// The number at which callers reach it.
        public var number: Int { int("number") ?? 0 }
        /// `HTTP`, `HTTPS`, `GRPC`, `GRPC-WEB`, `HTTP2`, `MONGO`, `TCP`, `TLS`, ….
        public var `protocol`: String { string("protocol") }
        /// Its name, by which endpoints give another number.
        public var name: String { string("name") }
        /// The number at the endpoints; `nil` means `number`.
        public var targetPort: Int? { int("targetPort").flatMap { $0 > 0 ? $0 : nil } }
    }
}

/// An Istio WorkloadEntry: one endpoint outside of Kubernetes (workload_entry.proto), as an object or inline.
public struct WorkloadEntry: JSONView {
    /// The whole object.
    public var json: JSON
    /// Looks at `json` as a WorkloadEntry object.
    public init(json: JSON) { self.json = json }
    /// Looks at `spec` as what a WorkloadEntry says.
    public init(spec: JSON) { json = ["spec": spec] }

    private var spec: KubernetesObject { KubernetesObject(json: json["spec"] ?? .object([:])) }
    /// An IP address, a DNS name, or `unix://PATH`.
    public var address: String { spec.string("address") }
    /// Port numbers by the name of the service's port.
    public var ports: [String: Int] { (spec.json["ports"]?.object ?? [:]).compactMapValues(\.int) }
    /// Its labels; those of the object's metadata count, too.
    public var labels: [String: String] {
        spec.map("labels").merging(
            KubernetesObject(json: json["metadata"] ?? .object([:])).map("labels"), uniquingKeysWith: { own, _ in own })
    }
    /// The network that it is in.
    public var network: String { spec.string("network") }
    /// `region/zone/subzone`.
    public var locality: String { spec.string("locality") }
    /// Its share of the traffic, compared with its neighbours'.
    public var weight: Int? { spec.int("weight") }
    /// The service account by which it is known.
    public var serviceAccount: String { spec.string("serviceAccount") }
}

/// An Istio WorkloadGroup: the template of WorkloadEntries that register themselves (workload_group.proto).
public struct WorkloadGroup: JSONView {
    /// The whole object.
    public var json: JSON
    /// Looks at `json` as a WorkloadGroup.
    public init(json: JSON) { self.json = json }

    /// What the entries of the group have in common.
    public var template: WorkloadEntry { WorkloadEntry(spec: json["spec"]?["template"] ?? .object([:])) }
    /// The labels of the entries.
    public var labels: [String: String] {
        KubernetesObject(json: json["spec"]?["metadata"] ?? .object([:])).map("labels")
    }
    /// Whether the workloads are to be probed.
    public var hasProbe: Bool { json["spec"]?["probe"] != nil }
}
