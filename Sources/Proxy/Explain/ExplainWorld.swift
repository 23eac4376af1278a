internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// What a request is explained in: listeners and tables, and a worker that serves nobody.
///
/// Everything in it counts, limits and remembers for itself alone, so that explaining changes nothing for real requests. On one loop.
final class ExplainWorld {
    /// A listener that requests can be explained for.
    struct Entry {
        var config: ListenerConfig
        /// As configured: `config` may be compiled without transport sockets.
        var message: Listener
        var address: IO.SocketAddress
        /// With its transport sockets, where somebody has compiled them.
        var live: ListenerConfig?
    }

    private(set) var listeners: [String: Entry] = [:]
    /// It is a running proxy's.
    var isLive = false
    /// Connections by host that would take a request at once, as a loop of the running proxy knows them.
    var idleConnections: [String: Int] = [:]
    /// Why the last connection to a host of that cluster did not come about.
    var troubles: [String: ConnectionTrouble] = [:]
    let places: ConfigurationPlaces
    let worker: Worker
    /// What a control plane would deliver, from a file.
    private var delivered = DeliveredResources()
    /// Where discovered route configurations come from, by name.
    var routePlaces: [String: String] = [:]

    init(loop: EventLoop, overload: OverloadState, metrics: MetricSet, seed: UInt64, places: ConfigurationPlaces) {
        self.places = places
        worker = Worker(
            index: 0, loop: loop, metrics: metrics, drainTime: .zero, overload: overload, seed: seed)
    }

    func add(
        _ config: ListenerConfig, message: Listener, address: IO.SocketAddress? = nil, live: ListenerConfig? = nil
    ) {
        listeners[config.name] = Entry(
            config: config, message: message, address: address ?? config.address, live: live)
    }

    /// The listener of a name, an address or a port.
    func listener(_ text: String) throws(UsageError) -> Entry {
        if text.isEmpty, listeners.count == 1, let only = listeners.first?.value { return only }
        if let known = listeners[text] { return known }
        let port = UInt16(text.first == ":" ? String(text.dropFirst()) : text)
        let found = listeners.values.filter {
            // As a recorded request names it: the metrics' form of an address.
            "\($0.address)" == text || "\($0.config.address)".replacing(":", with: "_") == text
                || "\($0.config.address)" == text || (port != nil && $0.address.port == port)
        }
        if found.count == 1, let only = found.first { return only }
        let names = listeners.sorted { $0.key < $1.key }.map { "\($0.key) (\($0.value.address))" }
        let reason = text.isEmpty ? "say which listener" : "nothing listens at \"\(text)\""
        throw UsageError(
            "\(reason); " + (names.isEmpty ? "there is no listener" : "listeners: \(names.joined(separator: ", "))"))
    }

    /// The listener that connections to an address are handed to by `use_original_dst` of another one.
    func listener(for address: IO.SocketAddress, besides name: String) -> Entry? {
        var wildcard: Entry?
        for entry in listeners.values where entry.config.name != name {
            let takes = entry.config.takes(address)
            if takes.isExact { return entry }
            if takes.isWildcard { wildcard = entry }
        }
        return wildcard
    }

    /// Lets go of the worker's timers.
    func close() { worker.publish(Tables()) }

    // MARK: From a file

    /// Everything that a bootstrap holds, and what the files say that it names.
    convenience init(
        _ bootstrap: BootstrapConfig, seed: UInt64, delivered: DeliveredResources = DeliveredResources()
    ) throws(ProxyError) {
        let loop: EventLoop
        do throws(SystemError) {
            loop = try EventLoop()
        } catch {
            throw ProxyError("\(error)")
        }
        let metrics = MetricSet(workers: 1)
        self.init(
            loop: loop, overload: OverloadState(bootstrap.overload), metrics: metrics, seed: seed,
            places: ConfigurationPlaces())
        self.delivered = delivered
        do throws(ConfigurationError) {
            try load(bootstrap, metrics)
        } catch {
            throw ProxyError(nil, error)
        }
    }

