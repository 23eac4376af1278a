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
    }

    let statPrefix: String
    let routes: Routes
    let filters: [any HTTPFilterConfig]
    let accessLogs: [AccessLogConfig]
    let limits: HTTP1Limits
    let pathNormalization: PathNormalization
    let serverName: String
    let serverHeader: HttpConnectionManager.ServerHeaderTransformation
    let usesRemoteAddress: Bool
    let trustedHops: Int
    let skipsXFFAppend: Bool
    let appendsForwardedPort: Bool
    let via: String
    let generatesRequestID: Bool
    let preservesRequestID: Bool
    let setsRequestIDInResponse: Bool
    let suppressesEnvoyHeaders: Bool
    let upgrades: Set<String>
    let requestsPerConnectionMax: Int?
    /// nil is never, for each of these.
    let idleTimeout: Duration?
    let streamIdleTimeout: Duration?
    let requestTimeout: Duration?
    let requestHeadersTimeout: Duration?
    let stripsPort: StripsPort
    let forwardedClientCertificate: ForwardedClientCertificate

    /// Which port leaves the authority before routing.
    enum StripsPort: Sendable { case never, matching, always }

    /// Slowloris (ATK-10): Envoy has no default; ours ends a head that takes longer.
    static let requestHeadersTimeoutDefault: Duration = .seconds(10)

    init(compiling message: HttpConnectionManager, at path: String, context: CompileContext) throws(ConfigurationError)
    {
        try FieldCheck.check(
            message,
            reads: [
                "stat_prefix", "codec_type", "rds", "route_config", "http_filters", "access_log", "server_name",
                "server_header_transformation", "use_remote_address", "xff_num_trusted_hops", "skip_xff_append",
                "append_x_forwarded_port", "via", "generate_request_id", "preserve_external_request_id",
                "always_set_request_id_in_response", "upgrade_configs", "normalize_path", "merge_slashes",
                "path_with_escaped_slashes_action", "common_http_protocol_options", "stream_idle_timeout",
                "request_timeout", "request_headers_timeout", "max_request_headers_kb", "strip_matching_host_port",
                "strip_any_host_port", "forward_client_cert_details", "set_current_client_cert_details",
            ], at: path)
        forwardedClientCertificate = try ForwardedClientCertificate(compiling: message, at: path)
        if case .http2 = message.codecType {
            throw ConfigurationError(
                at: path + ".codec_type", "HTTP2 downstream is not supported yet; use AUTO or HTTP1")
        }
        if case .http3 = message.codecType {
            throw ConfigurationError(at: path + ".codec_type", "HTTP3 is not supported")
        }
        statPrefix = message.statPrefix
        switch message.routeSpecifier {
        case .routeConfig(let configuration):
            routes = .inline(try CompiledRoutes(configuration, at: path + ".route_config", context: context))
        case .rds(let rds):
            guard !rds.routeConfigName.isEmpty else {
                throw ConfigurationError(at: path + ".rds.route_config_name", "a name is needed")
            }
            try context.checkSource(rds.configSource, at: path + ".rds.config_source")
            routes = .rds(name: rds.routeConfigName)
        case .scopedRoutes:
            throw ConfigurationError(at: path + ".scoped_routes", "not supported yet; use rds or route_config")
        case nil:
            throw ConfigurationError(at: path, "routes are needed: rds or route_config")
        }
        (filters, suppressesEnvoyHeaders) = try HTTPFilters.compile(
            message.httpFilters, at: path + ".http_filters", statPrefix: message.statPrefix, context: context)
        accessLogs = try AccessLogConfig.compile(message.accessLog, at: path + ".access_log")
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
                    "headers_with_underscores_action",
                ],
                at: path + ".common_http_protocol_options")
            if let count = common.maxHeadersCount { limits.fields = Int(count) }
        }
        self.limits = limits
        requestsPerConnectionMax = common?.maxRequestsPerConnection.map { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
        idleTimeout = Self.timeout(common?.idleTimeout, default: .seconds(3600))
        streamIdleTimeout = Self.timeout(message.streamIdleTimeout, default: .seconds(300))
        requestTimeout = Self.timeout(message.requestTimeout, default: nil)
        requestHeadersTimeout = Self.timeout(message.requestHeadersTimeout, default: Self.requestHeadersTimeoutDefault)
        pathNormalization = try PathNormalization(
            normalizes: message.normalizePath ?? true, mergesSlashes: message.mergeSlashes,
            escapedSlashes: message.pathWithEscapedSlashesAction, at: path)
        serverName = message.serverName.isEmpty ? "skein" : message.serverName
        serverHeader = message.serverHeaderTransformation
        usesRemoteAddress = message.useRemoteAddress ?? false
        trustedHops = Int(message.xffNumTrustedHops)
        skipsXFFAppend = message.skipXffAppend
        appendsForwardedPort = message.appendXForwardedPort
        via = message.via
        generatesRequestID = message.generateRequestId ?? true
        preservesRequestID = message.preserveExternalRequestId
        setsRequestIDInResponse = message.alwaysSetRequestIdInResponse
        var upgrades: Set<String> = []
        for (index, upgrade) in message.upgradeConfigs.enumerated() where upgrade.enabled ?? true {
            if !upgrade.filters.isEmpty {
                throw ConfigurationError(
                    at: "\(path).upgrade_configs[\(index)].filters", "an own filter chain is not supported yet")
            }
            let type = upgrade.upgradeType.lowercased()
            if type == "connect" || type == "connect-udp" {
                throw ConfigurationError(
                    at: "\(path).upgrade_configs[\(index)].upgrade_type", "CONNECT is not supported yet")
            }
            upgrades.insert(type)
        }
        self.upgrades = upgrades
        if case .stripAnyHostPort(true) = message.stripPortMode {
            stripsPort = .always
        } else {
            stripsPort = message.stripMatchingHostPort ? .matching : .never
        }
    }

    /// Zero switches a timeout off; an absent one has a default.
    private static func timeout(_ value: Duration?, default standard: Duration?) -> Duration? {
        guard let value else { return standard }
        return value > .zero ? value : nil
    }
}

