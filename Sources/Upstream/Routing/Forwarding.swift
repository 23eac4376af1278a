internal import EnvoyAPI
internal import Serialization

/// Where a forwarded request goes and how long, how often and with which changes.
///
/// Immutable and shared by every request on its route: a request holds a reference, nothing of it is copied.
public final class Forwarding: Sendable {
    /// How the cluster is named.
    public enum Destination: Sendable {
        /// Always this one.
        case cluster(ClusterTarget)
        /// The value of a request header names it.
        case header(HeaderName, MetadataCriteria?)
        /// One of several, drawn by weight (B-13: before any balancing).
        case weighted(WeightedClusters)
    }

    /// What the upstream sees as authority.
    public enum HostRewrite: Sendable {
        /// What the client sent.
        case none
        /// These bytes.
        case literal([UInt8])
        /// The chosen host's own name (STRICT_DNS and LOGICAL_DNS clusters, or an endpoint with a hostname).
        case auto
        /// The value of a request header, when it is there.
        case header(HeaderName)
        /// The path (without its query) with the matches of an expression replaced.
        case pathRegex(RegularExpression, substitution: [UInt8])
    }

    /// A protocol that may be switched to.
    public struct Upgrade: Sendable, Hashable {
        /// `websocket`, `CONNECT`, … in lower case.
        public var type: [UInt8]
        /// Whether it is allowed here.
        public var isEnabled: Bool
        /// CONNECT: the proxy ends the tunnel, and its payload goes on as plain bytes.
        public var terminatesConnect = false
        /// POST requests are tunnels as well.
        public var allowsPost = false
        /// CONNECT: a PROXY protocol header goes before the payload; its version.
        public var proxyProtocol: Int?
    }

    /// How the cluster is named.
    public let destination: Destination
    /// The target of every request, where there is no choice.
    public let onlyTarget: ClusterTarget?
    /// Status when the named cluster is unknown: 503 (flag NC) unless configured (H-10).
    public let clusterNotFoundStatus: UInt16
    /// For the whole request with its retries, from its last byte on (T-2); nil is none.
    ///
    /// 15 s when the field is absent (T-1).
    public let timeout: Duration?
    /// Without bytes in either direction; nil leaves the connection manager's, zero switches it off.
    public let idleTimeout: Duration?
    /// Limit for the client's `grpc-timeout`: nil ignores that header; zero takes it without limit.
    public let maxGRPCTimeout: Duration?
    /// Limit for the whole stream, however long it lives; nil leaves the connection manager's, zero switches it off.
    public let maxStreamDuration: Duration?
    /// The route says how long streams live (`max_stream_duration`): `timeout` and `maxGRPCTimeout` mean nothing then (Envoy).
    public let limitsStream: Bool
    /// Limit for a `grpc-timeout` that rules the whole stream: nil ignores that header; zero takes it without limit.
    public let grpcStreamMax: Duration?
    /// What is taken off a `grpc-timeout` that rules the whole stream.
    public let grpcStreamOffset: Duration?
    /// Retries, as requests share them; nil is none.
    public let sharedRetryPolicy: RetryPolicy.Shared?
    /// Retries; nil is none.
    public var retryPolicy: RetryPolicy? { sharedRetryPolicy?.policy }
    /// Change of the path; nil is none.
    ///
    /// Apply it with `Route.rewrittenPath`.
    public let pathRewrite: PathRewrite?
    /// Change of the authority.
    public let hostRewrite: HostRewrite
    /// Whether the authority the client sent is appended to `x-forwarded-host`.
    public let appendsForwardedHost: Bool
    /// Upgrades allowed or refused here; a type that is not listed is for the connection manager to decide.
    public let upgrades: [Upgrade]
    /// Which circuit-breaker thresholds count.
    public let priority: ResourcePriority
    /// What ring hash and Maglev hash (B-3).
    public let hashPolicies: [HashPolicy]
    /// What is taken off a `grpc-timeout`, so that the answer is there before the client gives up.
    public let grpcTimeoutOffset: Duration?
    /// Redirects to follow; nil is none.
    public let internalRedirects: InternalRedirectPolicy?
    /// Copies to other clusters.
    public let mirrors: [MirrorPolicy]
    /// A second try beside the first; nil is none.
    public let hedge: HedgePolicy?
    /// The virtual host's rate limits count too, though the route has its own.
    public let includesVirtualHostRateLimits: Bool

    /// What a virtual host says for those of its routes that say nothing.
    struct HostDefaults {
        var retryPolicy: RetryPolicy?
        var hedge: HedgePolicy?
        var mirrors: [MirrorPolicy] = []
    }

