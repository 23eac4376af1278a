import EnvoyAPI
import Serialization
import XDS

/// What proxies get that ask for what they use (ARCHITECTURE decision 1): virtual hosts one by one (VHDS), clusters by name (ODCDS).
///
/// - Route configurations come without virtual hosts, and say where these are asked for.
/// - `ROUTECONFIG/authority` is answered with the virtual host that has that domain, under its own name with all its
///   domains as aliases. An authority that nobody claims is answered at once: with the virtual host for everything else (pass through, or black
///   hole), for that authority alone.
/// - Connection managers and TCP proxies ask for the clusters that their routes name. Who asks for all clusters (CDS) gets those that
///   are no service's, and those that listeners name outside of routes (authorization, logs, key sets): nobody would ask for them.
///
/// What was made of a table is kept as long as the table is in use, and a virtual host that did not change is the same resource.
struct OnDemandResources {
    /// What a proxy's node says among its `client_features` when it asks for what it uses.
    static let feature = "skein.on_demand"

    private struct Made {
        var source: ResourceTable
        var tables: [String: ResourceTable]
        /// Of listeners: the clusters that they name outside of routes.
        var needed: Set<String> = []
        /// Of clusters: those for who names them, and those for everybody.
        var divided: [ResourceTable] = []
    }

    private struct MadePart {
        var source: SnapshotPart
        var part: SnapshotPart
        var memory: Memory
    }

    /// What the next version of a part is made like.
    private struct Memory {
        var splits: [String: RouteSplit] = [:]
        var resolver: (parts: [String: ResourceResolver], whole: ResourceResolver)?
        var aliases: (parts: [ResourceAliases], whole: ResourceAliases?) = ([], nil)
    }

    private var parts: [ObjectIdentifier: MadePart] = [:]
    private var oldParts: [ObjectIdentifier: MadePart] = [:]
    private var made: [ObjectIdentifier: Made] = [:]
    private var old: [ObjectIdentifier: Made] = [:]
    private var memory = Memory()

    /// What no table of the present generation uses is forgotten with the next one.
    mutating func begin() {
        old = made
        made = [:]
        oldParts = parts
        parts = [:]
    }

    /// A translation as those get it who ask for what they use; `last` is what they had before, as the mesh made it.
    mutating func snapshot(_ base: Snapshot, like last: Snapshot?) -> Snapshot {
        var snapshot = base
        for index in snapshot.parts.indices {
            let before = last.flatMap { $0.parts.indices.contains(index) ? $0.parts[index] : nil }
            snapshot.parts[index] = part(base.parts[index], like: before)
        }
        if let own = base.parts.last, base.parts.count > 1 {
            add(needed: needed(own).filter { $0.hasPrefix(Self.servicePrefix) }, of: base, to: &snapshot)
        }
        return snapshot
    }

    /// The clusters that listeners of a part name outside of routes.
    private func needed(_ part: SnapshotPart) -> Set<String> {
        (part.tables[Listener.typeURL] ?? []).reduce(into: []) {
            $0.formUnion((made[ObjectIdentifier($1)] ?? old[ObjectIdentifier($1)])?.needed ?? [])
        }
    }

    /// Whether the own part of a translation needs something of the shared one, so that it must follow that.
    func needsShared(_ base: Snapshot) -> Bool {
        base.parts.count > 1 && base.parts.last.map { !needed($0).isEmpty } ?? false
    }

