import KubernetesAPI

/// For whom something is made: callers that see the same world.
struct Caller: Hashable, Sendable {
    var namespace: String
    /// Those of its labels that some rule asks for.
    var labels: [String: String]
    /// Where it is, as far as some service or rule asks for it.
    var place: CallerPlace
    var role: ProxyIdentity.Role
    /// The Sidecar that says what it needs to know.
    var sidecar: NamespacedName?
}

/// The clusters and endpoints of all services that a kind of callers sees.
struct ServiceView: Sendable {
    let caller: Caller
    private var byHost: [String: ServiceResources] = [:]
    private var clusters: [String: MeshResource] = [:]
    private var endpoints: [String: MeshResource] = [:]
    /// The hosts that may differ.
    private var dirty: Set<String>?
    /// The hosts that the callers need; `nil`: all that they see.
    private var needed: Set<String>?
    private(set) var layers: [MeshLayer] = []

    init(caller: Caller) { self.caller = caller }

    /// Notes that these hosts may differ.
    mutating func touch(_ hosts: Set<String>) {
        guard dirty != nil else { return }
        dirty?.formUnion(needed.map(hosts.intersection) ?? hosts)
    }

    /// Says which hosts are needed: what comes and goes by that may differ.
    mutating func need(_ hosts: Set<String>?) {
        guard hosts != needed else { return }
        if let hosts, let needed {
            dirty?.formUnion(hosts.symmetricDifference(needed))
        } else {
            dirty = nil
        }
        needed = hosts
    }

    /// Notes that any host may differ.
    mutating func touchAll() { dirty = nil }

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
        if dirty?.isEmpty == true { return }
        let sidecar = caller.sidecar.flatMap { key in model.sidecars.first { $0.key == key } }
        if let hosts = dirty {
            let destinations: Set<String> =
                sidecar.map { model.destinations(of: $0, namespace: caller.namespace) } ?? []
            for host in hosts {
                let service = model.service(host: host, visibleTo: caller.namespace).flatMap { service in
                    needed?.contains(host) ?? true
                        && (sidecar?.sees(host, in: service.key.namespace) ?? true || destinations.contains(host))
                        ? service : nil
                }
                replace(host, service.flatMap { resources($0, model, &memo) })
            }
        } else {
            let services =
                needed?.compactMap { model.service(host: $0, visibleTo: caller.namespace) }
                ?? model.services(visibleTo: caller.namespace, sidecar: sidecar)
            let hosts = Set(services.map(\.host))
            for host in byHost.keys where !hosts.contains(host) { replace(host, nil) }
            for service in services { replace(service.host, resources(service, model, &memo)) }
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
