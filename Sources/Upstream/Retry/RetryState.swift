/// How one try of a request ended.
public enum TryOutcome: Sendable, Hashable {
    /// Response headers came, with this status and, in a trailers-only gRPC response, this gRPC status.
    case response(status: UInt16, grpcStatus: UInt32? = nil)
    /// No connection came about: refused, timed out, TLS failed.
    case connectFailure
    /// The connection or stream ended before response headers.
    case reset(requestBytesSent: Bool)
    /// The stream was refused before the application saw it (HTTP/2 REFUSED_STREAM, GOAWAY above the last id).
    case refusedStream
    /// The per-try timeout passed.
    case perTryTimeout
    /// A circuit breaker refused the try: never tried again.
    case overflow
    /// No healthy host: never tried again.
    case noHealthyHost
}

/// The retries of one request: a value in the stream that the proxy asks after each try.
///
/// It knows nothing of the retry budget: after `.retry`, the proxy acquires `ResourceUse.Resource.retry` and delivers the
/// outcome when that fails.
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
        /// There is no policy, or the request does not qualify.
        case noPolicy
        /// The outcome is none of the conditions.
        case notRetriable
        /// All retries are used (flag URX).
        case limitExceeded
    }

    /// Tries begun after the first.
    public private(set) var retries: UInt32 = 0
    /// Retries allowed in all, request headers included.
    public let retriesMax: UInt32
    /// Conditions in force, request headers included.
    public let conditions: RetryPolicy.Conditions
    /// Shared with all requests of the route: a copy would count what each of its lists holds.
    private let shared: RetryPolicy.Shared?
    private let statusCodes: [UInt16]
    /// Response headers that the request itself names.
    private let headerNames: [HeaderName]

    /// A request without retries.
    public init() {
        shared = nil
        retriesMax = 0
        conditions = []
        statusCodes = []
        headerNames = []
    }

    /// The retries of a request.
    ///
    /// - Parameters:
    ///   - policy: The route's.
    ///   - request: Its `x-envoy-retry-on`, `x-envoy-retry-grpc-on`, `x-envoy-max-retries` and
    ///     `x-envoy-retriable-status-codes` add to the policy.
    ///   - honorsHeaders: False where the peer is not trusted: the headers count for nothing (P-5, ATK-17).
    public init(
        policy: RetryPolicy?, request: borrowing some RequestView & ~Copyable & ~Escapable, honorsHeaders: Bool
    ) {
        self.init(shared: policy.map { RetryPolicy.Shared($0) }, request: request, honorsHeaders: honorsHeaders)
    }

    /// The retries of a request whose policy others have too; see the other initializer.
    public init(
        shared: RetryPolicy.Shared?, request: borrowing some RequestView & ~Copyable & ~Escapable, honorsHeaders: Bool
    ) {
        var conditions = shared?.policy.conditions ?? []
        var retriesMax = shared?.policy.retriesMax ?? 1
        var statusCodes = shared?.policy.retriableStatusCodes ?? []
        var headerNames: [HeaderName] = []
        if let shared, !shared.policy.retriableRequestHeaders.isEmpty {
            var qualifies = false
            for header in shared.policy.retriableRequestHeaders where header.matches(request) { qualifies = true }
            if !qualifies { conditions = [] }
        }
        if honorsHeaders {
            if let index = request.nextField(named: Self.retryOn, from: 0) {
                Self.words(request.fieldValue(at: index)) { word in
                    if let condition = RetryPolicy.Conditions.named[word] { conditions.insert(condition) }
                }
            }
            if let index = request.nextField(named: Self.retryGRPCOn, from: 0) {
                Self.words(request.fieldValue(at: index)) { word in
                    if let condition = RetryPolicy.Conditions.named[word] { conditions.insert(condition) }
                }
            }
            if !conditions.isEmpty, let index = request.nextField(named: Self.statusCodesHeader, from: 0) {
                Self.words(request.fieldValue(at: index)) { word in
                    if let code = UInt16(word) { statusCodes.append(code) }
                }
            }
            if !conditions.isEmpty, let index = request.nextField(named: Self.headerNamesHeader, from: 0) {
                Self.words(request.fieldValue(at: index)) { word in
                    if !word.isEmpty { headerNames.append(HeaderName(word)) }
                }
            }
            if !conditions.isEmpty, let index = request.nextField(named: Self.maxRetries, from: 0),
                let number = Bytes.integer(request.fieldValue(at: index))
            {
                retriesMax = UInt32(clamping: number)
            }
        }
        self.shared = shared
        self.conditions = conditions
        self.retriesMax = conditions.isEmpty ? 0 : retriesMax
        self.statusCodes = statusCodes
        self.headerNames = headerNames
    }

    /// Whether there are conditions on which a try is followed by another.
    public var isOn: Bool { !conditions.isEmpty }

    /// Whether the policy itself repeats what is lost without an answer.
    public var coversResets: Bool {
        mayRetry && !conditions.isDisjoint(with: [.reset, .serverError, .gatewayError, .refusedStream])
    }

    /// Whether a request has any use for being kept for another try.
    public var mayRetry: Bool { !conditions.isEmpty && retries < retriesMax }

    /// Counts a try that begins beside another one (hedging); false when there is none left.
    public mutating func hedge() -> Bool {
        guard mayRetry else { return false }
        retries += 1
        return true
    }

    /// Limit for one try of the policy; nil is none.
    public var perTryTimeout: Duration? { shared?.policy.perTryTimeout }

    /// Whether it is clear without a look at a response's fields that no other try follows: true of nearly all that come.
    public func isFinal(_ outcome: TryOutcome) -> Bool {
        conditions.isDisjoint(with: [.envoyRateLimited, .retriableHeaders]) && !isRetriable(outcome, NoFields())
    }

    /// What to do after a try without response headers to look at.
    public mutating func decide(after outcome: TryOutcome, random: UInt64) -> Decision {
        decide(after: outcome, response: NoFields(), random: random)
    }

    /// What to do after a try; counts the retry when there is one.
    public mutating func decide(
        after outcome: TryOutcome, response: borrowing some ResponseView & ~Copyable & ~Escapable, random: UInt64,
        wallSeconds: Int64 = 0
    ) -> Decision {
        guard !conditions.isEmpty else { return .deliver(.noPolicy) }
        guard isRetriable(outcome, response) else { return .deliver(.notRetriable) }
        guard retries < retriesMax else { return .deliver(.limitExceeded) }
        retries += 1
        if let limited = shared?.policy.rateLimitedBackOff,
            let wait = limited.wait(for: response, wallSeconds: wallSeconds, random: random)
        {
            return .retry(after: wait)
        }
        return .retry(after: (shared?.policy.backOff ?? BackOff()).wait(beforeRetry: retries, random: random))
    }

    private func isRetriable(
        _ outcome: TryOutcome, _ response: borrowing some ResponseView & ~Copyable & ~Escapable
    ) -> Bool {
        switch outcome {
        case .overflow, .noHealthyHost: return false
        case .connectFailure:
            return !conditions.isDisjoint(
                with: [.connectFailure, .reset, .resetBeforeRequest, .serverError, .gatewayError])
        case .reset(let requestBytesSent):
            return !conditions.isDisjoint(with: [.reset, .serverError, .gatewayError])
                || (!requestBytesSent && conditions.contains(.resetBeforeRequest))
        case .refusedStream:
            return !conditions.isDisjoint(with: [.refusedStream, .reset, .serverError, .gatewayError])
        case .perTryTimeout: return !conditions.isDisjoint(with: [.reset, .serverError, .gatewayError])
        case .response(let status, let grpcStatus):
            if response.nextField(named: Self.rateLimited, from: 0) != nil {
                return conditions.contains(.envoyRateLimited)
            }
            if conditions.contains(.serverError), (500...599).contains(status) { return true }
            if conditions.contains(.gatewayError), (502...504).contains(status) { return true }
            if conditions.contains(.retriable4xx), status == 409 { return true }
            if conditions.contains(.retriableStatusCodes), statusCodes.contains(status) { return true }
            if conditions.contains(.retriableHeaders) {
                for header in shared?.policy.retriableHeaders ?? [] where header.matches(response: response) {
                    return true
                }
                for name in headerNames where response.nextField(named: name, from: 0) != nil { return true }
            }
            if let grpcStatus, let condition = RetryPolicy.Conditions.grpc[grpcStatus] {
                return conditions.contains(condition)
            }
            return false
        }
    }

    /// Calls the body with each word of a comma-separated list.
    ///
    /// This allocates, on requests that carry such a header only.
    private static func words(_ value: borrowing Span<UInt8>, _ body: (String) -> Void) {
        for part in Bytes.copy(value).split(separator: 0x2C) {
            let word = part.drop { $0 == 0x20 || $0 == 0x09 }
            body(String(decoding: word.prefix { $0 != 0x20 && $0 != 0x09 }, as: UTF8.self))
        }
    }

    private static let retryOn = HeaderName("x-envoy-retry-on")
    private static let retryGRPCOn = HeaderName("x-envoy-retry-grpc-on")
    private static let maxRetries = HeaderName("x-envoy-max-retries")
    private static let statusCodesHeader = HeaderName("x-envoy-retriable-status-codes")
    private static let headerNamesHeader = HeaderName("x-envoy-retriable-header-names")
    private static let rateLimited = HeaderName("x-envoy-ratelimited")
}

