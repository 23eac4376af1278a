/// The fault filter's settings, compiled (H-17: an absent percentage injects nothing).
public struct FaultPolicy: Sendable {
    /// How a request is ended.
    public enum AbortStatus: Sendable, Hashable {
        /// With this HTTP status.
        case http(UInt16)
        /// With this gRPC status.
        case grpc(UInt32)
    }

    /// What happens to one request.
    public struct Decision: Sendable, Hashable {
        /// Wait this long first (flag DI).
        public var delay: Duration?
        /// Then answer so (flag FI); nil lets it pass.
        public var abort: AbortStatus?
    }

    /// The delay and how often.
    public var delay: (duration: Duration, share: Fraction)?
    /// The abort and how often.
    public var abort: (status: AbortStatus, share: Fraction)?
    /// Only requests for this cluster; empty is any.
    public var upstreamCluster = ""
    /// Only requests with these headers.
    public var headers: [HeaderMatcher] = []
    /// Faults that may be active at once; nil is unlimited.
    ///
    /// The proxy counts.
    public var activeFaultsMax: UInt32?
    /// Only for requests from these nodes (`x-envoy-downstream-service-node`); empty is any.
    public var downstreamNodes: [[UInt8]] = []

    init() {}

    /// What happens to a request.
    ///
    /// - Parameters:
    ///   - cluster: The cluster it would go to.
    ///   - random: One draw; delay and abort are decided independently.
    public func decide(
        for request: borrowing some RequestView & ~Copyable & ~Escapable, cluster: String, random: UInt64
    ) -> Decision {
        var decision = Decision()
        guard upstreamCluster.isEmpty || upstreamCluster == cluster else { return decision }
        for header in headers where !header.matches(request) { return decision }
        if !downstreamNodes.isEmpty {
            guard let index = request.nextField(named: Self.nodeHeader, from: 0) else { return decision }
            var found = false
            let value = request.fieldValue(at: index)
            for node in downstreamNodes where Bytes.equal(value, node.span) { found = true }
            if !found { return decision }
        }
        var draws = SplitMix64(seed: random)
        if let delay, delay.share.includes(random: draws.next()) { decision.delay = delay.duration }
        if let abort, abort.share.includes(random: draws.next()) { decision.abort = abort.status }
        return decision
    }

    private static let nodeHeader = HeaderName("x-envoy-downstream-service-node")
}
