/// The limits of one request: what the route says, and what trusted request headers change of it.
public struct RequestTimeouts: Sendable, Hashable {
    /// For the whole request with its retries (T-2); nil is none.
    public var total: Duration?
    /// For one try; nil is none.
    public var perTry: Duration?
    /// Without bytes in one try; nil is none.
    public var perTryIdle: Duration?
    /// A try above its limit is not given up: another runs beside it.
    public var hedges = false
    /// A timeout is answered by 204 instead of 504 (`x-envoy-upstream-rq-timeout-alt-response`).
    public var answersNoContent = false
    /// The upstream gets `expected` as `grpc-timeout`.
    public var announcesGRPCTimeout = false

    /// The limits on a route of requests whose fields say nothing about them (`asks`).
    public init(_ forwarding: Forwarding) {
        total = forwarding.limitsStream ? nil : forwarding.timeout
        perTry = forwarding.retryPolicy?.perTryTimeout
        perTryIdle = forwarding.retryPolicy?.perTryIdleTimeout
        hedges = forwarding.hedge?.hedgesOnPerTryTimeout ?? false
        if let total, let perTry, perTry >= total { self.perTry = nil }
    }

    /// Whether fields of requests count for their limits on a route.
    public static func asks(_ forwarding: Forwarding, honorsHeaders: Bool) -> Bool {
        honorsHeaders || (forwarding.maxGRPCTimeout != nil && !forwarding.limitsStream)
    }

    /// The limits of a request on a route.
    ///
    /// `x-envoy-upstream-rq-timeout-ms` and `x-envoy-upstream-rq-per-try-timeout-ms` win over the route, a `grpc-timeout`
    /// counts where the route takes it. A per-try limit that is not below the total one means nothing (Envoy).
    ///
    /// - Parameters:
    ///   - honorsHeaders: False where the peer is not trusted (P-5); `grpc-timeout` is not concerned.
    ///   - followsExpected: `x-envoy-expected-rq-timeout-ms` counts before all others: a proxy before us has decided.
    public init(
        _ forwarding: Forwarding, request: borrowing some RequestView & ~Copyable & ~Escapable, honorsHeaders: Bool,
        followsExpected: Bool = false
    ) {
        // A route that limits the stream has no other limit for the whole (Envoy).
        total = forwarding.limitsStream ? nil : forwarding.timeout
        perTry = forwarding.retryPolicy?.perTryTimeout
        perTryIdle = forwarding.retryPolicy?.perTryIdleTimeout
        hedges = forwarding.hedge?.hedgesOnPerTryTimeout ?? false
        if let limit = forwarding.maxGRPCTimeout, !forwarding.limitsStream, RouteMatcher.isGRPC(request) {
            announcesGRPCTimeout = true
            // Zero stands for no limit throughout, as in Envoy.
            var wanted = Duration.zero
            if let index = request.nextField(named: Self.grpcHeader, from: 0) {
                wanted = Self.grpcTimeout(request.fieldValue(at: index)) ?? .zero
            }
            if let offset = forwarding.grpcTimeoutOffset, offset < wanted { wanted -= offset }
            if limit > .zero, wanted == .zero || wanted > limit { wanted = limit }
            total = wanted == .zero ? nil : wanted
        }
        if honorsHeaders {
            let wanted = followsExpected ? request.nextField(named: Self.expectedHeader, from: 0) : nil
            if let index = wanted ?? request.nextField(named: Self.totalHeader, from: 0),
                let value = Bytes.integer(request.fieldValue(at: index)), value >= 0
            {
                total = value == 0 ? nil : .milliseconds(value)
            }
            if let index = request.nextField(named: Self.perTryHeader, from: 0),
                let value = Bytes.integer(request.fieldValue(at: index)), value >= 0
            {
                perTry = value == 0 ? nil : .milliseconds(value)
            }
        }
        if honorsHeaders {
            if let index = request.nextField(named: Self.hedgeHeader, from: 0) {
                hedges = Bytes.equal(request.fieldValue(at: index), Self.yes.span)
            }
            answersNoContent = request.nextField(named: Self.alternativeHeader, from: 0) != nil
        }
        if let total, let perTry, perTry >= total { self.perTry = nil }
    }

    /// What the upstream is told (`x-envoy-expected-rq-timeout-ms`): one try's limit, unless tries go on beside another.
    public var expected: Duration? { hedges ? total : perTry ?? total }

    /// `8S`, `100m`: at most eight digits and a unit (the gRPC specification).
    static func grpcTimeout(_ value: borrowing Span<UInt8>) -> Duration? {
        guard value.count >= 2, value.count <= 9, value[0] &- 0x30 < 10,
            let number = Bytes.integer(value.extracting(0..<(value.count - 1)))
        else { return nil }
        switch value[value.count - 1] {
        case UInt8(ascii: "H"): return .seconds(number * 3600)
        case UInt8(ascii: "M"): return .seconds(number * 60)
        case UInt8(ascii: "S"): return .seconds(number)
        case UInt8(ascii: "m"): return .milliseconds(number)
        case UInt8(ascii: "u"): return .microseconds(number)
        case UInt8(ascii: "n"): return .nanoseconds(number)
        default: return nil
        }
    }

    private static let totalHeader = HeaderName("x-envoy-upstream-rq-timeout-ms")
    private static let expectedHeader = HeaderName("x-envoy-expected-rq-timeout-ms")
    private static let perTryHeader = HeaderName("x-envoy-upstream-rq-per-try-timeout-ms")
    private static let hedgeHeader = HeaderName("x-envoy-hedge-on-per-try-timeout")
    private static let alternativeHeader = HeaderName("x-envoy-upstream-rq-timeout-alt-response")
    private static let yes = Array("true".utf8)
    private static let grpcHeader = HeaderName("grpc-timeout")
}
