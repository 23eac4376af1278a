import EnvoyAPI
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
        return names(in: listener.serialized())
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

    /// The strings that begin as names of clusters of services do, in an encoded message.
    static func names(in bytes: [UInt8]) -> Set<String> {
        let prefix = Array(OnDemandResources.servicePrefix.utf8)
        var found: Set<String> = []
        var index = 1
        while index + prefix.count <= bytes.count {
            guard bytes[index] == prefix[0], bytes[index..<(index + prefix.count)].elementsEqual(prefix) else {
                index += 1
                continue
            }
            // A delimited field says its length in one or two bytes before it.
            var length = Int(bytes[index - 1])
            if index > 1, bytes[index - 2] >= 0x80, length < 2 { length = length << 7 | Int(bytes[index - 2] & 0x7F) }
            if length >= prefix.count, length <= bytes.count - index {
                found.insert(String(decoding: bytes[index..<(index + length)], as: UTF8.self))
            }
            index += prefix.count
        }
        return found
    }
}
