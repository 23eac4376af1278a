/// The texts of `%RESPONSE_CODE_DETAILS%`: Envoy's, so that what people search logs for is found.
///
/// Texts with a reason inside are functions; blanks become underscores when they are printed.
enum ResponseDetails {
    // The response came from the upstream, or from the configuration.
    static let viaUpstream = "via_upstream"
    static let directResponse = "direct_response"
    static let internalRedirect = "internal_redirect"

    // No way to an upstream.
    static let routeNotFound = "route_not_found"
    static let routeConfigurationNotFound = "route_configuration_not_found"
    static let clusterNotFound = "cluster_not_found"
    static let noHealthyUpstream = "no_healthy_upstream"
    static let maintenanceMode = "maintenance_mode"
    static let dropOverload = "drop_overload"
    static let unconditionalDropOverload = "unconditional_drop_overload"
    static let dnsResolutionFailure = "dns_resolution_failure"
    static let upgradeFailed = "upgrade_failed"
    static let invalidEnvoyRequestHeaders = "request_headers_failed_strict_check"
    static let overload = "overload"

    // Time.
    static let responseTimeout = "response_timeout"
    static let upstreamPerTryTimeout = "upstream_per_try_timeout"
    static let upstreamPerTryIdleTimeout = "upstream_per_try_idle_timeout"
    static let upstreamMaxStreamDurationReached = "upstream_max_stream_duration_reached"
    static let streamIdleTimeout = "stream_idle_timeout"
    static let requestOverallTimeout = "request_overall_timeout"
    static let requestHeaderTimeout = "request_header_timeout"
    static let maxDurationTimeout = "max_duration_timeout"

    // The request cannot be taken.
    static let requestPayloadTooLarge = "request_payload_too_large"
    static let responsePayloadTooLarge = "response_payload_too_large"
    static let requestHeadersTooLarge = "request_headers_too_large"
    static let pathNormalizationFailed = "path_normalization_failed"
    static let missingHost = "missing_host_header"
    static let missingPath = "missing_path_rejected"
    static let absolutePath = "absolute_path_rejected"
    static let lowVersion = "low_version"
    static let http10Disabled = "low_version"
    static let internalAddressDetectionFailed = "ip_detection_failed"
    static let requestResetByDownstream = "downstream_remote_disconnect"
    static let downstreamLocalDisconnect = "downstream_local_disconnect"
    static let tooManyPrematureResets = "too_many_premature_resets"
    static let invalidMethod = "http1.invalid_method"
    static let underscoreHeader = "http1.unexpected_underscore"
    static let invalidTransferEncoding = "http1.invalid_transfer_encoding"
    static let codecError = "http1.codec_error"
    static let contentLengthNotAllowed = "http1.content_length_not_allowed"
    static let chunkedAndContentLength = "http1.content_length_and_chunked_not_allowed"
    static let http2TooManyHeaders = "http2.too_many_headers"
    static let http2ViolationOfMessaging = "http2.violation.of.messaging.rule"
    static let http2InboundEmptyFrames = "http2.inbound_empty_frames_flood"
    static let http2OutboundFlood = "http2.outbound_frames_flood"
    static let http2ControlFlood = "http2.outbound_control_frames_flood"
    static let http2RemoteReset = "http2.remote_reset"
    static let http2RemoteRefuse = "http2.remote_refuse"

    // Filters.
    static let faultFilterAbort = "fault_filter_abort"
    static let requestRateLimited = "request_rate_limited"
    static let rateLimiterError = "rate_limiter_error"
    static let localRateLimited = "local_rate_limited"
    static let extAuthzDenied = "ext_authz_denied"
    static let extAuthzError = "ext_authz_error"
    static let corsResponse = "cors_response"
    static let csrfOriginMismatch = "csrf_origin_mismatch"
    static let admissionControlDenied = "denied_by_admission_control"
    static let adaptiveConcurrencyDenied = "reached_concurrency_limit"
    static let bandwidthLimited = "bandwidth_limited"
    static let healthCheckOK = "health_check_ok"
    static let healthCheckFailed = "health_check_failed"
    static let healthCheckDegraded = "health_check_ok_cluster_health"
    static let luaResponse = "lua_response"
    static let customResponse = "custom_response"
    static let grpcBridgeTooSmall = "grpc_bridge_data_too_small"
    static let missingRequiredHeader = "missing_required_header"
    static let noFilterConfig = "filter_chain_not_found"

    /// A policy of RBAC said no; without a policy's name there was none that allowed.
    static func rbacDenied(policy: String) -> String {
        "rbac_access_denied_matched_policy[\(policy.isEmpty ? "none" : policy)]"
    }

    /// The token does not hold.
    static func jwtDenied(_ reason: String) -> String { "jwt_authn_access_denied{\(reason)}" }

    /// The upstream went away before it answered: `connection_termination`, `remote_connection_failure|…`, ….
    static func upstreamReset(beforeResponse reason: String) -> String {
        "upstream_reset_before_response_started{\(reason)}"
    }

    /// The upstream went away while it answered.
    static func upstreamReset(afterResponse reason: String) -> String {
        "upstream_reset_after_response_started{\(reason)}"
    }

    /// An external processor said no or failed.
    static func extProcError(_ reason: String) -> String { "ext_proc_error_\(reason)" }
}
