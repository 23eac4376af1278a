internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.ext_proc`: a service of its own reads and changes requests and responses.
final class ExtProcFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let settings: ExtProcSettings
    let timeout: Duration
    let timeoutMax: Duration
    let rules: MutationRules
    let forwarded: CheckedFields
    let allowsOverride: Bool
    let allowedModes: [ExtProcMode]
    let takesNoImmediateResponse: Bool
    let routeAction: RouteAction
    let statusOnError: UInt16
    /// `observability_mode`: the processor is told everything and asked nothing.
    let onlyObserves: Bool
    /// How long a processor has after the end of a stream before its call is cut off.
    let closeTimeout: Duration
    let stateMetadata: String?
    let counters: ExtProcCounters

    enum RouteAction { case standard, clear, retain, disabled }

    static let kind = HTTPFilterKind(
        ExternalProcessor.self, perRoute: ExtProcPerRoute.self,
        compile: { message, context throws(ConfigurationError) in try ExtProcFilterConfig(message, context) },
        compileRoute: { message, context throws(ConfigurationError) in
            try ExtProcRouteConfig(compiling: message, at: context.path)
        })

    init(_ message: ExternalProcessor, _ context: FilterContext) throws(ConfigurationError) {
        let path = context.path
        try FieldCheck.check(
            message,
            reads: [
                "grpc_service", "failure_mode_allow", "processing_mode", "request_attributes", "response_attributes",
                "message_timeout", "stat_prefix", "mutation_rules", "max_message_timeout", "forward_rules",
                "filter_metadata", "allow_mode_override", "disable_immediate_response", "metadata_options",
                "disable_clear_route_cache", "route_cache_action", "allowed_override_modes", "status_on_error",
                "observability_mode", "deferred_close_timeout",
            ], at: path)
        name = context.name
        isDisabled = context.isDisabled
        settings = ExtProcSettings(
            target: try GRPCTarget(compiling: message.grpcService, at: path + ".grpc_service", isStream: true),
            mode: try ExtProcMode(compiling: message.processingMode, at: path + ".processing_mode"),
            requestAttributes: try ExtProcAttribute.list(
                message.requestAttributes, at: path + ".request_attributes"),
            responseAttributes: try ExtProcAttribute.list(
                message.responseAttributes, at: path + ".response_attributes"),
            namespaces: try ExtProcNamespaces(compiling: message.metadataOptions, at: path + ".metadata_options"),
            allowsOnFailure: message.failureModeAllow)
        timeout = message.messageTimeout ?? .milliseconds(200)
        timeoutMax = message.maxMessageTimeout ?? .zero
        guard timeout >= .zero, timeout <= .seconds(3600) else {
            throw ConfigurationError(at: path + ".message_timeout", "must be from 0 to 1 h")
        }
        guard timeoutMax >= .zero, timeoutMax <= .seconds(3600) else {
            throw ConfigurationError(at: path + ".max_message_timeout", "must be from 0 to 1 h")
        }
        rules =
            try message.mutationRules.map { rules throws(ConfigurationError) in
                try MutationRules(compiling: rules, at: path + ".mutation_rules")
            } ?? .standard
        let allowed = message.forwardRules?.allowedHeaders
        forwarded = CheckedFields(
            allowed: try allowed.map { list throws(ConfigurationError) in
                try FieldNames(compiling: list, at: path + ".forward_rules.allowed_headers")
            },
            disallowed: try FieldNames(
                compiling: message.forwardRules?.disallowedHeaders, at: path + ".forward_rules.disallowed_headers"))
        allowsOverride = message.allowModeOverride
        var modes: [ExtProcMode] = []
        for (index, mode) in message.allowedOverrideModes.enumerated() {
            modes.append(try ExtProcMode(compiling: mode, at: "\(path).allowed_override_modes[\(index)]"))
        }
        allowedModes = modes
        takesNoImmediateResponse = message.disableImmediateResponse
        switch message.routeCacheAction {
        case .clear: routeAction = .clear
        case .retain: routeAction = .retain
        default: routeAction = message.disableClearRouteCache ? .disabled : .standard
        }
        if message.disableClearRouteCache, routeAction != .disabled {
            throw ConfigurationError(
                at: path + ".disable_clear_route_cache", "route_cache_action is set too: use one of them")
        }
        onlyObserves = message.observabilityMode
        // An observer hears the end of the stream after the stream has ended: Envoy gives it 5 s.
        closeTimeout =
            onlyObserves ? message.deferredCloseTimeout ?? .seconds(5) : .seconds(1)
        guard closeTimeout >= .zero, closeTimeout <= .seconds(3600) else {
            throw ConfigurationError(at: path + ".deferred_close_timeout", "must be from 0 to 1 h")
        }
        let code = message.statusOnError.map { $0.code.rawValue } ?? 500
        statusOnError = (200...599).contains(code) ? UInt16(code) : 500
        stateMetadata = message.filterMetadata.map(\.text)
        var prefix = message.statPrefix
        if !prefix.isEmpty, !prefix.hasSuffix(".") { prefix += "." }
        counters = ExtProcCounters(
            context.compile.metrics.scope("http", context.statPrefix, "ext_proc"), prefix)
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        var settings = settings
        for case let route as ExtProcRouteConfig in stream.routeConfigs(for: name) {
            settings = route.laid(over: settings)
        }
        return settings.isDisabled ? nil : ExtProcFilter(self, settings)
    }
}

/// What a route may change.
struct ExtProcSettings: Sendable {
    var isDisabled = false
    var target: GRPCTarget
    var mode: ExtProcMode
    var requestAttributes: [ExtProcAttribute]
    var responseAttributes: [ExtProcAttribute]
    var namespaces: ExtProcNamespaces
    var allowsOnFailure: Bool
}

/// Namespaces of dynamic metadata that are sent and taken.
struct ExtProcNamespaces: Sendable {
    let sent: [String]
    let taken: Set<String>

    init(compiling message: MetadataOptions?, at path: String) throws(ConfigurationError) {
        sent = message?.forwardingNamespaces?.untyped ?? []
        taken = Set(message?.receivingNamespaces?.untyped ?? [])
        for (field, namespaces) in [
            ("forwarding_namespaces", message?.forwardingNamespaces),
            ("receiving_namespaces", message?.receivingNamespaces),
        ] where !(namespaces?.typed ?? []).isEmpty {
            throw ConfigurationError(at: "\(path).\(field).typed", "there is no typed metadata")
        }
        guard message?.clusterMetadataForwardingNamespaces == nil else {
            throw ConfigurationError(at: path + ".cluster_metadata_forwarding_namespaces", "not supported yet")
        }
    }
}

/// A route's part: `ExtProcPerRoute`.
struct ExtProcRouteConfig: Sendable {
    private var isDisabled = false
    private var target: GRPCTarget?
    private var metadata: [CallField] = []
    private var mode: ExtProcMode?
    private var requestAttributes: [ExtProcAttribute] = []
    private var responseAttributes: [ExtProcAttribute] = []
    private var namespaces: ExtProcNamespaces?
    private var allowsOnFailure: Bool?

    init(compiling message: ExtProcPerRoute, at path: String) throws(ConfigurationError) {
        switch message.override {
        case .disabled(let value):
            guard value else { throw ConfigurationError(at: path + ".disabled", "must be true") }
            isDisabled = true
        case .overrides(let message):
            let here = path + ".overrides"
            try FieldCheck.check(
                message,
                reads: [
                    "processing_mode", "request_attributes", "response_attributes", "grpc_service",
                    "metadata_options", "grpc_initial_metadata", "failure_mode_allow",
                ], at: here)
            mode = try message.processingMode.map { mode throws(ConfigurationError) in
                try ExtProcMode(compiling: mode, at: here + ".processing_mode")
            }
            target = try message.grpcService.map { service throws(ConfigurationError) in
                try GRPCTarget(compiling: service, at: here + ".grpc_service", isStream: true)
            }
            metadata = try CallField.list(message.grpcInitialMetadata, at: here + ".grpc_initial_metadata")
            requestAttributes = try ExtProcAttribute.list(
                message.requestAttributes, at: here + ".request_attributes")
            responseAttributes = try ExtProcAttribute.list(
                message.responseAttributes, at: here + ".response_attributes")
            namespaces = try message.metadataOptions.map { options throws(ConfigurationError) in
                try ExtProcNamespaces(compiling: options, at: here + ".metadata_options")
            }
            allowsOnFailure = message.failureModeAllow
        case nil: throw ConfigurationError(at: path, "disabled or overrides is needed")
        }
    }

    func laid(over settings: ExtProcSettings) -> ExtProcSettings {
        var result = settings
        result.isDisabled = isDisabled
        if let target { result.target = target }
        result.target.metadata += metadata
        if let mode { result.mode = mode }
        if !requestAttributes.isEmpty { result.requestAttributes = requestAttributes }
        if !responseAttributes.isEmpty { result.responseAttributes = responseAttributes }
        if let namespaces { result.namespaces = namespaces }
        if let allowsOnFailure { result.allowsOnFailure = allowsOnFailure }
        return result
    }
}

/// The counters of one configuration.
struct ExtProcCounters: Sendable {
    let started, closed, failed, sent, received, spurious, failureModeAllowed, timeouts: MetricCounter
    let rejected, timeoutReceived, timeoutIgnored, routeIgnored, routeDisabled, immediate, halfClosed: MetricCounter
    /// Ours: streams whose observer read slower than they came, and was given up.
    let observersGivenUp: MetricCounter

    init(_ scope: MetricScope, _ prefix: String) {
        func counter(_ name: String) -> MetricCounter { scope.counter(prefix + name) }
        started = counter("streams_started")
        closed = counter("streams_closed")
        failed = counter("streams_failed")
        sent = counter("stream_msgs_sent")
        received = counter("stream_msgs_received")
        spurious = counter("spurious_msgs_received")
        failureModeAllowed = counter("failure_mode_allowed")
        timeouts = counter("message_timeouts")
        rejected = counter("rejected_header_mutations")
        timeoutReceived = counter("override_message_timeout_received")
        timeoutIgnored = counter("override_message_timeout_ignored")
        routeIgnored = counter("clear_route_cache_ignored")
        routeDisabled = counter("clear_route_cache_disabled")
        immediate = counter("immediate_responses_sent")
        halfClosed = counter("server_half_closed")
        observersGivenUp = counter("observers_given_up")
    }
}
