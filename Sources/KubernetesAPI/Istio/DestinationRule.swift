public import Serialization

/// An Istio DestinationRule: subsets of a service and how to talk to it (`networking.istio.io`, destination_rule.proto).
public struct DestinationRule: JSONView {
    /// The whole object.
    public var json: JSON
    /// Looks at `json` as a DestinationRule.
    public init(json: JSON) { self.json = json }

    /// Name, namespace and the rest.
    public var metadata: ObjectMeta { ObjectMeta(json: json["metadata"] ?? .object([:])) }
    private var spec: KubernetesObject { KubernetesObject(json: json["spec"] ?? .object([:])) }
    /// The host as written.
    public var host: String { spec.string("host") }
    /// The namespaces that see the rule; empty means all.
    public var exportTo: [String] { spec.strings("exportTo") }
    /// The subsets in order.
    public var subsets: [Subset] { spec.views("subsets") }
    /// The policy for the whole service.
    public var trafficPolicy: TrafficPolicy? { spec.view("trafficPolicy") }
    /// The labels of the callers that use the rule; empty means all (D-7).
    public var workloadSelector: [String: String] {
        KubernetesObject(json: spec.json["workloadSelector"] ?? .null).map("matchLabels")
    }

    /// A named part of a service's endpoints.
    public struct Subset: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a subset.
        public init(json: JSON) { self.json = json }
        /// The subset's name.
        public var name: String { string("name") }
        /// The labels that its pods have.
        public var labels: [String: String] { map("labels") }
        /// The policy that overrides the service's (D-4).
        public var trafficPolicy: TrafficPolicy? { view("trafficPolicy") }
    }

    /// How to talk to a service or subset.
    public struct TrafficPolicy: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a policy.
        public init(json: JSON) { self.json = json }
        /// Balancing.
        public var loadBalancer: LoadBalancer? { view("loadBalancer") }
        /// Limits and timeouts of connections.
        public var connectionPool: ConnectionPool? { view("connectionPool") }
        /// Ejection of failing hosts.
        public var outlierDetection: OutlierDetection? { view("outlierDetection") }
        /// `tls.mode`; empty when there is no `tls`.
        public var tlsMode: String { json["tls"]?["mode"]?.string ?? (json["tls"] == nil ? "" : "DISABLE") }
        /// `tls`.
        public var tls: ClientTLS? { view("tls") }
        /// The policies of single ports (D-4).
        public var portLevelSettings: [PortTrafficPolicy] { views("portLevelSettings") }
    }

    /// `tls`: how connections are secured (ClientTLSSettings).
    public struct ClientTLS: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as TLS settings.
        public init(json: JSON) { self.json = json }
        /// `DISABLE` (also when absent), `SIMPLE`, `MUTUAL` or `ISTIO_MUTUAL`.
        public var mode: String { json["mode"]?.string ?? "DISABLE" }
        /// A file in the proxy's pod with the certificate that is presented (`MUTUAL`).
        public var clientCertificate: String { string("clientCertificate") }
        /// A file with its key.
        public var privateKey: String { string("privateKey") }
        /// A file with the roots that the server is verified against; empty means the system's (D-8).
        public var caCertificates: String { string("caCertificates") }
        /// A Secret with certificate, key and roots, instead of files.
        public var credentialName: String { string("credentialName") }
        /// The names one of which the server's certificate must have; empty means the host's.
        public var subjectAltNames: [String] { strings("subjectAltNames") }
        /// The name that is asked for; empty means the request's host.
        public var sni: String { string("sni") }
        /// Whether the server is not verified at all.
        public var insecureSkipVerify: Bool { bool("insecureSkipVerify") }
        /// A file with a revocation list.
        public var caCrl: String { string("caCrl") }
    }

    /// The policy of one port.
    public struct PortTrafficPolicy: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a port's policy.
        public init(json: JSON) { self.json = json }
        /// The service port.
        public var port: Int? { json["port"]?["number"]?.int }
        /// The same entry as a policy.
        public var policy: TrafficPolicy { TrafficPolicy(json: json) }
    }

    /// `loadBalancer`.
    public struct LoadBalancer: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as load balancer settings.
        public init(json: JSON) { self.json = json }
        /// `ROUND_ROBIN`, `LEAST_REQUEST`, `RANDOM`, `PASSTHROUGH`, …; empty when absent.
        public var simple: String { string("simple") }
        /// Whether `consistentHash` is set.
        public var hasConsistentHash: Bool { json["consistentHash"] != nil }
        /// Whether `localityLbSetting` is set.
        public var hasLocalitySetting: Bool { json["localityLbSetting"] != nil }
        /// Whether slow start is wanted.
        public var hasWarmup: Bool { json["warmupDurationSecs"] != nil || json["warmup"] != nil }
    }

    /// `connectionPool`.
    public struct ConnectionPool: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as connection pool settings.
        public init(json: JSON) { self.json = json }
        private var tcp: KubernetesObject { KubernetesObject(json: json["tcp"] ?? .object([:])) }
        private var http: KubernetesObject { KubernetesObject(json: json["http"] ?? .object([:])) }
        /// Connections at most; 0 means unset (T-10).
        public var maxConnections: Int? { tcp.int("maxConnections") }
        /// Connect timeout.
        public var connectTimeout: Duration? { tcp.duration("connectTimeout") }
        /// Idle timeout of TCP connections.
        public var tcpIdleTimeout: Duration? { tcp.duration("idleTimeout") }
        /// Whether TCP keep-alive probes are set.
        public var tcpKeepalive: JSON? { tcp.json["tcpKeepalive"] }
        /// Requests waiting for a connection at most; 0 means unset.
        public var http1MaxPendingRequests: Int? { http.int("http1MaxPendingRequests") }
        /// Parallel requests at most; 0 means unset.
        public var http2MaxRequests: Int? { http.int("http2MaxRequests") }
        /// Requests on one connection at most; 0 means unlimited.
        public var maxRequestsPerConnection: Int? { http.int("maxRequestsPerConnection") }
        /// Parallel retries at most; 0 means unset.
        public var maxRetries: Int? { http.int("maxRetries") }
        /// Idle timeout of HTTP connections.
        public var idleTimeout: Duration? { http.duration("idleTimeout") }
        /// `h2UpgradePolicy`.
        public var h2UpgradePolicy: String { http.string("h2UpgradePolicy") }
    }

    /// `outlierDetection` (section O).
    public struct OutlierDetection: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as outlier detection settings.
        public init(json: JSON) { self.json = json }
        /// Consecutive 5xx answers that eject a host.
        public var consecutive5xxErrors: Int? { int("consecutive5xxErrors") ?? int("consecutiveErrors") }
        /// Consecutive 502, 503 and 504 answers that eject a host.
        public var consecutiveGatewayErrors: Int? { int("consecutiveGatewayErrors") }
        /// Time between sweeps.
        public var interval: Duration? { duration("interval") }
        /// Base of the ejection time.
        public var baseEjectionTime: Duration? { duration("baseEjectionTime") }
        /// Share of ejected hosts at most, in percent.
        public var maxEjectionPercent: Int? { int("maxEjectionPercent") }
        /// Below this share of healthy hosts all are used; 0 (the default) never.
        public var minHealthPercent: Int { int("minHealthPercent") ?? 0 }
        /// Whether failures of our own (connect, timeout) are counted apart.
        public var splitExternalLocalOriginErrors: Bool { bool("splitExternalLocalOriginErrors") }
        /// Consecutive failures of our own that eject a host.
        public var consecutiveLocalOriginFailures: Int? { int("consecutiveLocalOriginFailures") }
    }
}
