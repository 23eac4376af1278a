internal import EnvoyAPI
internal import Serialization

extension RetryPolicy {
    init(compiling message: EnvoyAPI.RetryPolicy, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "retry_on num_retries per_try_timeout per_try_idle_timeout retry_host_predicate host_selection_retry_max_attempts retriable_status_codes retry_back_off retriable_headers retriable_request_headers retry_priority rate_limited_retry_back_off"
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
            try take(predicate, (path / "retry_host_predicate")[index])
        }
        if let priority = message.retryPriority {
            let place = path / "retry_priority"
            guard case .typedConfig(let any)? = priority.configType, any.holds(PreviousPrioritiesConfig.self) else {
                throw (place / "name").unsupported(priority.name)
            }
            let config = try Unpacked.message(any, as: PreviousPrioritiesConfig.self, place / "typed_config")
            guard config.updateFrequency > 0 else {
                throw (place / "typed_config.update_frequency").error("must be above 0")
            }
            priorityUpdateFrequency = UInt32(config.updateFrequency)
        }
        if let limited = message.rateLimitedRetryBackOff {
            let place = path / "rate_limited_retry_back_off"
            var headers: [RateLimitedBackOff.Header] = []
            for (index, header) in limited.resetHeaders.enumerated() {
                let spot = (place / "reset_headers")[index]
                guard !header.name.isEmpty else { throw (spot / "name").error("is empty") }
                switch header.format {
                case .seconds: headers.append(.init(name: HeaderName(header.name), isTimestamp: false))
                case .unixTimestamp: headers.append(.init(name: HeaderName(header.name), isTimestamp: true))
                case .unrecognized(let number): throw (spot / "format").error("\(number) is no format")
                }
            }
            guard !headers.isEmpty else { throw (place / "reset_headers").error("is empty") }
            var compiled = RateLimitedBackOff(headers: headers)
            compiled.limit = try .checked(limited.maxInterval, default: .seconds(300), place / "max_interval")
            guard compiled.limit > .zero else { throw (place / "max_interval").error("must be above 0") }
            rateLimitedBackOff = compiled
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

    private mutating func take(
        _ predicate: EnvoyAPI.RetryPolicy.RetryHostPredicate, _ path: FieldPath
    ) throws(ConfigurationError) {
        if case .typedConfig(let any)? = predicate.configType {
            let place = path / "typed_config"
            if any.holds(PreviousHostsPredicate.self) {
                avoidsPreviousHosts = true
            } else if any.holds(OmitCanaryHostsPredicate.self) {
                avoidsCanaries = true
            } else if any.holds(OmitHostMetadataConfig.self) {
                let config = try Unpacked.message(any, as: OmitHostMetadataConfig.self, place)
                avoidedMetadata = MetadataCriteria(compiling: config.metadataMatch)
            } else {
                throw place.unsupported(any.name)
            }
            return
        }
        // Without a message the name alone says it, as Istio's default policy does.
        switch predicate.name {
        case "envoy.retry_host_predicates.previous_hosts": avoidsPreviousHosts = true
        case "envoy.retry_host_predicates.omit_canary_hosts": avoidsCanaries = true
        default: throw (path / "name").unsupported(predicate.name)
        }
    }
}
