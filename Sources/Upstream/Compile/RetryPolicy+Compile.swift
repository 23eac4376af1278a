internal import EnvoyAPI

extension RetryPolicy {
    init(compiling message: EnvoyAPI.RetryPolicy, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "retry_on num_retries per_try_timeout per_try_idle_timeout retry_host_predicate host_selection_retry_max_attempts retriable_status_codes retry_back_off retriable_headers retriable_request_headers"
        )
        var conditions: Conditions = []
        for word in message.retryOn.split(separator: ",") {
            let name = String(word.drop { $0 == " " }.prefix { $0 != " " })
            guard let condition = Conditions.named[name] else {
                throw (path / "retry_on").error(
                    "\(name): unknown condition (status codes go into retriable_status_codes)")
            }
            conditions.insert(condition)
        }
        self.init(conditions: conditions, retriesMax: message.numRetries ?? 1)
        perTryTimeout = try .checkedLimit(message.perTryTimeout, default: nil, path / "per_try_timeout")
        perTryIdleTimeout = try .checkedLimit(
            message.perTryIdleTimeout, default: nil, path / "per_try_idle_timeout")
        for (index, predicate) in message.retryHostPredicate.enumerated() {
            let place = (path / "retry_host_predicate")[index]
            guard predicate.name == "envoy.retry_host_predicates.previous_hosts" else {
                throw (place / "name").unsupported(predicate.name)
            }
            avoidsPreviousHosts = true
        }
        if message.hostSelectionRetryMaxAttempts != 0 {
            guard (1...1000).contains(message.hostSelectionRetryMaxAttempts) else {
                throw (path / "host_selection_retry_max_attempts").error(
                    "\(message.hostSelectionRetryMaxAttempts) is not in 1...1000")
            }
            hostSelectionAttemptsMax = Int(message.hostSelectionRetryMaxAttempts)
        }
        for (index, code) in message.retriableStatusCodes.enumerated() {
            guard (100...599).contains(code) else {
                throw (path / "retriable_status_codes")[index].error("\(code) is no status code")
            }
            retriableStatusCodes.append(UInt16(code))
        }
        retriableStatusCodes.sort()
        if let backOff = message.retryBackOff {
            let place = path / "retry_back_off"
            guard let base = backOff.baseInterval, base > .zero else {
                throw (place / "base_interval").error("must be there and above 0")
            }
            self.backOff = BackOff(base: base, limit: backOff.maxInterval)
            guard self.backOff.limit >= base else {
                throw (place / "max_interval").error("\(self.backOff.limit) is below base_interval \(base)")
            }
        }
        retriableHeaders = try HeaderMatcher.list(message.retriableHeaders, path / "retriable_headers")
        retriableRequestHeaders = try HeaderMatcher.list(
            message.retriableRequestHeaders, path / "retriable_request_headers")
    }
}
