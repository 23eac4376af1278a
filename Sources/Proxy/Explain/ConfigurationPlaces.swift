internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// Where resources stand: `static_resources.clusters[3]`, or type and name of what was discovered.
final class ConfigurationPlaces {
    private var listeners: [String: String] = [:]
    private var clusters: [String: (path: String, message: Cluster)] = [:]
    private var endpoints: [String: (path: String, message: ClusterLoadAssignment)] = [:]
    /// What stands for names that are resolved, and endpoints that are discovered, while the proxy runs.
    private var standIns: [String: String] = [:]

    /// From which objects of a control plane it all came.
    let origins = ConfigurationOrigins()

    func set(listener message: Listener, named name: String, at path: String) {
        listeners[name] = path
        origins.set(path) { message.json(names: .proto) }
    }

    func set(routes message: RouteConfiguration, at path: String) { origins.set(path) { message.json(names: .proto) } }

    func set(cluster message: Cluster, at path: String) {
        clusters[message.name] = (path, message)
        origins.set(path) { message.json(names: .proto) }
    }

    func set(endpoints message: ClusterLoadAssignment, ofCluster name: String, at path: String) {
        endpoints[name] = (path, message)
        origins.set(path) { message.json(names: .proto) }
    }

    func set(standIn address: String, for name: String) { standIns[address] = name }

    func listener(_ name: String) -> String { listeners[name] ?? "Listener \"\(name)\"" }

    func cluster(_ name: String) -> String { clusters[name]?.path ?? "Cluster \"\(name)\"" }

    func message(ofCluster name: String) -> Cluster? { clusters[name]?.message }

    /// What an address stands for.
    func text(of address: HostAddress) -> String {
        let text = "\(address)"
        return standIns[text] ?? text
    }

    /// The endpoint that a host was made of.
    func endpoint(_ host: Host, ofCluster name: String) -> String? {
        if let (path, message) = endpoints[name] { return Self.find(host, in: message, path) }
        guard let (path, message) = clusters[name], let assignment = message.loadAssignment else { return nil }
        return Self.find(host, in: assignment, path + ".load_assignment")
    }

    private static func find(_ host: Host, in message: ClusterLoadAssignment, _ path: String) -> String? {
        for (group, places) in message.endpoints.enumerated() {
            for (index, endpoint) in places.lbEndpoints.enumerated() {
                guard case .endpoint(let inner) = endpoint.hostIdentifier,
                    case .socketAddress(let socket)? = inner.address?.address
                else { continue }
                var port: UInt32 = 0
                if case .portValue(let number) = socket.portSpecifier { port = number }
                let isSame: Bool
                switch host.address {
                case .ip(let text, let own), .name(let text, let own):
                    isSame =
                        UInt32(own) == port && (text == socket.address || host.endpoint.hostname == socket.address)
                case .pipe, .listener: isSame = false
                }
                if isSame { return "\(path).endpoints[\(group)].lb_endpoints[\(index)]" }
            }
        }
        return nil
    }
}

/// A route configuration as a message, to name what stands in it.
struct RouteMessages {
    let message: RouteConfiguration
    let place: String

    /// The domain of a virtual host that a look-up found.
    func domain(_ pattern: String, ofVirtualHost index: Int) -> String {
        let host = "\(place).virtual_hosts[\(index)]"
        guard message.virtualHosts.indices.contains(index) else { return host }
        for (number, domain) in message.virtualHosts[index].domains.enumerated() where domain.lowercased() == pattern {
            return "\(host).domains[\(number)]"
        }
        return host + ".domains"
    }

    /// The levels that configure a filter by name, the most general one first.
    func filterConfigs(_ name: String, virtualHost: Int?, route: Int?, weighted: Int?) -> [String] {
        var levels: [String] = []
        func look(_ configs: [String: AnyMessage], _ path: String) {
            if configs[name] != nil { levels.append("\(path).typed_per_filter_config[\(name)]") }
        }
        look(message.typedPerFilterConfig, place)
        guard let virtualHost, message.virtualHosts.indices.contains(virtualHost) else { return levels }
        let host = message.virtualHosts[virtualHost]
        let hostPath = "\(place).virtual_hosts[\(virtualHost)]"
        look(host.typedPerFilterConfig, hostPath)
        guard let route, host.routes.indices.contains(route) else { return levels }
        look(host.routes[route].typedPerFilterConfig, "\(hostPath).routes[\(route)]")
        guard let weighted, case .route(let action) = host.routes[route].action,
            case .weightedClusters(let clusters) = action.clusterSpecifier,
            clusters.clusters.indices.contains(weighted)
        else { return levels }
        look(
            clusters.clusters[weighted].typedPerFilterConfig,
            "\(hostPath).routes[\(route)].route.weighted_clusters.clusters[\(weighted)]")
        return levels
    }

    /// Header changes that the levels ask for, the most specific one first, each with its field.
    func headerChanges(virtualHost: Int?, route: Int?, weighted: Int?, ofResponse: Bool) -> [(
        text: String, path: String
    )] {
        var changes: [(text: String, path: String)] = []
        let kind = ofResponse ? "response" : "request"
        func look(_ additions: [HeaderValueOption], _ removals: [String], _ path: String) {
            for (index, option) in additions.enumerated() {
                guard let header = option.header else { continue }
                changes.append(
                    ("\(header.key): \(header.value)", "\(path).\(kind)_headers_to_add[\(index)]"))
            }
            for (index, name) in removals.enumerated() {
                changes.append(("without \(name)", "\(path).\(kind)_headers_to_remove[\(index)]"))
            }
        }
        if let virtualHost, let message = self.route(virtualHost: virtualHost, route: route) {
            let routePath = "\(place).virtual_hosts[\(virtualHost)].routes[\(route ?? 0)]"
            if let weighted, case .route(let action) = message.action,
                case .weightedClusters(let clusters) = action.clusterSpecifier,
                clusters.clusters.indices.contains(weighted)
            {
                let cluster = clusters.clusters[weighted]
                look(
                    ofResponse ? cluster.responseHeadersToAdd : cluster.requestHeadersToAdd,
                    ofResponse ? cluster.responseHeadersToRemove : cluster.requestHeadersToRemove,
                    "\(routePath).route.weighted_clusters.clusters[\(weighted)]")
            }
            look(
                ofResponse ? message.responseHeadersToAdd : message.requestHeadersToAdd,
                ofResponse ? message.responseHeadersToRemove : message.requestHeadersToRemove, routePath)
        }
        if let virtualHost, message.virtualHosts.indices.contains(virtualHost) {
            let host = message.virtualHosts[virtualHost]
            look(
                ofResponse ? host.responseHeadersToAdd : host.requestHeadersToAdd,
                ofResponse ? host.responseHeadersToRemove : host.requestHeadersToRemove,
                "\(place).virtual_hosts[\(virtualHost)]")
        }
        look(
            ofResponse ? message.responseHeadersToAdd : message.requestHeadersToAdd,
            ofResponse ? message.responseHeadersToRemove : message.requestHeadersToRemove, place)
        return changes
    }

    /// The message of a route.
    func route(virtualHost: Int?, route: Int?) -> EnvoyAPI.Route? {
        guard let virtualHost, let route, message.virtualHosts.indices.contains(virtualHost),
            message.virtualHosts[virtualHost].routes.indices.contains(route)
        else { return nil }
        return message.virtualHosts[virtualHost].routes[route]
    }
}
