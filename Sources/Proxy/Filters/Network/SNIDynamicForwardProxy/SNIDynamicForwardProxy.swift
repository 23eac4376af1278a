internal import EnvoyAPI
internal import Upstream

/// The network filter sni_dynamic_forward_proxy: connections go to the host that their ClientHello names.
final class SNIDynamicForwardProxyConfig: NetworkFilterConfig {
    let settings: DNSCacheSettings
    let port: UInt16

    init(compiling message: SniDynamicForwardProxyConfig, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(message, reads: ["dns_cache_config", "port_value"], at: path)
        guard let cache = message.dnsCacheConfig else {
            throw ConfigurationError(at: path + ".dns_cache_config", "is missing")
        }
        settings = try DNSCacheSettings(compiling: cache, at: path + ".dns_cache_config")
        if case .portValue(let number)? = message.portSpecifier {
            guard let port = UInt16(exactly: number), port > 0 else {
                throw ConfigurationError(at: path + ".port_value", "a port from 1 to 65535 is needed")
            }
            self.port = port
        } else {
            port = 443
        }
    }

    func make(_ worker: Worker) -> any NetworkFilter { SNIDynamicForwardProxy(self, worker) }
}

/// Holds connections until the address of their host is known.
final class SNIDynamicForwardProxy: NetworkFilter {
    private let config: SNIDynamicForwardProxyConfig
    private let worker: Worker

    init(_ config: SNIDynamicForwardProxyConfig, _ worker: Worker) {
        self.config = config
        self.worker = worker
    }

    func newConnection(_ connection: NetworkConnection) -> NetworkStep {
        let facts = connection.info.facts
        // As Envoy: without a name tcp_proxy finds no host, and says so.
        guard !facts.serverName.isEmpty,
            let name = DNSCacheName(authority: facts.serverName, defaultPort: config.port)
        else { return .next }
        connection.info.facts.filterState[DNSCacheName.hostKey] = name.host
        connection.info.facts.filterState[DNSCacheName.portKey] = "\(config.port)"
        let wait = Wait(connection)
        switch worker.dnsCache(config.settings).load(DNSCacheName(host: name.host, port: config.port), for: wait) {
        case .ready: return .next
        case .loading: return .stop
        case .overflow, .pendingOverflow: return .close
        }
    }

    /// One connection that waits.
    ///
    /// Look-ups end, by an answer or by their timeout: nobody is held for ever.
    private final class Wait: DNSCacheClient {
        private let connection: NetworkConnection
        init(_ connection: NetworkConnection) { self.connection = connection }
        func nameLoaded() { connection.resume() }
    }
}
