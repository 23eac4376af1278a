/// Chooses hosts of one cluster on one loop.
///
/// It first draws a priority by its load, then (when places count) a locality, then a host by the policy. A host that the
/// request names itself comes before all that, and a subset narrows all that.
public final class LoadBalancer {
    /// What a choice may look at besides chance.
    public struct Request {
        /// Hash of the request for ring hash and Maglev; nil makes them choose by chance (B-3).
        public var hash: UInt64?
        /// Now, in nanoseconds of a monotonic clock: slow start, reported weights and moving averages go by it.
        public var now: UInt64 = 0
        /// Canaries are avoided like hosts that were tried already.
        public var avoidsCanaries = false
        /// How often to draw again for a host that is not avoided.
        public var attemptsMax = 0
        /// Without the named host the request fails.
        public var overrideIsStrict = false
        /// What few requests wish for: a request that wishes for nothing carries none of it about.
        private var wishes: Wishes?

        private final class Wishes {
            var avoiding: [Host] = []
            var avoidedMetadata: MetadataCriteria?
            var avoidedPriorities: [Int] = []
            var criteria: MetadataCriteria?
            var overrides: [HostAddress] = []

            init(_ other: Wishes?) {
                guard let other else { return }
                avoiding = other.avoiding
                avoidedMetadata = other.avoidedMetadata
                avoidedPriorities = other.avoidedPriorities
                criteria = other.criteria
                overrides = other.overrides
            }
        }

        /// The wishes, this copy's own.
        private mutating func ownWishes() -> Wishes {
            if isKnownUniquelyReferenced(&wishes), let wishes { return wishes }
            let own = Wishes(wishes)
            wishes = own
            return own
        }

        /// Hosts that were tried already; they are chosen again only after `attemptsMax` other draws.
        public var avoiding: [Host] {
            get { wishes?.avoiding ?? [] }
            set { if wishes != nil || !newValue.isEmpty { ownWishes().avoiding = newValue } }
        }

        /// Hosts with this metadata (namespace `envoy.lb`) are avoided in the same way.
        public var avoidedMetadata: MetadataCriteria? {
            get { wishes?.avoidedMetadata }
            set { if wishes != nil || newValue != nil { ownWishes().avoidedMetadata = newValue } }
        }

        /// Priorities that were tried already.
        public var avoidedPriorities: [Int] {
            get { wishes?.avoidedPriorities ?? [] }
            set { if wishes != nil || !newValue.isEmpty { ownWishes().avoidedPriorities = newValue } }
        }

        /// The subset wanted.
        public var criteria: MetadataCriteria? {
            get { wishes?.criteria }
            set { if wishes != nil || newValue != nil { ownWishes().criteria = newValue } }
        }

        /// Addresses of hosts to use before all others, in their order.
        public var overrides: [HostAddress] {
            get { wishes?.overrides ?? [] }
            set { if wishes != nil || !newValue.isEmpty { ownWishes().overrides = newValue } }
        }

        /// Nothing special.
        public init() {}

        var wishesForNothing: Bool { wishes == nil }

        func refuses(_ host: Host) -> Bool {
            if avoiding.contains(where: { $0 === host }) || (avoidsCanaries && host.isCanary) { return true }
            guard let avoidedMetadata, !avoidedMetadata.isEmpty else { return false }
            let metadata = host.balancingMetadata
            return avoidedMetadata.criteria.allSatisfy { metadata[$0.key] == $0.value }
        }
    }

    /// The proxy's own place, and the cluster it belongs to, for zone aware and nearest balancing.
    public final class Place {
        /// Where the proxy stands.
        public var locality: Locality
        /// The proxies of the proxy's own cluster (`local_cluster_name`); nil is unknown.
        public var localCluster: HostSet?

        /// A place.
        public init(locality: Locality, localCluster: HostSet? = nil) {
            self.locality = locality
            self.localCluster = localCluster
        }
    }

    /// The hosts it chooses from.
    public let hostSet: HostSet
    private let rules: BalancingRules
    private let place: Place?
    private var whole: PriorityBalancer
    private var subsets: SubsetIndex?

