import EnvoyAPI
import KubernetesAPI

/// The listeners of a Sidecar's egress entries that nothing captures: an application connects to them by their address
/// or path (`bind`, `captureMode: NONE`).
struct BoundListeners {
    let outbound: Outbound

    func add(to resources: inout MeshResources) {
        for entry in outbound.sidecar?.egress ?? [] {
            guard let bind = entry.bind, let port = entry.port ?? (bind.hasPrefix("unix://") ? 0 : nil) else {
                continue
            }
            let members = members(entry)
            guard let first = members.first else { continue }
            let name = bind.hasPrefix("unix://") ? bind : "\(bind)_\(port)"
            let place = outbound.sidecar.map {
                Provenance(kind: "Sidecar", object: $0.key, field: "spec.egress[\(entry.index)]")
            }
            let isHTTP = entry.portProtocol.mayBeHTTP && first.port.portProtocol.mayBeHTTP
            let chain: FilterChain
            if isHTTP {
                let scoped = Outbound(outbound, members: members, port: port)
                var routes = OutboundRoutes(outbound: scoped, port: port).configuration()
                routes.name = name
                resources.add(routes)
                var manager = FilterChains.manager(
                    statPrefix: "outbound_\(name)", config: outbound.model.config, telemetry: outbound.telemetry)
                manager.routeSpecifier = FilterChains.rds(name)
                chain = FilterChains.http(name: name, match: nil, manager: manager, place: place)
            } else {
                // The last chain is the one without further conditions.
                let chains = ByteChains(outbound: outbound, member: first, takesAnyAddress: true).chains()
                guard var last = chains.last else { continue }
                last.name = name
                last.filterChainMatch = nil
                chain = last
            }
            var listener = Listener()
            listener.name = name
            listener.address = Addresses.of(bind, port: port)
            listener.trafficDirection = .outbound
            listener.filterChains = [chain]
            listener.metadata = place?.metadata
            resources.add(listener)
        }
    }

    /// The services of the entry: those with its port, or all when they have but one.
    private func members(_ entry: SidecarScope.Egress) -> [Outbound.Member] {
        outbound.model.services(visibleTo: outbound.namespace, sidecar: outbound.sidecar).compactMap { service in
            guard service.externalName == nil,
                entry.imports(service.host, in: service.key.namespace),
                let port = service.ports.first(where: { $0.number == entry.port })
                    ?? (service.ports.count == 1 ? service.ports.first : nil)
            else { return nil }
            return Outbound.Member(service: service, port: port)
        }
    }
}
