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

    func set(listener name: String, at path: String) { listeners[name] = path }

    func set(cluster message: Cluster, at path: String) { clusters[message.name] = (path, message) }

    func set(endpoints message: ClusterLoadAssignment, ofCluster name: String, at path: String) {
        endpoints[name] = (path, message)
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
                case .pipe: isSame = false
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

    /// The message of a route.
    func route(virtualHost: Int?, route: Int?) -> EnvoyAPI.Route? {
        guard let virtualHost, let route, message.virtualHosts.indices.contains(virtualHost),
            message.virtualHosts[virtualHost].routes.indices.contains(route)
        else { return nil }
        return message.virtualHosts[virtualHost].routes[route]
    }
}