    /// Compiles a route action whose cluster is known already.
    init(
        _ message: RouteAction, _ path: FieldPath, to destination: Destination, matchedBy matcher: PathMatcher,
        hostDefaults: HostDefaults = HostDefaults()
    ) throws(ConfigurationError) {
        self.destination = destination
        if case .cluster(let target) = destination { onlyTarget = target } else { onlyTarget = nil }
        switch message.clusterNotFoundResponseCode {
        case .serviceUnavailable: clusterNotFoundStatus = 503
        case .notFound: clusterNotFoundStatus = 404
        case .internalServerError: clusterNotFoundStatus = 500
        case .unrecognized(let number):
            throw (path / "cluster_not_found_response_code").error("\(number) is no response code")
        }
        timeout = try .checkedLimit(message.timeout, default: .seconds(15), path / "timeout")
        var (idleTimeout, maxGRPCTimeout, grpcTimeoutOffset, maxStreamDuration):
            (Duration?, Duration?, Duration?, Duration?)
        var (grpcStreamMax, grpcStreamOffset): (Duration?, Duration?)
        if let idle = message.idleTimeout {
            idleTimeout = try .checked(idle, default: .zero, path / "idle_timeout")
        }
        if let limit = message.maxGrpcTimeout {
            maxGRPCTimeout = try .checked(limit, default: .zero, path / "max_grpc_timeout")
        }
        if let offset = message.grpcTimeoutOffset {
            grpcTimeoutOffset = try .checked(offset, default: .zero, path / "grpc_timeout_offset")
        }
        if let stream = message.maxStreamDuration {
            let place = path / "max_stream_duration"
            try FieldCheck.check(
                stream, place, handles: "max_stream_duration grpc_timeout_header_max grpc_timeout_header_offset")
            if let offset = stream.grpcTimeoutHeaderOffset {
                grpcStreamOffset = try .checked(offset, default: .zero, place / "grpc_timeout_header_offset")
            }
            if let limit = stream.maxStreamDuration {
                maxStreamDuration = try .checked(limit, default: .zero, place / "max_stream_duration")
            }
            if let limit = stream.grpcTimeoutHeaderMax {
                grpcStreamMax = try .checked(limit, default: .zero, place / "grpc_timeout_header_max")
            }
        }
        self.idleTimeout = idleTimeout
        self.maxGRPCTimeout = maxGRPCTimeout
        self.grpcTimeoutOffset = grpcTimeoutOffset
        self.maxStreamDuration = maxStreamDuration
        limitsStream = message.maxStreamDuration != nil
        self.grpcStreamMax = grpcStreamMax
        self.grpcStreamOffset = grpcStreamOffset
        if let retry = message.retryPolicy {
            sharedRetryPolicy = RetryPolicy.Shared(try RetryPolicy(compiling: retry, path / "retry_policy"))
        } else {
            sharedRetryPolicy = hostDefaults.retryPolicy.map { RetryPolicy.Shared($0) }
        }
        pathRewrite = try PathRewrite(compiling: message, path, matcher)
        var hostRewrite = HostRewrite.none
        switch message.hostRewriteSpecifier {
        case nil: break
        case .hostRewriteLiteral(let host):
            if !host.isEmpty { hostRewrite = .literal(try Self.checkedHost(host, path / "host_rewrite_literal")) }
        case .autoHostRewrite(let wanted): if wanted { hostRewrite = .auto }
        case .hostRewriteHeader(let name):
            guard !name.isEmpty, !name.hasPrefix(":") else {
                throw (path / "host_rewrite_header").error("\(name): must be the name of a header")
            }
            hostRewrite = .header(HeaderName(name))
        case .hostRewritePathRegex(let rewrite):
            let compiled = try Substitution(compiling: rewrite, path / "host_rewrite_path_regex")
            hostRewrite = .pathRegex(compiled.expression, substitution: compiled.substitution)
        case .hostRewrite: throw (path / "host_rewrite").unsupported("give host_rewrite_literal or host_rewrite_header")
        }
        self.hostRewrite = hostRewrite
        appendsForwardedHost = message.appendXForwardedHost
        switch message.priority {
        case .default: priority = .normal
        case .high: priority = .high
        case .unrecognized(let number): throw (path / "priority").error("\(number) is no priority")
        }
        var upgrades: [Upgrade] = []
        for (index, upgrade) in message.upgradeConfigs.enumerated() {
            let place = (path / "upgrade_configs")[index]
            guard !upgrade.upgradeType.isEmpty else { throw (place / "upgrade_type").error("is empty") }
            var compiled = Upgrade(
                type: upgrade.upgradeType.utf8.map { Bytes.lowercased($0) }, isEnabled: upgrade.enabled ?? true)
            if let connect = upgrade.connectConfig {
                guard compiled.type == Array("connect".utf8) else {
                    throw (place / "connect_config").error("has a meaning only with upgrade_type CONNECT")
                }
                compiled.terminatesConnect = true
                compiled.allowsPost = connect.allowPost
                compiled.proxyProtocol = connect.proxyProtocolConfig.map { $0.version == .v2 ? 2 : 1 }
            }
            upgrades.append(compiled)
        }
        self.upgrades = upgrades
        let mirrors = try MirrorPolicy.list(message.requestMirrorPolicies, path / "request_mirror_policies")
        self.mirrors = mirrors.isEmpty ? hostDefaults.mirrors : mirrors
        includesVirtualHostRateLimits = message.includeVhRateLimits ?? false
        if let policy = message.hedgePolicy {
            hedge = try HedgePolicy(compiling: policy, path / "hedge_policy")
        } else {
            hedge = hostDefaults.hedge
        }
        if let policy = message.internalRedirectPolicy {
            internalRedirects = try InternalRedirectPolicy(compiling: policy, path / "internal_redirect_policy")
        } else {
            internalRedirects = nil
        }
        var hashPolicies: [HashPolicy] = []
        for (index, policy) in message.hashPolicy.enumerated() {
            hashPolicies.append(try HashPolicy(compiling: policy, (path / "hash_policy")[index]))
        }
        self.hashPolicies = hashPolicies
    }

