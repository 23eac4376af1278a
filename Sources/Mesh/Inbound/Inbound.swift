import EnvoyAPI
import KubernetesAPI

/// The listener on which a sidecar takes all captured inbound connections, and its clusters.
///
/// A chain for every target port of the pod's services: HTTP, bytes, or both with sniffing in between. Other ports
/// are passed through. The connection to the application goes to the original destination from 127.0.0.6.
struct Inbound {
    let model: MeshModel
    let pod: NamespacedName

    /// A port of the pod with the services that lead to it.
    private struct Target {
        var number: Int
        var portProtocol: PortProtocol
        var service: MeshService
        var port: MeshService.Port
    }

    /// The target ports of the services that select the pod, sorted by number.
    ///
    /// When services disagree about what is spoken on a port, it is sniffed.
    private func targets() -> [Target] {
        guard let workload = model.workload(pod) else { return [] }
        var found: [Int: Target] = [:]
        for service in model.sortedServices
        where service.registry == .kubernetes && service.key.namespace == pod.namespace && selects(service, workload) {
            for port in service.ports {
                // S-8: a headless service does not remap ports, but its endpoints listen on the target port.
                guard let number = number(port.target, workload) else { continue }
                if var known = found[number] {
                    if known.portProtocol != port.portProtocol {
                        known.portProtocol =
                            known.portProtocol.mayBeHTTP || port.portProtocol.mayBeHTTP ? .sniffed : .tcp
                        found[number] = known
                    }
                } else {
                    found[number] = Target(
                        number: number, portProtocol: port.portProtocol, service: service, port: port)
                }
            }
        }
        return found.values.sorted { $0.number < $1.number }.map { target in
            var target = target
            // S-2: the port of the application counts, too.
            if target.portProtocol == .sniffed && PortProtocol.knownTCPPorts.contains(target.number) {
                target.portProtocol = .tcp
            }
            return target
        }
    }

    private func selects(_ service: MeshService, _ workload: MeshModel.Workload) -> Bool {
        if service.selector.isEmpty {
            return model.endpoints(of: service).contains { $0.pod == pod || $0.address == workload.address }
        }
        return service.selector.allSatisfy { workload.labels[$0.key] == $0.value }
    }

    private func number(_ target: IntOrString, _ workload: MeshModel.Workload) -> Int? {
        switch target {
        case .int(let number): number
        case .string(let name): workload.namedPorts[name]
        }
    }

    func clusters() -> [Cluster] {
        targets().map { target in
            var cluster = Clusters.passthrough(
                name: clusterName(target.number), config: model.config, bindsLocally: true)
            cluster.metadata = target.service.place("spec.ports").metadata
            return cluster
        } + [
            Clusters.passthrough(name: ClusterNames.inboundPassthrough, config: model.config, bindsLocally: true)
        ]
    }

    func listener() -> Listener {
        var chains: [FilterChain] = []
        var sniffedPorts: Set<Int> = []
        for target in targets() {
            let place = target.service.place("spec.ports")
            if target.portProtocol.mayBeHTTP {
                let isSniffed = target.portProtocol == .sniffed
                if isSniffed { sniffedPorts.insert(target.number) }
                chains.append(
                    FilterChains.http(
                        name: "0.0.0.0_\(target.number)\(isSniffed ? "_http" : "")",
                        match: FilterChains.match(port: target.number, isHTTP: isSniffed), manager: manager(target),
                        place: place))
            }
            if target.portProtocol.mayBeBytes {
                chains.append(
                    FilterChains.tcp(
                        name: "0.0.0.0_\(target.number)_tcp", match: FilterChains.match(port: target.number),
                        proxy: FilterChains.tcpProxy(clusterName(target.number), config: model.config), place: place))
            }
        }
        var listener = Listener()
        listener.name = "virtualInbound"
        listener.address = Addresses.any(port: Mesh.inboundPort)
        listener.trafficDirection = .inbound
        listener.useOriginalDst = true
        listener.filterChains = chains
        listener.defaultFilterChain = FilterChains.tcp(
            name: "virtualInbound-catchall", match: nil,
            proxy: FilterChains.tcpProxy(ClusterNames.inboundPassthrough, config: model.config), place: nil)
        listener.listenerFilters = [FilterChains.originalDestination]
        if !sniffedPorts.isEmpty {
            listener.listenerFilters.append(FilterChains.httpInspector(ports: sniffedPorts))
            listener.listenerFiltersTimeout = FilterChains.sniffingTime
            listener.continueOnListenerFiltersTimeout = true
        }
        return listener
    }

    private func clusterName(_ port: Int) -> String { "inbound|\(port)||" }

    private func manager(_ target: Target) -> HttpConnectionManager {
        var action = RouteAction()
        action.clusterSpecifier = .cluster(clusterName(target.number))
        action.timeout = .zero  // The caller's proxy keeps the time.
        action.retryPolicy = RetryPolicies.inbound
        var route = Route()
        route.name = "default"
        route.match = Matches.route(nil)
        route.action = .route(action)
        var host = VirtualHost()
        host.name = "inbound|http|\(target.number)"
        host.domains = ["*"]
        host.routes = [route]
        var configuration = RouteConfiguration()
        configuration.name = clusterName(target.number)
        configuration.virtualHosts = [host]
        configuration.validateClusters = false
        var manager = FilterChains.manager(statPrefix: "inbound_0.0.0.0_\(target.number)", config: model.config)
        manager.routeSpecifier = .routeConfig(configuration)
        return manager
    }
}
