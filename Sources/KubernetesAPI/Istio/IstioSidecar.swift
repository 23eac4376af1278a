public import Serialization

/// An Istio Sidecar: what the proxies of some pods need to know (`networking.istio.io`, sidecar.proto).
public struct IstioSidecar: JSONView {
    /// The whole object.
    public var json: JSON
    /// Looks at `json` as a Sidecar.
    public init(json: JSON) { self.json = json }

    private var spec: KubernetesObject { KubernetesObject(json: json["spec"] ?? .object([:])) }
    /// The labels of the pods that it is for; empty means all of the namespace.
    public var workloadSelector: [String: String] {
        KubernetesObject(json: spec.json["workloadSelector"] ?? .null).map("labels")
    }
    /// What pods are reached by; empty means as without a Sidecar.
    public var ingress: [Ingress] { spec.views("ingress") }
    /// What pods reach; `nil` when the list is absent.
    public var egress: [Egress]? { spec.json["egress"] == nil ? nil : spec.views("egress") }
    /// `REGISTRY_ONLY` or `ALLOW_ANY`; empty means as the mesh says.
    public var outboundMode: String { spec.json["outboundTrafficPolicy"]?["mode"]?.string ?? "" }
    /// Where unmatched traffic is sent instead of where it was going.
    public var egressProxy: JSON? { spec.json["outboundTrafficPolicy"]?["egressProxy"] }
    /// The limits of connections from the proxy to the application.
    public var inboundConnectionPool: DestinationRule.ConnectionPool? { spec.view("inboundConnectionPool") }

    /// A port on which a pod is reached.
    public struct Ingress: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as an ingress listener.
        public init(json: JSON) { self.json = json }
        /// The port.
        public var port: ServiceEntry.Port { view("port") ?? ServiceEntry.Port(json: .object([:])) }
        /// The address that is listened on; empty means that of the pod.
        public var bind: String { string("bind") }
        /// `DEFAULT`, `IPTABLES` or `NONE`.
        public var captureMode: String { string("captureMode") }
        /// `127.0.0.1:PORT`, `0.0.0.0:PORT`, `[::1]:PORT`, `[::]:PORT` or `unix:///PATH`; empty means the same port.
        public var defaultEndpoint: String { string("defaultEndpoint") }
        /// TLS of connections that do not come from the mesh.
        public var tls: JSON? { json["tls"] }
        /// The limits of connections to the application on that port.
        public var connectionPool: DestinationRule.ConnectionPool? { view("connectionPool") }
    }

    /// What pods reach, on one port or on all.
    public struct Egress: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as an egress listener.
        public init(json: JSON) { self.json = json }
        /// The port; `nil` means every port for which no other entry is.
        public var port: ServiceEntry.Port? { view("port") }
        /// The address or Unix socket that is listened on; empty means as captured.
        public var bind: String { string("bind") }
        /// `DEFAULT`, `IPTABLES` or `NONE`.
        public var captureMode: String { string("captureMode") }
        /// `NAMESPACE/HOST`: `*`, `.`, `~` or a name; a name, `*` or `*.suffix`.
        public var hosts: [String] { strings("hosts") }
    }
}
