/// How one try of a request ended.
public enum TryOutcome: Sendable, Hashable {
    /// Response headers came, with this status and, in a trailers-only gRPC response, this gRPC status.
    case response(status: UInt16, grpcStatus: UInt32? = nil, isRateLimited: Bool = false)
    /// No connection came about: refused, timed out, TLS failed.
    case connectFailure
    /// The connection or stream ended before response headers.
    case reset(requestBytesSent: Bool)
    /// The stream was refused before the application saw it (HTTP/2 REFUSED_STREAM, GOAWAY above the last id).
    case refusedStream
    /// The per-try timeout passed; it counts as a 504 (Envoy).
    case perTryTimeout
    /// A circuit breaker refused the try: never tried again.
    case overflow
    /// No healthy host: never tried again.
    case noHealthyHost
}

/// The retries of one request: a value in the stream that the proxy asks after each try.
public struct RetryState: Sendable {
    /// What to do after a try.
    public enum Decision: Sendable, Hashable {
        /// Try again after a wait.
        case retry(after: Duration)
        /// Deliver this outcome.
        case deliver(Reason)
    }

    /// Why there is no retry.
    public enum Reason: Sendable, Hashable {
        /// The outcome is none of the conditions.
        case notRetriable
        /// All retries are used (flag URX).
        case limitExceeded
        /// There is no policy, or the request does not qualify.
        case noPolicy
    }

    /// Tries begun after the first.
    public private(set) var retries: UInt32 = 0
    /// Retries allowed in all, header included.
    public let retriesMax: UInt32
    /// Conditions in force, header included.
    public let conditions: RetryPolicy.Conditions
    private let policy: RetryPolicy?
    private let statusCodes: [UInt16]
    private let isEnabled: Bool

    /// A request without retries.
    public init() {
        policy = nil
        retriesMax = 0
        conditions = []
        statusCodes = []
        isEnabled = false
    }
}
