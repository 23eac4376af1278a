internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// The admin page `/explain`: what the running proxy would do with a request.
///
/// It explains on its own copy of the listener that is asked about, with the hosts' state of one loop: real requests, their counters, limits and
/// connections are left alone.
enum ExplainPage {
    static let help = """
        usage: /explain?listener=NAME&url=http://host/path[&method=GET][&header=name: value]…
            [&source=IP:port][&destination=IP:port][&sni=name][&alpn=h2,http/1.1][&principal=URI][&tls=1][&http2=1]
            [&seed=N][&worker=N][&format=json]
            [&demand=1]  ask the control plane for virtual hosts and clusters that are not here, as a request would
            [&answer=503,connect-failure,…]  how the tries end: what is repeated then, and what the client gets
            [&client_chain=DER,…][&host_chain=DER,…]  certificates (URL-safe Base64) that client and host show: verified

        """

    /// A virtual host, its cluster, and that of an aggregate.
    private static let demandsMax = 4

    private static func explain(
        _ proxy: ProxyServer, _ question: ExplainQuestion, worker number: Int
    ) async throws(UsageError) -> Explanation {
        let world = try ExplainWorld(proxy, question)
        defer { world.close() }
        // Once to see where the request goes, and again with that cluster's hosts as they are.
        let first = try Explainer.explain(question, in: world)
        guard let cluster = first.cluster else { return first }
        await world.takeHealth(ofCluster: cluster, from: proxy.workers[number], proxy.metrics)
        await world.takeTroubles(ofCluster: cluster, from: proxy.workers)
        return try Explainer.explain(question, in: world)
    }

    static func answer(_ proxy: ProxyServer, _ items: [(name: String, value: String)]) async -> HTTPResponse {
        guard !items.isEmpty else { return HTTPResponse(status: 400, text: help) }
        let isJSON = items.contains { $0.name == "format" && $0.value == "json" }
        let number = items.first { $0.name == "worker" }.flatMap { Int($0.value) } ?? 0
        do throws(UsageError) {
            let question = try ExplainQuestion(query: items)
            guard proxy.workers.indices.contains(number) else {
                throw UsageError("worker: there are \(proxy.workers.count), counted from 0")
            }
            let asks = items.contains { $0.name == "demand" && $0.value == "1" }
            var explanation = try await explain(proxy, question, worker: number)
            var asked: [JSON] = []
            while asks, asked.count < demandsMax,
                let demand = await DemandForExplanation.ask(proxy, explanation, number)
            {
                asked.append(demand.json)
                guard demand.hasArrived else { break }
                explanation = try await explain(proxy, question, worker: number)
            }
            if let cluster = explanation.cluster { explanation.noteRetries(proxy.metrics.cluster(cluster)) }
            if !asked.isEmpty { explanation.state["asked"] = .array(asked) }
            explanation.state["control_plane"] = proxy.controlPlaneState
            guard isJSON else { return HTTPResponse(status: 200, text: explanation.text) }
            return HTTPResponse(status: 200, contentType: "application/json", body: explanation.json.bytes)
        } catch {
            return HTTPResponse(status: 400, text: "\(error)\n\(help)")
        }
    }
}

extension ExplainWorld {
    /// A running proxy's listener, and what it needs.
    convenience init(_ proxy: ProxyServer, _ question: ExplainQuestion) throws(UsageError) {
        let metrics = MetricSet(workers: 1)
        self.init(
            loop: proxy.loop, overload: proxy.overload, metrics: metrics, seed: question.seed,
            places: ConfigurationPlaces())
        isLive = true
        worker.failsHealthCheck = proxy.failsHealthCheck
        let store = proxy.store
        let resources = proxy.bootstrap.message(store).staticResources
        var context = store.context
        context.metrics = metrics
        context.collectors = nil
        let tables = store.published
        var paths: [String: String] = [:]
        for (index, cluster) in (resources?.clusters ?? []).enumerated() {
            paths[cluster.name] = "static_resources.clusters[\(index)]"
        }
        for (name, packed) in store.clusterMessages {
            let message = packed.message
            places.set(cluster: message, at: paths[name] ?? "Cluster \"\(name)\"")
            let key = message.edsClusterConfig?.serviceName ?? ""
            if let endpoints = store.endpointMessages[key.isEmpty ? name : key] {
                places.set(
                    endpoints: endpoints, ofCluster: name,
                    at: "ClusterLoadAssignment \"\(endpoints.clusterName)\"")
            }
        }
        var routes: [String: CompiledRoutes] = [:]
        do throws(ConfigurationError) {
            for (name, entry) in store.listeners {
                let message = entry.config.message
                let path = Self.path(name, resources?.listeners ?? [])
                places.set(listener: message, named: name, at: path)
                let address = store.boundAddresses[name] ?? entry.config.address
                guard isConcerned(name, entry.config, address, question) else {
                    add(entry.config, message: message, address: address)
                    continue
                }
                // TLS is told about, not spoken: nothing asks for secrets.
                var plain = message
                for index in plain.filterChains.indices { plain.filterChains[index].transportSocket = nil }
                plain.defaultFilterChain?.transportSocket = nil
                let config = try store.runtime.compiling { () throws(ConfigurationError) in
                    try ListenerConfig(compiling: plain, at: path, context: context)
                }
                let fetched = entry.config.allChains.flatMap(\.remoteKeySets)
                for keys in config.allChains.flatMap(\.remoteKeySets) {
                    if let known = fetched.first(where: keys.isSame) { keys.takeKeys(of: known) }
                }
                add(config, message: message, address: address, live: entry.config)
                for name in config.allChains.flatMap(\.rdsNames) + tables.scopes.compactMap(\.routesName) {
                    guard let known = store.routes[name]?.config, routes[name] == nil else { continue }
                    let place = "RouteConfiguration \"\(name)\""
                    routePlaces[name] = place
                    places.set(routes: known.message, at: place)
                    routes[name] = try store.runtime.compiling { () throws(ConfigurationError) in
                        try CompiledRoutes(known.message, at: place, context: context)
                    }
                }
            }
        } catch {
            throw UsageError("\(error)")
        }
        worker.publish(
            Tables(clusters: tables.clusters, endpoints: tables.endpoints, routes: routes, scopes: tables.scopes))
    }

