internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// A compiled `HttpConnectionManager`.
final class HTTPConnectionManagerConfig: Sendable {
    /// Where its routes come from.
    enum Routes: Sendable {
        case inline(CompiledRoutes)
        case rds(name: String)
        case scoped(ScopedRouting)
    }

    let statPrefix: String
    let routes: Routes
    /// Where `rds` comes from, and how long the listener waits for it.
    let rdsSource: DiscoverySource?
    let rdsTimeout: Duration?
    let filters: [any HTTPFilterConfig]
    let accessLogs: [AccessLogConfig]
    let localReply: LocalReplyRules?
    let tracing: TracingConfig?
    /// The listener is for traffic that leaves.
    let isEgress: Bool
    /// A line is written when a request begins, too.
    let logsNewRequests: Bool
    /// A line is written when a tunnel stands, too.
    let logsTunnels: Bool
    /// A line is written so often while a request is under way; nil is never.
    let accessLogInterval: Duration?
    let limits: HTTP1Limits
    let codec: Codec
    let http2: HTTP2Options
    let http2Limits: HTTP2Limits
    let pathNormalization: PathNormalization
    /// What the `server` field of responses says.
    let serverField: PreparedField
    let serverHeader: HttpConnectionManager.ServerHeaderTransformation
    let via: String
    let forwarding: ForwardingHeaders
    let underscores: Underscores
    let maxStreamDuration: Duration?
    let http1: HTTP1Options
    /// `Expect: 100-continue` is for the upstream to answer.
    let passesContinue: Bool
    let setsRequestIDInResponse: Bool
    let router: RouterConfig
    var suppressesEnvoyHeaders: Bool { router.suppressesEnvoyHeaders }
    let upgrades: Set<String>
    let requestsPerConnectionMax: Int?
    /// nil is never, for each of these.
    let idleTimeout: Duration?
    let streamIdleTimeout: Duration?
    let requestTimeout: Duration?
    let requestHeadersTimeout: Duration?
    let stripsPort: StripsPort
    /// The dot at the end of an authority goes.
    let stripsDot: Bool
    /// Requests get this scheme, whatever they said; nil leaves it to them.
    let scheme: StaticString?
    /// Requests get the scheme of the connection that they leave by.
    let matchesUpstreamScheme: Bool
    /// Changes of a request before anything else looks at it.
    let earlyMutations: FieldMutations
    /// Requests are told who we are, and get a `user-agent` where they have none.
    let userAgent: String?
    /// Our own id, for `userAgent`'s sake; nil when we have none.
    let nodeID: String?
    /// An answer because of overload says so in a header.
    let tellsOfOverload: Bool
    let forwardedClientCertificate: ForwardedClientCertificate
    /// `--defaults envoy`: where Envoy does less than we would, we do as Envoy does.
    let usesEnvoyDefaults: Bool
    /// What may wait here of what passes.
    let buffers: BufferLimits

    /// Longest life of a connection.
    let connectionDurationMax: Duration?
    /// A connection of HTTP/1 that has lived so long is closed with the answer to its next request, never between two.
    let closesWithAnswersOnly: Bool
    /// Time between the two GOAWAY frames of a draining connection.
    let drainTimeout: Duration

    /// The filters, and those inside of them.
    var allFilters: [any HTTPFilterConfig] {
        func all(_ filters: [any HTTPFilterConfig]) -> [any HTTPFilterConfig] {
            filters.flatMap { [$0] + all(($0 as? CompositeFilterConfig)?.nested ?? []) }
        }
        return all(filters)
    }

    /// What clients may speak; `auto` is whatever ALPN or the first bytes say.
    enum Codec: Sendable { case auto, http1, http2 }

    /// Envoy's.
    static let drainTimeoutDefault: Duration = .seconds(5)

    /// Which port leaves the authority before routing.
    enum StripsPort: Sendable { case never, matching, always }

    /// Slowloris (ATK-10): Envoy has no default; ours ends a head that takes longer.
    static let requestHeadersTimeoutDefault: Duration = .seconds(10)

