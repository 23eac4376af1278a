/// What a proxy's page of metrics says about its clusters: Envoy's names, as our proxy and Envoy write them.
public struct ProxyPage: Sendable, Hashable {
    /// The query of the page that says all that is read here and little else.
    public static let query =
        "usedonly&standard=compact&filter=%5E(cluster%5C.(outbound%5C%7C%7Cinbound%5C%7C%7CPassthroughCluster%7CBlackHoleCluster)"
        + "%7Cserver%5C.uptime%7Cserver%5C.days_until_first_cert_expiring%7Cserver%5C.first_cert_left_percent)"

    /// Why a request failed, by the letters of the response flag that goes with it.
    public static let flags: [(flag: String, counter: String)] = [
        ("UO", "upstream_rq_pending_overflow"), ("UT", "upstream_rq_timeout"), ("UF", "upstream_cx_connect_fail"),
        ("UH", "upstream_cx_none_healthy"), ("URX", "upstream_rq_retry_limit_exceeded"),
        ("UR", "upstream_rq_rx_reset"),
    ]

    /// The counters and gauges of one cluster.
    public struct Cluster: Sendable, Hashable {
        /// Responses by status code.
        public var responses: [UInt16: Double] = [:]
        /// Times of requests: how many are not above each bound, by the bound's place.
        public var timeBuckets: [Int16: Double] = [:]
        /// The sum of the times, in milliseconds.
        public var timeSum = 0.0
        /// Bytes to the hosts.
        public var sent = 0.0
        /// Bytes from the hosts.
        public var received = 0.0
        /// Connections that were opened.
        public var connections = 0.0
        /// Connections that are open.
        public var open = 0.0
        /// Handshakes of TLS that were done.
        public var handshakes = 0.0
        /// Further tries.
        public var retries = 0.0
        /// Failures by response flag.
        public var failures: [String: Double] = [:]
        /// Hosts, those of them that are healthy, and those that were ejected.
        public var members: Double?
        /// Hosts that may be used.
        public var healthy: Double?
        /// Hosts that outlier detection keeps out.
        public var ejected: Double?
    }

    /// Clusters at most of one page (ATK-19).
    static let clustersMax = 20_000

    /// By name.
    public var clusters: [String: Cluster] = [:]
    /// Istio's standard metrics by their labels; nil when the proxy does not tell them.
    public var standard: [Labels: StandardFigures]?
    /// Seconds since the proxy was started.
    public var uptime: Double?
    /// Days until the first certificate expires.
    public var certificateDays: Double?
    /// What share of its life is left to the certificate that is nearest to its end, in percent.
    public var certificateLeft: Double?
    /// Lines that were no samples, or too many.
    public var refused = 0

    /// Reads a page.
    public init(_ page: [UInt8]) {
        var parser = ExpositionParser()
        parser.parse(page) { sample in
            guard sample.value.isFinite, sample.value >= 0 else { return }
            switch sample.name {
            case "envoy_server_uptime": uptime = sample.value
            case "envoy_server_first_cert_left_percent": certificateLeft = sample.value
            case "envoy_server_days_until_first_cert_expiring": certificateDays = sample.value
            default: take(sample)
            }
        }
        refused += parser.malformed + parser.refused
        standard = StandardFigures.read(page, refused: &refused)
    }

    private static let prefix = "envoy_cluster_"

    private mutating func take(_ sample: ExpositionParser.Sample) {
        guard sample.name.hasPrefix(Self.prefix), let name = sample.label("envoy_cluster_name") else { return }
        guard clusters[name] != nil || clusters.count < Self.clustersMax else {
            refused += 1
            return
        }
        let metric = sample.name.dropFirst(Self.prefix.count)
        var cluster = clusters[name] ?? Cluster()
        let value = sample.value
        switch metric {
        case "upstream_rq":
            guard let code = sample.label("envoy_response_code").flatMap({ UInt16($0) }), code < 1000 else { return }
            cluster.responses[code] = value
        case "upstream_rq_time_bucket":
            guard let bound = sample.label("le").flatMap({ NumberText.parse($0) }) else { return }
            cluster.timeBuckets[BucketScheme.proxy.index(of: bound)] = value
        case "upstream_rq_time_sum": cluster.timeSum = value
        case "upstream_cx_tx_bytes_total": cluster.sent = value
        case "upstream_cx_rx_bytes_total": cluster.received = value
        case "upstream_cx_total": cluster.connections = value
        case "upstream_cx_active": cluster.open = value
        case "ssl_handshake": cluster.handshakes = value
        case "upstream_rq_retry": cluster.retries = value
        case "membership_total": cluster.members = value
        case "membership_healthy": cluster.healthy = value
        case "outlier_detection_ejections_active": cluster.ejected = value
        default:
            guard let flag = Self.flags.first(where: { $0.counter == metric })?.flag else { return }
            cluster.failures[flag] = value
        }
        clusters[name] = cluster
    }
}

/// Whom a cluster's name means: `outbound|9080|v1|reviews.default.svc.cluster.local`.
public struct ClusterTarget: Sendable, Hashable {
    /// Whether requests come in to the proxy's own pod.
    public var isInbound: Bool
    /// The port of the service, or of the pod.
    public var port: String
    /// The subset of a DestinationRule; empty without one.
    public var subset: String
    /// The host; empty for the proxy's own pod.
    public var host: String

    /// Reads a cluster's name; nil when it means nobody whom the mesh knows.
    public init?(_ name: String) {
        if name == "PassthroughCluster" || name == "BlackHoleCluster" {
            (isInbound, port, subset, host) = (false, "", "", name)
            return
        }
        let parts = name.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 4, parts[0] == "outbound" || parts[0] == "inbound" else { return nil }
        (isInbound, port, subset, host) = (parts[0] == "inbound", parts[1], parts[2], parts[3])
    }

    /// The first word of a host in the cluster, or the whole host.
    public var service: String { isService ? parts[0] : host }
    /// The namespace of a host in the cluster; empty for others.
    public var namespace: String { isService ? parts[1] : "" }

    private var parts: [String] { host.split(separator: ".").map(String.init) }
    private var isService: Bool { parts.count > 2 && parts[2] == "svc" }
}