    /// The cluster for one request; nil when it is named by a header that is missing.
    public func target(
        for request: borrowing some RequestView & ~Copyable & ~Escapable, random: UInt64
    ) -> ClusterTarget? { target(for: request, random: random, facts: NoFacts(), hash: { nil }) }

    /// The cluster for one request, of which more than its head is known.
    ///
    /// - Parameter hash: The hash by the route's hash policies, where weights go by it.
    public func target(
        for request: borrowing some RequestView & ~Copyable & ~Escapable, random: UInt64, facts: some RouteFacts,
        hash: () -> UInt64?
    ) -> ClusterTarget? {
        switch destination {
        case .cluster(let target): return target
        case .weighted(let clusters):
            guard let target = clusters.pick(for: request, random: random, facts: facts, hash: hash) else { return nil }
            guard let header = target.clusterHeader else { return target }
            return Self.name(in: header, request).map { target.named($0) }
        case .header(let name, let criteria):
            return Self.name(in: name, request).map { ClusterTarget(cluster: $0, index: nil, criteria: criteria) }
        }
    }

    private static func name(
        in header: HeaderName, _ request: borrowing some RequestView & ~Copyable & ~Escapable
    ) -> String? {
        guard let index = request.nextField(named: header, from: 0) else { return nil }
        let value = request.fieldValue(at: index)
        return value.isEmpty ? nil : String(decoding: Bytes.copy(value), as: UTF8.self)
    }
}

/// A cluster as a route names it.
public final class ClusterTarget: Sendable {
    /// The cluster's name.
    public let cluster: String
    /// Its place in `RouteTable.clusterNames`, so that the proxy resolves names once per table; nil when a header named it.
    public let index: Int?
    /// Changes to the request in their order: the weighted cluster's, the route's, the virtual host's, the table's.
    ///
    /// Nil when a header named the cluster: then the route's own count.
    public let requestMutations: [HeaderMutation]?
    /// Changes to the response (see `requestMutations`).
    public let responseMutations: [HeaderMutation]?
    /// Authority for this weighted cluster; it gives way to the route's (H-14).
    public let hostRewrite: [UInt8]?
    /// What this weighted cluster's `typed_per_filter_config` says, by filter name; it beats the route's.
    public let filterConfigs: [String: [any Sendable]]?
    /// Metadata that hosts must have (`metadata_match`).
    public let criteria: MetadataCriteria?
    /// A header that names the cluster of this weighted entry.
    let clusterHeader: HeaderName?

    init(
        cluster: String, index: Int?, requestMutations: [HeaderMutation]? = nil,
        responseMutations: [HeaderMutation]? = nil, hostRewrite: [UInt8]? = nil,
        filterConfigs: [String: [any Sendable]]? = nil, criteria: MetadataCriteria? = nil,
        clusterHeader: HeaderName? = nil
    ) {
        self.criteria = criteria
        self.clusterHeader = clusterHeader
        self.cluster = cluster
        self.index = index
        self.requestMutations = requestMutations
        self.responseMutations = responseMutations
        self.hostRewrite = hostRewrite
        self.filterConfigs = filterConfigs
    }

    /// The same with the cluster that a header named.
    func named(_ name: String) -> ClusterTarget {
        ClusterTarget(
            cluster: name, index: nil, requestMutations: requestMutations, responseMutations: responseMutations,
            hostRewrite: hostRewrite, filterConfigs: filterConfigs, criteria: criteria)
    }
}

/// Clusters with shares: share = weight / sum of weights (H-7).
public struct WeightedClusters: Sendable {
    /// The clusters; those of weight 0 are there but never drawn.
    public let targets: [ClusterTarget]
    /// Sum of the weights up to and including each target.
    let cumulativeWeights: [UInt64]
    private let source: RandomSource
    private let runtimePrefix: String?

