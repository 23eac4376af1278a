import EnvoyAPI
import KubernetesAPI

/// The listener on which a sidecar takes all captured inbound connections, and its clusters.
///
/// A chain for every target port of the pod's services: HTTP, bytes, or both with sniffing in between. Other ports
/// are passed through. The connection to the application goes to the original destination from 127.0.0.6, or ::6.
struct Inbound {
    let model: MeshModel
    let pod: NamespacedName

    /// Who may call the pod.
    private var policies: WorkloadPolicies {
        WorkloadPolicies(model: model, namespace: pod.namespace, labels: model.workload(pod)?.labels ?? [:])
    }

    private var telemetry: ProxyTelemetry {
        ProxyTelemetry(model: model, namespace: pod.namespace, labels: model.workload(pod)?.labels ?? [:])
    }

    /// A port of the pod with the services that lead to it.
    private struct Target {
        var number: Int
        var portProtocol: PortProtocol
        var service: MeshService
        var port: MeshService.Port
        /// What a Sidecar says about the port.
        var ingress: SidecarScope.Ingress?
        /// The limits of connections to the application.
        var pool: DestinationRule.ConnectionPool?
    }

    /// The target ports of the services that select the pod, sorted by number.
    ///
    /// When services disagree about what is spoken on a port, it is sniffed.
    private func targets() -> [Target] {
        guard let workload = model.workload(pod) else { return [] }
        let sidecar = model.sidecar(for: pod)
        if let entries = sidecar?.ingress { return entries.map(target) }
        var found: [Int: Target] = [:]
        for service in model.services(of: pod) {
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
            target.pool = sidecar?.inboundPool
            // S-2: the port of the application counts, too.
            if target.portProtocol == .sniffed && PortProtocol.knownTCPPorts.contains(target.number) {
                target.portProtocol = .tcp
            }
            return target
        }
    }

