import EnvoyAPI
import Serialization
import XDS

/// What gRPC clients without a proxy get: the same routes, clusters and endpoints, in the form that they ask for.
///
/// - A listener by the target's name, `HOST:PORT`, with an `api_listener` (A27 of gRPC's proposals); routes under the name
///   `outbound|PORT||HOST`; clusters and endpoints under their usual names.
/// - Path matches that gRPC does not know become regular expressions that mean the same.
/// - Balancing that gRPC does not have becomes round robin; options of Envoy's transport are left out, since gRPC refuses
///   what it does not know. Filters are fault and router, so per-route settings of others are left out too.
/// - Mutual TLS where the program has certificates (`ProxylessTLS`), and listeners for its servers (`ProxylessServer`).
enum ProxylessResources {
    /// The filters that gRPC is told of, by the type of their settings.
    private static let faultFilter = "envoy.filters.http.fault"
    private static let routerFilter = "envoy.filters.http.router"

    /// The types on which the result depends.
    private static let types = [
        Cluster.typeURL, ClusterLoadAssignment.typeURL, Listener.typeURL, RouteConfiguration.typeURL,
    ]

    /// Whether two translations give the same resources because they are the same tables.
    static func isSame(_ old: Snapshot, _ new: Snapshot) -> Bool {
        types.allSatisfy { type in
            old[type].count == new[type].count && zip(old[type], new[type]).allSatisfy { $0 === $1 }
        }
    }

    /// The snapshot of a sidecar in gRPC's form; everything is made when it is asked for.
    static func snapshot(_ base: Snapshot, for node: EnvoyAPI.Node?) -> Snapshot {
        let tls = ProxylessTLS(node)
        var snapshot = Snapshot(version: base.version)
        snapshot[ClusterLoadAssignment.typeURL] = base[ClusterLoadAssignment.typeURL]
        snapshot[Listener.typeURL] = [ResourceTable(resolver: ResourceResolver { listener($0, base, tls) })]
        snapshot[RouteConfiguration.typeURL] = [ResourceTable(resolver: ResourceResolver { routes($0, base) })]
        snapshot[Cluster.typeURL] = [ResourceTable(resolver: ResourceResolver { cluster($0, base, tls) })]
        return snapshot
    }

    private static func packed<M: Message>(_ message: M, _ name: String) -> EncodedResource {
        EncodedResource(name: name, message: AnyMessage(packing: message))
    }

    /// `HOST:PORT` taken apart.
    private static func target(_ name: String) -> (host: String, port: String)? {
        guard let colon = name.lastIndex(of: ":") else { return nil }
        let (host, port) = (String(name[..<colon]), String(name[name.index(after: colon)...]))
        guard !host.isEmpty, UInt16(port) != nil else { return nil }
        return (host, port)
    }

    private static func host(_ host: String, port: String, _ base: Snapshot) -> VirtualHost? {
        guard let resource = base.resource(RouteConfiguration.typeURL, port),
            let routes = try? resource.message.unpack(as: RouteConfiguration.self)
        else { return nil }
        let wanted: Set<String> = [host.lowercased(), "\(host.lowercased()):\(port)"]
        return routes.virtualHosts.first { $0.domains.contains { wanted.contains($0) } }
    }

    // MARK: The four types

    private static func listener(_ name: String, _ base: Snapshot, _ tls: ProxylessTLS) -> EncodedResource? {
        if let server = ProxylessServer.listener(name, base, tls) { return packed(server, name) }
        guard let (host, port) = target(name) else { return nil }
        let owner: String
        if let virtual = self.host(host, port: port, base) {
            owner = virtual.name.split(separator: ":").first.map(String.init) ?? host
        } else if base.resource(Cluster.typeURL, "outbound|\(port)||\(host)") != nil {
            owner = host
        } else {
            return nil
        }
        var rds = Rds()
        rds.configSource = adsSource
        rds.routeConfigName = "outbound|\(port)||\(owner)"
        var manager = HttpConnectionManager()
        manager.statPrefix = "grpc"
        manager.routeSpecifier = .rds(rds)
        manager.httpFilters = [filter(faultFilter, HTTPFault()), filter(routerFilter, Router())]
        var api = ApiListener()
        api.apiListener = AnyMessage(packing: manager)
        var listener = Listener()
        listener.name = name
        listener.apiListener = api
        return packed(listener, name)
    }