    init(compiling message: HttpConnectionManager, at path: String, context: CompileContext) throws(ConfigurationError)
    {
        try FieldCheck.check(
            message,
            reads: [
                "stat_prefix", "codec_type", "rds", "scoped_routes", "route_config", "http_filters", "access_log",
                "server_name",
                "server_header_transformation", "use_remote_address", "xff_num_trusted_hops", "skip_xff_append",
                "append_x_forwarded_port", "via", "generate_request_id", "preserve_external_request_id",
                "always_set_request_id_in_response", "upgrade_configs", "normalize_path", "merge_slashes",
                "path_with_escaped_slashes_action", "common_http_protocol_options", "stream_idle_timeout",
                "request_timeout", "request_headers_timeout", "max_request_headers_kb", "strip_matching_host_port",
                "strip_any_host_port", "tracing", "local_reply_config", "access_log_options",
                "access_log_flush_interval",
                "flush_access_log_on_new_request",
                "forward_client_cert_details", "set_current_client_cert_details",
                "http2_protocol_options", "drain_timeout", "stream_error_on_invalid_http_message",
                "internal_address_config", "http_protocol_options", "proxy_100_continue", "strip_trailing_host_dot",
                "scheme_header_transformation", "add_user_agent", "append_local_overload",
                "represent_ipv4_remote_address_as_ipv4_mapped_ipv6", "original_ip_detection_extensions",
                "early_header_mutation_extensions", "http1_safe_max_connection_duration",
            ], at: path)
        forwardedClientCertificate = try ForwardedClientCertificate(compiling: message, at: path)
        usesEnvoyDefaults = context.usesEnvoyDefaults
        buffers = context.buffers
        switch message.codecType {
        case .auto: codec = .auto
        case .http1: codec = .http1
        case .http2: codec = .http2
        case .http3: throw ConfigurationError(at: path + ".codec_type", "HTTP3 is not supported")
        case .unrecognized(let number):
            throw ConfigurationError(at: path + ".codec_type", "\(number) is no codec")
        }
        statPrefix = message.statPrefix
        switch message.routeSpecifier {
        case .routeConfig(let configuration):
            (rdsSource, rdsTimeout) = (nil, nil)
            routes = .inline(try CompiledRoutes(configuration, at: path + ".route_config", context: context))
        case .rds(let rds):
            guard !rds.routeConfigName.isEmpty else {
                throw ConfigurationError(at: path + ".rds.route_config_name", "a name is needed")
            }
            rdsSource = try DiscoverySource(
                compiling: rds.configSource, at: path + ".rds.config_source", hasADS: context.hasADS)
            rdsTimeout = DiscoverySource.initialFetchTimeout(rds.configSource)
            routes = .rds(name: rds.routeConfigName)
        case .scopedRoutes(let scoped):
            let scoping = try ScopedRouting(compiling: scoped, at: path + ".scoped_routes", context: context)
            routes = .scoped(scoping)
            rdsSource = scoping.routesSource
            rdsTimeout = DiscoverySource.initialFetchTimeout(scoped.rdsConfigSource)
        case nil:
            throw ConfigurationError(at: path, "routes are needed: rds, scoped_routes or route_config")
        }
        (filters, router) = try HTTPFilters.compile(
            message.httpFilters, at: path + ".http_filters", statPrefix: message.statPrefix, context: context)
        accessLogs = try AccessLogConfig.compile(message.accessLog, at: path + ".access_log", context: context)
        localReply = try message.localReplyConfig.map { config throws(ConfigurationError) in
            try LocalReplyRules(compiling: config, at: path + ".local_reply_config")
        }
        isEgress = context.isEgress
        tracing = try message.tracing.map { tracing throws(ConfigurationError) in
            try TracingConfig(
                compiling: tracing, startsChildSpan: HTTPFilters.startsChildSpan(message.httpFilters),
                isEgress: context.isEgress, at: path + ".tracing", context: context)
        }
        let logOptions = message.accessLogOptions
        logsNewRequests = logOptions?.flushAccessLogOnNewRequest ?? message.flushAccessLogOnNewRequest
        logsTunnels = logOptions?.flushLogOnTunnelSuccessfullyEstablished ?? false
        let interval = logOptions?.accessLogFlushInterval ?? message.accessLogFlushInterval
        guard interval.map({ $0 >= .milliseconds(1) }) ?? true else {
            throw ConfigurationError(at: path + ".access_log_options.access_log_flush_interval", "is below 1 ms")
        }
        accessLogInterval = interval
        var limits = HTTP1Limits()
        if let kilobytes = message.maxRequestHeadersKb {
            guard (1...8192).contains(kilobytes) else {
                throw ConfigurationError(at: path + ".max_request_headers_kb", "\(kilobytes) is not in 1 to 8192")
            }
            limits.headBytes = Int(kilobytes) * 1024
        }
        let common = message.commonHttpProtocolOptions
        if let common {
            try FieldCheck.check(
                common,
                reads: [
                    "idle_timeout", "max_headers_count", "max_requests_per_connection",
                    "headers_with_underscores_action", "max_connection_duration", "max_stream_duration",
                ],
                at: path + ".common_http_protocol_options")
            if let count = common.maxHeadersCount { limits.fields = Int(count) }
        }
        self.limits = limits
        if let options = message.http2ProtocolOptions {
            http2 = try HTTP2Options(compiling: options, at: path + ".http2_protocol_options")
        } else {
            http2 = HTTP2Options()
        }
        var http2Limits = HTTP2Limits(http2)
        http2Limits.headBytes = limits.headBytes
        http2Limits.fields = limits.fields
        if let endsStream = http2.endsStreamOnInvalidMessage ?? message.streamErrorOnInvalidHttpMessage {
            http2Limits.malformedMessageEndsConnection = !endsStream
        }
        switch common?.headersWithUnderscoresAction {
        case .rejectRequest: (underscores, http2Limits.underscores) = (.reject, .reject)
        case .dropHeader: (underscores, http2Limits.underscores) = (.drop, .drop)
        default:
            // At the edge, where clients' addresses are taken from the connection, nobody's names are trusted.
            let drops = message.useRemoteAddress == true && !context.usesEnvoyDefaults
            (underscores, http2Limits.underscores) = drops ? (.drop, .drop) : (.allow, .allow)
        }
        self.http2Limits = http2Limits
        connectionDurationMax = Self.timeout(common?.maxConnectionDuration, default: nil)
        closesWithAnswersOnly = message.http1SafeMaxConnectionDuration
        earlyMutations = try Self.earlyMutations(message, at: path + ".early_header_mutation_extensions")
        drainTimeout = message.drainTimeout ?? Self.drainTimeoutDefault
        requestsPerConnectionMax = common?.maxRequestsPerConnection.map { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
        idleTimeout = Self.timeout(common?.idleTimeout, default: .seconds(3600))
        streamIdleTimeout = Self.timeout(message.streamIdleTimeout, default: .seconds(300))
        requestTimeout = Self.timeout(message.requestTimeout, default: nil)
        requestHeadersTimeout = Self.timeout(
            message.requestHeadersTimeout,
            default: context.usesEnvoyDefaults ? nil : Self.requestHeadersTimeoutDefault)
        pathNormalization = PathNormalization(
            normalizes: message.normalizePath ?? !context.usesEnvoyDefaults, mergesSlashes: message.mergeSlashes,
            escapedSlashes: message.pathWithEscapedSlashesAction)
        do throws(HTTPFieldError) {
            let name = message.serverName.isEmpty ? "skein" : message.serverName
            serverField = try PreparedField(.server, Array(name.utf8).span.bytes)
        } catch {
            throw ConfigurationError(at: path + ".server_name", "\(error)")
        }
        serverHeader = message.serverHeaderTransformation
        forwarding = try ForwardingHeaders(message, at: path)
        maxStreamDuration = Self.timeout(common?.maxStreamDuration, default: nil)
        http1 = try HTTP1Options(message.httpProtocolOptions, at: path + ".http_protocol_options")
        passesContinue = message.proxy100Continue
        via = message.via
        setsRequestIDInResponse = message.alwaysSetRequestIdInResponse
        var upgrades: Set<String> = []
        for (index, upgrade) in message.upgradeConfigs.enumerated() where upgrade.enabled ?? true {
            if !upgrade.filters.isEmpty {
                throw ConfigurationError(
                    at: "\(path).upgrade_configs[\(index)].filters", "an own filter chain is not supported yet")
            }
            let type = upgrade.upgradeType.lowercased()
            if type == "connect-udp" {
                throw ConfigurationError(
                    at: "\(path).upgrade_configs[\(index)].upgrade_type", "CONNECT-UDP belongs to HTTP/3")
            }
            upgrades.insert(type)
        }
        self.upgrades = upgrades
        stripsDot = message.stripTrailingHostDot
        tellsOfOverload = message.appendLocalOverload
        userAgent = message.addUserAgent == true ? context.serviceCluster : nil
        nodeID = context.node.flatMap { $0.id.isEmpty ? nil : $0.id }
        switch message.schemeHeaderTransformation?.transformation {
        case .schemeToOverwrite("http"): scheme = "http"
        case .schemeToOverwrite("https"): scheme = "https"
        case .schemeToOverwrite(""): scheme = nil
        case .schemeToOverwrite(let other):
            throw ConfigurationError(
                at: path + ".scheme_header_transformation.scheme_to_overwrite", "\(other) is neither http nor https")
        case nil: scheme = nil
        }
        matchesUpstreamScheme = scheme == nil && message.schemeHeaderTransformation?.matchUpstream == true
        if let message = message.schemeHeaderTransformation {
            try FieldCheck.check(
                message, reads: ["scheme_to_overwrite", "match_upstream"], at: path + ".scheme_header_transformation")
        }
        if case .stripAnyHostPort(true) = message.stripPortMode {
            stripsPort = .always
        } else {
            stripsPort = message.stripMatchingHostPort ? .matching : .never
        }
    }

    private static func earlyMutations(
        _ message: HttpConnectionManager, at path: String
    ) throws(ConfigurationError) -> FieldMutations {
        var result = FieldMutations()
        for (index, item) in message.earlyHeaderMutationExtensions.enumerated() {
            let here = "\(path)[\(index)].typed_config"
            guard let any = item.typedConfig else { throw ConfigurationError(at: here, "is missing") }
            let mutation = try HTTPFilters.decode(any, as: EarlyHeaderMutation.self, at: here)
            result.append(try FieldMutations(compiling: mutation.mutations, at: here + ".mutations"))
        }
        return result
    }

    /// Zero switches a timeout off; an absent one has a default.
    private static func timeout(_ value: Duration?, default standard: Duration?) -> Duration? {
        guard let value else { return standard }
        return value > .zero ? value : nil
    }
}

/// What happens to fields with an underscore in their name (ATK-16).
enum Underscores: Sendable { case allow, reject, drop }

/// How HTTP/1.1 is spoken with clients: Envoy's `Http1ProtocolOptions`.
struct HTTP1Options: Sendable {
    /// Names in responses begin their words with capitals, where no host's way of writing them is kept.
    var capitalizesNames = false
    /// What is kept of how clients write their heads.
    var spelling: HTTP1Spelling.Rule?
    /// Trailers pass; otherwise they are dropped.
    var passesTrailers = false
    /// Clients of HTTP/1.0 are served.
    var acceptsHTTP10 = false
    /// Methods that no registry knows pass (HTTP/1 only, as in Envoy).
    var allowsCustomMethods = false
    /// Wishes to speak another protocol that are passed over.
    var ignoredUpgrades: [Upstream.StringMatcher] = []
    /// The authority of a request of HTTP/1.0 without one.
    var defaultHost: [UInt8] = []

