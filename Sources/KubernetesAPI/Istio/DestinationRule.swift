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
        /// Looks at `json` as a traffic policy.
        public init(json: JSON) { self.json = json }
        /// How endpoints are chosen.
        public var loadBalancer: LoadBalancer? { view("loadBalancer") }
        /// Limits of connections and requests.
        public var connectionPool: ConnectionPool? { view("connectionPool") }
        /// When endpoints are left out for a while.
        public var outlierDetection: OutlierDetection? { view("outlierDetection") }
        /// TLS to the endpoints.
        public var tls: ClientTLS? { view("tls") }
        /// `tls.mode`; empty when there is no `tls`.
        public var tlsMode: String { tls?.mode ?? "" }
        /// The policies of single ports (D-4).
        public var portLevelSettings: [PortTrafficPolicy] { views("portLevelSettings") }
        /// How TCP connections are carried through an HTTP proxy.
        public var tunnel: Tunnel? { view("tunnel") }
        /// `V1` or `V2`: connections begin with a PROXY protocol header; empty means none.
        public var proxyProtocol: String {
            json["proxyProtocol"].map { $0["version"]?.string ?? "V1" } ?? ""
        }
        /// How many requests may be retries (T-11).
        public var retryBudget: RetryBudget? { view("retryBudget") }
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

    /// `tunnel`.
    public struct Tunnel: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as tunnel settings.
        public init(json: JSON) { self.json = json }
        /// `CONNECT` (also when absent) or `POST`.
        public var `protocol`: String { string("protocol").isEmpty ? "CONNECT" : string("protocol") }
        /// The host that the proxy is to connect to.
        public var targetHost: String { string("targetHost") }
        /// Its port.
        public var targetPort: Int { int("targetPort") ?? 0 }
    }

    /// `retryBudget`.
    public struct RetryBudget: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a retry budget.
        public init(json: JSON) { self.json = json }
        /// Share of the active requests that may be retries, in percent.
        public var percent: Double? { json["percent"]?["value"]?.double ?? json["percent"]?.double }
        /// Retries that are always allowed at a time.
        public var minRetryConcurrency: Int? { int("minRetryConcurrency") }
        /// How long requests count for the share.
        public var interval: Duration? { duration("budgetInterval") }
    }

    /// `tls`.
    public struct ClientTLS: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as TLS settings of a client.
        public init(json: JSON) { self.json = json }
        /// `DISABLE` (also when absent), `SIMPLE`, `MUTUAL` or `ISTIO_MUTUAL`.
        public var mode: String { json["mode"]?.string ?? "DISABLE" }
        /// File of the client's certificate.
        public var clientCertificate: String { string("clientCertificate") }
        /// File of its key.
        public var privateKey: String { string("privateKey") }
        /// File of the certificates that the server's is verified with; empty means those of the system (D-8).
        public var caCertificates: String { string("caCertificates") }
        /// File of revoked certificates.
        public var caCRL: String { string("caCrl") }
        /// The Secret with all of these; in place of files.
        public var credentialName: String { string("credentialName") }
        /// The names of which the server's certificate must have one.
        public var subjectAltNames: [String] { strings("subjectAltNames") }
        /// The server name that is asked for; empty means the host of the request (D-8).
        public var sni: String { string("sni") }
        /// Whether the server's certificate is not verified.
        public var insecureSkipVerify: Bool { bool("insecureSkipVerify") }
    }
}