    private static func filter<M: Message>(_ name: String, _ settings: M) -> HttpFilter {
        var filter = HttpFilter()
        filter.name = name
        filter.configType = .typedConfig(AnyMessage(packing: settings))
        return filter
    }

    private static var adsSource: ConfigSource {
        var source = ConfigSource()
        source.configSourceSpecifier = .ads(AggregatedConfigSource())
        source.resourceApiVersion = .v3
        return source
    }

    private static func routes(_ name: String, _ base: Snapshot) -> EncodedResource? {
        let parts = name.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 4, parts[0] == "outbound" else { return nil }
        var host: VirtualHost
        if let found = self.host(parts[3], port: parts[1], base) {
            host = found
        } else if base.resource(Cluster.typeURL, name) != nil {
            host = VirtualHost()
            host.name = "\(parts[3]):\(parts[1])"
            var route = Route()
            route.match = RouteMatch()
            route.match?.pathSpecifier = .prefix("")
            var action = RouteAction()
            action.clusterSpecifier = .cluster(name)
            route.action = .route(action)
            host.routes = [route]
        } else {
            return nil
        }
        // Whatever name the caller used led here.
        host.domains = ["*"]
        host.typedPerFilterConfig = host.typedPerFilterConfig.filter { $0.key == faultFilter }
        // There is no connection that could say where it went: the target's name is all there is.
        host.routes = host.routes.filter { $0.match?.filterState.isEmpty ?? true }.map(route)
        var routes = RouteConfiguration()
        routes.name = name
        routes.virtualHosts = [host]
        return packed(routes, name)
    }

    private static func route(_ route: Route) -> Route {
        var route = route
        if case .pathSeparatedPrefix(let prefix)? = route.match?.pathSpecifier {
            var regex = RegexMatcher()
            regex.regex = literal(prefix) + "(/.*)?"
            route.match?.pathSpecifier = .safeRegex(regex)
        }
        route.typedPerFilterConfig = route.typedPerFilterConfig.filter { $0.key == faultFilter }
        if case .route(var action) = route.action, case .weightedClusters(var weighted) = action.clusterSpecifier {
            for index in weighted.clusters.indices {
                weighted.clusters[index].typedPerFilterConfig =
                    weighted.clusters[index].typedPerFilterConfig.filter { $0.key == faultFilter }
            }
            action.clusterSpecifier = .weightedClusters(weighted)
            route.action = .route(action)
        }
        return route
    }

    /// A regular expression that matches exactly that text (ATK-25).
    private static func literal(_ text: String) -> String {
        var regex = ""
        for character in text {
            if #"\.+*?()|[]{}^$"#.contains(character) { regex.append("\\") }
            regex.append(character)
        }
        return regex
    }

    private static func cluster(_ name: String, _ base: Snapshot, _ tls: ProxylessTLS) -> EncodedResource? {
        guard let resource = base.resource(Cluster.typeURL, name),
            let full = try? resource.message.unpack(as: Cluster.self), full.edsClusterConfig != nil
        else { return nil }
        var cluster = Cluster()
        cluster.name = full.name
        cluster.clusterDiscoveryType = .type(.eds)
        cluster.edsClusterConfig = full.edsClusterConfig
        cluster.lbPolicy = full.lbPolicy == .ringHash ? .ringHash : .roundRobin
        if full.lbPolicy == .ringHash { cluster.lbConfig = full.lbConfig }
        cluster.circuitBreakers = full.circuitBreakers
        cluster.outlierDetection = full.outlierDetection
        cluster.metadata = full.metadata
        let service = full.edsClusterConfig?.serviceName ?? ""
        switch tls.transport(
            of: full, endpoints: base.resource(ClusterLoadAssignment.typeURL, service.isEmpty ? name : service))
        {
        case .plain: break
        case .secure(let socket): cluster.transportSocket = socket
        case .impossible: return nil
        }
        return packed(cluster, name)
    }
}
