public import Serialization

/// A compiled `Cluster`: how its hosts are found, chosen, connected to and judged.
///
/// A value whose copies share their storage until one changes: ten thousand clusters stand in the tables of the process and in every loop.
@dynamicMemberLookup
public struct ClusterConfig: Sendable {
    private final class Storage: @unchecked Sendable {
        // Changed only while one copy alone holds it (the setter below).
        var settings: Settings
        init(_ settings: Settings) { self.settings = settings }
    }

    private var storage: Storage

    /// A cluster with Envoy's defaults.
    public init(name: String, discovery: Discovery) {
        storage = Storage(Settings(name: name, discovery: discovery))
    }

    init(_ settings: Settings) { storage = Storage(settings) }

    /// Whether the two are copies of one that neither has changed since.
    public func isSame(as other: ClusterConfig) -> Bool { storage === other.storage }

    /// A loop has it from the start, not from the first request on: what it knows of the hosts has a past (results of active checks,
    /// reports out of band, the time from which slow start counts).
    public var isMadeAtOnce: Bool {
        !self.healthChecks.isEmpty || self.balancingOptions.slowStart != nil || self.reportedWeights?.outOfBand != nil
    }

    /// One of the settings.
    @inline(__always)
    public subscript<Value>(dynamicMember path: KeyPath<Settings, Value>) -> Value { storage.settings[keyPath: path] }

    /// One of the settings.
    @inline(__always)
    public subscript<Value>(dynamicMember path: WritableKeyPath<Settings, Value>) -> Value {
        get { storage.settings[keyPath: path] }
        set {
            if !isKnownUniquelyReferenced(&storage) { storage = Storage(storage.settings) }
            storage.settings[keyPath: path] = newValue
        }
    }

    /// How its hosts are found.
    public enum Discovery: Sendable, Hashable {
        /// From `load_assignment`.
        case staticEndpoints
        /// From EDS, under this name.
        case eds(serviceName: String)
        /// All addresses of each name.
        case strictDNS
        /// One current address of the name.
        case logicalDNS
        /// Where the connection wanted to go (or a header says, when `useHTTPHeader`).
        case originalDestination(OriginalDestination)
        /// Other clusters, first choice first.
        case aggregate([String])
        /// Wherever a request wants to go, by name.
        case dynamicForwardProxy(DNSCacheSettings, isInsecureAllowed: Bool)
    }

    /// Settings of ORIGINAL_DST clusters.
    public struct OriginalDestination: Sendable, Hashable {
        /// Takes the address from a request header.
        public var header: HeaderName?
        /// Takes the address from the request's dynamic metadata.
        public var metadata: MetadataSource?
        /// Another port than the original one.
        public var portOverride: UInt16?

        /// A place in dynamic metadata.
        public struct MetadataSource: Sendable, Hashable {
            /// The namespace.
            public var namespace: String
            /// The way to the value.
            public var path: [String]
        }
    }

    /// Which DNS families are asked.
    public enum DNSFamily: Sendable, Hashable {
        /// IPv6 and, only without an answer, IPv4.
        case auto
        /// IPv4 alone.
        case v4Only
        /// IPv6 alone.
        case v6Only
        /// IPv4 and, only without an answer, IPv6.
        case v4Preferred
        /// Both.
        case all
    }

    /// HTTP version spoken upstream.
    public enum Codec: Sendable, Hashable {
        /// HTTP/1.1.
        case http1
        /// HTTP/2.
        case http2
        /// What the downstream connection speaks.
        case downstream
        /// What the host chooses by ALPN, connection by connection: HTTP/2, or else HTTP/1.1.
        case automatic
    }

    /// TCP keep-alive probes.
    public struct KeepAlive: Sendable, Hashable {
        /// Probes before the connection is dead; nil is the system's.
        public var probes: UInt32?
        /// Seconds of silence before the first; nil is the system's.
        public var timeSeconds: UInt32?
        /// Seconds between probes; nil is the system's.
        public var intervalSeconds: UInt32?

        /// The system's settings.
        public init() {}
    }

    /// Names of TLS connections that follow requests (`upstream_http_protocol_options`).
    public struct ServerNames: Sendable, Hashable {
        /// SNI is the request's host, or another header of it.
        public var followRequests = false
        /// The certificate must be good for that name.
        public var areChecked = false
        /// The header in place of the host, lower case.
        public var header: String?

