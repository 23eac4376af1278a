public import Serialization

extension ClusterConfig {
    /// How a host is chosen among those that may be chosen.
    public enum Balancing: Sendable, Hashable {
        /// In turn, by weight.
        case roundRobin
        /// The least busy of some drawn by chance (B-1).
        case leastRequest(choiceCount: Int)
        /// By chance.
        case random
        /// By hash, on a ring.
        case ringHash(minimumSize: Int, maximumSize: Int)
        /// By hash, in a Maglev table.
        case maglev(tableSize: Int)
        /// In turn, by weights that hosts report of themselves.
        case reportedWeights(ReportedWeights)
        /// The cheaper of some drawn by chance: moving average of latency, peaks first, times requests under way.
        case peakEWMA(PeakEWMA)
        /// The one with the fewest bytes under way of some drawn by chance.
        case leastBytes(choiceCount: Int)
        /// The nearest place first, inside it the host with the shorter connect time of two.
        case nearest
        /// The original destination: the proxy makes the host.
        case clusterProvided
    }

    /// Settings of client-side weighted round robin.
    public struct ReportedWeights: Sendable, Hashable {
        /// Reports of a host count after it has reported for so long.
        public var blackoutPeriod: Duration = .seconds(10)
        /// A weight without new reports is forgotten after this.
        public var expirationPeriod: Duration = .seconds(180)
        /// Time between changes of the weights in force.
        public var updatePeriod: Duration = .seconds(1)
        /// How much errors lower the weight; 0 is not at all.
        public var errorPenalty: Double = 1
        /// Metrics whose largest is the utilization, where the report has no application utilization.
        public var metricNames: [String] = []
        /// Asks hosts for reports by streams of their own; nil is to read those that come with responses.
        public var outOfBand: OutOfBand?

        /// Envoy's defaults.
        public init() {}
    }

    /// Settings of peak EWMA.
    public struct PeakEWMA: Sendable, Hashable {
        /// Time in which an old observation loses two thirds of its weight.
        public var decayTime: Duration = .seconds(10)
        /// Cost of a host about which nothing is known yet but that has requests under way.
        public var initialLatency: Duration = .milliseconds(100)
        /// Hosts to compare.
        public var choiceCount = 2

        /// The defaults.
        public init() {}
    }

    /// More load for a new host only bit by bit (B-12).
    public struct SlowStart: Sendable, Hashable {
        /// How long a host counts as new.
        public var window: Duration
        /// How fast its share grows: 1 is linear, above 1 is faster at first.
        public var aggression: Double = 1
        /// Its share at least, as a fraction of its weight.
        public var minimumShare: Double = 0.1

        /// A window with the defaults.
        public init(window: Duration) { self.window = window }
    }

    /// How places count.
    public enum LocalityBalancing: Sendable, Hashable {
        /// Not at all.
        case none
        /// By their weights.
        case weighted
        /// The proxy's own zone first, as far as it carries its share.
        case zoneAware(ZoneAware)
    }

    /// Settings of zone aware routing.
    public struct ZoneAware: Sendable, Hashable {
        /// Percent of the requests for which zones count.
        public var enabledPercent: Double = 100
        /// Fewer hosts than this, and zones do not count.
        public var clusterSizeMin: UInt64 = 6
        /// So many healthy hosts in the own zone take everything; nil switches this off.
        public var forcedLocalHostsMin: UInt32?

        /// Envoy's defaults.
        public init() {}
    }

    /// Settings of subset balancing.
    public struct Subsets: Sendable, Hashable {
        /// What happens when a request finds no subset.
        public enum Fallback: Sendable, Hashable {
            /// The request fails.
            case none
            /// Any host will do.
            case anyHost
            /// Hosts with the default metadata.
            case defaultSubset
            /// Fewer of the request's keys count.
            case keys([String])
        }

        /// Which keys make subsets.
        public struct Selector: Sendable, Hashable {
            /// The keys, sorted.
            public var keys: [String]
            /// Each subset has one host.
            public var isSingleHost = false
            /// In place of the cluster's fallback; nil is that one.
            public var fallback: Fallback?
        }

