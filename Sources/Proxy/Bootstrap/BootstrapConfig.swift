internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Synchronization
internal import Telemetry
import Telemetry
internal import Upstream

/// A bootstrap: read, decoded and checked.
final class BootstrapConfig: Sendable {
    /// Where resources of a type that nothing names come from, and how long they are waited for at the start.
    struct Source: Sendable {
        var source: DiscoverySource
        var timeout: Duration?
    }

    /// The bootstrap but for the static clusters and listeners: there may be very many of them, and whoever takes them keeps them.
    private let packed: PackedMessage<Bootstrap>
    private let resources: Mutex<Bootstrap.StaticResources?>
    private let bindConfig: BindConfig?
    let node: Node
    let admin: AdminConfig?
    /// The aggregated stream; nil without ADS.
    let ads: DiscoverySource.GRPCSource?
    /// Where load is reported to (`cluster_manager.load_stats_config`); nil: nowhere.
    let loadReports: DiscoverySource.GRPCSource?
    let listeners: Source?
    let clusters: Source?
    let runtimeLayers: [RuntimeLayerConfig]
    let overload: OverloadConfig?
    /// How names are looked up where nobody says otherwise.
    let resolver: ResolverSettings
    let stats: StatsConfiguration
    /// Who gets metrics (`stats_sinks`), and how often (`stats_flush_interval`).
    let sinks: [MetricSinkConfig]
    let statsdSinks: [StatsdSinkConfig]
    let serviceSinks: [MetricsServiceSinkConfig]
    let flushInterval: Duration
    private static let flushIntervalDefault = Duration.seconds(5)
    private static let flushIntervalMin = Duration.milliseconds(100)
    private static let flushIntervalMax = Duration.seconds(300)
    /// `tracing`: who gets the spans of connection managers that name nobody.
    let tracer: TraceTracing.Http?
    /// How the log looks, where the command line says nothing.
    let logFormat: LogFormat?
    let secrets = SecretStore()
    /// Those to which this was compiled.
    let implicitClusters = ImplicitClusters.compiling
    /// `--defaults envoy`.
    let usesEnvoyDefaults: Bool

    var context: CompileContext {
        CompileContext(
            adsCluster: ads?.clusterName, adsIsDelta: ads?.isDelta ?? false, serviceCluster: node.cluster,
            managementClusters: Set(grpcSources.map(\.0.clusterName)), implicitClusters: implicitClusters,
            secrets: secrets,
            usesEnvoyDefaults: usesEnvoyDefaults, bindConfig: bindConfig, tracer: tracer)
    }

    /// The whole bootstrap as it came.
    ///
    /// - Parameter store: Who has the static clusters and listeners, once they were taken.
    func message(_ store: ConfigurationStore? = nil) -> Bootstrap {
        var message = packed.message
        if let resources = resources.withLock({ $0 }) {
            message.staticResources = resources
        } else if let store {
            message.staticResources?.clusters = store.staticClusters.compactMap { store.clusterMessages[$0]?.message }
            message.staticResources?.listeners = store.staticListeners.compactMap {
                store.listeners[$0]?.config.message
            }
        }
        return message
    }

    /// The static resources, once: what is made of them is kept, they are not.
    func takeResources() -> Bootstrap.StaticResources? {
        resources.withLock { resources in
            defer { resources = nil }
            return resources
        }
    }

    /// The management servers that the bootstrap itself names, with their paths.
    var grpcSources: [(DiscoverySource.GRPCSource, String)] {
        var sources: [(DiscoverySource.GRPCSource, String)] = []
        if let ads { sources.append((ads, "dynamic_resources.ads_config")) }
        if case .grpc(let grpc) = clusters?.source {
            sources.append((grpc, "dynamic_resources.cds_config.api_config_source"))
        }
        if case .grpc(let grpc) = listeners?.source {
            sources.append((grpc, "dynamic_resources.lds_config.api_config_source"))
        }
        if let loadReports { sources.append((loadReports, "cluster_manager.load_stats_config")) }
        return sources
    }

    /// Reads the file and the text of the command line.
    convenience init(_ options: Options) throws(ConfigurationError) {
        var json: JSON?
        if let path = options.configPath { json = try Self.read(path) }
        if let text = options.configYAML {
            let over = try Self.parse(text, file: "--config-yaml")
            json = json.map { Self.merge($0, over) } ?? over
        }
        guard let json else {
            throw ConfigurationError(at: "", "no configuration: give -c FILE or --config-yaml TEXT")
        }
        try self.init(json: json, options: options)
    }