        /// The transport socket's own name.
        public init() {}
    }

    /// What a cluster is made of.
    public struct Settings: Sendable {
        // Extensions of a nested type do not see what its parent nests.
        /// See `ClusterConfig.Discovery`.
        public typealias Discovery = ClusterConfig.Discovery
        /// See `ClusterConfig.OriginalDestination`.
        public typealias OriginalDestination = ClusterConfig.OriginalDestination
        /// See `ClusterConfig.DNSFamily`.
        public typealias DNSFamily = ClusterConfig.DNSFamily
        /// See `ClusterConfig.Codec`.
        public typealias Codec = ClusterConfig.Codec
        /// See `ClusterConfig.KeepAlive`.
        public typealias KeepAlive = ClusterConfig.KeepAlive
        /// See `ClusterConfig.ServerNames`.
        public typealias ServerNames = ClusterConfig.ServerNames
        /// See `ClusterConfig.Balancing`.
        public typealias Balancing = ClusterConfig.Balancing
        /// See `ClusterConfig.ReportedWeights`.
        public typealias ReportedWeights = ClusterConfig.ReportedWeights
        /// See `ClusterConfig.PeakEWMA`.
        public typealias PeakEWMA = ClusterConfig.PeakEWMA
        /// See `ClusterConfig.SlowStart`.
        public typealias SlowStart = ClusterConfig.SlowStart
        /// See `ClusterConfig.LocalityBalancing`.
        public typealias LocalityBalancing = ClusterConfig.LocalityBalancing
        /// See `ClusterConfig.ZoneAware`.
        public typealias ZoneAware = ClusterConfig.ZoneAware
        /// See `ClusterConfig.Subsets`.
        public typealias Subsets = ClusterConfig.Subsets
        /// See `ClusterConfig.OverrideSource`.
        public typealias OverrideSource = ClusterConfig.OverrideSource
        /// See `ClusterConfig.BalancingOptions`.
        public typealias BalancingOptions = ClusterConfig.BalancingOptions

