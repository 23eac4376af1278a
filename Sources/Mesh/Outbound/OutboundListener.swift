import EnvoyAPI

/// The listener on which a sidecar takes all captured outbound connections.
///
/// Filter chains by destination port: one HTTP chain per port with a service that says HTTP; chains by address for
/// services that say TCP or nothing (two then: sniffed HTTP and bytes) and for those with routes of the Gateway API, and by
/// server name for TLS routes; everything else goes where it was going.
struct OutboundListener {
    let outbound: Outbound

    func listener() -> Listener {
        var chains: [FilterChain] = []
        var unique = UniqueChains()
        var sniffedPorts: Set<Int> = []
        var namedPorts: Set<Int> = []
        func add(_ chain: FilterChain) {
            guard let chain = unique.take(chain) else { return }
            chains.append(chain)
            if let match = chain.filterChainMatch, !match.serverNames.isEmpty, let port = match.destinationPort {
                namedPorts.insert(Int(port))
            }
        }
        for port in outbound.ports.keys.sorted() {
            let members = outbound.ports[port] ?? []
            let addressed = outbound.addressed(port)
            let own = Set(addressed.map(\.service.id))
            for member in addressed where member.port.portProtocol.isHTTP {
                add(http(member, addresses: member.service.addresses, isOwn: true))
            }
            if outbound.httpPorts.contains(port) {
                let http = members.filter { $0.port.portProtocol.isHTTP }
                let shared = FilterChains.http(
                    name: "0.0.0.0_\(port)",
                    match: FilterChains.match(port: port, addresses: outbound.httpAddresses(port)),
                    manager: manager(port),
                    // Where several share the chain it is nobody's: the virtual host tells whose the request is.
                    place: http.count == 1 ? http.first.map { $0.service.place("spec.ports") } : nil)
                add(own.isEmpty ? shared : noting(shared))
            }
            for member in members where !member.port.portProtocol.isHTTP {
                let addresses = outbound.addresses(of: member.service)
                let takesAny = outbound.anyAddressWinner(port)?.service.id == member.service.id
                // S-4: who stands for any address shares the port with no other that does.
                if member.port.portProtocol == .sniffed && (!addresses.isEmpty || takesAny) {
                    sniffedPorts.insert(port)
                    let isOwn = own.contains(member.service.id)
                    let chain = http(member, addresses: addresses, isOwn: isOwn)
                    add(own.isEmpty || isOwn ? chain : noting(chain))
                }
                ByteChains(outbound: outbound, member: member, takesAnyAddress: takesAny).chains().forEach(add)
            }
        }
        var listener = Listener()
        listener.name = "virtualOutbound"
        listener.address = Addresses.any(port: Mesh.outboundPort, outbound.model.config)
        listener.trafficDirection = .outbound
        listener.useOriginalDst = true
        listener.filterChains = chains
        listener.defaultFilterChain = FilterChains.tcp(
            name: "virtualOutbound-catchall", match: nil, proxy: outbound.tcpProxy(outbound.unmatchedCluster),
            place: nil)
        listener.listenerFilters = [FilterChains.originalDestination]
        if !namedPorts.isEmpty { listener.listenerFilters.append(FilterChains.tlsInspector(ports: namedPorts)) }
        if !sniffedPorts.isEmpty { listener.listenerFilters.append(FilterChains.httpInspector(ports: sniffedPorts)) }
        if !namedPorts.isEmpty || !sniffedPorts.isEmpty {
            FilterChains.limitSniffing(&listener, outbound.model.config)
        }
        return listener
    }

    /// The chain for HTTP to one service's addresses; with the routes of the service alone, or those of the port.
    private func http(_ member: Outbound.Member, addresses: [String], isOwn: Bool) -> FilterChain {
        let (host, port) = (member.service.host, member.port.number)
        return FilterChains.http(
            name: "\(host)_\(port)_http",
            match: FilterChains.match(port: port, addresses: addresses, isHTTP: member.port.portProtocol == .sniffed),
            manager: manager(port, routes: isOwn ? AddressedServices.routesName(host: host, port: port) : nil),
            place: member.service.place("spec.ports"))
    }

    /// The chain, which notes where connections go.
    private func noting(_ chain: FilterChain) -> FilterChain {
        var chain = chain
        chain.filters.insert(AddressedServices.noting, at: 0)
        return chain
    }

    private func manager(_ port: Int, routes: String? = nil) -> HttpConnectionManager {
        var manager = FilterChains.manager(
            statPrefix: "outbound_0.0.0.0_\(port)", config: outbound.model.config, telemetry: outbound.telemetry)
        manager.routeSpecifier = FilterChains.rds(routes ?? String(port))
        let members = outbound.ports[port] ?? []
        if members.contains(where: { $0.service.resolution == .dynamicDNS }) {
            manager.httpFilters.insert(Clusters.dynamicNamesFilter, at: max(0, manager.httpFilters.count - 1))
        }
        return manager
    }
}