    /// Whether a method that is none of HTTP's own passes: the registered ones, in capitals, or all.
    func allows(method: RawSpan) -> Bool {
        if allowsCustomMethods { return true }
        return Self.registeredMethods.contains { name in
            name.utf8CodeUnitCount == method.byteCount
                && method.withUnsafeBytes { bytes in
                    bytes.elementsEqual(UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
                }
        }
    }

    /// WebDAV's and others', as Envoy's parser knows them.
    private static let registeredMethods: [StaticString] = [
        "ACL", "BIND", "CHECKOUT", "COPY", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE",
        "M-SEARCH", "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE",
        "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
    ]

    init(_ options: Http1ProtocolOptions?, at path: String) throws(ConfigurationError) {
        guard let options else { return }
        try FieldCheck.check(
            options,
            reads: [
                "header_key_format", "accept_http_10", "default_host_for_http_10", "enable_trailers",
                "allow_custom_methods", "ignore_http_11_upgrade",
            ], at: path)
        passesTrailers = options.enableTrailers
        acceptsHTTP10 = options.acceptHttp10
        allowsCustomMethods = options.allowCustomMethods
        defaultHost = Array(options.defaultHostForHttp10.utf8)
        for (index, matcher) in options.ignoreHttp11Upgrade.enumerated() {
            ignoredUpgrades.append(
                try Upstream.StringMatcher(compiling: matcher, at: "\(path).ignore_http_11_upgrade[\(index)]"))
        }
        let names = try FieldNameFormat(compiling: options.headerKeyFormat, at: path + ".header_key_format")
        capitalizesNames = names == .properCase
        spelling = names.spelling
    }
}

extension FieldNameFormat {
    /// What a parser of such peers' heads keeps.
    var spelling: HTTP1Spelling.Rule? {
        guard case .preserved(let forwardsReason, let capitalizesOthers) = self else { return nil }
        return HTTP1Spelling.Rule(forwardsReason: forwardsReason, capitalizesOthers: capitalizesOthers)
    }
}

/// A route table with what the proxy needs beside it.
final class CompiledRoutes: Sendable {
    let table: RouteTable
    private let packed: PackedMessage<RouteConfiguration>
    /// The configuration as it came.
    var message: RouteConfiguration { packed.message }

