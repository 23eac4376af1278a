import EnvoyAPI
import KubernetesAPI
import Serialization

/// Applies EnvoyFilters to one proxy's configuration, patch by patch in their order.
///
/// A patch that does not fit a resource is left out there and told in `problems`; what would not compile any more after a
/// patch stays as it was.
struct PatchRun {
    /// A patch that could not be applied.
    struct Problem: Sendable, Hashable {
        var place: Provenance
        var message: String
    }

    private let role: ProxyIdentity.Role
    private let patches: [EnvoyPatch]
    private let extensions: [String: AnyMessage]
    private let gatewayPorts: [String: Set<Int>]
    private(set) var problems: [Problem] = []
    /// The patches that changed something.
    private(set) var applied: Set<Provenance> = []

    /// Whether only what is the pod's own is patched: clusters and listeners are added to the other part.
    private let isOwnPart: Bool

    init(_ patches: EnvoyPatches, role: ProxyIdentity.Role, model: MeshModel, isOwnPart: Bool = false) {
        self.role = role
        self.isOwnPart = isOwnPart
        self.patches = patches.patches
        var extensions: [String: AnyMessage] = [:]
        var places: Set<Provenance> = []
        for patch in patches.patches {
            guard case .extensionConfig(let config) = patch.subject, let typed = config.typedConfig else { continue }
            extensions[config.name] = typed
            places.insert(patch.place)
        }
        self.extensions = extensions
        applied = places
        gatewayPorts = Dictionary(
            model.entrances.map { ($0.key.description, Set($0.gateway.servers.compactMap(\.port))) },
            uniquingKeysWith: { $0.union($1) })
    }

    /// Applies all patches.
    mutating func apply(to resources: inout MeshResources) {
        for patch in patches {
            switch patch.subject {
            case .cluster(let value): clusters(patch, value, &resources)
            case .listener, .listenerFilter, .filterChain, .networkFilter, .httpFilter:
                listeners(patch, &resources)
            case .routes, .virtualHost, .route: routes(patch, &resources)
            case .extensionConfig: break
            }
        }
    }

    private mutating func report(_ patch: EnvoyPatch, _ message: String) {
        let problem = Problem(place: patch.place, message: message)
        if !problems.contains(problem) { problems.append(problem) }
    }

    // MARK: Clusters

    private mutating func clusters(_ patch: EnvoyPatch, _ value: Cluster, _ resources: inout MeshResources) {
        if patch.operation == .add {
            guard !isOwnPart, fits(patch.context, isInbound: value.name.hasPrefix("inbound|")) else { return }
            put(patch, value, &resources)
            return
        }
        for name in resources.clusters.keys.sorted() where matches(patch, cluster: name) {
            guard patch.operation != .remove else {
                resources.clusters[name] = nil
                resources.endpoints[name] = nil
                applied.insert(patch.place)
                continue
            }
            do {
                guard let base = try resources.clusters[name]?.message.unpack(as: Cluster.self) else { continue }
                put(patch, try patch.merged(base, value, by: MessageMerge.cluster), &resources, replacing: name)
            } catch { report(patch, "cluster \(name): \(error)") }
        }
    }

    private mutating func put(
        _ patch: EnvoyPatch, _ cluster: Cluster, _ resources: inout MeshResources, replacing old: String? = nil
    ) {
        do {
            try RouteCheck.compile(cluster)
            if let old, old != cluster.name { resources.clusters[old] = nil }
            var cluster = cluster
            patch.place.note(in: &cluster.metadata)
            resources.add(cluster)
            applied.insert(patch.place)
        } catch { report(patch, "cluster \(cluster.name): \(error)") }
    }

    private func matches(_ patch: EnvoyPatch, cluster name: String) -> Bool {
        guard fits(patch.context, isInbound: name.hasPrefix("inbound|") || name == ClusterNames.inboundPassthrough)
        else { return false }
        let match = KubernetesObject(json: patch.match.json["cluster"] ?? .object([:]))
        if let wanted = match.json["name"]?.string { return wanted == name }
        // `direction|port|subset|host`
        let parts = name.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
        if let port = match.int("portNumber") {
            guard parts.count == 4, Int(parts[1]) == port else { return false }
        }
        if let service = match.json["service"]?.string {
            guard parts.count == 4, parts[3] == service.lowercased() else { return false }
        }
        if let subset = match.json["subset"]?.string {
            guard parts.count == 4, parts[2] == subset else { return false }
        }
        return true
    }

