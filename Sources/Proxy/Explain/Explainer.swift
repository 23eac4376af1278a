internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import TLS
internal import Upstream

/// Explains one request: listener, filter chain, network filters, and the filter that serves.
struct Explainer {
    let world: ExplainWorld
    let question: ExplainQuestion
    let explanation: Explanation

    /// What would happen to a request.
    static func explain(_ question: ExplainQuestion, in world: ExplainWorld) throws(UsageError) -> Explanation {
        let head = try question.head()
        let entry = try world.listener(question.listener)
        world.worker.random = SplitMix64(seed: question.seed)
        let explanation = Explanation(places: world.places)
        explanation.hostChain = question.hostChain
        explanation.tries = question.tries
        explanation.isRecorded = question.isRecorded
        explanation.isLive = world.isLive
        explanation.idleConnections = { world.idleConnections[$0] }
        explanation.trouble = { world.troubles[$0] }
        let explainer = Explainer(world: world, question: question, explanation: explanation)
        explainer.explain(entry, head)
        return explainer.explanation
    }

    private func explain(_ first: ExplainWorld.Entry, _ head: RequestHead) {
        var entry = first
        var info = connection(to: entry)
        noteListener(entry)
        if entry.config.handsOff, info.isRedirected,
            let other = world.listener(for: info.localAddress, besides: entry.config.name)
        {
            explanation.note(
                "listener", "handed to \(other.config.name), which has the original destination \(info.localAddress)",
                at: world.places.listener(entry.config.name) + ".use_original_dst", level: 1)
            entry = other
            noteListener(entry)
        }
        guard let chain = chooseChain(entry, info) else {
            explanation.flags.insert(.noRouteFound)
            explanation.details = "filter_chain_not_found"
            return
        }
        let place = place(of: chain, in: entry)
        if !chain.name.isEmpty {
            info.filterChain = chain.name
            explanation.filterChain = chain.name
            if info.hasFacts { info.facts.filterChainName = chain.name }
        }
        guard checkTLS(entry, chain, place, &info), passFilters(chain, place, &info) else { return }
        let filter = "\(place).filters[\(chain.filters.count)]"
        if case .http(let manager) = chain.terminal {
            if case .typedConfig(let any)? = chain.message.filters.last?.configType,
                let message = try? any.unpack(as: HttpConnectionManager.self)
            {
                explanation.filterNames = message.httpFilters.map(\.name)
            }
            explainHTTP(manager, head, info, filter + ".typed_config")
        } else if case .tcp(let proxy) = chain.terminal {
            explainTCP(proxy, info, filter + ".typed_config")
        } else {
            // echo, direct_response: the proxy is the server.
            let name = chain.message.filters.last?.name ?? ""
            explanation.note("network_filters", "\(name): the proxy itself serves the connection", at: filter)
            explanation.outcome = .answered
        }
    }

    private func noteListener(_ entry: ExplainWorld.Entry) {
        explanation.listener = entry.config.name
        explanation.note(
            "listener", "\(entry.config.name) at \(entry.address)", at: world.places.listener(entry.config.name))
    }

    // MARK: Connection

    private func connection(to entry: ExplainWorld.Entry) -> ConnectionInfo {
        let isV6 = entry.address.address?.isV6 ?? false
        let source =
            question.source ?? .ip(isV6 ? IPAddress("::1") ?? .v4(0x7F00_0001) : .v4(0x7F00_0001), port: 40000)
        var local = question.destination ?? entry.address
        if question.destination == nil, local.address?.isUnspecified == true, let port = local.port {
            local = .ip(isV6 ? IPAddress("::1") ?? .v4(0x7F00_0001) : .v4(0x7F00_0001), port: port)
        }
        var info = ConnectionInfo(localAddress: local, remoteAddress: source, directRemoteAddress: source, id: 0)
        var looksForTLS = false
        var looksForHTTP = false
        for filter in entry.config.filters.entries where filter.runs(port: local.port) {
            switch filter.filter {
            case is OriginalDestination: info.isRedirected = question.destination.map { $0 != entry.address } ?? false
            case is TLSInspectorConfig: looksForTLS = true
            case is HTTPInspectorConfig: looksForHTTP = entry.config.matcher.usesApplicationProtocol
            default: break
            }
        }
        if question.usesTLS {
            var stated = TLSFacts.Stated(serverName: question.serverName)
            if let principal = question.principal {
                stated.peer = PeerFacts(stating: [principal.contains("://") ? .uri(principal) : .dns(principal)])
            }
            stated.applicationProtocol =
                question.usesHTTP2 ? "h2" : question.applicationProtocols.first { $0 == "h2" || $0 == "http/1.1" }
            info.tls = TLSFacts(stated: stated)
            info.requestedServerName = question.serverName
            if looksForTLS {
                info.facts.transportProtocol = "tls"
                info.facts.serverName = question.serverName?.lowercased() ?? ""
                info.facts.applicationProtocols = question.applicationProtocols
            }
        } else if looksForHTTP {
            info.facts.applicationProtocols = [question.usesHTTP2 ? "h2c" : "http/1.1"]
        }
        return info
    }

