import EnvoyAPI
import KubernetesAPI
import Serialization

/// The filter chains of a port that speaks TLS: one for each set of server names.
///
/// A server name belongs to the first that claims it.
struct TLSDoors {
    let entrances: Entrances
    let port: Int

    private var model: MeshModel { entrances.model }

    /// The chains, most specific names wherever Envoy finds them; their routes and secrets go into the snapshot.
    func chains(_ snapshot: inout MeshResources) -> [FilterChain] {
        var chains: [FilterChain] = []
        var claimed: Set<String> = []
        func claim(_ names: [String]) -> FilterChainMatch? {
            let free = names.filter { claimed.insert($0).inserted }
            guard !free.isEmpty else { return nil }
            var match = FilterChainMatch()
            // Without names the chain takes what no other takes.
            if !free.contains("*") { match.serverNames = free }
            match.transportProtocol = "tls"
            return match
        }
        var needed: Set<String> = []
        func need(_ tls: DownstreamTLS) { needed.formUnion(tls.resources) }
        for opening in entrances.openings[port] ?? [] {
            istio(opening, claim: claim, need: need, &chains, &snapshot)
        }
        let listeners = entrances.gatewayListeners(port: port)
        var done: Set<String> = []
        for (position, listener) in listeners {
            switch listener.wire {
            case .https:
                guard done.insert(listener.host).inserted, let match = claim([listener.host]) else { continue }
                let routes = "https.\(entrances.local(port)).\(listener.host)"
                let tls = self.tls(listener, http: true)
                need(tls)
                var chain = FilterChains.http(
                    name: "\(listener.host)_\(port)", match: match,
                    manager: entrances.manager(
                        statPrefix: "outbound_0.0.0.0_\(port)", routes: routes,
                        scopes: entrances.scopes(port: port, host: listener.host)),
                    place: listener.place)
                chain.transportSocket = tls.transportSocket()
                chains.append(chain)
                snapshot.add(
                    GatewayRoutes(entrances: entrances, port: port).configuration(routes, of: listener.host, listeners))
            case .tlsPassthrough, .tlsTerminate:
                chains += streams(position, listener, claim: claim, need: need)
            default: continue
            }
        }
        for entry in entrances.hasIngresses(port: port) ? IngressCertificates.entries(model) : [] {
            guard let match = claim(entry.hosts) else { continue }
            need(entry.tls)
            var chain = FilterChains.http(
                name: "ingress_\(entry.hosts.first ?? "*")_\(port)", match: match,
                manager: entrances.manager(
                    statPrefix: "outbound_0.0.0.0_\(port)", routes: "https.\(port).ingress"), place: entry.place)
            chain.transportSocket = entry.tls.transportSocket()
            chains.append(chain)
            snapshot.add(GatewayRoutes(entrances: entrances, port: port).ingressConfiguration("https.\(port).ingress"))
        }
        for name in needed {
            if let secret = GatewaySecrets.resource(name, model.objects) { snapshot.add(secret) }
        }
        return chains
    }

    // MARK: Gateway API

    private func tls(_ listener: GatewayAPIModel.Listener, http: Bool) -> DownstreamTLS {
        var tls = DownstreamTLS(certificates: listener.certificates.map(GatewaySecrets.certificateName))
        if http { tls.applicationProtocols = DownstreamTLS.httpProtocols }
        tls.clients = listener.clientTrust.map {
            DownstreamTLS.ClientCheck(
                authority: $0.authority, isRequired: $0.isRequired, allowsUntrusted: $0.allowsUntrusted)
        }
        tls.cipherSuites = listener.listener.tlsOptions[ListenerOptions.cipherSuites].map(ListenerOptions.suites) ?? []
        return tls
    }

    /// I-17: TLSRoutes, each host to the oldest route that wants it.
    private func streams(
        _ position: Int, _ listener: GatewayAPIModel.Listener, claim: ([String]) -> FilterChainMatch?,
        need: (DownstreamTLS) -> Void
    ) -> [FilterChain] {
        let streams = StreamRoutes(model: model)
        return (model.gatewayAPI.attachments[position] ?? []).compactMap { attachment in
            let hosts = model.gatewayAPI.hosts(of: attachment, at: position)
            guard let match = claim(hosts) else { return nil }
            var chain = entrances.bytes(
                name: "\(hosts.first ?? "*")_\(port)", match: match,
                proxy: streams.proxy(attachment.route, statPrefix: "gateway_\(port)"),
                place: streams.place(attachment.route), scope: entrances.policies.scope(listener.gateway))
            if listener.wire == .tlsTerminate {
                let tls = tls(listener, http: false)
                need(tls)
                chain.transportSocket = tls.transportSocket()
            }
            return chain
        }
    }

    // MARK: Istio

    private func istio(
        _ opening: Entrances.Opening, claim: ([String]) -> FilterChainMatch?, need: (DownstreamTLS) -> Void,
        _ chains: inout [FilterChain], _ snapshot: inout MeshResources
    ) {
        let hosts = GatewayRoutes.serverNames(opening)
        switch ServerTLSCheck.mode(opening.server) {
        case .passthrough:
            for route in IstioStreams(entrances: entrances).passthrough(port, opening) {
                guard let match = claim(route.serverNames) else { continue }
                chains.append(
                    entrances.bytes(
                        name: "\(route.serverNames.first ?? "*")_\(port)", match: match, proxy: route.proxy,
                        place: route.place))
            }
        case .autoPassthrough:
            guard let match = claim(hosts) else { return }
            var chain = AutoPassthrough.chain(port, match, opening.place, model.config)
            chain.filters = entrances.policies.networkFilters(.pod) + chain.filters
            chains.append(chain)
            AutoPassthrough.clusters(entrances).forEach { snapshot.add($0) }
        case .terminate(let client):
            guard let tls = ServerTLSCheck.settings(opening, client, entrances), let match = claim(hosts) else {
                return
            }
            need(tls)
            var chain: FilterChain
            if ServerTLSCheck.isHTTPS(opening.server) {
                let routes =
                    "https.\(port).\(opening.server.portName).\(opening.entrance.key.name)."
                    + opening.entrance.key.namespace
                chain = FilterChains.http(
                    name: "\(hosts.first ?? "*")_\(port)", match: match,
                    manager: entrances.manager(statPrefix: "outbound_0.0.0.0_\(port)", routes: routes),
                    place: opening.place)
                snapshot.add(GatewayRoutes(entrances: entrances, port: port).configuration(routes, of: opening))
            } else {
                guard let proxy = IstioStreams(entrances: entrances).tcpProxy(port, [opening]) else { return }
                chain = entrances.bytes(
                    name: "\(hosts.first ?? "*")_\(port)", match: match, proxy: proxy, place: opening.place)
            }
            chain.transportSocket = tls.transportSocket()
            chains.append(chain)
        case .none: return
        }
    }
}
