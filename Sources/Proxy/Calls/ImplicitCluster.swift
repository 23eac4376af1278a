internal import EnvoyAPI
internal import Synchronization
internal import Upstream

/// A cluster that nobody configured: made for a gRPC service that names its server itself (`google_grpc`).
///
/// Whoever calls the service holds it; it is there as long as somebody does.
final class ImplicitCluster: Sendable, Hashable {
    let message: Cluster
    /// Where the service stands that it was first made for.
    let path: String

    var name: String { message.name }

    init(_ message: Cluster, at path: String) {
        self.message = message
        self.path = path
    }

    static func == (one: ImplicitCluster, other: ImplicitCluster) -> Bool { one.name == other.name }

    func hash(into hasher: inout Hasher) { hasher.combine(name) }
}

/// The implicit clusters of one proxy.
///
/// The mutex is taken when something is compiled or published, never by the data path.
final class ImplicitClusters: Sendable {
    private struct Known: @unchecked Sendable {
        // A weak reference to something that is Sendable itself.
        weak var cluster: ImplicitCluster?
    }

    /// Those to which what is being compiled belongs.
    @TaskLocal static var compiling = ImplicitClusters()

    private let known = Mutex<[String: Known]>([:])

    /// Compiles something whose implicit clusters are among these.
    func compiling<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        let result = Self.$compiling.withValue(self) {
            do throws(Failure) {
                return Swift.Result<Result, Failure>.success(try body())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// The cluster of a message: one for all who need the same.
    func cluster(_ message: Cluster, at path: String) throws(ConfigurationError) -> ImplicitCluster {
        let cluster: ImplicitCluster? = known.withLock { known in
            if let living = known[message.name]?.cluster { return living }
            known = known.filter { $0.value.cluster != nil }
            guard known.count < Limits.implicitClusters else { return nil }
            let fresh = ImplicitCluster(message, at: path)
            known[message.name] = Known(cluster: fresh)
            return fresh
        }
        guard let cluster else {
            throw ConfigurationError(
                at: path, "more than \(Limits.implicitClusters) different servers: name clusters in envoy_grpc")
        }
        return cluster
    }

    /// Those that somebody holds, by name.
    var living: [String: ImplicitCluster] {
        known.withLock { $0.compactMapValues(\.cluster) }
    }
}

// Implicit clusters among those that are configured.
extension ConfigurationStore {
    /// Compiles something; the implicit clusters that it needs are in force when this returns.
    func compiling<Result>(
        _ body: () throws(ConfigurationError) -> Result
    ) throws(ConfigurationError) -> Result {
        let result = try runtime.compiling { () throws(ConfigurationError) in
            try context.implicitClusters.compiling(body)
        }
        if try updateImplicitClusters() { publish() }
        return result
    }

    /// Puts new implicit clusters in force and takes away those that nobody holds any more; the answer is whether there was any.
    @discardableResult
    func updateImplicitClusters() throws(ConfigurationError) -> Bool {
        let living = context.implicitClusters.living
        guard !living.isEmpty || !implicitClusters.isEmpty else { return false }
        var hasChanged = false
        for name in implicitClusters where living[name] == nil {
            implicitClusters.remove(name)
            removeImplicitCluster(name)
            hasChanged = true
        }
        for (name, cluster) in living where clusters[name] == nil {
            let config = try runtime.compiling { () throws(ConfigurationError) in
                try context.cluster(cluster.message, at: cluster.path)
            }
            implicitClusters.insert(name)
            set(config, message: cluster.message, version: "", isStatic: true)
            hasChanged = true
        }
        return hasChanged
    }
}
