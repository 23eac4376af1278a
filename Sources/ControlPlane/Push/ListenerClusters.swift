import EnvoyAPI
import Mesh
import Serialization

/// The clusters of services that a listener names where no proxy asks for them on demand.
///
/// Authorization services, log and trace collectors, servers of key sets. Routes and TCP proxies ask for theirs.
enum ListenerClusters {
    /// Their names.
    static func named(in resource: AnyMessage) -> Set<String> {
        guard var listener = try? resource.unpack(as: Listener.self) else { return [] }
        listener.filterChains = listener.filterChains.map(withoutDestinations)
        listener.defaultFilterChain = listener.defaultFilterChain.map(withoutDestinations)
        return ClusterReferences.names(in: listener.serialized())
    }

    private static func withoutDestinations(_ chain: FilterChain) -> FilterChain {
        var chain = chain
        for index in chain.filters.indices {
            guard case .typedConfig(let config)? = chain.filters[index].configType,
                let proxy = try? config.unpack(as: TcpProxy.self)
            else { continue }
            // Its prefix of metrics is the name of its cluster, too.
            var kept = TcpProxy()
            kept.accessLog = proxy.accessLog
            chain.filters[index].configType = .typedConfig(AnyMessage(packing: kept))
        }
        return chain
    }
}
