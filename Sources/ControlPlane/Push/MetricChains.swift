import EnvoyAPI
import Serialization
import XDS

/// Chains of bytes that tell Istio's metrics of connections: those of our own proxies, sidecars and gateways.
///
/// The mesh says it in connection managers, where a filter may be marked as one that can be done without; other proxies would refuse it here.
enum MetricChains {
    /// Resources for proxies of ours that have all listeners as the mesh made them.
    ///
    /// Those that ask on demand get the filter with what they ask by.
    static var resources: AdaptedResources { AdaptedResources([Listener.typeURL], changed) }

    private static let bytes = Array(TcpProxy.schema.name.utf8)

    private static func changed(_ resource: EncodedResource) -> EncodedResource {
        guard resource.message.value.contains(bytes), var listener = try? resource.message.unpack(as: Listener.self)
        else { return resource }
        let metrics = filter(of: listener)
        listener.filterChains = listener.filterChains.map { chain($0, metrics) }
        listener.defaultFilterChain = listener.defaultFilterChain.map { chain($0, metrics) }
        return EncodedResource(
            name: resource.name, version: resource.version + ".tcp", message: AnyMessage(packing: listener))
    }

    private static func chain(_ chain: FilterChain, _ metrics: EnvoyAPI.Filter) -> FilterChain {
        var chain = chain
        guard let last = chain.filters.last, case .typedConfig(let config)? = last.configType,
            config.holds(TcpProxy.self)
        else { return chain }
        // One that an EnvoyFilter has put there stays the only one.
        let isThere = chain.filters.contains { filter in
            guard case .typedConfig(let known)? = filter.configType else { return false }
            return known.holds(IstioStatsConfig.self)
        }
        if !isThere { chain.filters.insert(metrics, at: chain.filters.count - 1) }
        return chain
    }

    /// The filter that tells standard metrics, as the connection managers of a listener have it: chains of bytes get it, too.
    static func filter(of listener: Listener) -> EnvoyAPI.Filter {
        var filter = EnvoyAPI.Filter()
        filter.name = "istio.stats"
        filter.configType = .typedConfig(AnyMessage(packing: IstioStatsConfig()))
        for case .typedConfig(let config)? in listener.filterChains.lazy.flatMap(\.filters).map(\.configType) {
            guard config.holds(HttpConnectionManager.self),
                let manager = try? config.unpack(as: HttpConnectionManager.self)
            else { continue }
            for known in manager.httpFilters {
                guard case .typedConfig(let found) = known.configType, found.holds(IstioStatsConfig.self) else {
                    continue
                }
                filter.configType = .typedConfig(found)
                return filter
            }
        }
        return filter
    }
}
