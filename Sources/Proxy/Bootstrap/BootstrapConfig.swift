internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A bootstrap: read, decoded and checked.
final class BootstrapConfig: Sendable {
    let message: Bootstrap
    let node: Node
    let admin: IO.SocketAddress?
    /// The cluster of the ADS stream and the name of the management server's type; nil without ADS.
    let ads: ADSSource?
    let stats: StatsConfiguration
    let wantsListeners: Bool
    let wantsClusters: Bool

    /// Where the ADS stream goes.
    struct ADSSource: Sendable {
        var clusterName: String
        var authority: String
        var initialMetadata: [(name: String, value: String)]
    }

    let secrets = SecretStore()

    var context: CompileContext { CompileContext(adsCluster: ads?.clusterName, serviceCluster: node.cluster, secrets: secrets) }

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
        let text: String
        do throws(SystemError) {
            text = try File.text(path)
        } catch {
            throw ConfigurationError(at: "", "\(error)")
        }
        if path.hasSuffix(".json") {
            do throws(JSONError) {
                return try JSON.parse(text)
            } catch {
                throw ConfigurationError(at: "", "\(path): \(error)")
            }
        }
        return try parse(text, file: path)
    }

    private static func parse(_ text: String, file: String) throws(ConfigurationError) -> JSON {
        do throws(YAMLError) {
            return try YAML.parse(text, file: file).first?.json ?? .object([:])
        } catch {
            throw ConfigurationError(at: "", "\(error)")
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
        self.message = message
        try FieldCheck.check(
            message, reads: ["node", "static_resources", "dynamic_resources", "admin", "stats_config"], at: "")
        var node = message.node ?? Node()
        if let id = options.serviceNode { node.id = id }
        if let cluster = options.serviceCluster { node.cluster = cluster }
        if let zone = options.serviceZone {
            var locality = node.locality ?? EnvoyAPI.Locality()
            locality.zone = zone
            node.locality = locality
        }
        node.userAgentName = "skein-proxy"
        node.userAgentVersionType = .userAgentVersion(Version.text)
        self.node = node
        if let admin = message.admin, let address = admin.address {
            try FieldCheck.check(admin, reads: ["address"], at: "admin")
            self.admin = try IO.SocketAddress(compiling: address, at: "admin.address")
        } else {
            admin = nil
        }
        stats =
            try message.statsConfig.map { config throws(ConfigurationError) in
                try StatsConfiguration(compiling: config, at: "stats_config")
            } ?? StatsConfiguration()
        if let resources = message.staticResources {
            try FieldCheck.check(resources, reads: ["listeners", "clusters", "secrets"], at: "static_resources")
            try secrets.setStatic(resources.secrets, at: "static_resources.secrets")
        }
        let dynamic = message.dynamicResources
        ads = try dynamic?.adsConfig.map { source throws(ConfigurationError) in
            try Self.compile(source, node: node, at: "dynamic_resources.ads_config")
        }
        if let dynamic {
            try FieldCheck.check(
                dynamic,
                reads: ["ads_config", "lds_config", "cds_config", "lds_resources_locator", "cds_resources_locator"],
                at: "dynamic_resources")
            let context = CompileContext(adsCluster: ads?.clusterName, serviceCluster: node.cluster, secrets: secrets)
            if dynamic.ldsConfig != nil {
                try context.checkSource(dynamic.ldsConfig, at: "dynamic_resources.lds_config")
            }
            if dynamic.cdsConfig != nil {
                try context.checkSource(dynamic.cdsConfig, at: "dynamic_resources.cds_config")
            }
        }
        wantsListeners = dynamic?.ldsConfig != nil
        wantsClusters = dynamic?.cdsConfig != nil
    }

    private static func compile(
        _ source: ApiConfigSource, node: Node, at path: String
    ) throws(ConfigurationError) -> ADSSource {
        try FieldCheck.check(
            source,
            reads: [
                "api_type", "transport_api_version", "grpc_services", "set_node_on_first_message_only",
                "rate_limit_settings",
            ],
            at: path)
        switch source.apiType {
        case .deltaGrpc, .aggregatedDeltaGrpc: break
        case .grpc, .aggregatedGrpc:
            throw ConfigurationError(
                at: path + ".api_type", "state-of-the-world ADS is not supported yet; use DELTA_GRPC")
        default: throw ConfigurationError(at: path + ".api_type", "DELTA_GRPC is needed")
        }
        guard node.id.isEmpty == false else {
            throw ConfigurationError(at: "node.id", "ADS needs a node id (or --service-node)")
        }
        guard let service = source.grpcServices.first else {
            throw ConfigurationError(at: path + ".grpc_services", "one gRPC service is needed")
        }
        guard case .envoyGrpc(let grpc) = service.targetSpecifier, !grpc.clusterName.isEmpty else {
            throw ConfigurationError(at: path + ".grpc_services[0]", "envoy_grpc with a cluster_name is needed")
        }
        return ADSSource(
            clusterName: grpc.clusterName, authority: grpc.authority.isEmpty ? grpc.clusterName : grpc.authority,
            initialMetadata: service.initialMetadata.map { ($0.key, $0.value) })
    }
}

/// The version that the program tells.
public enum Version {
    /// `0.2.0`.
    public static let text = "0.2.0"
}