/// A route table with what the proxy needs beside it.
final class CompiledRoutes: Sendable {
    let table: RouteTable
    let message: RouteConfiguration

    init(_ message: RouteConfiguration, at path: String, context: CompileContext) throws(ConfigurationError) {
        self.message = message
        do throws(ConfigurationError) {
            table = try RouteTable(compiling: message, filters: HTTPFilters.routeCompiler(context))
        } catch {
            throw ConfigurationError(at: FieldCheck.join(path, error.path), error.reason)
        }
    }
}

/// What the compiler of one resource may refer to.
struct CompileContext: Sendable {
    /// The cluster of the ADS stream; nil without one.
    var adsCluster: String?
    /// This node's cluster: `node.cluster`, or `--service-cluster`.
    var serviceCluster = ""
    /// Where counters are found by name; one of its own where nothing is going to run (`--mode validate`).
    var metrics = MetricSet(workers: 1)
    /// Secrets by name, for whoever is made of them.
    let secrets: SecretStore

    var hasADS: Bool { adsCluster != nil }

    /// HTTP/2 is spoken to the management server only, so far.
    func checkCodec(_ config: ClusterConfig, at path: String) throws(ConfigurationError) {
        guard config.codec == .http2, config.name != adsCluster else { return }
        throw ConfigurationError(
            at: path + ".typed_extension_protocol_options",
            "HTTP/2 to upstreams is not supported yet (only to the ADS cluster); remove http2_protocol_options")
    }

    func checkSource(_ source: ConfigSource?, at path: String) throws(ConfigurationError) {
        switch source?.configSourceSpecifier {
        case .ads:
            if !hasADS {
                throw ConfigurationError(at: path + ".ads", "there is no ADS: dynamic_resources.ads_config is not set")
            }
        case .self: return
        case nil: throw ConfigurationError(at: path, "a source is needed: ads")
        default: throw ConfigurationError(at: path, "only ads (aggregated discovery) is supported as a source")
        }
    }
}
