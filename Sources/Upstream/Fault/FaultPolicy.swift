/// The fault filter's settings, compiled (H-17: an absent percentage injects nothing).
public struct FaultPolicy: Sendable {
    /// How a request is ended.
    public enum AbortStatus: Sendable, Hashable {
        /// With this HTTP status.
        case http(UInt16)
        /// With this gRPC status.
        case grpc(UInt32)
    }

    /// Where a value comes from.
    public enum Source<Value: Sendable>: Sendable {
        /// The configuration.
        case fixed(Value)
        /// The request's `x-envoy-fault-…` headers; a request without them gets no fault.
        case header
    }

    /// What happens to one request.
    public struct Decision: Sendable, Hashable {
        /// Wait this long first (flag DI).
        public var delay: Duration?
        /// Then answer so (flag FI); nil lets it pass.
        public var abort: AbortStatus?
        /// Send the response no faster than this.
        public var responseKilobytesPerSecond: UInt64?
    }

    /// The delay and how often.
    public var delay: (duration: Source<Duration>, share: Fraction)?
    /// The abort and how often.
    public var abort: (status: Source<AbortStatus>, share: Fraction)?
    /// The rate of responses in KiB per second, and how often.
    public var rate: (limit: Source<UInt64>, share: Fraction)?
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
    /// Whether faults are not counted by `x-envoy-downstream-service-cluster`.
    public var skipsClusterStatistics = false

    init() {}

    /// Whether nothing is configured.
    public var isEmpty: Bool { delay == nil && abort == nil && rate == nil }

    /// What happens to a request.
    ///
    /// - Parameters:
    ///   - cluster: The cluster it would go to.
    ///   - random: One draw; delay, abort and rate are decided independently.
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
        let (delayDraw, abortDraw, rateDraw) = (draws.next(), draws.next(), draws.next())
        if let delay {
            switch delay.duration {
            case .fixed(let duration):
                if delay.share.includes(random: delayDraw) { decision.delay = duration }
            case .header:
                if let milliseconds = Self.number(Self.delayHeader, request), milliseconds > 0,
                    Self.lowered(delay.share, Self.delayShareHeader, request).includes(random: delayDraw)
                {
                    decision.delay = .milliseconds(min(milliseconds, Self.delayMillisecondsMax))
                }
            }
        }
        if let abort {
            switch abort.status {
            case .fixed(let status):
                if abort.share.includes(random: abortDraw) { decision.abort = status }
            case .header:
                if let status = Self.abortStatus(request),
                    Self.lowered(abort.share, Self.abortShareHeader, request).includes(random: abortDraw)
                {
                    decision.abort = status
                }
            }
        }
        if let rate {
            switch rate.limit {
            case .fixed(let limit):
                if rate.share.includes(random: rateDraw) { decision.responseKilobytesPerSecond = limit }
            case .header:
                if let limit = Self.number(Self.rateHeader, request), limit > 0,
                    Self.lowered(rate.share, Self.rateShareHeader, request).includes(random: rateDraw)
                {
                    decision.responseKilobytesPerSecond = UInt64(limit)
                }
            }
        }
        return decision
    }

    /// The HTTP status counts before the gRPC one, as in Envoy.
    private static func abortStatus(_ request: borrowing some RequestView & ~Copyable & ~Escapable) -> AbortStatus? {
        if let code = number(abortHeader, request), (200..<600).contains(code) { return .http(UInt16(code)) }
        if let code = number(abortGRPCHeader, request), (0...Int64(UInt32.max)).contains(code) {
            return .grpc(UInt32(code))
        }
        return nil
    }

    /// A header may lower a share, never raise it.
    private static func lowered(
        _ share: Fraction, _ name: HeaderName, _ request: borrowing some RequestView & ~Copyable & ~Escapable
    ) -> Fraction {
        guard let wanted = number(name, request), wanted >= 0 else { return share }
        return Fraction(numerator: min(share.numerator, UInt32(clamping: wanted)), denominator: share.denominator)
    }

    private static func number(
        _ name: HeaderName, _ request: borrowing some RequestView & ~Copyable & ~Escapable
    ) -> Int64? {
        guard let index = request.nextField(named: name, from: 0) else { return nil }
        return Bytes.integer(request.fieldValue(at: index))
    }

    /// A day: what a header may ask for ends before a timer overflows.
    private static let delayMillisecondsMax: Int64 = 86_400_000
    private static let nodeHeader = HeaderName("x-envoy-downstream-service-node")
    private static let delayHeader = HeaderName("x-envoy-fault-delay-request")
    private static let delayShareHeader = HeaderName("x-envoy-fault-delay-request-percentage")
    private static let abortHeader = HeaderName("x-envoy-fault-abort-request")
    private static let abortGRPCHeader = HeaderName("x-envoy-fault-abort-grpc-request")
    private static let abortShareHeader = HeaderName("x-envoy-fault-abort-request-percentage")
    private static let rateHeader = HeaderName("x-envoy-fault-throughput-response")
    private static let rateShareHeader = HeaderName("x-envoy-fault-throughput-response-percentage")
}
