import EnvoyAPI
import KubernetesAPI
import Serialization

/// Which retry policies the routes for one destination carry.
enum RetryChoice {
    /// No retries.
    case off
    /// One policy, whatever the method.
    case always(RetryPolicy)
    /// idempotent methods may also be tried again after the request reached the application; others only when it
    /// provably did not.
    ///
    /// Sent as two routes with a `:method` match, so that Envoy behaves alike.
    case byMethod(idempotent: RetryPolicy, others: RetryPolicy)
}

/// Makes retry policies (X-1, T-3 to T-8).
enum RetryPolicies {
    /// Methods that RFC 9110 section 9.2.2 calls idempotent, as a whole-value regular expression.
    static let idempotentMethods = "GET|HEAD|OPTIONS|PUT|DELETE|TRACE"
    /// Conditions under which the request did not reach the application.
    static let safeConditions = "connect-failure,refused-stream,reset-before-request"
    /// A 503 of the peer's sidecar is what a dead application looks like from here.
    static let idempotentConditions = safeConditions + ",reset,retriable-status-codes"
    static let istioConditions = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
    static let defaultAttempts: UInt32 = 2

    /// The choice for an outbound or gateway route with `retries`, or without.
    ///
    /// Where the endpoint is chosen by hash, all tries go to it (T-7).
    static func outbound(
        _ retries: VirtualService.HTTPRetry?, config: MeshConfig, isHashed: Bool = false
    ) -> RetryChoice {
        let settings = retries ?? config.defaultRetries
        let attempts = settings.map { UInt32(clamping: $0.attempts ?? Int(defaultAttempts)) } ?? defaultAttempts
        if attempts == 0 { return .off }  // T-4
        func finished(_ conditions: String, statuses: [UInt32]) -> RetryPolicy {
            var policy = base(attempts: attempts, conditions: conditions, statuses: statuses)
            policy.perTryTimeout = settings?.perTryTimeout
            if settings?.retryIgnorePreviousHosts == false || isHashed && settings?.retryIgnorePreviousHosts == nil {
                policy.retryHostPredicate = []
                policy.hostSelectionRetryMaxAttempts = 0
            }
            if settings?.retryRemoteLocalities == true { policy.retryPriority = remoteLocalities }
            if let backoff = settings?.backoff, backoff > .zero {
                var interval = RetryPolicy.RetryBackOff()
                interval.baseInterval = backoff
                interval.maxInterval = backoff * 10  // T-8
                policy.retryBackOff = interval
            }
            return policy
        }
        if let written = settings?.retryOn, !written.isEmpty {
            let (conditions, statuses) = parse(written)
            return .always(finished(conditions, statuses: statuses))
        }
        if config.usesIstioRetries { return .always(finished(istioConditions, statuses: [])) }
        return .byMethod(
            idempotent: finished(idempotentConditions, statuses: [503]), others: finished(safeConditions, statuses: []))
    }

    /// T-5: towards the own application, tried again only when it did not get the request.
    static var inbound: RetryPolicy {
        var policy = base(attempts: defaultAttempts, conditions: "reset-before-request", statuses: [])
        policy.retryHostPredicate = []
        policy.hostSelectionRetryMaxAttempts = 0
        return policy
    }

    /// T-6: numbers are retriable status codes.
    static func parse(_ written: String) -> (conditions: String, statuses: [UInt32]) {
        var conditions: [String] = []
        var statuses: [UInt32] = []
        for part in written.split(separator: ",") {
            let word = part.filter { !$0.isWhitespace }
            if let status = UInt32(word) { statuses.append(status) } else if !word.isEmpty { conditions.append(word) }
        }
        if !statuses.isEmpty && !conditions.contains("retriable-status-codes") {
            conditions.append("retriable-status-codes")
        }
        return (conditions.joined(separator: ","), statuses)
    }

    /// Each try goes to another priority, which is another locality (B-6).
    private static var remoteLocalities: RetryPolicy.RetryPriority {
        var config = PreviousPrioritiesConfig()
        config.updateFrequency = 1
        var priority = RetryPolicy.RetryPriority()
        priority.name = "envoy.retry_priorities.previous_priorities"
        priority.configType = .typedConfig(AnyMessage(packing: config))
        return priority
    }

    /// Conditions that may stand in `retryOn`, beside numbers: those of HTTP and of gRPC.
    static let knownConditions: Set<String> = [
        "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited",
        "retriable-4xx", "refused-stream", "retriable-status-codes", "retriable-headers", "http3-post-connect-failure",
        "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
    ]

    private static func base(attempts: UInt32, conditions: String, statuses: [UInt32]) -> RetryPolicy {
        var policy = RetryPolicy()
        policy.retryOn = conditions
        policy.numRetries = attempts
        policy.retriableStatusCodes = statuses
        var previous = RetryPolicy.RetryHostPredicate()
        previous.name = "envoy.retry_host_predicates.previous_hosts"
        previous.configType = .typedConfig(
            AnyMessage(
                typeURL: "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
                value: []))
        policy.retryHostPredicate = [previous]
        policy.hostSelectionRetryMaxAttempts = 5
        return policy
    }
}