    /// A port as a Sidecar says it is; the services of the pod have no part in it.
    private func target(_ entry: SidecarScope.Ingress) -> Target {
        let port = MeshService.Port(
            number: entry.port, name: "", portProtocol: entry.portProtocol, target: .int(entry.port))
        return Target(
            number: entry.port, portProtocol: entry.portProtocol, service: MeshService(key: pod, host: ""), port: port,
            ingress: entry, pool: entry.pool)
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
            cluster.metadata = (target.ingress?.place ?? target.service.place("spec.ports")).metadata
            if target.ingress == nil { ServiceLabels.mark(&cluster, target.service) }
            if let endpoint = target.ingress?.endpoint { Clusters.lead(&cluster, to: endpoint) }
            // The application speaks what its port says, or else what its callers speak: gRPC needs HTTP/2 up to the last hop.
            var port = target.port
            port.portProtocol = target.portProtocol
            if port.portProtocol == .http2 || port.portProtocol == .sniffed {
                let settings = ClusterSettings(nil, port: port.number)
                Clusters.protocolOptions(settings, port, target.service, followsCaller: true, &cluster)
            }
            if let pool = target.pool { Clusters.limit(&cluster, pool, port, target.service, model.config) }
            return cluster
        } + [
            Clusters.passthrough(name: ClusterNames.inboundPassthrough, config: model.config, bindsLocally: true)
        ] + policies.clusters()
    }

    func listener() -> Listener {
        let labels = model.workload(pod)?.labels ?? [:]
        let modes = model.peerModes(namespace: pod.namespace, labels: labels)
        var chains: [FilterChain] = []
        var sniffedPorts: Set<Int> = []
        var known: Set<Int> = []
        for target in targets() {
            known.insert(target.number)
            if target.portProtocol == .sniffed { sniffedPorts.insert(target.number) }
            chains += self.chains(of: target, modes)
        }
        for port in modes.exceptionalPorts where !known.contains(port) {
            chains += passthrough(port: port, modes.mode(port: port), modes.place(port: port))
        }
        chains += passthrough(port: nil, modes.mode, nil)
        var listener = Listener()
        listener.name = "virtualInbound"
        listener.address = Addresses.any(port: Mesh.inboundPort, model.config)
        listener.trafficDirection = .inbound
        listener.useOriginalDst = true
        // No default chain: it would take what a port's own chains do not, plain text to a STRICT port for one.
        listener.filterChains = chains
        listener.listenerFilters = [FilterChains.originalDestination]
        let looksForTLS = chains.contains { $0.transportSocket != nil }
        if looksForTLS {
            let plain = (known.union(modes.exceptionalPorts)).filter { modes.mode(port: $0) == .disable }
            listener.listenerFilters.append(FilterChains.tlsInspector(except: Set(plain)))
        }
        if !sniffedPorts.isEmpty {
            listener.listenerFilters.append(FilterChains.httpInspector(ports: sniffedPorts))
        }
        if looksForTLS || !sniffedPorts.isEmpty {
            FilterChains.limitSniffing(&listener, model.config)
        }
        return listener
    }

    /// The chains of a port: for mutual TLS, for plain text, and for the application's own TLS, as its mode allows
    ///
    private func chains(of target: Target, _ modes: PeerModes) -> [FilterChain] {
        let mode = modes.mode(port: target.number)
        let name = "0.0.0.0_\(target.number)"
        let isSniffed = target.portProtocol == .sniffed
        var chains: [FilterChain] = []
        func http(_ suffix: String, _ match: FilterChainMatch, secure: Bool) {
            chains.append(
                FilterChains.http(
                    name: name + suffix, match: match, manager: manager(target),
                    place: secure ? modes.place(port: target.number) ?? place(target) : place(target)))
            if secure { chains[chains.count - 1].transportSocket = MutualTLS.server() }
        }
        func tcp(_ suffix: String, _ match: FilterChainMatch, secure: Bool) {
            defer { guardBytes(&chains[chains.count - 1]) }
            chains.append(
                FilterChains.tcp(
                    name: name + suffix, match: match,
                    proxy: FilterChains.tcpProxy(
                        clusterName(target.number), config: model.config, telemetry: telemetry, side: .server),
                    place: secure ? modes.place(port: target.number) ?? place(target) : place(target)))
            if secure { chains[chains.count - 1].transportSocket = MutualTLS.server() }
        }
        func match(_ transport: String?, _ protocols: [String] = []) -> FilterChainMatch {
            var match = FilterChains.match(port: target.number)
            match.transportProtocol = transport ?? ""
            match.applicationProtocols = protocols
            return match
        }
        if mode != .disable {
            // Under STRICT every TLS is ours; else only that which says so, the rest is the application's.
            let strict = mode == .strict
            if isSniffed {
                http("_mtls_http", match("tls", MutualTLS.httpProtocols), secure: true)
                tcp("_mtls", match("tls", strict ? [] : MutualTLS.byteProtocols), secure: true)
            } else if target.portProtocol.mayBeHTTP {
                http("_mtls", match("tls", strict ? [] : MutualTLS.meshProtocols), secure: true)
            } else {
                tcp("_mtls", match("tls", strict ? [] : MutualTLS.meshProtocols), secure: true)
            }
        }
        guard mode != .strict else { return chains }
        let plain = mode == .permissive ? "raw_buffer" : nil
        if target.portProtocol.mayBeHTTP {
            http(
                isSniffed ? "_http" : "", match(plain, isSniffed ? ["http/1.1", "http/1.0", "h2c"] : []), secure: false)
        }
        // The choice goes level by level and never back: each transport has a chain for the rest.
        if target.portProtocol.mayBeBytes { tcp("_tcp", match(plain), secure: false) }
        if mode == .permissive { tcp("_tls", match("tls"), secure: false) }  // The application's own TLS.
        return chains
    }

    /// The chains for ports of no service; `nil` stands for all that have no chains of their own.
    private func passthrough(port: Int?, _ mode: PeerMode, _ place: Provenance?) -> [FilterChain] {
        let name = port.map { "0.0.0.0_\($0)_passthrough" } ?? "virtualInbound-passthrough"
        func chain(_ suffix: String, _ transport: String, _ protocols: [String], secure: Bool) -> FilterChain {
            var match = port.map { FilterChains.match(port: $0) } ?? FilterChainMatch()
            match.transportProtocol = transport
            match.applicationProtocols = protocols
            var chain = FilterChains.tcp(
                name: name + suffix, match: match,
                proxy: FilterChains.tcpProxy(ClusterNames.inboundPassthrough, config: model.config), place: place)
            if secure { chain.transportSocket = MutualTLS.server() }
            guardBytes(&chain)
            return chain
        }
        switch mode {
        case .disable: return [chain("", "", [], secure: false)]
        case .permissive:
            return [
                chain("_mtls", "tls", MutualTLS.meshProtocols, secure: true),
                chain("_tls", "tls", [], secure: false), chain("", "raw_buffer", [], secure: false),
            ]
        case .strict: return [chain("_mtls", "tls", [], secure: true)]
        }
    }

    /// Puts the policies before the proxy of a chain that carries bytes.
    private func guardBytes(_ chain: inout FilterChain) {
        chain.filters = policies.networkFilters(statPrefix: "tcp.") + chain.filters
    }

    private func place(_ target: Target) -> Provenance { target.ingress?.place ?? target.service.place("spec.ports") }

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
        var manager = FilterChains.manager(
            statPrefix: "inbound_0.0.0.0_\(target.number)", config: model.config, telemetry: telemetry, side: .server)
        manager.routeSpecifier = .routeConfig(configuration)
        // Who called stands in x-forwarded-client-cert; without mutual TLS the caller's own word is taken away.
        manager.httpFilters = policies.httpFilters() + manager.httpFilters
        manager.forwardClientCertDetails = .appendForward
        var details = HttpConnectionManager.SetCurrentClientCertDetails()
        details.subject = true
        details.dns = true
        details.uri = true
        manager.setCurrentClientCertDetails = details
        return manager
    }
}
