internal import EnvoyAPI
internal import Upstream

/// From where clusters are asked for that are not there, and how long a request or connection waits for one: `odcds`.
struct OnDemandClusters: Sendable, Hashable {
    var source: DiscoverySource
    var timeout: Duration

    init(
        _ source: ConfigSource?, locator: String, timeout: Duration?, default fallback: Duration, sourceField: String,
        at path: String, context: CompileContext
    ) throws(ConfigurationError) {
        guard locator.isEmpty else {
            throw ConfigurationError(
                at: FieldCheck.join(path, "resources_locator"), "names of the form xdstp:// are not supported")
        }
        let place = FieldCheck.join(path, sourceField)
        self.source = try DiscoverySource(compiling: source, at: place, hasADS: context.hasADS)
        switch self.source {
        case .ads:
            guard context.adsIsDelta else {
                throw ConfigurationError(
                    at: place + ".ads", "clusters on demand need delta discovery: let ads_config say DELTA_GRPC")
            }
        case .grpc(let grpc):
            // Without delta a server has no way to say that there is no such cluster.
            guard grpc.isDelta else {
                throw ConfigurationError(
                    at: place + ".api_config_source.api_type", "clusters on demand need DELTA_GRPC")
            }
        case .file:
            throw ConfigurationError(
                at: place + ".path_config_source", "a file cannot be asked; use ads or api_config_source")
        }
        if let timeout, timeout < .zero {
            throw ConfigurationError(at: FieldCheck.join(path, "timeout"), "must not be negative")
        }
        self.timeout = timeout ?? fallback
    }
}
