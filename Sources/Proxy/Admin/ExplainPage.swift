internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
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

        """

    static func answer(_ proxy: ProxyServer, _ items: [(name: String, value: String)]) async -> HTTPResponse {
        guard !items.isEmpty else { return HTTPResponse(status: 400, text: help) }
        let isJSON = items.contains { $0.name == "format" && $0.value == "json" }
        let number = items.first { $0.name == "worker" }.flatMap { Int($0.value) } ?? 0
        do throws(UsageError) {
            let question = try ExplainQuestion(query: items)
            guard proxy.workers.indices.contains(number) else {
                throw UsageError("worker: there are \(proxy.workers.count), counted from 0")
            }
            let world = try ExplainWorld(proxy, question)
            defer { world.close() }
            // Once to see where the request goes, and again with that cluster's hosts as they are.
            let first = try Explainer.explain(question, in: world)
            var explanation = first
            if let cluster = first.cluster {
                await world.takeHealth(ofCluster: cluster, from: proxy.workers[number])
                explanation = try Explainer.explain(question, in: world)
            }
            if isJSON {
                return HTTPResponse(
                    status: 200, contentType: "application/json", body: Array(explanation.json.pretty.utf8))
            }
            return HTTPResponse(status: 200, text: explanation.text)
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
        worker.failsHealthCheck = proxy.failsHealthCheck
        let store = proxy.store
        let resources = proxy.bootstrap.message.staticResources
        var context = store.context
        context.metrics = metrics
        context.collectors = nil
        let tables = store.tables
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
                places.set(listener: name, at: path)
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
                add(config, message: message, address: address)
                for name in config.allChains.flatMap(\.rdsNames) + tables.scopes.compactMap(\.routesName) {
                    guard let known = store.routes[name]?.config, routes[name] == nil else { continue }
                    let place = "RouteConfiguration \"\(name)\""
                    routePlaces[name] = place
                    routes[name] = try store.runtime.compiling { () throws(ConfigurationError) in
                        try CompiledRoutes(known.message, at: place, context: context)
                    }
                }
            }
        } catch {
            throw UsageError("\(error)")
        }
        worker.publish(Tables(clusters: tables.clusters, endpoints: tables.endpoints, routes: routes, scopes: tables.scopes))
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
    func takeHealth(ofCluster name: String, from handle: WorkerHandle) async {
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
                    (live.cluster(named: name)?.hostSet.hosts ?? []).map {
                        HostState(
                            cluster: name, address: $0.address, conditions: $0.conditions, requests: $0.activeRequests)
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
        }
    }

    /// What one loop knows of a host.
    private struct HostState: Sendable {
        var cluster: String
        var address: HostAddress
        var conditions: Host.Conditions
        var requests: UInt32
    }
}