/// A response without fields.
private struct NoFields: ResponseView {
    func nextField(named name: borrowing HeaderName, from start: Int) -> Int? { nil }

    @_lifetime(borrow self)
    func fieldValue(at index: Int) -> Span<UInt8> { Span() }
}

extension RetryPolicy.Conditions {
    /// Whether a word of `x-envoy-retry-on` or `x-envoy-retry-grpc-on` means something.
    public static func isKnown(_ word: String, isGRPC: Bool) -> Bool {
        named[word].map { ($0.rawValue >= grpcCancelled.rawValue) == isGRPC } ?? false
    }

    /// The words of `retry_on` and `x-envoy-retry-on`.
    static let named: [String: RetryPolicy.Conditions] = [
        "5xx": .serverError, "gateway-error": .gatewayError, "connect-failure": .connectFailure, "reset": .reset,
        "reset-before-request": .resetBeforeRequest, "refused-stream": .refusedStream, "retriable-4xx": .retriable4xx,
        "retriable-status-codes": .retriableStatusCodes, "retriable-headers": .retriableHeaders,
        "envoy-ratelimited": .envoyRateLimited, "http3-post-connect-failure": .http3PostConnectFailure,
        "cancelled": .grpcCancelled, "deadline-exceeded": .grpcDeadlineExceeded,
        "resource-exhausted": .grpcResourceExhausted, "internal": .grpcInternal, "unavailable": .grpcUnavailable,
    ]

    /// The condition for a gRPC status.
    static let grpc: [UInt32: RetryPolicy.Conditions] = [
        1: .grpcCancelled, 4: .grpcDeadlineExceeded, 8: .grpcResourceExhausted, 13: .grpcInternal,
        14: .grpcUnavailable,
    ]
}