    // MARK: Filter chain

    private func place(of chain: FilterChainConfig, in entry: ExplainWorld.Entry) -> String {
        let listener = world.places.listener(entry.config.name)
        guard let index = entry.config.chains.firstIndex(where: { $0 === chain }) else {
            return "\(listener).default_filter_chain"
        }
        return "\(listener).filter_chains[\(index)]"
    }

    private func chooseChain(_ entry: ExplainWorld.Entry, _ info: ConnectionInfo) -> FilterChainConfig? {
        let config = entry.config
        let connection = FilterChainMatcher.Connection(info)
        let listener = world.places.listener(config.name)
        for trial in config.matcher.trials(connection) {
            for index in trial.lost where config.chains.indices.contains(index) {
                let chain = config.chains[index]
                let wanted = chain.message.filterChainMatch?.json(names: .proto)[trial.criterion]
                explanation.note(
                    "filter_chain",
                    "not filter_chains[\(index)]\(chain.name.isEmpty ? "" : " \"\(chain.name)\""): \(trial.criterion) is \(trial.value), "
                        + (wanted.map { "\($0.text) wanted" } ?? "which another chain names"),
                    at: "\(listener).filter_chains[\(index)].filter_chain_match.\(trial.criterion)", level: 1)
            }
        }
        if config.message.filterChainMatcher != nil {
            explanation.note("filter_chain", "a matcher tree chooses", at: listener + ".filter_chain_matcher", level: 1)
        }
        guard let chain = config.chain(for: connection) else {
            explanation.note("filter_chain", "none takes the connection: it is closed", at: listener + ".filter_chains")
            return nil
        }
        let isDefault = chain === config.defaultChain
        explanation.note(
            "filter_chain", (isDefault ? "the default one" : chain.name.isEmpty ? "taken" : "\"\(chain.name)\""),
            at: place(of: chain, in: entry))
        return chain
    }

    /// Whether the handshake that the chain asks for would come to an end.
    private func checkTLS(
        _ entry: ExplainWorld.Entry, _ chain: FilterChainConfig, _ place: String, _ info: inout ConnectionInfo
    ) -> Bool {
        var message = chain.message
        if let index = entry.config.chains.firstIndex(where: { $0 === chain }) {
            if entry.message.filterChains.indices.contains(index) { message = entry.message.filterChains[index] }
        } else if let chain = entry.message.defaultFilterChain {
            message = chain
        }
        var context: DownstreamTlsContext?
        if case .typedConfig(let any)? = message.transportSocket?.configType {
            context = try? any.unpack(as: DownstreamTlsContext.self)
        }
        guard let context else {
            guard question.usesTLS, info.tls != nil else { return true }
            explanation.note(
                "tls", "the chain speaks plain text, the client TLS: its first bytes are no HTTP", at: place)
            explanation.details = "the client speaks TLS to a chain without transport_socket"
            return false
        }
        let here = place + ".transport_socket"
        let transport = self.transport(of: chain, in: entry)
        if let transport {
            explanation.state["downstream_tls"] = transport.summary
            transport.note(in: explanation, "tls", at: here)
        }
        guard question.usesTLS else {
            explanation.note("tls", "the chain asks for TLS, the client speaks plain text: no handshake", at: here)
            explanation.details = "the client speaks plain text to a chain with TLS (see --sni, --tls)"
            return false
        }
        let needsCertificate = context.requireClientCertificate ?? false
        if let transport, explanation.isLive, transport.current == nil {
            explanation.details = "no handshake: \(transport.problem)"
            return false
        }
        if !question.clientChain.isEmpty, let reason = transport?.current?.refusal(ofPeer: question.clientChain) {
            explanation.note(
                "tls", "the client's certificate is refused: \(reason)", at: here + ".typed_config.common_tls_context")
            explanation.details = "client certificate refused: \(reason)"
            return false
        }
        guard !needsCertificate || question.principal != nil else {
            explanation.note(
                "tls", "the chain asks for a client certificate, and none is given (see --principal)",
                at: here + ".typed_config.require_client_certificate")
            explanation.details = "no client certificate"
            return false
        }
        explanation.note(
            "tls",
            "TLS\(question.serverName.map { " with SNI \"\($0)\"" } ?? " without SNI")"
                + (question.principal.map {
                    ", the client is \($0)"
                        + (question.clientChain.isEmpty ? ", taken to be verified" : ", its certificate holds")
                } ?? "")
                + "; the handshake is taken to succeed", at: here)
        return true
    }

    /// The chain's TLS as it is; nil where nobody has compiled it.
    private func transport(of chain: FilterChainConfig, in entry: ExplainWorld.Entry) -> TransportContext? {
        guard let live = entry.live else { return chain.transport?.context }
        guard let index = entry.config.chains.firstIndex(where: { $0 === chain }) else {
            return live.defaultChain?.transport?.context
        }
        return live.chains.indices.contains(index) ? live.chains[index].transport?.context : nil
    }

    // MARK: Network filters

    private func passFilters(_ chain: FilterChainConfig, _ place: String, _ info: inout ConnectionInfo) -> Bool {
        for (index, filter) in chain.filters.enumerated() {
            let here = "\(place).filters[\(index)]"
            let name = chain.message.filters.indices.contains(index) ? chain.message.filters[index].name : ""
            switch filter {
            case let rbac as NetworkRBACConfig:
                guard let verdict = rbac.rules?.decide(ConnectionRBACView(connection: info)) else { continue }
                explanation.decide(name, "rules", verdict)
                explanation.note(
                    "network_filters",
                    "\(name): \(verdict.text) by \(verdict.policy.map { "policy \"\($0)\"" } ?? "no policy that matches")",
                    at: here + ".typed_config.rules" + (verdict.policy.map { ".policies[\($0)]" } ?? ""))
                guard verdict.isAllowed else {
                    explanation.details = verdict.deniedDetails
                    return false
                }
            case is SNIClusterConfig:
                if !info.facts.serverName.isEmpty {
                    info.facts.filterState[TCPProxyConfig.clusterKey] = info.facts.serverName
                }
                explanation.note(
                    "network_filters", "\(name): tcp_proxy's cluster is \"\(info.facts.serverName)\"", at: here)
            case let state as NetworkSetFilterStateConfig:
                let before = info.facts.filterState
                state.apply(to: &info, now: world.worker.loop.now)
                for (key, value) in info.facts.filterState.sorted(by: { $0.key < $1.key }) where before[key] != value {
                    explanation.note("network_filters", "\(name): filter state \(key): \(value)", at: here)
                }
            default:
                explanation.isExact = false
                explanation.note(
                    "network_filters", "\(name): would be asked; taken to let the connection pass", at: here)
            }
        }
        return true
    }

    private func explainTCP(_ proxy: TCPProxyConfig, _ info: ConnectionInfo, _ place: String) {
        let named = info.hasFacts ? info.facts.filterState[TCPProxyConfig.clusterKey] : nil
        let name = named ?? proxy.cluster(random: world.worker.random.next())
        explanation.cluster = name
        explanation.decision["clusters"] = .array(
            named.map { [.string($0)] } ?? proxy.clusters.map { .string("\($0.name) \($0.cumulativeWeight)") })
        if proxy.clusters.count > 1 {
            explanation.note("cluster", "\"\(name)\", one of \(proxy.clusters.count) by weight", at: place)
        } else {
            explanation.note("cluster", "\"\(name)\"", at: place + ".cluster")
        }
        guard let cluster = world.worker.cluster(named: name) else {
            if let demand = proxy.onDemand { explanation.wantedCluster = (name, demand) }
            explanation.flags.insert(.noClusterFound)
            explanation.note("cluster", "there is no such cluster: the connection is closed", level: 1)
            return
        }
        var choice = LoadBalancer.Request()
        choice.hash = proxy.hashPolicies.lazy.compactMap { $0.hash(info) }.first
        let host = cluster.choose(choice, connection: info)
        explanation.explainHosts(cluster, choice, host)
        guard host != nil else {
            explanation.flags.insert(.noHealthyUpstream)
            return
        }
        explanation.note(
            "upstream", "connect_timeout \(cluster.config.connectTimeout), up to \(proxy.maxConnectAttempts) attempts",
            at: world.places.cluster(name))
        explanation.outcome = .forwarded
    }

    // MARK: HTTP

    private func explainHTTP(
        _ config: HTTPConnectionManagerConfig, _ head: RequestHead, _ info: ConnectionInfo, _ place: String
    ) {
        let worker = world.worker
        let manager = HTTPConnectionManager(
            config, metrics: worker.metrics.http(config.statPrefix), worker: worker, isExplaining: true)
        explanation.looksAt = Set(manager.recordedHeaders.map(\.description))
        explanation.routesPlace = place + ".route_config"
        if case .rds(let name) = config.routes {
            explanation.routesPlace = world.routePlaces[name] ?? "RouteConfiguration \"\(name)\""
        }
        explanation.managerPlace = place
        if let routes = manager.routes {
            explanation.routeConfiguration = RouteMessages(message: routes.message, place: explanation.routesPlace)
        } else if case .scoped = config.routes {
            explanation.routesPlace = place + ".scoped_routes"
            explanation.note("virtual_host", "the request's scope chooses the routes", at: explanation.routesPlace)
        } else {
            explanation.note(
                "virtual_host", "\(explanation.routesPlace) is not there (it is discovered at run time): no route",
                at: place + ".rds")
        }
        let version: HTTPVersion = question.usesHTTP2 ? .http2 : .http11
        let client = ExplainedStream(info, manager: manager, version: version)
        let stream = HTTPStream(connection: client)
        stream.request = head
        stream.explanation = explanation
        explanation.authority = question.authority
        stream.begin()
        if !client.isOver { stream.requestEnd(HeaderTable()) }
        explanation.take(stream, client)
        if !client.isOver { stream.reset() }
    }
}
