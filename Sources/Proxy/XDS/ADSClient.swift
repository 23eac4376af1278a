internal import EnvoyAPI
internal import IO
internal import Telemetry
internal import Upstream

/// The ADS stream to the management server.
final class ADSClient {
    private unowned let proxy: ProxyServer
    private let source: BootstrapConfig.ADSSource

    init(_ proxy: ProxyServer, _ source: BootstrapConfig.ADSSource) throws(ConfigurationError) {
        self.proxy = proxy
        self.source = source
        throw ConfigurationError(at: "dynamic_resources.ads_config", "not supported yet")
    }

    var isInitialised: Bool { false }

    func start() {}
}
