import EnvoyAPI
import KubernetesAPI
import Serialization

/// One patch on one listener: the listener itself, its filters, its chains, their network and HTTP filters.
struct ListenerPatch {
    let run: PatchRun
    let patch: EnvoyPatch

    private var match: KubernetesObject { KubernetesObject(json: patch.match.json["listener"] ?? .object([:])) }
    private var chainMatch: KubernetesObject { KubernetesObject(json: match.json["filterChain"] ?? .object([:])) }
    private var filterName: String? { chainMatch.json["filter"]?["name"]?.string }
    private var subFilterName: String? { chainMatch.json["filter"]?["subFilter"]?["name"]?.string }

    /// Changes the listener; tells whether it differs now.
    func apply(to listener: inout Listener) throws -> Bool {
        let before = listener
        switch patch.subject {
        case .listener(let value):
            listener = try patch.merged(listener, value, by: MessageMerge.merged)
        case .listenerFilter(let value):
            let wanted = match.json["listenerFilter"]?.string
            listener.listenerFilters = try changed(
                listener.listenerFilters, value, name: \.name, wanted: wanted
            ) {
                (base: ListenerFilter, value) throws(MessageError) in
                try patch.merged(base, value, by: MessageMerge.filter)
            }
        case .filterChain(let value): try chains(&listener, value)
        case .networkFilter(let value):
            try each(&listener) { chain in
                chain.filters = try changed(
                    chain.filters, value, name: \.name, wanted: filterName,
                    isLast: { $0.name == FilterNames.connectionManager || $0.name == FilterNames.tcpProxy }
                ) { (base: Filter, value) throws(MessageError) in
                    try patch.merged(base, value, by: MessageMerge.filter)
                }
            }
        case .httpFilter(let value):
            let filter = run.resolved(value)
            if case .configDiscovery = filter.configType {
                throw MessageError(
                    "no EXTENSION_CONFIG has the configuration of \(filter.name)", path: "config_discovery")
            }
            try each(&listener) { chain in
                _ = try run.manager(&chain) { manager in
                    let old = manager.httpFilters
                    manager.httpFilters = try changed(
                        old, filter, name: \.name, wanted: subFilterName, isLast: { $0.name == FilterNames.router }
                    ) { (base: HttpFilter, value) throws(MessageError) in
                        try patch.merged(base, value, by: MessageMerge.filter)
                    }
                    return manager.httpFilters != old
                }
            }
        default: break
        }
        return listener != before
    }

    private func each(_ listener: inout Listener, _ change: (inout FilterChain) throws -> Void) throws {
        for index in listener.filterChains.indices where isMeant(listener.filterChains[index], listener) {
            try change(&listener.filterChains[index])
        }
        if var chain = listener.defaultFilterChain, isMeant(chain, listener) {
            try change(&chain)
            listener.defaultFilterChain = chain
        }
    }

    private func chains(_ listener: inout Listener, _ value: FilterChain) throws {
        switch patch.operation {
        case .add: listener.filterChains.append(value)
        case .remove:
            let copy = listener
            listener.filterChains.removeAll { isMeant($0, copy) }
        default:
            for index in listener.filterChains.indices where isMeant(listener.filterChains[index], listener) {
                listener.filterChains[index] = try patch.merged(
                    listener.filterChains[index], value, by: MessageMerge.chain)
            }
        }
    }

    private func isMeant(_ chain: FilterChain, _ listener: Listener) -> Bool {
        if let name = match.json["name"]?.string, name != listener.name, name != chain.name { return false }
        if let port = match.int("portNumber"), !isAt(listener, port),
            chain.filterChainMatch?.destinationPort.map({ Int($0) }) != port
        {
            return false
        }
        if let name = chainMatch.json["name"]?.string, name != chain.name { return false }
        if let port = chainMatch.int("destinationPort"),
            chain.filterChainMatch?.destinationPort.map({ Int($0) }) != port
        {
            return false
        }
        if let sni = chainMatch.json["sni"]?.string, chain.filterChainMatch?.serverNames.contains(sni) != true {
            return false
        }
        if let transport = chainMatch.json["transportProtocol"]?.string,
            chain.filterChainMatch?.transportProtocol != transport
        {
            return false
        }
        if let socket = chainMatch.json["transportSocket"]?.string, !socket.isEmpty,
            chain.transportSocket?.name != socket
        {
            return false
        }
        if let protocols = chainMatch.json["applicationProtocols"]?.string {
            let own = chain.filterChainMatch?.applicationProtocols ?? []
            guard protocols.split(separator: ",").allSatisfy({ own.contains(String($0.filter { $0 != " " })) })
            else { return false }
        }
        guard let wanted = filterName else { return true }
        // The filter that is named must be there, whatever is patched.
        guard chain.filters.contains(where: { $0.name == wanted }) else { return false }
        guard let inner = subFilterName, wanted == FilterNames.connectionManager else { return true }
        var copy = chain
        var isThere = false
        _ = try? run.manager(&copy) { manager in
            isThere = manager.httpFilters.contains { $0.name == inner }
            return false
        }
        return isThere
    }

    private func isAt(_ listener: Listener, _ port: Int) -> Bool {
        guard case .socketAddress(let socket) = listener.address?.address,
            case .portValue(let own) = socket.portSpecifier
        else { return false }
        return Int(own) == port
    }

    /// A list of filters with the patch.
    ///
    /// - Parameter wanted: The name of the filter that the match names.
    /// - Parameter isLast: Whether a filter ends the list: nothing is added behind it.
    private func changed<F>(
        _ filters: [F], _ value: F, name: KeyPath<F, String>, wanted: String?,
        isLast: (F) -> Bool = { _ in false }, merge: (F, F) throws(MessageError) -> F
    ) throws -> [F] {
        var filters = filters
        let position = wanted.flatMap { wanted in filters.firstIndex { $0[keyPath: name] == wanted } }
        switch patch.operation {
        case .add:
            let end = filters.last.map(isLast) == true ? filters.count - 1 : filters.count
            filters.insert(value, at: end)
        case .insertFirst: filters.insert(value, at: 0)
        case .insertBefore:
            if wanted == nil {
                filters.insert(value, at: 0)
            } else if let position {
                filters.insert(value, at: position)
            }
        case .insertAfter:
            if let position {
                filters.insert(value, at: position + 1)
            } else if wanted == nil {
                let end = filters.last.map(isLast) == true ? filters.count - 1 : filters.count
                filters.insert(value, at: end)
            }
        case .remove: if let position { filters.remove(at: position) }
        case .replace: if let position { filters[position] = value }
        case .merge:
            if let position {
                filters[position] = try merge(filters[position], value)
            } else if wanted == nil {
                for index in filters.indices where filters[index][keyPath: name] == value[keyPath: name] {
                    filters[index] = try merge(filters[index], value)
                }
            }
        }
        return filters
    }
}