    /// A part as those get it who ask for what they use; `last` is the one that it follows.
    mutating func part(_ base: SnapshotPart, like last: SnapshotPart?) -> SnapshotPart {
        let key = ObjectIdentifier(base)
        if let known = parts[key] { return known.part }
        if let known = oldParts[key] {
            parts[key] = known
            for table in known.source.tables.values.joined() { _ = self.known(table) }
            return known.part
        }
        let before = last.map(ObjectIdentifier.init)
        memory = before.flatMap { (parts[$0] ?? oldParts[$0])?.memory } ?? Memory()
        defer { memory = Memory() }
        var tables = base.tables
        tables[Listener.typeURL] = base.tables[Listener.typeURL]?.map { listeners($0) }
        var needed: Set<String> = []
        for table in base.tables[Listener.typeURL] ?? [] {
            needed.formUnion(made[ObjectIdentifier(table)]?.needed ?? [])
        }
        tables[Cluster.typeURL] = (base.tables[Cluster.typeURL] ?? []).flatMap { clusters($0, needed) }
        var (routes, hosts): ([ResourceTable], [ResourceTable]) = ([], [])
        for table in base.tables[RouteConfiguration.typeURL] ?? [] {
            let found = self.routes(table)
            routes += found[RouteConfiguration.typeURL].map { [$0] } ?? []
            hosts += found[VirtualHost.typeURL].map { [$0] } ?? []
        }
        tables[RouteConfiguration.typeURL] = routes
        tables[VirtualHost.typeURL] = hosts
        let part = SnapshotPart(tables)
        parts[key] = MadePart(source: base, part: part, memory: memory)
        return part
    }

    private mutating func known(_ table: ResourceTable) -> [String: ResourceTable]? {
        let key = ObjectIdentifier(table)
        if let found = made[key] { return found.tables }
        guard let found = old[key] else { return nil }
        made[key] = found
        return found.tables
    }

    // MARK: Routes

    private mutating func routes(_ table: ResourceTable) -> [String: ResourceTable] {
        if let known = known(table) { return known }
        var (configurations, hosts): ([String: EncodedResource], [String: EncodedResource]) = ([:], [:])
        var aliases: [ResourceAliases] = []
        var resolvers: [String: ResourceResolver] = [:]
        for resource in table.resources.values {
            let split = RouteSplit(resource, like: memory.splits[resource.name])
            memory.splits[resource.name] = split
            configurations[resource.name] = split.configuration
            if hosts.isEmpty { hosts = split.hosts } else { hosts.merge(split.hosts) { first, _ in first } }
            aliases.append(split.aliases)
            resolvers[resource.name] = split.resolver
        }
        // Names begin with that of their route configuration; with one there is nothing to be looked up.
        let resolver: ResourceResolver?
        if resolvers.count < 2 {
            resolver = resolvers.first?.value
        } else {
            let before = memory.resolver
            if let before, before.parts.count == resolvers.count,
                resolvers.allSatisfy({ before.parts[$0.key] === $0.value })
            {
                resolver = before.whole
            } else {
                let whole = ResourceResolver { [resolvers] name in
                    guard let slash = name.firstIndex(of: "/") else { return nil }
                    return resolvers[String(name[..<slash])]?.resolve(name)
                }
                memory.resolver = (resolvers, whole)
                resolver = whole
            }
        }
        let tables = [
            RouteConfiguration.typeURL: ResourceTable(configurations),
            VirtualHost.typeURL: ResourceTable(hosts, aliases: joined(aliases), resolver: resolver),
        ]
        made[ObjectIdentifier(table)] = Made(source: table, tables: tables)
        return tables
    }

    /// Those of all route configurations; the same object as before when they are.
    private mutating func joined(_ parts: [ResourceAliases]) -> ResourceAliases? {
        if parts.count < 2 { return parts.first }
        let before = memory.aliases
        if before.parts.count == parts.count, parts.allSatisfy({ part in before.parts.contains { $0 === part } }) {
            return before.whole
        }
        var names: [String: String] = [:]
        for part in parts { names.merge(part.names) { first, _ in first } }
        let whole = ResourceAliases(names)
        memory.aliases = (parts, whole)
        return whole
    }

    // MARK: Listeners

    private mutating func listeners(_ table: ResourceTable) -> ResourceTable {
        if let known = known(table)?[Listener.typeURL] { return known }
        let changed = ResourceTable(table.resources.mapValues(Self.listener))
        var needed: Set<String> = []
        for resource in table.resources.values { needed.formUnion(ListenerClusters.named(in: resource.message)) }
        made[ObjectIdentifier(table)] = Made(source: table, tables: [Listener.typeURL: changed], needed: needed)
        return changed
    }