    /// The header that gives the number, where one does.
    var randomHeader: HeaderName? { if case .header(let name) = source { name } else { nil } }

    /// Where the number comes from that chooses.
    enum RandomSource: Sendable {
        case draw
        case header(HeaderName)
        case hashPolicy
    }

    init(
        targets: [ClusterTarget], weights: [UInt32], source: RandomSource = .draw, runtimePrefix: String? = nil
    ) {
        self.targets = targets
        self.source = source
        self.runtimePrefix = runtimePrefix
        var sum: UInt64 = 0
        cumulativeWeights = weights.map { weight in
            sum += UInt64(weight)
            return sum
        }
    }

    func pick(
        for request: borrowing some RequestView & ~Copyable & ~Escapable, random: UInt64, facts: some RouteFacts,
        hash: () -> UInt64?
    ) -> ClusterTarget? {
        var given: UInt64?
        switch source {
        case .draw: if runtimePrefix == nil { return pick(random: random) }
        case .header(let name):
            if let index = request.nextField(named: name, from: 0),
                let number = Bytes.integer(request.fieldValue(at: index)), number >= 0
            {
                given = UInt64(number)
            }
        case .hashPolicy: given = hash()
        }
        var sums = cumulativeWeights
        if let runtimePrefix {
            var sum: UInt64 = 0
            var before: UInt64 = 0
            for index in targets.indices {
                let own = cumulativeWeights[index] - before
                before = cumulativeWeights[index]
                let value = facts.runtimeValue("\(runtimePrefix).\(targets[index].cluster)")?.int
                sum += value.map { UInt64(clamping: max($0, 0)) } ?? own
                sums[index] = sum
            }
        }
        guard let total = sums.last, total > 0 else { return nil }
        let point = given.map { $0 % total } ?? total.multipliedFullWidth(by: random).high
        for index in sums.indices where point < sums[index] { return targets[index] }
        return targets.last
    }

    /// The target for a draw; nil only when all weights are 0, which the compiler refuses (H-8).
    public func pick(random: UInt64) -> ClusterTarget? {
        guard let total = cumulativeWeights.last, total > 0 else { return nil }
        let point = total.multipliedFullWidth(by: random).high
        var index = 0
        while index < cumulativeWeights.count {
            if point < cumulativeWeights[index] { return targets[index] }
            index += 1
        }
        return targets.last
    }
}

/// A change of the path before it goes upstream or into a redirect.
public enum PathRewrite: Sendable {
    /// In place of the matched prefix or path (H-13).
    case prefix([UInt8])
    /// In place of the whole path; the query stays.
    case path([UInt8])
    /// Every match of an expression in the path proper is replaced; the query stays.
    case regex(RegularExpression, substitution: [UInt8])

    func apply(to path: borrowing Span<UInt8>, matchedBy matcher: PathMatcher) -> [UInt8] {
        let end = PathMatcher.pathEnd(path)
        let rest = path.extracting(end..<path.count)
        switch self {
        case .prefix(let replacement):
            let count = min(matcher.replacedCount(of: path) ?? 0, end)
            var result = replacement
            result.reserveCapacity(replacement.count + path.count - count)
            Bytes.append(path.extracting(count..<path.count), to: &result)
            return result
        case .path(let replacement):
            var result = replacement
            Bytes.append(rest, to: &result)
            return result
        case .regex(let expression, let substitution):
            var result = expression.replacingAll(in: path.extracting(0..<end), with: substitution)
            Bytes.append(rest, to: &result)
            return result
        }
    }
}

/// Which set of circuit-breaker thresholds a request counts against.
public enum ResourcePriority: Sendable, Hashable, CaseIterable {
    /// The usual one.
    case normal
    /// For requests that must pass when the usual ones are full.
    case high
}

/// What of a request is hashed for ring hash and Maglev.
public struct HashPolicy: Sendable {
    /// A source of the hash.
    public enum Source: Sendable {
        /// The values of a header, changed by an expression where there is one.
        case header(HeaderName, Rewrite?)
        /// A cookie; one that is absent is made when there is a lifetime (zero: a session cookie).
        case cookie(name: [UInt8], lifetime: Duration?, path: [UInt8], attributes: [UInt8])
        /// The client's address.
        case sourceAddress
        /// A query parameter.
        case queryParameter([UInt8])
        /// A filter state object.
        case filterState(String)
    }

    /// A change of a value before it is hashed.
    public struct Rewrite: Sendable {
        let expression: RegularExpression
        let substitution: [UInt8]
    }

    /// What is hashed.
    public let source: Source
    /// Whether a hash made so far ends the list here.
    public let isTerminal: Bool
}
