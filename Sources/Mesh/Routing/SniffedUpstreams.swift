import EnvoyAPI
import KubernetesAPI
import Serialization

/// Tells the sidecars of services on ports that say nothing (S-2) that HTTP is inside of the mutual TLS.
///
/// Their clusters offer the ALPN name of bytes, since connections that were found to be bytes take them, too. Routes are
/// for what was found to be HTTP: those to such a cluster override the name, by which the other side chooses its chain
/// for HTTP and with it the policies for requests.
enum SniffedUpstreams {
    /// The filter that sets the name; it is off unless a route switches it on.
    static let filterName = "skein.upstream_protocols"
    /// Envoy's well-known key of the ALPN names of upstream connections.
    private static let key = "envoy.network.application_protocols"
    /// The version of HTTP is found out by its first bytes: here it only matters that it is HTTP.
    private static let protocols = "istio-http/1.1"

    /// The filter for connection managers whose routes lead into the mesh.
    static var filter: HttpFilter {
        var filter = HttpFilter()
        filter.name = filterName
        filter.configType = .typedConfig(AnyMessage(packing: HTTPSetFilterState()))
        filter.disabled = true
        return filter
    }

    /// What a route to such a cluster says.
    private static var setting: AnyMessage {
        var source = DataSource()
        source.specifier = .inlineString(protocols)
        var format = SubstitutionFormatString()
        format.format = .textFormatSource(source)
        var value = FilterStateValue()
        value.key = .objectKey(key)
        value.value = .formatString(format)
        var message = HTTPSetFilterState()
        message.onRequestHeaders = [value]
        return AnyMessage(packing: message)
    }

    /// Marks those routes that lead to such a cluster.
    static func mark(_ routes: inout [Route], _ scope: RouteScope) {
        for index in routes.indices {
            guard case .route(var action) = routes[index].action else { continue }
            switch action.clusterSpecifier {
            case .cluster(let name):
                if isMeant(name, scope) { routes[index].typedPerFilterConfig[filterName] = setting }
            case .weightedClusters(var clusters):
                let meant = clusters.clusters.indices.filter { isMeant(clusters.clusters[$0].name, scope) }
                guard !meant.isEmpty else { continue }
                for index in meant { clusters.clusters[index].typedPerFilterConfig[filterName] = setting }
                action.clusterSpecifier = .weightedClusters(clusters)
                routes[index].action = .route(action)
                var on = FilterConfig()
                on.config = AnyMessage()  // An empty configuration switches on.
                routes[index].typedPerFilterConfig[filterName] = AnyMessage(packing: on)
            default: continue
            }
        }
    }

    /// Whether the mesh's mutual TLS leads to a port that is sniffed.
    private static func isMeant(_ cluster: String, _ scope: RouteScope) -> Bool {
        guard let name = Destinations.parts(cluster), let service = scope.model.service(host: name.host),
            let port = service.port(name.port), port.portProtocol == .sniffed
        else { return false }
        let isGateway = !scope.gateways.contains(Mesh.meshGateway)
        if isGateway, scope.model.gatewayAPI.backendTLS.policy(for: service.key, port: port) != nil { return false }
        let policy = DestinationPolicy.find(
            host: service.host, serviceNamespace: service.key.namespace, callerNamespace: scope.namespace,
            callerLabels: scope.labels, model: scope.model)
        let subset = policy.subsets.first { $0.subset.name == name.subset }?.subset
        switch policy.settings(port: name.port, subset: subset).tlsMode {
        case "": return scope.model.config.security.usesAutomaticTLS && !service.isExternal
        case "ISTIO_MUTUAL": return true
        default: return false
        }
    }
}
