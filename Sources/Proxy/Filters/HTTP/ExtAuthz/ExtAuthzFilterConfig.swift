internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.ext_authz`: a service of its own decides about requests.
final class ExtAuthzFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let authorizer: Authorizer
    let allowsOnFailure: Bool
    let marksFailure: Bool
    let body: CheckedBody?
    let clearsRoute: Bool
    let statusOnError: UInt16
    let validates: Bool
    let rules: MutationRules?
    let enabled: Fraction
    let enabledMetadata: MetadataCondition?
    let deniesAtDisable: RuntimeSwitch
    let fields: CheckedFields
    let takesMetadata: Bool
    let countsAnswers: Bool
    let deniedBodyMax: Int
    let stateMetadata: JSON?
    /// Filter state says how long each call took and how large it was.
    let tellsCalls: Bool
    /// What the service adds to responses is held to the limits of responses.
    let limitsResponse: Bool
    /// Requests go on whatever the service says; filter state says it.
    let isShadow: Bool
    let statPrefix: String
    let request: CheckedContext
    let ok: MetricCounter
    let denied: MetricCounter
    let error: MetricCounter
    let disabled: MetricCounter
    let failureModeAllowed: MetricCounter
    let invalid: MetricCounter
    let ignoredMetadata: MetricCounter
    let responseLimitReached: MetricCounter
    let omittedHeaders: MetricCounter
    let shadowDenied: MetricCounter
    let shadowError: MetricCounter

    static let kind = HTTPFilterKind(
        HTTPExtAuthz.self, perRoute: ExtAuthzPerRoute.self,
        compile: { message, context throws(ConfigurationError) in try ExtAuthzFilterConfig(message, context) },
        compileRoute: { message, context throws(ConfigurationError) in
            try ExtAuthzRouteConfig(compiling: message, at: context.path)
        })

    init(_ message: HTTPExtAuthz, _ context: FilterContext) throws(ConfigurationError) {
        let path = context.path
        try FieldCheck.check(
            message,
            reads: [
                "grpc_service", "http_service", "transport_api_version", "failure_mode_allow",
                "failure_mode_allow_header_add", "with_request_body", "clear_route_cache", "status_on_error",
                "validate_mutations", "metadata_context_namespaces", "route_metadata_context_namespaces",
                "filter_enabled", "filter_enabled_metadata", "deny_at_disable", "include_peer_certificate",
                "stat_prefix", "bootstrap_metadata_labels_key", "allowed_headers", "disallowed_headers",
                "include_tls_session", "charge_cluster_response_stats", "encode_raw_headers",
                "decoder_header_mutation_rules", "enable_dynamic_metadata_ingestion", "filter_metadata",
                "max_denied_response_body_bytes", "emit_filter_state_stats", "enforce_response_header_limits",
                "shadow_mode",
            ], at: path)
        name = context.name
        isDisabled = context.isDisabled
        if case .v2 = message.transportApiVersion {
            throw ConfigurationError(at: path + ".transport_api_version", "V2 is gone; use V3")
        }
        var allowed = message.allowedHeaders
        switch message.services {
        case .grpcService(let service):
            authorizer = .grpc(try GRPCTarget(compiling: service, at: path + ".grpc_service"))
        case .httpService(let service):
            let http = try HTTPAuthorizer(compiling: service, at: path + ".http_service")
            authorizer = .http(http)
            if let own = service.authorizationRequest?.allowedHeaders {
                guard allowed == nil else {
                    throw ConfigurationError(
                        at: path + ".http_service.authorization_request.allowed_headers",
                        "allowed_headers of the filter is set too: use one of them")
                }
                allowed = own
            }
        case nil: throw ConfigurationError(at: path, "grpc_service or http_service is needed")
        }
        fields = CheckedFields(
            allowed: allowed == nil && !authorizer.isHTTP
                ? nil
                : try FieldNames(
                    compiling: allowed, standard: authorizer.isHTTP ? HTTPAuthorizer.standardFields : [],
                    at: path + ".allowed_headers"),
            disallowed: try FieldNames(compiling: message.disallowedHeaders, at: path + ".disallowed_headers"))
        allowsOnFailure = message.failureModeAllow
        marksFailure = message.failureModeAllowHeaderAdd
        body = try message.withRequestBody.map { settings throws(ConfigurationError) in
            try CheckedBody(compiling: settings, at: path + ".with_request_body")
        }
        clearsRoute = message.clearRouteCache
        let code = message.statusOnError.map { $0.code.rawValue } ?? 403
        statusOnError = (200...599).contains(code) ? UInt16(code) : 403
        validates = message.validateMutations
        rules = try message.decoderHeaderMutationRules.map { rules throws(ConfigurationError) in
            try MutationRules(compiling: rules, at: path + ".decoder_header_mutation_rules")
        }
        enabled = try Fraction.optional(message.filterEnabled, at: path + ".filter_enabled") ?? .all
        enabledMetadata = try message.filterEnabledMetadata.map { matcher throws(ConfigurationError) in
            try MetadataCondition(compiling: matcher, at: path + ".filter_enabled_metadata")
        }
        deniesAtDisable = RuntimeSwitch(message.denyAtDisable, standard: false)
        takesMetadata = message.enableDynamicMetadataIngestion ?? true
        countsAnswers = message.chargeClusterResponseStats ?? true
        deniedBodyMax = message.maxDeniedResponseBodyBytes == 0 ? .max : Int(message.maxDeniedResponseBodyBytes)
        stateMetadata = message.filterMetadata
        tellsCalls = message.emitFilterStateStats
        limitsResponse = message.enforceResponseHeaderLimits
        isShadow = message.shadowMode
        request = CheckedContext(
            metadata: message.metadataContextNamespaces, routeMetadata: message.routeMetadataContextNamespaces,
            includesCertificate: message.includePeerCertificate, includesSession: message.includeTlsSession,
            isRaw: message.encodeRawHeaders,
            labels: CheckRequestParts.labels(
                context.compile.node, key: message.bootstrapMetadataLabelsKey))
        var prefix = message.statPrefix
        if !prefix.isEmpty, !prefix.hasSuffix(".") { prefix += "." }
        statPrefix = prefix
        let scope = context.compile.metrics.scope("http", context.statPrefix, "ext_authz")
        ok = scope.counter(prefix + "ok")
        denied = scope.counter(prefix + "denied")
        error = scope.counter(prefix + "error")
        disabled = scope.counter(prefix + "disabled")
        failureModeAllowed = scope.counter(prefix + "failure_mode_allowed")
        invalid = scope.counter(prefix + "invalid")
        ignoredMetadata = scope.counter(prefix + "ignored_dynamic_metadata")
        responseLimitReached = scope.counter(prefix + "response_header_limits_reached")
        omittedHeaders = scope.counter(prefix + "omitted_response_headers")
        shadowDenied = scope.counter(prefix + "shadow_denied")
        shadowError = scope.counter(prefix + "shadow_error")
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        let levels = stream.routeConfigs(for: name).compactMap { $0 as? ExtAuthzRouteConfig }
        let route = ExtAuthzRouteConfig.merged(levels)
        if route?.isDisabled ?? false { return nil }
        return ExtAuthzFilter(self, route)
    }
}

/// The service that is asked.
enum Authorizer: Sendable {
    case grpc(GRPCTarget)
    case http(HTTPAuthorizer)

    var isHTTP: Bool { if case .http = self { true } else { false } }
}

/// What of a request's body is sent.
struct CheckedBody: Sendable {
    let bytesMax: Int
    let allowsPart: Bool
    let isRaw: Bool

    init(compiling message: ExtAuthzBufferSettings, at path: String) throws(ConfigurationError) {
        guard message.maxRequestBytes > 0 else {
            throw ConfigurationError(at: path + ".max_request_bytes", "must be above 0")
        }
        guard message.maxRequestBytes <= Limits.configuredBufferBytes else {
            throw ConfigurationError(
                at: path + ".max_request_bytes", "is above \(Limits.configuredBufferBytes), which a stream may hold")
        }
        bytesMax = Int(message.maxRequestBytes)
        allowsPart = message.allowPartialMessage
        isRaw = message.packAsBytes
    }
}

/// What is sent besides the request's fields.
struct CheckedContext: Sendable {
    let metadata: [String]
    let routeMetadata: [String]
    let includesCertificate: Bool
    let includesSession: Bool
    let isRaw: Bool
    let labels: [String: String]
}

/// A route's part: `ExtAuthzPerRoute`.
struct ExtAuthzRouteConfig: Sendable {
    var isDisabled = false
    var context: [String: String] = [:]
    var buffersNoBody = false
    var body: CheckedBody?
    var authorizer: Authorizer?

    init() {}

    init(compiling message: ExtAuthzPerRoute, at path: String) throws(ConfigurationError) {
        switch message.override {
        case .disabled(let value):
            guard value else { throw ConfigurationError(at: path + ".disabled", "must be true") }
            isDisabled = true
        case .checkSettings(let settings):
            let here = path + ".check_settings"
            context = settings.contextExtensions
            buffersNoBody = settings.disableRequestBodyBuffering
            if let body = settings.withRequestBody {
                guard !buffersNoBody else {
                    throw ConfigurationError(
                        at: here + ".with_request_body", "disable_request_body_buffering is set too: use one of them")
                }
                self.body = try CheckedBody(compiling: body, at: here + ".with_request_body")
            }
            switch settings.serviceOverride {
            case .grpcService(let service):
                authorizer = .grpc(try GRPCTarget(compiling: service, at: here + ".grpc_service"))
            case .httpService(let service):
                authorizer = .http(try HTTPAuthorizer(compiling: service, at: here + ".http_service"))
            case nil: break
            }
        case nil: throw ConfigurationError(at: path, "disabled or check_settings is needed")
        }
    }

    /// The most specific level decides; context extensions of all come together.
    static func merged(_ levels: [ExtAuthzRouteConfig]) -> ExtAuthzRouteConfig? {
        guard var last = levels.last else { return nil }
        for level in levels.dropLast().reversed() { last.context.merge(level.context) { own, _ in own } }
        return last
    }
}