    private static func read(_ path: String) throws(ConfigurationError) -> JSON {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try File.read(path)
        } catch {
            throw ConfigurationError(at: "", "\(error)")
        }
        do throws(MessageError) {
            return try parse(bytes, path: path)
        } catch {
            throw ConfigurationError(at: "", error.problem)
        }
    }

    /// Text of a file, JSON or YAML by its name.
    static func parse(_ bytes: [UInt8], path: String) throws(MessageError) -> JSON {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw MessageError("\(path): not UTF-8") }
        if path.hasSuffix(".json") {
            do throws(JSONError) {
                return try JSON.parse(text)
            } catch {
                throw MessageError("\(path): \(error)")
            }
        }
        do throws(YAMLError) {
            return try YAML.parse(text, file: path, keepingLines: false, fractionsAreText: true).first?.json
                ?? .object([:])
        } catch {
            throw MessageError("\(error)")
        }
    }

    private static func parse(_ text: String, file: String) throws(ConfigurationError) -> JSON {
        do throws(MessageError) {
            return try parse(Array(text.utf8), path: file)
        } catch {
            throw ConfigurationError(at: "", error.problem)
        }
    }

    /// Envoy's merge: messages field by field, lists one behind the other, scalars replaced.
    private static func merge(_ base: JSON, _ over: JSON) -> JSON {
        switch (base, over) {
        case (.object(var members), .object(let others)):
            for (key, value) in others { members[key] = members[key].map { merge($0, value) } ?? value }
            return .object(members)
        case (.array(let elements), .array(let others)): return .array(elements + others)
        default: return over
        }
    }

    init(json: JSON, options: Options) throws(ConfigurationError) {
        let message: Bootstrap
        do throws(MessageError) {
            message = try Bootstrap(json: json)
        } catch {
            throw ConfigurationError(at: error.path, error.problem)
        }
        resources = Mutex(message.staticResources)
        var frame = message
        frame.staticResources?.clusters = []
        frame.staticResources?.listeners = []
        packed = PackedMessage(frame)
        bindConfig = message.clusterManager?.upstreamBindConfig
        usesEnvoyDefaults = options.usesEnvoyDefaults
        secrets.usesEnvoyDefaults = options.usesEnvoyDefaults
        try FieldCheck.check(
            message,
            reads: [
                "node", "static_resources", "dynamic_resources", "admin", "layered_runtime", "overload_manager",
                "cluster_manager", "stats_config", "application_log_config", "stats_sinks", "stats_flush_interval",
                "bootstrap_extensions", "tracing", "use_tcp_for_dns_lookups", "dns_resolution_config",
                "typed_dns_resolver_config",
            ], at: "")
        node = Self.node(message.node, options)
        admin = try message.admin.flatMap { message throws(ConfigurationError) in
            try AdminConfig(compiling: message, at: "admin")
        }
        if let resources = message.staticResources {
            try FieldCheck.check(resources, reads: ["listeners", "clusters", "secrets"], at: "static_resources")
            try secrets.setStatic(resources.secrets, at: "static_resources.secrets")
        }
        stats =
            try message.statsConfig.map { config throws(ConfigurationError) in
                try StatsConfiguration(compiling: config, at: "stats_config")
            } ?? StatsConfiguration()
        sinks = try MetricSinkConfig.compile(message.statsSinks, node: node, at: "stats_sinks")
        statsdSinks = try StatsdSinkConfig.compile(message.statsSinks, at: "stats_sinks")
        serviceSinks = try MetricsServiceSinkConfig.compile(message.statsSinks, node: node, at: "stats_sinks")
        flushInterval = message.statsFlushInterval ?? Self.flushIntervalDefault
        guard flushInterval >= Self.flushIntervalMin, flushInterval <= Self.flushIntervalMax else {
            throw ConfigurationError(at: "stats_flush_interval", "a time from 100 ms to 5 min is needed")
        }
        if let manager = message.clusterManager {
            try FieldCheck.check(
                manager, reads: ["upstream_bind_config", "load_stats_config"], at: "cluster_manager")
        }
        loadReports = try message.clusterManager?.loadStatsConfig.map { source throws(ConfigurationError) in
            let place = "cluster_manager.load_stats_config"
            let compiled = try DiscoverySource.GRPCSource(compiling: source, at: place)
            guard !compiled.isDelta else {
                throw ConfigurationError(at: place + ".api_type", "reports are whole: GRPC is needed")
            }
            return compiled
        }
        resolver =
            try .compile(
                typed: message.typedDnsResolverConfig, config: message.dnsResolutionConfig,
                usesTCP: message.useTcpForDnsLookups, at: "") ?? ResolverSettings()
        try Self.check(message.bootstrapExtensions, at: "bootstrap_extensions")
        if let tracing = message.tracing {
            try FieldCheck.check(tracing, reads: ["http"], at: "tracing")
        }
        tracer = message.tracing?.http
        logFormat = try Self.logFormat(message.applicationLogConfig?.logFormat)
        let dynamic = message.dynamicResources
        let place = "dynamic_resources"
        if let dynamic {
            try FieldCheck.check(
                dynamic, reads: ["ads_config", "lds_config", "cds_config"], at: place)
        }
        let ads = try dynamic?.adsConfig.map { source throws(ConfigurationError) in
            try DiscoverySource.GRPCSource(compiling: source, at: place + ".ads_config")
        }
        self.ads = ads
        func source(_ config: ConfigSource?, _ path: String) throws(ConfigurationError) -> Source? {
            guard let config else { return nil }
            return Source(
                source: try DiscoverySource(compiling: config, at: path, hasADS: ads != nil),
                timeout: DiscoverySource.initialFetchTimeout(config))
        }
        listeners = try source(dynamic?.ldsConfig, place + ".lds_config")
        clusters = try source(dynamic?.cdsConfig, place + ".cds_config")
        runtimeLayers = try RuntimeLayerConfig.compile(message.layeredRuntime, at: "layered_runtime")
        overload = try message.overloadManager.map { manager throws(ConfigurationError) in
            try OverloadConfig(compiling: manager, at: "overload_manager")
        }
        // Load reports need none, as with Envoy: only who is configured by a server must say who he is.
        guard grpcSources.count == (loadReports == nil ? 0 : 1) || !node.id.isEmpty else {
            throw ConfigurationError(at: "node.id", "a management server needs a node id (or --service-node)")
        }
    }

    /// Extensions that a bootstrap may name: those without which nothing here is different.
    private static func check(_ extensions: [TypedExtensionConfig], at path: String) throws(ConfigurationError) {
        for (index, config) in extensions.enumerated() {
            let here = "\(path)[\(index)]"
            guard var type = config.typedConfig?.name else {
                throw ConfigurationError(at: here + ".typed_config", "is missing")
            }
            if let any = config.typedConfig, any.holds(InternalListenerExtension.self) {
                let message = try HTTPFilters.decode(
                    any, as: InternalListenerExtension.self, at: here + ".typed_config")
                try FieldCheck.check(message, reads: [], at: here + ".typed_config")
            }
            if let any = config.typedConfig, any.holds(UdpaTypedStruct.self) {
                // Of a type that nobody knows: else it would stand for that message.
                let inner = try HTTPFilters.decode(any, as: UdpaTypedStruct.self, at: here + ".typed_config")
                type = inner.typeUrl.split(separator: "/").last.map(String.init) ?? ""
            }
            guard type == InternalListenerExtension.schema.name else {
                throw ConfigurationError(
                    at: here, "unknown extension \(type); known: \(InternalListenerExtension.schema.name)")
            }
        }
    }

    private static func logFormat(
        _ message: Bootstrap.ApplicationLogConfig.LogFormat?
    ) throws(ConfigurationError) -> LogFormat? {
        let path = "application_log_config.log_format"
        switch message?.logFormat {
        case nil: return nil
        case .jsonFormat: throw ConfigurationError(at: path + ".json_format", "not supported; use text_format")
        case .textFormat(let pattern):
            guard let format = LogFormat(pattern: pattern) else {
                throw ConfigurationError(at: path + ".text_format", "\(pattern) has a letter that is not known")
            }
            return format
        }
    }

    private static func node(_ message: Node?, _ options: Options) -> Node {
        var node = message ?? Node()
        if let id = options.serviceNode { node.id = id }
        if let cluster = options.serviceCluster { node.cluster = cluster }
        if let zone = options.serviceZone {
            var locality = node.locality ?? EnvoyAPI.Locality()
            locality.zone = zone
            node.locality = locality
        }
        if node.userAgentName.isEmpty { node.userAgentName = "skein-proxy" }
        node.userAgentVersionType = .userAgentVersion(Product.version)
        // Resources of state-of-the-world responses may be wrapped with their names.
        if !node.clientFeatures.contains("xds.config.resource-in-sotw") {
            node.clientFeatures.append("xds.config.resource-in-sotw")
        }
        return node
    }
}