    // MARK: Clusters

    /// The clusters of services, which only those get who name them, and all others.
    private mutating func clusters(_ table: ResourceTable, _ needed: Set<String>) -> [ResourceTable] {
        if table.resources.isEmpty { return [] }
        let key = ObjectIdentifier(table)
        if let known = made[key] ?? old[key], known.needed == needed, !known.divided.isEmpty {
            made[key] = known
            return known.divided
        }
        let services = table.resources.filter { $0.key.hasPrefix(Self.servicePrefix) && !needed.contains($0.key) }
        let others = table.resources.filter { !$0.key.hasPrefix(Self.servicePrefix) || needed.contains($0.key) }
        let divided = [ResourceTable(services, isNamedOnly: true), ResourceTable(others)]
        made[key] = Made(source: table, tables: [:], needed: needed, divided: divided)
        return divided
    }

    /// How the names of clusters of services begin.
    static let servicePrefix = "outbound|"

    /// The clusters of services that the proxy's own listeners need: they are given to it among its own.
    private mutating func add(needed names: Set<String>, of base: Snapshot, to snapshot: inout Snapshot) {
        let type = Cluster.typeURL
        var found: [String: EncodedResource] = [:]
        for name in names { found[name] = base.resource(type, name) }
        guard !found.isEmpty, let last = snapshot.parts.indices.last else { return }
        var tables = snapshot.parts[last].tables
        tables[type, default: []].append(ResourceTable(found))
        snapshot.parts[last] = SnapshotPart(tables)
    }

    // MARK: Listeners, taken apart

    private static func listener(_ resource: EncodedResource) -> EncodedResource {
        guard var listener = try? resource.message.unpack(as: Listener.self) else { return resource }
        let metrics = MetricChains.filter(of: listener)
        listener.filterChains = listener.filterChains.map { chain($0, metrics) }
        listener.defaultFilterChain = listener.defaultFilterChain.map { chain($0, metrics) }
        return EncodedResource(name: resource.name, message: AnyMessage(packing: listener))
    }

    private static func chain(_ chain: FilterChain, _ metrics: EnvoyAPI.Filter) -> FilterChain {
        var chain = chain
        for index in chain.filters.indices {
            guard case .typedConfig(let config)? = chain.filters[index].configType else { continue }
            if var manager = try? config.unpack(as: HttpConnectionManager.self) {
                guard let router = manager.httpFilters.indices.last else { continue }
                // First, so that whatever comes after it sees the virtual host that has come; and last, for a filter in between that
                // leads the request to a cluster that nobody has asked for yet.
                manager.httpFilters.insert(filter, at: router)
                if router > 0 { manager.httpFilters.insert(filter, at: 0) }
                chain.filters[index].configType = .typedConfig(AnyMessage(packing: manager))
            } else if var proxy = try? config.unpack(as: TcpProxy.self) {
                var demand = TcpProxy.OnDemand()
                demand.odcdsConfig = source
                demand.timeout = timeout
                proxy.onDemand = demand
                chain.filters[index].configType = .typedConfig(AnyMessage(packing: proxy))
                chain.filters.insert(metrics, at: index)
                break  // Nothing comes behind the filter that serves.
            }
        }
        return chain
    }

    /// How long a request or connection waits for its cluster.
    private static let timeout = Duration.seconds(5)

    static var source: ConfigSource {
        var source = ConfigSource()
        source.configSourceSpecifier = .ads(AggregatedConfigSource())
        source.resourceApiVersion = .v3
        return source
    }

    private static var filter: HttpFilter {
        var clusters = OnDemandCds()
        clusters.source = source
        clusters.timeout = timeout
        var settings = OnDemandFilter()
        settings.odcds = clusters
        var filter = HttpFilter()
        filter.name = "envoy.filters.http.on_demand"
        filter.configType = .typedConfig(AnyMessage(packing: settings))
        return filter
    }
}