    /// Whether a patch is for that side of this proxy.
    private func fits(_ context: EnvoyPatch.Context, isInbound: Bool) -> Bool {
        switch context {
        case .any: true
        case .gateway: role == .gateway
        case .inbound: role == .sidecar && isInbound
        case .outbound: role == .sidecar && !isInbound
        }
    }

    // MARK: Routes

    private mutating func routes(_ patch: EnvoyPatch, _ resources: inout MeshResources) {
        for name in resources.routes.keys.sorted() {
            guard fits(patch.context, isInbound: false), matches(patch, routes: name, port: port(ofRoutes: name))
            else { continue }
            do {
                guard let base = try resources.routes[name]?.message.unpack(as: RouteConfiguration.self) else {
                    continue
                }
                guard let changed = try changed(base, patch) else { continue }
                try RouteCheck.compile(changed)
                resources.add(changed)
                applied.insert(patch.place)
            } catch { report(patch, "routes \(name): \(error)") }
        }
        // Routes towards the application stand in the listener.
        guard fits(patch.context, isInbound: true), role == .sidecar else { return }
        edit(patch, &resources) { run, listener in
            guard listener.trafficDirection == .inbound else { return false }
            var isChanged = false
            for index in listener.filterChains.indices {
                isChanged =
                    try run.manager(&listener.filterChains[index]) { manager in
                        guard case .routeConfig(let base) = manager.routeSpecifier,
                            run.matches(patch, routes: base.name, port: run.port(ofRoutes: base.name)),
                            let changed = try run.changed(base, patch)
                        else { return false }
                        try RouteCheck.compile(changed)
                        manager.routeSpecifier = .routeConfig(changed)
                        return true
                    } || isChanged
            }
            return isChanged
        }
    }

    /// `80`, `http.80`, `inbound|80||`.
    private func port(ofRoutes name: String) -> Int? {
        name.split(whereSeparator: { "|.".contains($0) }).compactMap { Int($0) }.first
    }

    private func matches(_ patch: EnvoyPatch, routes name: String, port: Int?) -> Bool {
        let match = KubernetesObject(json: patch.match.json["routeConfiguration"] ?? .object([:]))
        if let wanted = match.json["name"]?.string, wanted != name { return false }
        if let wanted = match.int("portNumber"), wanted != port { return false }
        if let gateway = match.json["gateway"]?.string {
            guard role == .gateway, let port, gatewayPorts[gateway]?.contains(port) == true else { return false }
        }
        return true
    }

    /// The routes with the patch; `nil` when it concerns none of them.
    private func changed(_ base: RouteConfiguration, _ patch: EnvoyPatch) throws -> RouteConfiguration? {
        var result = base
        let host = KubernetesObject(json: patch.match.json["routeConfiguration"]?["vhost"] ?? .object([:]))
        func isMeant(_ candidate: VirtualHost) -> Bool {
            if let name = host.json["name"]?.string, name != candidate.name { return false }
            if let domain = host.json["domainName"]?.string { return candidate.domains.contains(domain) }
            return true
        }
        switch patch.subject {
        case .routes(let value):
            result = try patch.merged(base, value, by: MessageMerge.merged)
        case .virtualHost(let value):
            switch patch.operation {
            case .add: result.virtualHosts.append(value)
            case .remove: result.virtualHosts.removeAll(where: isMeant)
            default:
                for index in result.virtualHosts.indices where isMeant(result.virtualHosts[index]) {
                    result.virtualHosts[index] =
                        patch.operation == .replace
                        ? value
                        : try patch.merged(result.virtualHosts[index], value, by: MessageMerge.merged)
                }
            }
        case .route(let value):
            for index in result.virtualHosts.indices where isMeant(result.virtualHosts[index]) {
                result.virtualHosts[index].routes = try routes(result.virtualHosts[index].routes, value, patch, host)
            }
        default: return nil
        }
        return result == base ? nil : result
    }

    private func routes(
        _ routes: [Route], _ value: Route, _ patch: EnvoyPatch, _ host: KubernetesObject
    ) throws -> [Route] {
        let match = KubernetesObject(json: host.json["route"] ?? .object([:]))
        func isMeant(_ route: Route) -> Bool {
            if let name = match.json["name"]?.string, name != route.name { return false }
            switch (match.string("action"), route.action) {
            case ("ROUTE", .route), ("REDIRECT", .redirect), ("DIRECT_RESPONSE", .directResponse), ("", _), ("ANY", _):
                return true
            default: return false
            }
        }
        var routes = routes
        switch patch.operation {
        case .add: routes.append(value)
        case .insertFirst: routes.insert(value, at: 0)
        case .remove: routes.removeAll(where: isMeant)
        case .insertBefore:
            if let index = routes.firstIndex(where: isMeant) { routes.insert(value, at: index) }
        case .insertAfter:
            if let index = routes.lastIndex(where: isMeant) { routes.insert(value, at: index + 1) }
        default:
            for index in routes.indices where isMeant(routes[index]) {
                routes[index] = try patch.merged(routes[index], value, by: MessageMerge.route)
            }
        }
        return routes
    }