        /// The cluster's name.
        public var name: String
        /// Name in metrics; empty is `name`.
        public var statName = ""
        /// What metrics and logs call it.
        public var observedName: String { statName.isEmpty ? name : statName }
        /// How its hosts are found.
        public var discovery: Discovery
        /// Endpoints that stand in the configuration itself (also the names that DNS clusters resolve).
        public var endpoints: EndpointTable?
        /// How names are looked up; nil is as the bootstrap says.
        public var resolver: ResolverSettings?
        /// How a host is chosen.
        public var balancing = Balancing.roundRobin
        /// Limit for a connection to come about.
        public var connectTimeout: Duration = .seconds(5)
        /// Connections without streams close after this; nil is never.
        ///
        /// 1 h by default (T-13).
        public var idleTimeout: Duration? = .seconds(3600)
        /// The names that TLS connections to hosts ask for and check.
        public var serverNames = ServerNames()
        /// How bytes reach the hosts when not as plain text: the proxy's, made of `transport_socket`.
        public var transport: (any ClusterTransport)?
        /// HTTP filters between the router and the hosts; nil is none.
        public var httpFilters: (any ClusterFilters)?
        /// Connections close after this, however busy; nil is never.
        public var maxConnectionDuration: Duration?
        /// How long one request may take, with its response, from its connection on; nil is for ever.
        public var maxStreamDuration: Duration?
        /// Requests on one connection before it closes; nil is unlimited.
        public var maxRequestsPerConnection: UInt32?
        /// HTTP version spoken upstream.
        public var codec = Codec.http1
        /// HTTP/2 settings, where `codec` is not HTTP/1.1.
        public var http2 = HTTP2Options()
        /// Most fields of a response head.
        public var responseHeadersMax: UInt32 = 100
        /// Longest response head.
        public var responseHeaderBytesMax: UInt32 = 80 * 1024
        /// Trailers pass to and from HTTP/1 hosts; otherwise they are dropped, as HTTP/1 allows.
        public var passesTrailers = false
        /// How the names of fields are written to HTTP/1 hosts, and what is kept of theirs.
        public var fieldNames = FieldNameFormat.lowerCase
        /// Read and write buffer of one connection in bytes.
        public var bufferBytes: UInt32?
        /// Circuit breakers.
        public var limits = ResourceLimits()
        /// How places count (`locality_weighted_lb_config`, `zone_aware_lb_config`).
        public var localityBalancing = LocalityBalancing.zoneAware(ZoneAware())
        /// Further settings of balancing.
        public var balancingOptions = BalancingOptions()
        /// Ring hash and Maglev hash the endpoints' hostnames in place of their addresses.
        public var hashesHostnames = false
        /// What requests are hashed by, whatever their route says; empty leaves it to the route.
        public var hashPolicies: [HashPolicy] = []
        /// Below this share of available hosts, in percent, all get traffic (O-7).
        public var panicThresholdPercent: Double = 50
        /// In panic, requests fail instead.
        public var failsInPanic = false
        /// Passive health checks; nil is off (O-1).
        public var outlierDetection: OutlierDetection?
        /// What outlier detection takes for a failure; nil: it goes by the status.
        public var errorMatcher: ErrorMatcher?
        /// Active health checks.
        public var healthChecks: [HealthCheckConfig] = []
        /// A host that leaves its endpoints goes at once, whatever active checks say.
        ///
        /// It does so in any case: Envoy's default, to keep such a host while its checks pass, is not built.
        public var ignoresHealthOnHostRemoval = false
        /// Connections to hosts that leave or fail are closed.
        public var closesConnectionsOnHostHealthFailure = false
        /// Connections to hosts of a priority whose hosts change are closed.
        public var closesConnectionsOnHostSetChange = false
        /// Source address of connections (`upstream_bind_config`), in text.
        public var bindAddress: String?
        /// Further source addresses, for the other family (`additional`/`extra_source_addresses`).
        public var extraBindAddresses: [String] = []
        /// TCP keep-alive; nil leaves the sockets alone.
        public var keepAlive: KeepAlive?
        /// DNS families.
        public var dnsFamily = DNSFamily.auto
        /// Time between look-ups.
        public var dnsRefreshRate: Duration = .seconds(5)
        /// Look-ups follow the answer's time to live.
        public var respectsDNSTTL = false
        /// Up to this is added to the time between look-ups, by chance.
        public var dnsJitter: Duration = .zero
        /// Time until the next look-up after one that failed; nil is `dnsRefreshRate`.
        public var dnsFailureBackOff: BackOff?
        /// How long an unused ORIGINAL_DST host is kept.
        public var cleanupInterval: Duration = .seconds(5)
        /// `metadata.filter_metadata`: provenance.
        public var metadata: JSON?

        /// Balancing goes by locality weights.
        public var isLocalityWeighted: Bool {
            get { localityBalancing == .weighted }
            set { localityBalancing = newValue ? .weighted : .zoneAware(ZoneAware()) }
        }

        /// Whether the discovery itself chooses hosts, so that no policy is needed.
        var providesBalancing: Bool { isAggregate || dnsCache != nil }

        /// The names' cache, where requests bring the names of hosts; nil for all other clusters.
        public var dnsCache: DNSCacheSettings? {
            if case .dynamicForwardProxy(let settings, _) = discovery { settings } else { nil }
        }

        /// Whether it only refers to other clusters.
        public var isAggregate: Bool { if case .aggregate = discovery { true } else { false } }

        /// Whether response times are to be recorded with the hosts.
        public var measuresLatency: Bool { if case .peakEWMA = balancing { true } else { false } }

        /// Whether bytes under way are to be counted with the hosts.
        public var countsBytes: Bool { if case .leastBytes = balancing { true } else { false } }

        /// How load reports of hosts count; nil ignores them.
        public var reportedWeights: ReportedWeights? {
            if case .reportedWeights(let settings) = balancing { settings } else { nil }
        }

        init(name: String, discovery: Discovery) {
            self.name = name
            self.discovery = discovery
        }
    }
}

/// Transport sockets of a cluster's hosts, which the proxy makes.
public protocol ClusterTransport: AnyObject, Sendable {}

/// HTTP filters that requests to a cluster's hosts pass, which the proxy makes.
public protocol ClusterFilters: AnyObject, Sendable {}
