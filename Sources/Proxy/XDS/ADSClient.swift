internal import IO
internal import Upstream

/// The ADS stream: connects, carries messages, and connects again when it breaks.
final class ADSClient {
    let session: ADSSession

    init(
        loop: EventLoop, store: ConfigurationStore, source: BootstrapConfig.ADSSource, session: ADSSession
    ) throws(ConfigurationError) {
        self.session = session
        throw ConfigurationError(at: "dynamic_resources.ads_config", "not supported yet")
    }

    func start() {}

    func stop() {}
}
