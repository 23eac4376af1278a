import EnvoyAPI

/// The listener on which a sidecar takes all captured outbound connections.
///
/// Filter chains by destination port: one HTTP chain per port with a service that says HTTP; chains by address for
/// services that say TCP or nothing (two then: sniffed HTTP and bytes), and by server name for TLS routes; everything
/// else goes where it was going.
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
            if outbound.httpPorts.contains(port) {
                let route = String(port)
                let http = members.filter { $0.port.portProtocol.isHTTP }
                add(
                    FilterChains.http(
                        name: "0.0.0.0_\(port)",
                        match: FilterChains.match(port: port, addresses: outbound.httpAddresses(port)),
                        manager: manager(route),
                        // Where several share the chain it is nobody's: the virtual host tells whose the request is.
                        place: http.count == 1 ? http.first.map { $0.service.place("spec.ports") } : nil))
            }
            for member in members where !member.port.portProtocol.isHTTP {
                let addresses = outbound.addresses(of: member.service)
                let takesAny = outbound.anyAddressWinner(port)?.service.id == member.service.id
                // S-4: who stands for any address shares the port with no other that does.
                if member.port.portProtocol == .sniffed && (!addresses.isEmpty || takesAny) {
                    sniffedPorts.insert(port)
                    add(
                        FilterChains.http(
                            name: "\(member.service.host)_\(port)_http",
                            match: FilterChains.match(port: port, addresses: addresses, isHTTP: true),
                            manager: manager(String(port)),
                            place: member.service.place("spec.ports")))
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

    private func manager(_ route: String) -> HttpConnectionManager {
        var manager = FilterChains.manager(
            statPrefix: "outbound_0.0.0.0_\(route)", config: outbound.model.config, telemetry: outbound.telemetry)
        manager.routeSpecifier = FilterChains.rds(route)
        let members = Int(route).flatMap { outbound.ports[$0] } ?? []
        if members.contains(where: { $0.service.resolution == .dynamicDNS }) {
            manager.httpFilters.insert(Clusters.dynamicNamesFilter, at: max(0, manager.httpFilters.count - 1))
        }
        return manager
    }
}