extension DestinationRule {
    /// `loadBalancer`.
    public struct LoadBalancer: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as load balancer settings.
        public init(json: JSON) { self.json = json }
        /// `ROUND_ROBIN`, `LEAST_REQUEST`, `RANDOM`, `PASSTHROUGH`, …; empty when absent.
        public var simple: String { string("simple") }
        /// `consistentHash`: the same requests go to the same endpoint.
        public var consistentHash: ConsistentHash? { view("consistentHash") }
        /// `backendUtilization`: weights follow what endpoints report.
        public var backendUtilization: BackendUtilization? { view("backendUtilization") }
        /// Whether requests stay in the caller's region.
        public var zoneAwareSetting: ZoneAwareSetting? { view("zoneAwareLbSetting") }
        /// Which localities are preferred.
        public var localitySetting: LocalitySetting? { view("localityLbSetting") }
        /// How new endpoints are given little at first.
        public var warmup: Warmup? {
            if let warmup: Warmup = view("warmup") { return warmup }
            return json["warmupDurationSecs"].map { Warmup(json: ["duration": $0]) }
        }
    }

    /// `consistentHash`.
    public struct ConsistentHash: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as consistent hash settings.
        public init(json: JSON) { self.json = json }
        /// Whether something of the request is named that chooses the endpoint.
        public var hasKey: Bool {
            !string("httpHeaderName").isEmpty || json["httpCookie"] != nil || bool("useSourceIp")
                || !string("httpQueryParameterName").isEmpty
        }
        /// Whether the table is Maglev's.
        public var usesMaglev: Bool { json["maglev"] != nil }
        /// Maglev's table size; `nil` means the default.
        public var tableSize: Int? { json["maglev"]?["tableSize"]?.int }
        /// The ring's size at least; `nil` means the default.
        public var minimumRingSize: Int? { json["ringHash"]?["minimumRingSize"]?.int ?? int("minimumRingSize") }
    }

    /// `backendUtilization`: endpoints get as much as they report to have room for (ORCA).
    public struct BackendUtilization: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as settings of utilization.
        public init(json: JSON) { self.json = json }
        /// How long an endpoint reports before its weight counts.
        public var stabilization: Duration? { duration("weightStabilizationPeriod") }
        /// After how long without a report its weight counts no more.
        public var expiration: Duration? { duration("weightExpirationPeriod") }
        /// How often weights are computed.
        public var update: Duration? { duration("weightUpdatePeriod") }
        /// What errors cost, in percent of the utilization.
        public var errorPenaltyPercent: Int? { int("errorUtilizationPenaltyPercent") }
        /// Names of the metrics that are the utilization; empty means the usual ones.
        public var metricNames: [String] { strings("metricNamesForComputingUtilization") }
    }

    /// `zoneAwareLbSetting`: requests stay in the caller's region, spread over its zones.
    public struct ZoneAwareSetting: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as zone-aware settings.
        public init(json: JSON) { self.json = json }
        /// Whether regions count at all.
        public var isEnabled: Bool { json["enabled"]?.bool ?? true }
        /// Endpoints that the region must have for zones to count.
        public var minClusterSize: Int? { int("minClusterSize") }
        /// Where traffic of a region goes when it has no healthy endpoint.
        public var failover: [Failover] { views("failover") }
        /// The labels by which endpoints are alike (B-7).
        public var failoverPriority: [String] { strings("failoverPriority") }
    }

    /// `warmup`.
    public struct Warmup: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as warm-up settings.
        public init(json: JSON) { self.json = json }
        /// How long it lasts.
        public var duration: Duration? { self.duration("duration") }
        /// The share at the beginning, in percent.
        public var minimumPercent: Double? { json["minimumPercent"]?.double }
        /// How fast the share grows; 1 is linear.
        public var aggression: Double? { json["aggression"]?.double }
    }

    /// `localityLbSetting`.
    public struct LocalitySetting: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as locality settings.
        public init(json: JSON) { self.json = json }
        /// Whether localities count at all.
        public var isEnabled: Bool { json["enabled"]?.bool ?? true }
        /// Shares of traffic by the locality of the caller (B-8).
        public var distribute: [Distribute] { views("distribute") }
        /// Where traffic of a region goes when it has no healthy endpoint.
        public var failover: [Failover] { views("failover") }
        /// The labels by which endpoints are alike (B-7).
        public var failoverPriority: [String] { strings("failoverPriority") }
    }

    /// An entry of `distribute`.
    public struct Distribute: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as shares.
        public init(json: JSON) { self.json = json }
        /// The locality of the caller: `region/zone/*`.
        public var from: String { string("from") }
        /// Percent by locality of the endpoint.
        public var to: [String: Int] { (json["to"]?.object ?? [:]).compactMapValues(\.int) }
    }

    /// An entry of `failover`.
    public struct Failover: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as a failover.
        public init(json: JSON) { self.json = json }
        /// The region of the caller.
        public var from: String { string("from") }
        /// The region that is next.
        public var to: String { string("to") }
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
        /// How long a connection may last.
        public var maxConnectionDuration: Duration? { tcp.duration("maxConnectionDuration") }
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
        /// `DEFAULT`, `DO_NOT_UPGRADE` or `UPGRADE`: whether HTTP/1.1 requests go on as HTTP/2.
        public var h2UpgradePolicy: String { http.string("h2UpgradePolicy") }
        /// Whether requests go on in the version of HTTP in which they came.
        public var useClientProtocol: Bool { http.bool("useClientProtocol") }
        /// How often HTTP/2 connections are asked whether they are alive, and how long the answer may take; `nil`: never.
        public var http2KeepAlive: (interval: Duration?, timeout: Duration?)? {
            guard let json = http.json["http2KeepAlive"] else { return nil }
            let view = KubernetesObject(json: json)
            return (view.duration("interval"), view.duration("timeout"))
        }
        /// Streams on one HTTP/2 connection at most; 0 means unset.
        public var maxConcurrentStreams: Int? { http.int("maxConcurrentStreams") }
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
        /// The statuses that count as errors in place of 5xx; empty means 5xx (O-8).
        public var errorCodes: [Int] { (json["outlierDetectionHttpErrorCodes"]?.array ?? []).compactMap(\.int) }
    }
}