    /// A balancer for a cluster.
    ///
    /// - Parameter place: Where the proxy stands; without it zone aware routing is off.
    public init(_ config: ClusterConfig, hostSet: HostSet, place: Place? = nil) {
        self.hostSet = hostSet
        self.place = place
        rules = BalancingRules(config)
        whole = PriorityBalancer(hostSet.selection, rules, place)
        if let settings = config.balancingOptions.subsets {
            subsets = SubsetIndex(settings, hostSet: hostSet, rules: rules, place: place)
        }
    }

    /// The host for a request; nil is 503, flag UH.
    ///
    /// - Parameter random: One draw; every choice inside comes from it.
    public func choose(_ request: Request = Request(), random: UInt64) -> Host? {
        if whole.selection !== hostSet.selection { whole = PriorityBalancer(hostSet.selection, rules, place) }
        if !request.wishesForNothing, !request.overrides.isEmpty {
            for address in request.overrides {
                guard let host = hostSet.host(at: address),
                    rules.options.overrideHealths.contains(host.statusForOverride)
                else { continue }
                if !request.refuses(host) { return host }
            }
            if request.overrideIsStrict { return nil }
        }
        var draws = SplitMix64(seed: random)
        if subsets == nil { return Self.choose(from: whole, request, &draws) }
        return subsets?.choose(request, whole: whole, &draws)
    }

    /// What choices came across, for counters.
    public struct Notes: Sendable, Hashable {
        /// Choices in panic (`lb_healthy_panic`).
        public var panics: UInt64 = 0
        /// Choices from a subset.
        public var subsets: UInt64 = 0
        /// Choices by the fallback of subsets.
        public var fallbacks: UInt64 = 0
        fileprivate var isEmpty = true

        mutating func add(_ path: WritableKeyPath<Notes, UInt64>) {
            self[keyPath: path] &+= 1
            isEmpty = false
        }
    }

    /// Whether there is anything to count.
    public var hasNotes: Bool { !rules.notes.isEmpty }

    /// What there is to count, once.
    public func takeNotes() -> Notes {
        defer { rules.notes = Notes() }
        return rules.notes
    }

    static func choose(from balancer: PriorityBalancer, _ request: Request, _ draws: inout SplitMix64) -> Host? {
        var host = balancer.choose(request, attempt: 0, &draws)
        var attempt = 0
        while let candidate = host, attempt < request.attemptsMax, request.refuses(candidate) {
            attempt += 1
            host = balancer.choose(request, attempt: attempt, &draws)
        }
        return host
    }
}

extension Host {
    /// What `override_host_status` is compared with.
    fileprivate var statusForOverride: EndpointTable.Health {
        if !conditions.isDisjoint(with: [.failedActiveCheck, .ejected, .endpointUnhealthy, .removed]) {
            return .unhealthy
        }
        if conditions.contains(.draining) { return .draining }
        return health == .degraded ? .degraded : .healthy
    }
}

/// What of a cluster's configuration its balancers go by.
final class BalancingRules {
    let policy: ClusterConfig.Balancing
    /// The policy goes by a hash. (To look at `policy` for each choice would copy it.)
    let isHashing: Bool
    /// The policy is nearest.
    let isNearest: Bool
    let options: ClusterConfig.BalancingOptions
    var localities: ClusterConfig.LocalityBalancing
    let failsInPanic: Bool
    let hashesHostnames: Bool
    let weigher: HostWeigher
    /// What choices came across since somebody asked; all balancers of a cluster on one loop write here.
    var notes = LoadBalancer.Notes()

    init(_ config: ClusterConfig) {
        policy = config.balancing
        switch policy {
        case .ringHash, .maglev: (isHashing, isNearest) = (true, false)
        case .nearest: (isHashing, isNearest) = (false, true)
        default: (isHashing, isNearest) = (false, false)
        }
        options = config.balancingOptions
        localities = config.localityBalancing
        failsInPanic = config.failsInPanic
        hashesHostnames = config.hashesHostnames
        weigher = HostWeigher(options, policy)
    }
}
