internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// What a control plane would deliver to a proxy, in one file: a `DiscoveryResponse` in binary form, with resources of all types.
struct DeliveredResources {
    private(set) var listeners: [Listener] = []
    private(set) var clusters: [Cluster] = []
    private(set) var routes: [String: RouteConfiguration] = [:]
    private(set) var endpoints: [String: ClusterLoadAssignment] = [:]

    init() {}

    /// Reads a file.
    init(file: String) throws(ProxyError) {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try File.read(file)
        } catch {
            throw ProxyError("\(file): \(error)")
        }
        do throws(MessageError) {
            for any in try DiscoveryResponse(serialized: bytes).resources { try take(any) }
        } catch {
            throw ProxyError("\(file): \(error.path): \(error.problem)")
        }
    }

    /// Types that explanations have no use for (secrets, runtime) are left out.
    private mutating func take(_ any: AnyMessage) throws(MessageError) {
        switch any.typeURL {
        case Listener.typeURL: listeners.append(try any.unpack(as: Listener.self))
        case Cluster.typeURL: clusters.append(try any.unpack(as: Cluster.self))
        case RouteConfiguration.typeURL:
            let route = try any.unpack(as: RouteConfiguration.self)
            routes[route.name] = route
        case ClusterLoadAssignment.typeURL:
            let assignment = try any.unpack(as: ClusterLoadAssignment.self)
            endpoints[assignment.clusterName] = assignment
        default: break
        }
    }
}
