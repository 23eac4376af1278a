import EnvoyAPI
import KubernetesAPI
import Serialization
import Upstream

/// Finds the routes of a rule that no proxy could compile (ATK-36): each is set aside alone, and its author told why.
///
/// The check is the proxy's own compiler, so that both have one opinion.
enum RouteCheck {
    private static let nobody = MeshModel(MeshObjects())

    /// By the position in `http`, why the route cannot be used.
    static func problems(_ rule: MeshModel.Rule) -> [Int: String] {
        // Callers, ports and destinations change names in a route, never whether it compiles.
        let scope = RouteScope(model: nobody, namespace: "", labels: [:], gateways: [], port: 0)
        var found: [Int: String] = [:]
        for index in rule.http.indices {
            let routes = RuleRoutes(scope: scope, rule: rule).unfiltered(index)
            if let problem = problem(routes) { found[index] = problem }
        }
        return found
    }

    /// Why these routes do not compile; `nil` when they do.
    static func problem(_ routes: [EnvoyAPI.Route]) -> String? {
        guard !routes.isEmpty else { return nil }
        var host = EnvoyAPI.VirtualHost()
        host.name = "check"
        host.domains = ["*"]
        host.routes = routes
        var configuration = RouteConfiguration()
        configuration.name = "check"
        configuration.virtualHosts = [host]
        configuration.maxDirectResponseBodySizeBytes = UInt32(Actions.bodyBytesMax)
        do throws(ConfigurationError) {
            _ = try RouteTable(compiling: configuration, path: "", filters: filter)
            return nil
        } catch {
            return error.path.split(separator: ".").dropFirst(2).joined(separator: ".") + ": " + error.reason
        }
    }

    /// Throws why a proxy would refuse these routes.
    static func compile(_ routes: RouteConfiguration) throws(ConfigurationError) {
        _ = try RouteTable(compiling: routes, path: "", filters: filter)
    }

    /// Throws why a proxy would refuse this cluster.
    static func compile(_ cluster: EnvoyAPI.Cluster) throws(ConfigurationError) {
        _ = try ClusterConfig(compiling: cluster)
    }

    @Sendable private static func filter(
        name: String, message: AnyMessage, path: String
    ) throws(ConfigurationError) -> (any Sendable)? {
        guard name == FilterNames.cors else { return true }
        let policy: CorsFilterPolicy
        do { policy = try message.unpack() } catch { throw ConfigurationError(at: path, "\(error)") }
        for matcher in policy.allowOriginStringMatch { _ = try Upstream.StringMatcher(compiling: matcher, at: path) }
        return true
    }
}
