import EnvoyAPI

/// Resources by type and name, while they are gathered.
public struct MeshResources: Sendable, Hashable {
    /// Clusters by name.
    public var clusters: [String: MeshResource] = [:]
    /// Endpoints by the name of their cluster.
    public var endpoints: [String: MeshResource] = [:]
    /// Listeners by name.
    public var listeners: [String: MeshResource] = [:]
    /// Route configurations by name.
    public var routes: [String: MeshResource] = [:]
    /// Secrets by name: certificates with their keys, authorities.
    ///
    /// Never to be shown.
    public var secrets: [String: MeshResource] = [:]
    /// Whose an address is, by address; proxies ask for those that they meet.
    public var workloads: [String: MeshResource] = [:]

    /// Nothing yet.
    public init() {}

    mutating func add(_ cluster: Cluster) { clusters[cluster.name] = MeshResource(name: cluster.name, cluster) }
    mutating func add(_ assignment: ClusterLoadAssignment) {
        endpoints[assignment.clusterName] = MeshResource(name: assignment.clusterName, assignment)
    }
    mutating func add(_ listener: Listener) { listeners[listener.name] = MeshResource(name: listener.name, listener) }
    mutating func add(_ routes: RouteConfiguration) {
        self.routes[routes.name] = MeshResource(name: routes.name, routes)
    }
    mutating func add(_ secret: Secret) { secrets[secret.name] = MeshResource(name: secret.name, secret) }

    /// Takes what others have gathered; names do not overlap.
    mutating func merge(_ other: MeshResources) {
        clusters.merge(other.clusters) { _, new in new }
        endpoints.merge(other.endpoints) { _, new in new }
        listeners.merge(other.listeners) { _, new in new }
        routes.merge(other.routes) { _, new in new }
        secrets.merge(other.secrets) { _, new in new }
        workloads.merge(other.workloads) { _, new in new }
    }
}

/// A part of what proxies get, shared by all to whom it is the same.
///
/// Immutable. As long as nothing in it changes, a proxy is given the same object (`===`), so that whoever sends it finds
/// out by identity what differs.
public final class MeshLayer: Sendable {
    /// What is in it.
    public let resources: MeshResources

    /// Seals what was gathered.
    init(_ resources: MeshResources) { self.resources = resources }

    /// Clusters by name.
    public var clusters: [String: MeshResource] { resources.clusters }
    /// Endpoints by the name of their cluster.
    public var endpoints: [String: MeshResource] { resources.endpoints }
    /// Listeners by name.
    public var listeners: [String: MeshResource] { resources.listeners }
    /// Route configurations by name.
    public var routes: [String: MeshResource] { resources.routes }
    /// Secrets by name; never to be shown.
    public var secrets: [String: MeshResource] { resources.secrets }
    /// Whose an address is, by address.
    public var workloads: [String: MeshResource] { resources.workloads }

    /// The layer that was there before, when nothing differs from it.
    func settled(after last: MeshLayer?) -> MeshLayer {
        guard let last, last.resources == resources else { return self }
        return last
    }
}
