import EnvoyAPI

/// The listener on which a sidecar takes all captured outbound connections.
///
/// Filter chains by destination port: one HTTP chain per port with a service that says HTTP; chains by address for
/// services that say TCP or nothing (two then: sniffed HTTP and bytes); everything else goes where it was going.
struct OutboundListener {
    let outbound: Outbound

    func listener() -> Listener {
        var chains: [FilterChain] = []
        var sniffedPorts: Set<Int> = []
        for port in outbound.ports.keys.sorted() {
            let members = outbound.ports[port] ?? []
            if outbound.httpPorts.contains(port) {
                let route = String(port)
                let firstHTTP = members.first { $0.port.portProtocol == .http }
                chains.append(
                    FilterChains.http(
                        name: "0.0.0.0_\(port)",
                        match: FilterChains.match(port: port, addresses: outbound.httpAddresses(port)),
                        manager: manager(route),
                        place: firstHTTP.map { $0.service.place("spec.ports") }))
            }
            for member in members where member.port.portProtocol != .http {
                let addresses = outbound.addresses(of: member.service)
                // S-4: who stands for any address shares the port with no other that does.
                guard !addresses.isEmpty || outbound.anyAddressWinner(port)?.service.id == member.service.id
                else { continue }
                let name = "\(member.service.host)_\(port)"
                let place = member.service.place("spec.ports")
                if member.port.portProtocol == .sniffed {
                    sniffedPorts.insert(port)
                    chains.append(
                        FilterChains.http(
                            name: "\(name)_http",
                            match: FilterChains.match(port: port, addresses: addresses, isHTTP: true),
                            manager: manager(String(port)), place: place))
                }
                chains.append(
                    FilterChains.tcp(
                        name: "\(name)_tcp", match: FilterChains.match(port: port, addresses: addresses),
                        proxy: outbound.tcpProxy(member), place: place))
            }
        }
        var listener = Listener()
        listener.name = "virtualOutbound"
        listener.address = Addresses.any(port: Mesh.outboundPort)
        listener.trafficDirection = .outbound
        listener.useOriginalDst = true
        listener.filterChains = chains
        listener.defaultFilterChain = FilterChains.tcp(
            name: "virtualOutbound-catchall", match: nil,
            proxy: FilterChains.tcpProxy(outbound.unmatchedCluster, config: outbound.model.config), place: nil)
        listener.listenerFilters = [FilterChains.originalDestination]
        if !sniffedPorts.isEmpty {
            listener.listenerFilters.append(FilterChains.httpInspector(ports: sniffedPorts))
            listener.listenerFiltersTimeout = FilterChains.sniffingTime
            listener.continueOnListenerFiltersTimeout = true
        }
        return listener
    }

    private func manager(_ route: String) -> HttpConnectionManager {
        var manager = FilterChains.manager(statPrefix: "outbound_0.0.0.0_\(route)", config: outbound.model.config)
        manager.routeSpecifier = FilterChains.rds(route)
        let members = Int(route).flatMap { outbound.ports[$0] } ?? []
        if members.contains(where: { $0.service.resolution == .dynamicDNS }) {
            manager.httpFilters.insert(Clusters.dynamicNamesFilter, at: max(0, manager.httpFilters.count - 1))
        }
        return manager
    }
}
