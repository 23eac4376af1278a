/// When, how often and how fast a request is tried again.
public struct RetryPolicy: Sendable {
    /// Envoy's `retry_on` words.
    public struct Conditions: OptionSet, Sendable, Hashable {
        /// One bit per word.
        public let rawValue: UInt32

        /// Conditions from bits.
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        /// `5xx`: any 5xx, or no response at all.
        public static let serverError = Conditions(rawValue: 1 << 0)
        /// `gateway-error`: 502, 503, 504.
        public static let gatewayError = Conditions(rawValue: 1 << 1)
        /// `connect-failure`: no connection came about.
        public static let connectFailure = Conditions(rawValue: 1 << 2)
        /// `reset`: no response, whatever the reason.
        public static let reset = Conditions(rawValue: 1 << 3)
        /// `reset-before-request`: as reset, and nothing of the request was sent.
        public static let resetBeforeRequest = Conditions(rawValue: 1 << 4)
        /// `refused-stream`: HTTP/2 REFUSED_STREAM.
        public static let refusedStream = Conditions(rawValue: 1 << 5)
        /// `retriable-4xx`: 409.
        public static let retriable4xx = Conditions(rawValue: 1 << 6)
        /// `retriable-status-codes`: those listed.
        public static let retriableStatusCodes = Conditions(rawValue: 1 << 7)
        /// `retriable-headers`: a response with one of the listed headers.
        public static let retriableHeaders = Conditions(rawValue: 1 << 8)
        /// `envoy-ratelimited`: a response with `x-envoy-ratelimited`.
        public static let envoyRateLimited = Conditions(rawValue: 1 << 9)
        /// `http3-post-connect-failure`: taken and never true, Skein has no HTTP/3.
        public static let http3PostConnectFailure = Conditions(rawValue: 1 << 10)
        /// gRPC `cancelled` (1).
        public static let grpcCancelled = Conditions(rawValue: 1 << 16)
        /// gRPC `deadline-exceeded` (4).
        public static let grpcDeadlineExceeded = Conditions(rawValue: 1 << 17)
        /// gRPC `resource-exhausted` (8).
        public static let grpcResourceExhausted = Conditions(rawValue: 1 << 18)
        /// gRPC `internal` (13).
        public static let grpcInternal = Conditions(rawValue: 1 << 19)
        /// gRPC `unavailable` (14).
        public static let grpcUnavailable = Conditions(rawValue: 1 << 20)
    }

    /// When.
    public var conditions: Conditions
    /// How often after the first try.
    public var retriesMax: UInt32
    /// For one try; nil is the route's timeout (T-3).
    public var perTryTimeout: Duration?
    /// Without bytes in one try; nil is none.
    public var perTryIdleTimeout: Duration?
    /// How long between tries.
    public var backOff: BackOff
    /// Statuses for `retriable-status-codes`, sorted.
    public var retriableStatusCodes: [UInt16]
    /// Response headers for `retriable-headers`.
    public var retriableHeaders: [HeaderMatcher]
    /// Only requests with one of these headers are tried again; empty is any.
    public var retriableRequestHeaders: [HeaderMatcher]
    /// Whether a host that failed is avoided.
    public var avoidsPreviousHosts: Bool
    /// How often a host is chosen again when it was tried already.
    public var hostSelectionAttemptsMax: Int
    /// Whether canaries are avoided on retries.
    public var avoidsCanaries = false
    /// Hosts with this metadata are avoided on retries.
    public var avoidedMetadata: MetadataCriteria?
    /// Priorities that were tried are left out, each time so many more tries have been made; nil is off.
    public var priorityUpdateFrequency: UInt32?
    /// The back-off that a response asks for; nil is none.
    public var rateLimitedBackOff: RateLimitedBackOff?

    /// A policy that many requests have: an object, so that they share it.
    public final class Shared: Sendable {
        /// What it says.
        public let policy: RetryPolicy

        /// Shares a policy.
        public init(_ policy: RetryPolicy) { self.policy = policy }
    }

    /// A policy.
    public init(conditions: Conditions, retriesMax: UInt32 = 1, backOff: BackOff = BackOff()) {
        self.conditions = conditions
        self.retriesMax = retriesMax
        self.backOff = backOff
        retriableStatusCodes = []
        retriableHeaders = []
        retriableRequestHeaders = []
        avoidsPreviousHosts = false
        hostSelectionAttemptsMax = 1
    }
}

/// A back-off that responses ask for in a header.
public struct RateLimitedBackOff: Sendable, Hashable {
    /// A header and what stands in it.
    public struct Header: Sendable, Hashable {
        /// Its name.
        public var name: HeaderName
        /// A time in seconds since 1970, in place of a number of seconds.
        public var isTimestamp: Bool
    }

    /// The headers, the first that is there counts.
    public var headers: [Header]
    /// Longer waits are not taken: the usual back-off counts then.
    public var limit: Duration = .seconds(300)

    /// The wait that a response asks for; nil when it asks for none, or for one that is too long.
    ///
    /// - Parameter wallSeconds: Seconds since 1970.
    func wait(
        for response: borrowing some ResponseView & ~Copyable & ~Escapable, wallSeconds: Int64, random: UInt64
    ) -> Duration? {
        for header in headers {
            guard let index = response.nextField(named: header.name, from: 0),
                let number = Bytes.integer(response.fieldValue(at: index)), number >= 0
            else { continue }
            guard !header.isTimestamp || number >= wallSeconds else { continue }
            let wait = Duration.seconds(header.isTimestamp ? number - wallSeconds : number)
            guard wait > .zero, wait <= limit else { continue }
            // Never earlier than asked, and up to half as much again, so that not all come back at once.
            return wait + wait / 2 * (Double(random >> 11) * 0x1p-53)
        }
        return nil
    }
}

/// Exponential back-off with full jitter (T-8).
public struct BackOff: Sendable, Hashable {
    /// The first range is 0 ..< base.
    public var base: Duration
    /// No range is longer.
    public var limit: Duration

    /// A back-off; the limit is ten times the base when it is not given.
    public init(base: Duration = .milliseconds(25), limit: Duration? = nil) {
        self.base = base
        self.limit = limit ?? base * 10
    }

    /// The wait before retry number `attempt` (1 is the first).
    public func wait(beforeRetry attempt: UInt32, random: UInt64) -> Duration {
        // In seconds as Double: no product of configured values can overflow it.
        let doublings = Int(min(max(attempt, 1) - 1, 1000))
        let range = min(
            base / .seconds(1) * Double(sign: .plus, exponent: doublings, significand: 1), limit / .seconds(1))
        return .seconds(max(range, 0) * (Double(random >> 11) * 0x1p-53))
    }
}
