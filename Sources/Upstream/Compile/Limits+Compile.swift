internal import EnvoyAPI

extension ResourceLimits {
    init(compiling message: CircuitBreakers, _ path: FieldPath) throws(ConfigurationError) {
        self.init()
        var seen: Set<ResourcePriority> = []
        for (index, thresholds) in message.thresholds.enumerated() {
            let place = (path / "thresholds")[index]
            let priority = try Self.priority(thresholds.priority, place / "priority")
            // Envoy takes the first of a priority; a second one is dead configuration.
            guard seen.insert(priority).inserted else {
                throw (place / "priority").error("there are thresholds for this priority already")
            }
            let compiled = try Thresholds(compiling: thresholds, place)
            switch priority {
            case .normal: normal = compiled
            case .high: high = compiled
            }
        }
        for (index, thresholds) in message.perHostThresholds.enumerated() {
            let place = (path / "per_host_thresholds")[index]
            try FieldCheck.check(thresholds, place, handles: "priority max_connections")
            guard try Self.priority(thresholds.priority, place / "priority") == .normal else {
                throw (place / "priority").unsupported("connections are not divided by priority")
            }
            connectionsPerHostMax = thresholds.maxConnections
        }
    }

    private static func priority(
        _ message: RoutingPriority, _ path: FieldPath
    ) throws(ConfigurationError) -> ResourcePriority {
        switch message {
        case .default: return .normal
        case .high: return .high
        case .unrecognized(let number): throw path.error("\(number) is no priority")
        }
    }
}

extension ResourceLimits.Thresholds {
    init(compiling message: CircuitBreakers.Thresholds, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "priority max_connections max_pending_requests max_requests max_retries retry_budget track_remaining"
        )
        self.init()
        if let value = message.maxConnections { connectionsMax = value }
        if let value = message.maxPendingRequests { pendingRequestsMax = value }
        if let value = message.maxRequests { requestsMax = value }
        if let value = message.maxRetries { retriesMax = value }
        poolsMax = message.maxConnectionPools
        tracksRemaining = message.trackRemaining
        if let budget = message.retryBudget {
            var compiled = RetryBudget()
            if let percent = budget.budgetPercent {
                guard percent.value >= 0, percent.value <= 100 else {
                    throw (path / "retry_budget.budget_percent.value").error("\(percent.value) is not in 0...100")
                }
                compiled.percent = percent.value
            }
            if let minimum = budget.minRetryConcurrency { compiled.concurrencyMin = minimum }
            retryBudget = compiled
        }
    }
}

extension OutlierDetection {
    init(compiling message: EnvoyAPI.OutlierDetection, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "consecutive_5xx interval base_ejection_time max_ejection_percent enforcing_consecutive_5xx enforcing_success_rate success_rate_minimum_hosts success_rate_request_volume success_rate_stdev_factor consecutive_gateway_failure enforcing_consecutive_gateway_failure split_external_local_origin_errors consecutive_local_origin_failure enforcing_consecutive_local_origin_failure enforcing_local_origin_success_rate failure_percentage_threshold enforcing_failure_percentage enforcing_failure_percentage_local_origin failure_percentage_minimum_hosts failure_percentage_request_volume max_ejection_time max_ejection_time_jitter successful_active_health_check_uneject_host always_eject_one_host"
        )
        self.init()
        func percent(_ value: UInt32?, _ field: String, _ fallback: UInt32) throws(ConfigurationError) -> UInt32 {
            guard let value else { return fallback }
            guard value <= 100 else { throw (path / field).error("\(value) is above 100") }
            return value
        }
        consecutive5xx = message.consecutive5xx ?? 5
        enforcingConsecutive5xx = try percent(
            message.enforcingConsecutive5xx, "enforcing_consecutive_5xx", 100)
        consecutiveGatewayFailure = message.consecutiveGatewayFailure ?? 5
        enforcingConsecutiveGatewayFailure = try percent(
            message.enforcingConsecutiveGatewayFailure, "enforcing_consecutive_gateway_failure", 0)
        splitsLocalOriginErrors = message.splitExternalLocalOriginErrors
        consecutiveLocalOriginFailure = message.consecutiveLocalOriginFailure ?? 5
        enforcingConsecutiveLocalOriginFailure = try percent(
            message.enforcingConsecutiveLocalOriginFailure, "enforcing_consecutive_local_origin_failure", 100)
        enforcingSuccessRate = try percent(message.enforcingSuccessRate, "enforcing_success_rate", 100)
        successRateMinimumHosts = message.successRateMinimumHosts ?? 5
        successRateRequestVolume = message.successRateRequestVolume ?? 100
        successRateStdevFactor = message.successRateStdevFactor ?? 1900
        enforcingFailurePercentage = try percent(
            message.enforcingFailurePercentage, "enforcing_failure_percentage", 0)
        failurePercentageThreshold = try percent(
            message.failurePercentageThreshold, "failure_percentage_threshold", 85)
        failurePercentageMinimumHosts = message.failurePercentageMinimumHosts ?? 5
        failurePercentageRequestVolume = message.failurePercentageRequestVolume ?? 50
        enforcingLocalOriginSuccessRate = try percent(
            message.enforcingLocalOriginSuccessRate, "enforcing_local_origin_success_rate", 100)
        enforcingFailurePercentageLocalOrigin = try percent(
            message.enforcingFailurePercentageLocalOrigin, "enforcing_failure_percentage_local_origin", 0)
        interval = try .checked(message.interval, default: .seconds(10), path / "interval")
        guard interval > .zero else { throw (path / "interval").error("must be above 0") }
        baseEjectionTime = try .checked(message.baseEjectionTime, default: .seconds(30), path / "base_ejection_time")
        guard baseEjectionTime > .zero else { throw (path / "base_ejection_time").error("must be above 0") }
        maxEjectionTime = max(
            try .checked(message.maxEjectionTime, default: .seconds(300), path / "max_ejection_time"),
            baseEjectionTime)
        maxEjectionTimeJitter = try .checked(
            message.maxEjectionTimeJitter, default: .zero, path / "max_ejection_time_jitter")
        maxEjectionPercent = try percent(message.maxEjectionPercent, "max_ejection_percent", 10)
        alwaysEjectsOneHost = message.alwaysEjectOneHost ?? false
        successfulActiveCheckUnejects = message.successfulActiveHealthCheckUnejectHost ?? true
    }
}
