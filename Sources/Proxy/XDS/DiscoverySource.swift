internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// Where resources are discovered: a compiled `ConfigSource`.
enum DiscoverySource: Hashable, Sendable {
    /// The aggregated stream of the bootstrap.
    case ads
    /// A stream of its own for each type.
    case grpc(GRPCSource)
    /// A file that holds a `DiscoveryResponse`.
    case file(FileSource)

    /// Where a stream goes.
    struct GRPCSource: Hashable, Sendable {
        struct Metadata: Hashable, Sendable {
            var name: String
            var value: String
        }

        var clusterName: String
        /// The cluster, where it is made for this server.
        var implicit: ImplicitCluster?
        var authority: String
        var initialMetadata: [Metadata] = []
        /// Metadata that is read from a file when a stream begins.
        var token: GRPCDestination.FileToken?
        var isDelta: Bool
    }

    /// A file, and the directory in which a move says that it has changed.
    struct FileSource: Hashable, Sendable {
        var path: String
        var directory: String
    }

    /// Envoy's `initial_fetch_timeout`.
    static let initialFetchTimeout: Duration = .seconds(15)

    /// How long a resource of that source is waited for; nil is for ever.
    static func initialFetchTimeout(_ source: ConfigSource?) -> Duration? {
        guard let timeout = source?.initialFetchTimeout else { return initialFetchTimeout }
        return timeout > .zero ? timeout : nil
    }

    init(compiling source: ConfigSource?, at path: String, hasADS: Bool) throws(ConfigurationError) {
        if let source {
            try FieldCheck.check(
                source,
                reads: [
                    "ads", "self", "path", "path_config_source", "api_config_source", "initial_fetch_timeout",
                    "resource_api_version",
                ], at: path)
            if case .v2 = source.resourceApiVersion {
                throw ConfigurationError(at: path + ".resource_api_version", "V2 is gone; use V3")
            }
        }
        switch source?.configSourceSpecifier {
        case nil:
            throw ConfigurationError(at: path, "a source is needed: ads, api_config_source or path_config_source")
        case .ads, .self:
            guard hasADS else {
                throw ConfigurationError(
                    at: path + ".ads", "there is no ADS: dynamic_resources.ads_config is not set")
            }
            self = .ads
        case .path(let file): self = .file(try Self.file(file, nil, at: path + ".path"))
        case .pathConfigSource(let file):
            self = .file(try Self.file(file.path, file.watchedDirectory?.path, at: path + ".path_config_source.path"))
        case .apiConfigSource(let api):
            self = .grpc(try GRPCSource(compiling: api, at: path + ".api_config_source"))
        }
    }

    private static func file(_ file: String, _ directory: String?, at path: String) throws(ConfigurationError)
        -> FileSource
    {
        guard !file.isEmpty else { throw ConfigurationError(at: path, "a file is needed") }
        var parent = "."
        if let slash = file.lastIndex(of: "/") { parent = slash == file.startIndex ? "/" : String(file[..<slash]) }
        return FileSource(path: file, directory: directory ?? parent)
    }
}

extension DiscoverySource.GRPCSource {
    init(compiling source: ApiConfigSource, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(
            source,
            reads: ["api_type", "transport_api_version", "grpc_services"], at: path)
        switch source.apiType {
        case .deltaGrpc, .aggregatedDeltaGrpc: isDelta = true
        case .grpc, .aggregatedGrpc: isDelta = false
        case .rest: throw ConfigurationError(at: path + ".api_type", "REST is not supported; use GRPC or DELTA_GRPC")
        default: throw ConfigurationError(at: path + ".api_type", "GRPC or DELTA_GRPC is needed")
        }
        if case .v2 = source.transportApiVersion {
            throw ConfigurationError(at: path + ".transport_api_version", "V2 is gone; use V3")
        }
        guard source.clusterNames.isEmpty else {
            throw ConfigurationError(at: path + ".cluster_names", "is for REST; use grpc_services")
        }
        let here = path + ".grpc_services[0]"
        guard let service = source.grpcServices.first, source.grpcServices.count == 1 else {
            throw ConfigurationError(at: path + ".grpc_services", "exactly one gRPC service is needed")
        }
        try FieldCheck.check(service, reads: ["envoy_grpc", "google_grpc", "initial_metadata"], at: here)
        let server = try GRPCDestination(of: service, at: here, allowsFiles: true)
        var grpc = server.grpc
        // Of a target that stands for itself it is not the user's word.
        if server.implicit != nil { grpc.skipEnvoyHeaders = false }
        try FieldCheck.check(grpc, reads: ["cluster_name", "authority"], at: server.path)
        implicit = server.implicit
        token = server.token
        clusterName = grpc.clusterName
        authority = grpc.authority.isEmpty ? grpc.clusterName : grpc.authority
        initialMetadata = (service.initialMetadata + server.metadata).map { Metadata(name: $0.key, value: $0.value) }
    }
}
