public import KubernetesAPI

/// Makes snapshots from one model, and keeps them up to date edit by edit.
///
/// Proxies that see the same world share the work: what goes out of a pod depends on its namespace, on those of its
/// labels that some rule asks for and, if some rule asks for it, on where it is. What an edit does not touch is kept:
///
/// - the clusters and endpoints of a service, for all callers to whom the same rules apply (`ServiceResources`),
/// - the listener and routes of a kind of callers, the entrances of a gateway, the inbound side of a pod (`Memo`).
///
/// Whatever the way to a set of objects, the result is that of a translator that begins with them.
public struct MeshTranslator: Sendable {
    /// The model that is translated, as of the last `refresh`.
    public private(set) var model: MeshModel
    private var objects: MeshObjects
    private var pending: [MeshObjects.Kind: Set<NamespacedName>] = [:]
    private var relevantLabels: Set<String> = []
    private var usesLocality = false
    private var usesNode = false

    private var callers: [ProxyIdentity: Caller] = [:]
    private var views: [Caller: ServiceView] = [:]
    private var services = Memo<ServiceResources.Key, ServiceResources>()
    private var outbounds = Memo<Caller, MeshLayer>()
    private var gateways = Memo<NamespacedName, MeshLayer>()
    private var inbounds = Memo<NamespacedName, MeshLayer>()

    /// Prepares the translation of a model.
    public init(_ model: MeshModel) {
        self.model = model
        objects = model.objects
        readCallers()
    }

    // MARK: Edits

    /// Takes an object that is new or has changed; tells whether the mesh differs.
    ///
    /// Effective with the next `refresh`.
    @discardableResult
    public mutating func set(_ object: KubernetesObject) -> Bool {
        guard let kind = objects.set(object) else { return false }
        pending[kind, default: []].insert(NamespacedName(namespace: object.namespace, name: object.name))
        return true
    }

    /// Takes out an object; tells whether the mesh differs.
    ///
    /// Effective with the next `refresh`.
    @discardableResult
    public mutating func remove(_ object: KubernetesObject) -> Bool {
        guard let kind = objects.remove(object) else { return false }
        pending[kind, default: []].insert(NamespacedName(namespace: object.namespace, name: object.name))
        return true
    }

    /// Whether edits wait for a `refresh`.
    public var isStale: Bool { !pending.isEmpty }

    /// Goes on to the objects as they are now.
    public mutating func refresh() {
        guard !pending.isEmpty else { return }
        let touched = model.update(objects, changed: pending)
        pending = [:]
        guard !touched.isEmpty else { return }
        if touched.everything || !touched.ruleHosts.isEmpty || !touched.policyHosts.isEmpty
            || touched.facts.contains(.kind(.service))
        {
            readCallers()
        }
        _ = outbounds.forget(touched)
        _ = gateways.forget(touched)
        _ = inbounds.forget(touched)
        var hosts = Set(services.forget(touched).map(\.service.host))
        if touched.everything {
            views = [:]
            callers = [:]
            return
        }
        for fact in touched.facts {
            switch fact {
            case .service(let host): hosts.insert(host)
            case .workload(let pod):
                callers[ProxyIdentity(pod: pod, role: .sidecar)] = nil
                callers[ProxyIdentity(pod: pod, role: .gateway)] = nil
            default: break
            }
        }
        for pattern in touched.policyHosts { hosts.formUnion(model.hosts(coveredBy: pattern)) }
        guard !hosts.isEmpty else { return }
        for caller in views.keys { views[caller]?.touch(hosts) }
    }

    /// Which properties of callers some rule or service asks for; when that differs, callers are sorted anew.
    private mutating func readCallers() {
        var labels: Set<String> = []
        for rule in model.rules {
            for match in rule.http.flatMap(\.match) { labels.formUnion(match.sourceLabels.keys) }
            for match in rule.tcp.flatMap(\.match) { labels.formUnion(match.sourceLabels.keys) }
        }
        var usesLocality = false
        var usesNode = false
        for policy in model.policies {
            labels.formUnion(policy.rule.workloadSelector.keys)
            labels.formUnion(policy.failoverLabels)
            usesLocality = usesLocality || policy.dependsOnCaller
            usesNode = usesNode || policy.failoverLabels.contains("kubernetes.io/hostname")
        }
        for service in model.sortedServices {
            usesLocality = usesLocality || service.distribution != nil
            usesNode = usesNode || service.isNodeLocal || service.distribution == .sameNode
        }
        guard labels != relevantLabels || usesLocality != self.usesLocality || usesNode != self.usesNode else { return }
        relevantLabels = labels
        self.usesLocality = usesLocality
        self.usesNode = usesNode
        callers = [:]
        views = [:]
    }

    // MARK: Snapshots

    /// The snapshot for one proxy.
    public mutating func snapshot(for proxy: ProxyIdentity) -> ProxySnapshot {
        refresh()
        let caller = caller(proxy)
        var view = views.removeValue(forKey: caller) ?? ServiceView(caller: caller)
        view.update(model, &services)
        views[caller] = view
        switch proxy.role {
        case .sidecar:
            let outbound = outbounds.value(caller, of: model) { MeshLayer(Self.outbound(caller, $0)) }
            let inbound = inbounds.value(proxy.pod, of: model) { MeshLayer(Self.inbound(proxy.pod, $0)) }
            return ProxySnapshot(layers: view.layers + [outbound, inbound])
        case .gateway:
            let gateway = gateways.value(proxy.pod, of: model) { MeshLayer(Self.gateway(proxy.pod, $0)) }
            return ProxySnapshot(layers: view.layers + [gateway])
        }
    }

    private mutating func caller(_ proxy: ProxyIdentity) -> Caller {
        if let known = callers[proxy] { return known }
        let workload = model.workload(proxy.pod)
        var place = CallerPlace(workload)
        place.labels = place.labels.filter { relevantLabels.contains($0.key) }
        if !usesLocality { place.locality = MeshLocality() }
        if !usesNode { place.node = "" }
        let caller = Caller(namespace: proxy.pod.namespace, labels: place.labels, place: place, role: proxy.role)
        callers[proxy] = caller
        return caller
    }

    private static func outbound(_ caller: Caller, _ model: MeshModel) -> MeshResources {
        var resources = MeshResources()
        let outbound = Outbound(model: model, namespace: caller.namespace, labels: caller.labels)
        resources.add(
            Clusters.passthrough(name: ClusterNames.passthrough, config: model.config, bindsLocally: false))
        resources.add(Clusters.blackHole)
        resources.add(OutboundListener(outbound: outbound).listener())
        for (port, members) in outbound.ports
        where outbound.httpPorts.contains(port) || members.contains(where: { $0.port.portProtocol.mayBeHTTP }) {
            resources.add(OutboundRoutes(outbound: outbound, port: port).configuration())
        }
        return resources
    }

    private static func inbound(_ pod: NamespacedName, _ model: MeshModel) -> MeshResources {
        var resources = MeshResources()
        let inbound = Inbound(model: model, pod: pod)
        inbound.clusters().forEach { resources.add($0) }
        resources.add(inbound.listener())
        return resources
    }

    private static func gateway(_ pod: NamespacedName, _ model: MeshModel) -> MeshResources {
        var resources = MeshResources()
        resources.add(Clusters.blackHole)
        let entrances = Entrances(
            model: model, namespace: pod.namespace, labels: model.workload(pod)?.labels ?? [:])
        entrances.listeners().forEach { resources.add($0) }
        entrances.routes().forEach { resources.add($0) }
        return resources
    }
}
