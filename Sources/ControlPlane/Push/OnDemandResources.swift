import EnvoyAPI
import Serialization
import XDS

/// What proxies get that ask for what they use (ARCHITECTURE decision 1): virtual hosts one by one (VHDS), clusters by name (ODCDS).
///
/// - Route configurations come without virtual hosts, and say where these are asked for.
/// - `ROUTECONFIG/authority` is answered with the virtual host that has that domain, under its own name with all its
///   domains as aliases. An authority that nobody claims is answered at once: with the virtual host for everything else (pass through, or black
///   hole), for that authority alone.
/// - Connection managers and TCP proxies ask for the clusters that their routes name.
///
/// What was made of a table is kept as long as the table is in use, and a virtual host that did not change is the same resource.
struct OnDemandResources {
    /// What a proxy's node says among its `client_features` when it asks for what it uses.
    static let feature = "skein.on_demand"

    private struct Made {
        var source: ResourceTable
        var tables: [String: ResourceTable]
    }

    private struct MadePart {
        var source: SnapshotPart
        var part: SnapshotPart
    }

    private var parts: [ObjectIdentifier: MadePart] = [:]
    private var oldParts: [ObjectIdentifier: MadePart] = [:]
    private var made: [ObjectIdentifier: Made] = [:]
    private var old: [ObjectIdentifier: Made] = [:]
    private var splits: [String: RouteSplit] = [:]

    /// What no table of the present generation uses is forgotten with the next one.
    mutating func begin() {
        old = made
        made = [:]
        oldParts = parts
        parts = [:]
    }

    mutating func snapshot(_ base: Snapshot) -> Snapshot {
        var snapshot = base
        for index in snapshot.parts.indices { snapshot.parts[index] = part(base.parts[index]) }
        return snapshot
    }

    private mutating func part(_ base: SnapshotPart) -> SnapshotPart {
        let key = ObjectIdentifier(base)
        if let known = parts[key] { return known.part }
        if let known = oldParts[key] {
            parts[key] = known
            for table in known.source.tables.values.joined() { _ = self.known(table) }
            return known.part
        }
        var tables = base.tables
        tables[Listener.typeURL] = base.tables[Listener.typeURL]?.map { listeners($0) }
        var (routes, hosts): ([ResourceTable], [ResourceTable]) = ([], [])
        for table in base.tables[RouteConfiguration.typeURL] ?? [] {
            let found = self.routes(table)
            routes += found[RouteConfiguration.typeURL].map { [$0] } ?? []
            hosts += found[VirtualHost.typeURL].map { [$0] } ?? []
        }
        tables[RouteConfiguration.typeURL] = routes
        tables[VirtualHost.typeURL] = hosts
        let part = SnapshotPart(tables)
        parts[key] = MadePart(source: base, part: part)
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
        var aliases: [String: String] = [:]
        var resolvers: [String: ResourceResolver] = [:]
        for resource in table.resources.values {
            let split = RouteSplit(resource, like: splits[resource.name])
            splits[resource.name] = split
            configurations[resource.name] = split.configuration
            hosts.merge(split.hosts) { first, _ in first }
            aliases.merge(split.aliases) { first, _ in first }
            resolvers[resource.name] = split.resolver
        }
        // Names begin with that of their route configuration; with one there is nothing to be looked up.
        let resolver: ResourceResolver?
        if resolvers.count < 2 {
            resolver = resolvers.first?.value
        } else {
            let before = lastResolver
            if let before, before.parts.count == resolvers.count,
                resolvers.allSatisfy({ before.parts[$0.key] === $0.value })
            {
                resolver = before.whole
            } else {
                let whole = ResourceResolver { [resolvers] name in
                    guard let slash = name.firstIndex(of: "/") else { return nil }
                    return resolvers[String(name[..<slash])]?.resolve(name)
                }
                lastResolver = (resolvers, whole)
                resolver = whole
            }
        }
        let tables = [
            RouteConfiguration.typeURL: ResourceTable(configurations),
            VirtualHost.typeURL: ResourceTable(hosts, aliases: aliases, resolver: resolver),
        ]
        made[ObjectIdentifier(table)] = Made(source: table, tables: tables)
        return tables
    }

    private var lastResolver: (parts: [String: ResourceResolver], whole: ResourceResolver)?

    // MARK: Listeners

    private mutating func listeners(_ table: ResourceTable) -> ResourceTable {
        if let known = known(table)?[Listener.typeURL] { return known }
        let changed = ResourceTable(table.resources.mapValues(Self.listener))
        made[ObjectIdentifier(table)] = Made(source: table, tables: [Listener.typeURL: changed])
        return changed
    }

    private static func listener(_ resource: EncodedResource) -> EncodedResource {
        guard var listener = try? resource.message.unpack(as: Listener.self) else { return resource }
        listener.filterChains = listener.filterChains.map(chain)
        listener.defaultFilterChain = listener.defaultFilterChain.map(chain)
        return EncodedResource(name: resource.name, message: AnyMessage(packing: listener))
    }

    private static func chain(_ chain: FilterChain) -> FilterChain {
        var chain = chain
        for index in chain.filters.indices {
            guard case .typedConfig(let config)? = chain.filters[index].configType else { continue }
            if var manager = try? config.unpack(as: HttpConnectionManager.self) {
                guard let router = manager.httpFilters.indices.last else { continue }
                manager.httpFilters.insert(filter, at: router)
                chain.filters[index].configType = .typedConfig(AnyMessage(packing: manager))
            } else if var proxy = try? config.unpack(as: TcpProxy.self) {
                var demand = TcpProxy.OnDemand()
                demand.odcdsConfig = source
                demand.timeout = timeout
                proxy.onDemand = demand
                chain.filters[index].configType = .typedConfig(AnyMessage(packing: proxy))
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