    private func load(_ bootstrap: BootstrapConfig, _ metrics: MetricSet) throws(ConfigurationError) {
        var context = bootstrap.context
        context.metrics = metrics
        let runtime = RuntimeLayers(bootstrap.runtimeLayers, serviceCluster: bootstrap.node.cluster).runtime
        let resources = bootstrap.message().staticResources
        let delivered = self.delivered
        var clusters: [(Cluster, String)] = delivered.clusters.map { ($0, "Cluster \"\($0.name)\"") }
        for (index, cluster) in (resources?.clusters ?? []).enumerated() {
            clusters.append((cluster, "static_resources.clusters[\(index)]"))
        }
        if case .file(let file)? = bootstrap.clusters?.source {
            for cluster in try FileDiscovery.resources(in: file.path, as: Cluster.self) {
                clusters.append((cluster, "\(file.path): Cluster \"\(cluster.name)\""))
            }
        }
        var listeners: [(Listener, String)] = delivered.listeners.map { ($0, "Listener \"\($0.name)\"") }
        for (index, listener) in (resources?.listeners ?? []).enumerated() {
            listeners.append((listener, "static_resources.listeners[\(index)]"))
        }
        if case .file(let file)? = bootstrap.listeners?.source {
            for listener in try FileDiscovery.resources(in: file.path, as: Listener.self) {
                listeners.append((listener, "\(file.path): Listener \"\(listener.name)\""))
            }
        }
        var configs: [String: ClusterConfig] = [:]
        var tables: [String: EndpointTable] = [:]
        var standIns: UInt32 = 0
        for (message, path) in clusters {
            let config = try runtime.compiling { () throws(ConfigurationError) in
                try context.cluster(message, at: path)
            }
            configs[config.name] = config
            places.set(cluster: message, at: path)
            tables[config.name] = try endpoints(of: config, message, context, &standIns)
        }
        var routes: [String: CompiledRoutes] = [:]
        for (message, path) in listeners {
            let config = try runtime.compiling { () throws(ConfigurationError) in
                try ListenerConfig(compiling: message, at: path, context: context)
            }
            places.set(listener: message, named: config.name, at: path)
            add(config, message: message)
            for case let manager? in config.allChains.map(\.manager) {
                guard case .rds(let name) = manager.routes else { continue }
                let place = "RouteConfiguration \"\(name)\""
                routePlaces[name] = place
                if let message = delivered.routes[name], routes[name] == nil {
                    places.set(routes: message, at: place)
                    routes[name] = try runtime.compiling { () throws(ConfigurationError) in
                        try CompiledRoutes(message, at: place, context: context)
                    }
                    continue
                }
                guard case .file(let file)? = manager.rdsSource else { continue }
                for message in try FileDiscovery.resources(in: file.path, as: RouteConfiguration.self)
                where message.name == name {
                    let place = "\(file.path): RouteConfiguration \"\(name)\""
                    places.set(routes: message, at: place)
                    routePlaces[name] = place
                    routes[name] = try runtime.compiling { () throws(ConfigurationError) in
                        try CompiledRoutes(message, at: place, context: context)
                    }
                }
            }
        }
        worker.publish(Tables(clusters: configs, endpoints: tables, routes: routes))
        // Nobody checks them here: what is not known to be out is taken to be there.
        for cluster in worker.clustersInUse { cluster.hostSet.clear([.failedActiveCheck, .unchecked]) }
    }

    /// Endpoints as far as a file tells: what is resolved or discovered while the proxy runs has something to stand for it.
    private func endpoints(
        of config: ClusterConfig, _ message: Cluster, _ context: CompileContext, _ standIns: inout UInt32
    ) throws(ConfigurationError) -> EndpointTable? {
        func standIn() -> String {
            // 198.18.0.0/15 belongs to nobody (RFC 2544).
            standIns += 1
            return "\(IPAddress.v4(0xC612_0000 + standIns % 0x1_FFFF))"
        }
        if config.discovery == .strictDNS || config.discovery == .logicalDNS {
            guard let table = config.endpoints else { return nil }
            var answers: [String: [String]] = [:]
            for case .name(let name, let port) in table.names {
                let address = answers[name]?.first ?? standIn()
                answers[name] = [address]
                places.set(
                    standIn: "\(HostAddress.ip(address, port: port))", for: "\(name):\(port) (resolved at run time)")
            }
            return table.resolved(answers, onlyFirst: false)
        }
        if case .eds(let service) = config.discovery {
            let name = service.isEmpty ? config.name : service
            if let assignment = delivered.endpoints[name] {
                let place = "ClusterLoadAssignment \"\(name)\""
                places.set(endpoints: assignment, ofCluster: config.name, at: place)
                return try EndpointTable(compiling: assignment, path: place)
            }
            let source = try DiscoverySource(
                compiling: message.edsClusterConfig?.edsConfig, at: "", hasADS: context.hasADS)
            if case .file(let file) = source {
                for assignment in try FileDiscovery.resources(in: file.path, as: ClusterLoadAssignment.self)
                where assignment.clusterName == name {
                    places.set(
                        endpoints: assignment, ofCluster: config.name,
                        at: "\(file.path): ClusterLoadAssignment \"\(name)\"")
                    return try EndpointTable(compiling: assignment, path: file.path)
                }
            }
            let address = HostAddress.ip(standIn(), port: 1)
            places.set(standIn: "\(address)", for: "an endpoint of \"\(name)\" (discovered at run time)")
            var table = EndpointTable()
            table.groups = [EndpointTable.Group(endpoints: [EndpointTable.Endpoint(address: address)])]
            return table
        }
        return config.endpoints
    }
}

extension FileDiscovery {
    /// The resources of a type that a file holds.
    static func resources<M: Message>(in path: String, as type: M.Type) throws(ConfigurationError) -> [M] {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try File.read(path)
        } catch {
            throw ConfigurationError(at: path, "\(error)")
        }
        var messages: [M] = []
        for (index, any) in try decode(bytes, path: path, typeURL: M.typeURL).resources.enumerated()
        where any.name == M.schema.name {
            do throws(MessageError) {
                messages.append(try any.unpack(as: type))
            } catch {
                throw ConfigurationError(at: "\(path): resources[\(index)].\(error.path)", error.problem)
            }
        }
        return messages
    }
}