    init(_ message: RouteConfiguration, at path: String, context: CompileContext) throws(ConfigurationError) {
        packed = PackedMessage(message)
        do throws(ConfigurationError) {
            table = try RouteTable(compiling: message, filters: HTTPFilters.routeCompiler(context))
        } catch {
            throw ConfigurationError(at: FieldCheck.join(path, error.path), error.reason)
        }
        try HeaderFormatCheck.check(message, at: path)
    }
}

/// What the compiler of one resource may refer to.
struct CompileContext: Sendable {
    /// The cluster of the ADS stream; nil without one.
    var adsCluster: String?
    /// Whether that stream is a delta one.
    var adsIsDelta = false
    /// This node's cluster: `node.cluster`, or `--service-cluster`.
    var serviceCluster = ""
    /// The clusters of other discovery streams of the bootstrap.
    var managementClusters: Set<String> = []
    /// The clusters of services that name their servers themselves.
    var implicitClusters = ImplicitClusters()
    /// Where counters are found by name; one of its own where nothing is going to run (`--mode validate`).
    var metrics = MetricSet(workers: 1)
    /// Secrets by name, for whoever is made of them.
    let secrets: SecretStore
    /// `--defaults envoy`: limits and normalizations that a configuration leaves out are Envoy's, not ours.
    var usesEnvoyDefaults = false
    /// The source addresses of clusters that name none.
    var bindConfig: BindConfig?
    /// Who sends logs and spans away; nil where nothing is going to run.
    var collectors: CollectorHub?
    /// Who we are.
    var node: Node?
    /// Sends work to a worker; nil where nothing is going to run.
    var onFirstWorker: (@Sendable (@escaping @Sendable (Worker) -> Void) -> Void)?
    /// The bootstrap's `tracing`: for connection managers whose own names no provider.
    var tracer: TraceTracing.Http?
    /// The listener that is compiled is for traffic that leaves.
    var isEgress = false
    /// It is for traffic that comes in.
    var isIngress = false
    /// What its connections may keep.
    var buffers = BufferLimits()

    var hasADS: Bool { adsCluster != nil }

    func checkSource(_ source: ConfigSource?, at path: String) throws(ConfigurationError) {
        _ = try DiscoverySource(compiling: source, at: path, hasADS: hasADS)
    }
}
