public import EnvoyAPI

extension RetryPolicy {
    /// The retries of a call that the proxy itself makes: `envoy.config.core.v3.RetryPolicy`.
    public static func ofCall(_ message: CoreRetryPolicy, at path: String) throws(ConfigurationError) -> RetryPolicy {
        let place = FieldPath(path)
        try FieldCheck.check(message, place, handles: "retry_back_off num_retries retry_on")
        var route = EnvoyAPI.RetryPolicy()
        // A call that says nothing repeats what never reached anybody or was answered by nobody.
        route.retryOn = message.retryOn.isEmpty ? "5xx,gateway-error,connect-failure,reset" : message.retryOn
        route.numRetries = message.numRetries
        if let backOff = message.retryBackOff {
            var copy = EnvoyAPI.RetryPolicy.RetryBackOff()
            copy.baseInterval = backOff.baseInterval
            copy.maxInterval = backOff.maxInterval
            route.retryBackOff = copy
        }
        return try RetryPolicy(compiling: route, place)
    }
}
