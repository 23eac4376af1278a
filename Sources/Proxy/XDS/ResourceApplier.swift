internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream
internal import XDS

/// Puts what an ADS update says in force, or refuses it with the path of the field.
///
/// Each resource stands for itself: what compiles of an update is applied, the rest is named in the refusal and keeps its
/// last good version.
struct ResourceApplier {
    /// What came of an update.
    struct Outcome {
        var applied: [String] = []
        var problems: [String] = []
    }

    let store: ConfigurationStore

    func apply(_ update: DeltaClient.Update) -> Outcome {
        switch update.typeURL {
        case Cluster.typeURL: clusters(update)
        case ClusterLoadAssignment.typeURL: endpoints(update)
        case Listener.typeURL: listeners(update)
        case RouteConfiguration.typeURL: routes(update)
        case EnvoyAPI.VirtualHost.typeURL: virtualHosts(update)
        case Secret.typeURL: secrets(update)
        case RuntimeResource.typeURL: runtime(update)
        case ScopedRouteConfiguration.typeURL: scopes(update)
        case TypedExtensionConfig.typeURL: extensions(update)
        case EnvoyAPI.Workload.typeURL: workloads(update)
        default: Outcome(problems: ["\(update.typeURL) was not asked for"])
        }
    }

    private func each<M: Message>(
        _ update: DeltaClient.Update, as type: M.Type, kind: String,
        _ body: (M, Resource, String) throws(ConfigurationError) -> Void
    ) -> Outcome {
        var outcome = Outcome()
        for resource in update.resources {
            let path = "\(kind)[\(resource.name)]"
            do throws(ConfigurationError) {
                try body(try decode(resource, as: M.self, at: path), resource, path)
                outcome.applied.append(resource.name)
            } catch {
                outcome.problems.append("\(error)")
                store.failures[M.typeURL, default: [:]][resource.name] = ResourceFailure(
                    details: "\(error)", version: resource.version, attempted: WallClock.now,
                    resource: M.self == Secret.self ? nil : resource.resource)
            }
        }
        return outcome
    }

    private func decode<M: Message>(_ resource: Resource, as type: M.Type, at path: String) throws(ConfigurationError)
        -> M
    {
        guard let any = resource.resource else { throw ConfigurationError(at: path, "the resource has no body") }
        do throws(MessageError) {
            return try any.unpack(as: M.self)
        } catch {
            throw ConfigurationError(at: FieldCheck.join(path, error.path), error.problem)
        }
    }

    private func clusters(_ update: DeltaClient.Update) -> Outcome {
        let outcome = each(update, as: Cluster.self, kind: "clusters") {
            message, resource, path throws(ConfigurationError) in
            guard store.clusters[message.name]?.isStatic != true else {
                throw ConfigurationError(at: path + ".name", "a cluster of this name is in the bootstrap")
            }
            store.set(try store.compile(message, at: path), message: message, version: resource.version)
        }
        for name in update.removed { store.removeCluster(name) }
        store.publish()
        if store.clusterDemand.count > 0 {
            let refused = Set(update.resources.map(\.name)).subtracting(outcome.applied)
            store.missDemanded(refused.union(update.removed))
        }
        return outcome
    }

    private func endpoints(_ update: DeltaClient.Update) -> Outcome {
        let outcome = each(update, as: ClusterLoadAssignment.self, kind: "endpoints") {
            message, resource, path throws(ConfigurationError) in
            let table = try EndpointTable(compiling: message, path: path)
            store.set(table, message: message, name: resource.name, version: resource.version)
        }
        for name in update.removed { store.removeEndpoints(name) }
        store.publishEndpoints()
        return outcome
    }

    private func listeners(_ update: DeltaClient.Update) -> Outcome {
        // Addresses are free before others take them.
        for name in update.removed { store.removeListener(name) }
        let outcome = each(update, as: Listener.self, kind: "listeners") {
            message, resource, path throws(ConfigurationError) in
            guard store.listeners[message.name]?.isStatic != true else {
                throw ConfigurationError(at: path + ".name", "a listener of this name is in the bootstrap")
            }
            try store.set(try store.compile(message, at: path), at: path, version: resource.version)
        }
        store.onChange()
        return outcome
    }

    private func routes(_ update: DeltaClient.Update) -> Outcome {
        let outcome = each(update, as: RouteConfiguration.self, kind: "routes") {
            message, resource, path throws(ConfigurationError) in
            try store.setRoutes(message, name: resource.name, version: resource.version, at: path)
        }
        for name in update.removed { store.removeRoutes(name) }
        store.publish()
        return outcome
    }

    private func virtualHosts(_ update: DeltaClient.Update) -> Outcome {
        var outcome = Outcome()
        var hosts: [(Resource, EnvoyAPI.VirtualHost)] = []
        for resource in update.resources {
            let path = "virtual_hosts[\(resource.name)]"
            do throws(ConfigurationError) {
                hosts.append((resource, try decode(resource, as: EnvoyAPI.VirtualHost.self, at: path)))
            } catch {
                outcome.problems.append("\(error)")
            }
        }
        let (applied, problems) = store.changeHosts(set: hosts, removed: update.removed)
        outcome.applied = applied
        outcome.problems += problems
        return outcome
    }

    private func secrets(_ update: DeltaClient.Update) -> Outcome {
        let outcome = each(update, as: Secret.self, kind: "secrets") {
            message, resource, path throws(ConfigurationError) in
            try store.setSecret(message, name: resource.name, version: resource.version, at: path)
        }
        for name in update.removed { store.removeSecret(name) }
        store.onChange()
        return outcome
    }

    private func scopes(_ update: DeltaClient.Update) -> Outcome {
        // Keys are free before others take them.
        for name in update.removed { store.scopes[name] = nil }
        let outcome = each(update, as: ScopedRouteConfiguration.self, kind: "scopes") {
            message, _, path throws(ConfigurationError) in
            try store.setScope(message, at: path)
        }
        store.scopesChanged()
        return outcome
    }

    private func extensions(_ update: DeltaClient.Update) -> Outcome {
        let outcome = each(update, as: TypedExtensionConfig.self, kind: "extensions") {
            message, _, path throws(ConfigurationError) in
            try store.setExtension(message, at: path)
        }
        for name in update.removed { store.removeExtension(name) }
        store.onChange()
        return outcome
    }

    private func workloads(_ update: DeltaClient.Update) -> Outcome {
        let outcome = each(update, as: EnvoyAPI.Workload.self, kind: "workloads") {
            message, resource, _ throws(ConfigurationError) in
            try store.setWorkload(message, name: resource.name)
        }
        store.removeWorkloads(update.removed)
        return outcome
    }

    private func runtime(_ update: DeltaClient.Update) -> Outcome {
        let outcome = each(update, as: RuntimeResource.self, kind: "runtime") { message, resource, _ in
            store.runtimeChanged(resource.name, message.layer)
        }
        for name in update.removed { store.runtimeChanged(name, nil) }
        return outcome
    }
}
