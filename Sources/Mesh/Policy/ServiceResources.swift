import EnvoyAPI
import KubernetesAPI

/// The clusters of a service with their endpoints, for all callers to whom the same rules and places apply.
final class ServiceResources: Sendable {
    /// For whom they are.
    struct Key: Hashable, Sendable {
        var service: MeshService.ID
        /// The DestinationRules that count, oldest first.
        var rules: [NamespacedName]
        /// Sidecars keep the address that a caller of a headless service chose (S-8); gateways have no such address.
        var keepsHeadlessDestination: Bool
        /// Where the caller is; `nil` when it does not matter.
        var caller: CallerPlace?
    }

    let clusters: [MeshResource]
    let endpoints: [MeshResource]

    /// Makes them; none when there is no such service.
    ///
    /// The service is asked for here and not given, so that the model notes it.
    init(_ key: Key, model: MeshModel) {
        guard let service = model.service(key.service) else {
            clusters = []
            endpoints = []
            return
        }
        let wanted = Set(key.rules)
        let rules = model.policies(covering: service.host).filter { wanted.contains($0.key) }
        let policy = DestinationPolicy.merged(rules)
        var clusters: [MeshResource] = []
        var endpoints: [MeshResource] = []
        for port in service.ports {
            func add(_ subset: DestinationPolicy.NamedSubset?) {
                let settings = policy.settings(port: port.number, subset: subset?.subset)
                // Fail closed: plain text where TLS is demanded would be worse than no cluster.
                if settings.needsMeshTLS { return }
                let name = Destinations.clusterName(
                    host: service.host, port: port.number, subset: subset?.subset.name ?? "")
                let caller = key.caller ?? CallerPlace()
                let cluster = Clusters.outbound(
                    name: name, service: service, port: port, settings: settings, model: model, subset: subset,
                    caller: caller,
                    usesOriginalDestination: service.isHeadless && key.keepsHeadlessDestination && subset == nil)
                clusters.append(MeshResource(name: name, cluster))
                guard cluster.edsClusterConfig != nil else { return }
                let assignments = Assignments(
                    model: model, service: service, port: port, settings: settings, caller: caller)
                endpoints.append(
                    MeshResource(name: name, assignments.assignment(name: name, labels: subset?.subset.labels)))
            }
            add(nil)
            policy.subsets.forEach(add)
        }
        self.clusters = clusters
        self.endpoints = endpoints
    }

    /// For whom the resources of a service are made when that caller asks.
    static func key(
        _ service: MeshService, namespace: String, labels: [String: String], place: CallerPlace,
        keepsHeadlessDestination: Bool, model: MeshModel
    ) -> Key {
        let rules = DestinationPolicy.chosen(
            host: service.host, serviceNamespace: service.key.namespace, callerNamespace: namespace,
            callerLabels: labels, model: model)
        var key = Key(
            service: service.id, rules: rules.map(\.key),
            keepsHeadlessDestination: keepsHeadlessDestination && service.isHeadless, caller: nil)
        let dependsOnCaller =
            service.isNodeLocal || service.distribution != nil || rules.contains(where: \.dependsOnCaller)
        if dependsOnCaller { key.caller = place }
        return key
    }
}