    private static func path(_ name: String, _ listeners: [Listener]) -> String {
        for (index, listener) in listeners.enumerated() {
            let path = "static_resources.listeners[\(index)]"
            if listener.name == name || path == name { return path }
        }
        return "Listener \"\(name)\""
    }

    /// The listener that is asked about, and those that it may hand connections to.
    private func isConcerned(
        _ name: String, _ config: ListenerConfig, _ address: IO.SocketAddress, _ question: ExplainQuestion
    ) -> Bool {
        if question.listener.isEmpty || question.listener == name { return true }
        if "\(address)" == question.listener || "\(config.address)" == question.listener { return true }
        let port = question.listener.first == ":" ? String(question.listener.dropFirst()) : question.listener
        if let port = UInt16(port), address.port == port { return true }
        guard let destination = question.destination else { return false }
        let takes = config.takes(destination)
        return takes.isExact || takes.isWildcard
    }

    /// Hosts of a cluster, and of those that it stands for, as one loop knows them.
    func takeHealth(ofCluster name: String, from handle: WorkerHandle, _ metrics: MetricSet? = nil) async {
        var names: Set<String> = []
        var waiting = [name]
        while let next = waiting.popLast() {
            guard names.insert(next).inserted, let cluster = worker.cluster(named: next) else { continue }
            if case .aggregate(let members) = cluster.config.discovery { waiting += members }
        }
        let wanted = names
        let states =
            await handle.ask { live in
                wanted.flatMap { name in
                    (live.clusterInUse(named: name)?.hostSet.hosts ?? []).map {
                        HostState(
                            cluster: name, address: $0.address, conditions: $0.conditions, requests: $0.activeRequests,
                            idle: ($0.attachment as? HostPool)?.idleCount ?? 0)
                    }
                }
            } ?? []
        for state in states {
            guard let set = worker.cluster(named: state.cluster)?.hostSet, let host = set.host(at: state.address) else {
                continue
            }
            set.set(host.conditions.subtracting(state.conditions), of: host, to: false)
            set.set(state.conditions, of: host, to: true)
            host.activeRequests = state.requests
            idleConnections["\(state.address)"] = state.idle
        }
        let failures = await handle.ask { live in wanted.compactMap { live.clusterInUse(named: $0)?.trouble } } ?? []
        for trouble in failures { troubles["\(trouble.address)"] = trouble }
        for name in names {
            guard let metrics, let cluster = worker.cluster(named: name) else { continue }
            cluster.normalUse.takeCounts(of: metrics.cluster(name).normalUse)
            cluster.highUse.takeCounts(of: metrics.cluster(name).highUse)
        }
    }

    /// The last connection that did not come about, whichever loop tried it, unless one has come about since.
    func takeTroubles(ofCluster name: String, from handles: [WorkerHandle]) async {
        var found: [ConnectionTrouble] = []
        var connected: MonotonicTime?
        for handle in handles {
            let known = await handle.ask { live in
                live.clusterInUse(named: name).map { (trouble: $0.trouble, connected: $0.connected) }
            }
            guard let known, let state = known else { continue }
            if let trouble = state.trouble { found.append(trouble) }
            if let time = state.connected { connected = max(connected ?? time, time) }
        }
        for trouble in found where connected.map({ $0 < trouble.time }) ?? true {
            // What a handshake failed by may be configured otherwise by now: the loop that is asked knows its own.
            if case .handshakeFailed = trouble.failure { continue }
            if let other = troubles["\(trouble.address)"], other.time >= trouble.time { continue }
            troubles["\(trouble.address)"] = trouble
        }
    }

    /// What one loop knows of a host.
    private struct HostState: Sendable {
        var cluster: String
        var address: HostAddress
        var conditions: Host.Conditions
        var requests: UInt32
        var idle: Int
    }
}
