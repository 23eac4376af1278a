import KubernetesAPI

/// For whom something is made: callers that see the same world.
struct Caller: Hashable, Sendable {
    var namespace: String
    /// Those of its labels that some rule asks for.
    var labels: [String: String]
    /// Where it is, as far as some service or rule asks for it.
    var place: CallerPlace
    var role: ProxyIdentity.Role
}

/// The clusters and endpoints of all services that a kind of callers sees.
struct ServiceView: Sendable {
    let caller: Caller
    private var byHost: [String: ServiceResources] = [:]
    private var clusters: [String: MeshResource] = [:]
    private var endpoints: [String: MeshResource] = [:]
    /// The hosts that may differ.
    private var dirty: Set<String>?
    private(set) var layers: [MeshLayer] = []

    init(caller: Caller) { self.caller = caller }

    /// Notes that these hosts may differ.
    mutating func touch(_ hosts: Set<String>) { dirty?.formUnion(hosts) }

    /// Catches up with the model.
    mutating func update(_ model: MeshModel, _ memo: inout Memo<ServiceResources.Key, ServiceResources>) {
        var changesClusters = layers.isEmpty
        var changesEndpoints = layers.isEmpty
        func replace(_ host: String, _ now: ServiceResources?) {
            let before = byHost[host]
            if before === now { return }
            byHost[host] = now
            changesClusters = Self.replace(before?.clusters, now?.clusters, in: &clusters) || changesClusters
            changesEndpoints = Self.replace(before?.endpoints, now?.endpoints, in: &endpoints) || changesEndpoints
        }
        if let hosts = dirty {
            if hosts.isEmpty { return }
            for host in hosts {
                replace(
                    host,
                    model.service(host: host, visibleTo: caller.namespace).flatMap { resources($0, model, &memo) })
            }
        } else {
            for service in model.services(visibleTo: caller.namespace) {
                replace(service.host, resources(service, model, &memo))
            }
        }
        dirty = []
        var layers = layers.isEmpty ? [MeshLayer(MeshResources()), MeshLayer(MeshResources())] : layers
        if changesClusters {
            var resources = MeshResources()
            resources.clusters = clusters
            layers[0] = MeshLayer(resources)
        }
        if changesEndpoints {
            var resources = MeshResources()
            resources.endpoints = endpoints
            layers[1] = MeshLayer(resources)
        }
        self.layers = layers
    }

    private func resources(
        _ service: MeshService, _ model: MeshModel, _ memo: inout Memo<ServiceResources.Key, ServiceResources>
    ) -> ServiceResources? {
        guard service.externalName == nil else { return nil }
        let key = ServiceResources.key(
            service, namespace: caller.namespace, labels: caller.labels, place: caller.place,
            keepsHeadlessDestination: caller.role == .sidecar, model: model)
        return memo.value(key, of: model) { ServiceResources(key, model: $0) }
    }

    /// Puts new resources in the place of old ones; tells whether anything differs.
    ///
    /// Equal ones stay the same object.
    private static func replace(
        _ before: [MeshResource]?, _ now: [MeshResource]?, in all: inout [String: MeshResource]
    ) -> Bool {
        var differs = false
        let names = Set((now ?? []).map(\.name))
        for old in before ?? [] where !names.contains(old.name) {
            all[old.name] = nil
            differs = true
        }
        for resource in now ?? [] where all[resource.name]?.version != resource.version {
            all[resource.name] = resource
            differs = true
        }
        return differs
    }
}