    // MARK: Listeners

    private mutating func listeners(_ patch: EnvoyPatch, _ resources: inout MeshResources) {
        if case .listener(let value) = patch.subject, patch.operation == .add {
            guard !isOwnPart, fits(patch.context, isInbound: value.trafficDirection == .inbound) else { return }
            guard !value.name.isEmpty, resources.listeners[value.name] == nil else {
                return report(patch, "listener \"\(value.name)\" is there already, or has no name")
            }
            var listener = value
            patch.place.note(in: &listener.metadata)
            resources.add(listener)
            applied.insert(patch.place)
            return
        }
        if case .listener = patch.subject, patch.operation == .remove {
            for name in resources.listeners.keys.sorted() {
                guard let listener = try? resources.listeners[name]?.message.unpack(as: Listener.self),
                    isMeant(listener, patch)
                else { continue }
                resources.listeners[name] = nil
                applied.insert(patch.place)
            }
            return
        }
        edit(patch, &resources) { run, listener in try ListenerPatch(run: run, patch: patch).apply(to: &listener) }
    }

    /// Applies a change to each listener that a patch means; nothing of it stays when it fails.
    private mutating func edit(
        _ patch: EnvoyPatch, _ resources: inout MeshResources, _ change: (PatchRun, inout Listener) throws -> Bool
    ) {
        for name in resources.listeners.keys.sorted() {
            do {
                guard var listener = try resources.listeners[name]?.message.unpack(as: Listener.self),
                    isMeant(listener, patch), try change(self, &listener)
                else { continue }
                patch.place.note(in: &listener.metadata)
                resources.add(listener)
                applied.insert(patch.place)
            } catch { report(patch, "listener \(name): \(error)") }
        }
    }

    private func isMeant(_ listener: Listener, _ patch: EnvoyPatch) -> Bool {
        guard fits(patch.context, isInbound: listener.trafficDirection == .inbound) else { return false }
        let match = KubernetesObject(json: patch.match.json["listener"] ?? .object([:]))
        if let name = match.json["name"]?.string, name != listener.name {
            // Istio has a listener for each port of a sidecar; here they are chains of one.
            guard role == .sidecar, listener.filterChains.contains(where: { $0.name == name }), !patch.isListener
            else { return false }
        }
        guard let port = match.int("portNumber") else { return true }
        if case .socketAddress(let socket) = listener.address?.address, case .portValue(let own) = socket.portSpecifier,
            Int(own) == port
        {
            return true
        }
        return role == .sidecar && !patch.isListener
            && listener.filterChains.contains { $0.filterChainMatch?.destinationPort.map { Int($0) } == port }
    }

    /// Hands the connection manager of a chain to `change`, and packs it again when that says so.
    func manager(
        _ chain: inout FilterChain, _ change: (inout HttpConnectionManager) throws -> Bool
    ) throws -> Bool {
        guard
            let index = chain.filters.firstIndex(where: {
                if case .typedConfig(let any) = $0.configType { any.holds(HttpConnectionManager.self) } else { false }
            }), case .typedConfig(let any) = chain.filters[index].configType
        else { return false }
        var manager: HttpConnectionManager = try any.unpack()
        guard try change(&manager) else { return false }
        chain.filters[index].configType = .typedConfig(AnyMessage(packing: manager))
        return true
    }

    /// A filter whose configuration an EXTENSION_CONFIG patch has, with that configuration in it.
    func resolved(_ filter: HttpFilter) -> HttpFilter {
        guard case .configDiscovery(let source) = filter.configType else { return filter }
        var filter = filter
        if let typed = extensions[filter.name] {
            filter.configType = .typedConfig(typed)
        } else if let fallback = source.defaultConfig {
            filter.configType = .typedConfig(fallback)
        }
        return filter
    }
}

extension EnvoyPatch {
    /// Whether whole listeners are patched.
    var isListener: Bool {
        if case .listener = subject { true } else { false }
    }
}