        /// The kinds of subsets.
        public var selectors: [Selector] = []
        /// What happens when a request finds no subset.
        public var fallback = Fallback.none
        /// The metadata of the default subset.
        public var defaultSubset = MetadataCriteria()
        /// Places count by their weights inside a subset.
        public var weighsLocalities = false
        /// A place counts by the share of its hosts that are in the subset.
        public var scalesLocalityWeights = false
        /// A subset without a host that could be used gives way to any host.
        public var panicTakesAny = false
        /// A list in a host's metadata stands for each of its values.
        public var listIsAny = false
        /// The request's `fallback_list` is tried value by value.
        public var usesFallbackList = false

        /// No subsets.
        public init() {}
    }

    /// Where the address of a host to use before all others stands.
    public enum OverrideSource: Sendable, Hashable {
        /// In this request header.
        case header(HeaderName)
        /// In the request's dynamic metadata, under this namespace and path.
        case metadata(namespace: String, path: [String])
    }

    /// Further settings of balancing; Envoy's defaults.
    public struct BalancingOptions: Sendable, Hashable {
        /// New hosts start slowly; nil is off.
        public var slowStart: SlowStart?
        /// How much a host's requests under way count against its weight, in weighted least request.
        public var activeRequestBias: Double = 1
        /// Least request looks at all hosts.
        public var scansAllHosts = false
        /// Hashing: no host gets more than this percentage of the average; nil is no bound.
        public var hashBalanceFactor: UInt32?
        /// The ring's points are hashed with MurmurHash2 in place of xxHash.
        public var ringUsesMurmur = false
        /// Subsets; nil is none.
        public var subsets: Subsets?
        /// Hosts named by the request.
        public var overrideSources: [OverrideSource] = []
        /// Healths in which a host named by the request is used.
        public var overrideHealths: Set<EndpointTable.Health> = [.healthy, .degraded]

        /// Envoy's defaults.
        public init() {}
    }
}

/// Metadata that hosts must have: the request's side of subset balancing.
public struct MetadataCriteria: Sendable, Hashable {
    /// One key and its value.
    public struct Criterion: Sendable, Hashable {
        /// The key, in the namespace `envoy.lb`.
        public var key: String
        /// The value.
        public var value: JSON
        /// Key and value as one text that is the same for equal ones.
        let token: String

        /// A criterion.
        public init(key: String, value: JSON) {
            self.key = key
            self.value = value
            token = Self.token(key, value)
        }

        static func token(_ key: String, _ value: JSON) -> String { "\(key)\u{1}\(canonical(value))\u{2}" }

        private static func canonical(_ value: JSON) -> String {
            // Numbers of metadata are doubles (google.protobuf.Value).
            if let number = value.double { return "n\(number)" }
            return value.string.map { "s\($0)" } ?? value.text
        }
    }

    /// Sorted by key.
    public private(set) var criteria: [Criterion] = []
    /// In place of these: alternatives to try in their order (`fallback_list`).
    public private(set) var alternatives: [MetadataCriteria] = []
    /// All tokens: equal for equal criteria.
    private(set) var token = ""

    /// No criteria: any host.
    public init() {}

    /// Criteria from the members of a metadata namespace.
    public init(_ members: [String: JSON], readsAlternatives: Bool = false) {
        for key in members.keys.sorted() {
            guard let value = members[key] else { continue }
            if readsAlternatives, key == "fallback_list", case .array(let list) = value {
                for case .object(let alternative) in list { alternatives.append(MetadataCriteria(alternative)) }
                continue
            }
            criteria.append(Criterion(key: key, value: value))
        }
        token = criteria.reduce(into: "") { $0 += $1.token }
    }

    /// Whether nothing is asked.
    public var isEmpty: Bool { criteria.isEmpty && alternatives.isEmpty }

    /// These with others laid over them.
    public func merged(with members: [String: JSON]) -> MetadataCriteria {
        if members.isEmpty { return self }
        var all = members
        for criterion in criteria where all[criterion.key] == nil { all[criterion.key] = criterion.value }
        var result = MetadataCriteria(all, readsAlternatives: true)
        if result.alternatives.isEmpty { result.alternatives = alternatives }
        return result
    }

    /// Those among them with these keys; nil when one is missing.
    func limited(to keys: [String]) -> MetadataCriteria? {
        var result = MetadataCriteria()
        result.criteria = criteria.filter { keys.contains($0.key) }
        guard result.criteria.count == keys.count else { return nil }
        result.token = result.criteria.reduce(into: "") { $0 += $1.token }
        return result
    }

    /// The keys, sorted.
    var keys: [String] { criteria.map(\.key) }
}
