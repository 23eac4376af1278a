public import EnvoyAPI
public import KubernetesAPI
import Serialization

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
    /// Edits that wait for a `refresh`.
    private var pending: MeshModel.Edits = [:]
    private var relevantLabels: Set<String> = []
    private var usesLocality = false
    private var usesNode = false

    private var callers: [ProxyIdentity: Caller] = [:]
    private var views: [Caller: ServiceView] = [:]
    /// What gateways see of services, and what they need of them, each for itself.
    private var gatewayViews: [NamespacedName: ServiceView] = [:]
    private var gatewayNeeds: [NamespacedName: GatewayNeeds] = [:]
    private var services = Memo<ServiceResources.Key, ServiceResources>()
    private var plans = Memo<Caller, OutboundPlan>()
    private var virtualHosts = Memo<VirtualHostKey, EncodedHost>()
    /// The virtual hosts of callers as they were put together last, and those of them that are to be made anew.
    private var hostLists: [Caller: OutboundHosts] = [:]
    /// Those whose plan has changed since.
    private var formerHostLists: [Caller: OutboundHosts] = [:]
    private var staleHosts: [Caller: [VirtualHostKey]] = [:]
    /// The outbound side of callers for whom none of the two differs.
    private var outbounds: [Caller: MeshLayer] = [:]
    /// The last outbound side of callers, of which equal resources stay the same.
    private var lastOutbounds: [Caller: MeshLayer] = [:]
    private var gateways = Memo<NamespacedName, MeshLayer>()
    /// What gateways had last, of which equal ones stay the same.
    private var lastGateways: [NamespacedName: MeshLayer] = [:]
    private var inbounds = Memo<NamespacedName, MeshLayer>()
    private var sharedInbounds = SharedLayers()
    private var patchSets = Memo<NamespacedName, EnvoyPatches>()
    private var patchedLayers = PatchedLayers()
    private var names = WorkloadNames()
    /// What `takeTouched` has not told yet.
    private var touchedPods: Set<NamespacedName> = []
    private var allAreTouched = false
    /// The kinds of sidecars that were asked for, with their numbers.
    private var kinds: [Caller] = []
    private var kindNumbers: [Caller: Int] = [:]

    /// Whether EnvoyFilters are applied.
    private let isPatching: Bool

    /// Prepares the translation of a model.
    public init(_ model: MeshModel) { self.init(model, isPatching: true) }

    init(_ model: MeshModel, isPatching: Bool) {
        self.model = model
        self.isPatching = isPatching
        names = WorkloadNames(model.workloads)
        readCallers()
    }

    /// Whose an address is, as of the last refresh; nil when it is nobody's, or several pods'.
    public func workload(at address: String) -> EnvoyAPI.Workload? { names[address] }

    /// The address of a pod; nil while it has none.
    public func address(of pod: NamespacedName) -> String? { names.address(of: pod) }

    // MARK: Edits

    /// Takes an object that is new or has changed; tells whether the mesh differs.
    ///
    /// Effective with the next `refresh`.
    @discardableResult
    public mutating func set(_ object: KubernetesObject) -> Bool {
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        guard let kind = MeshObjects.kind(of: object) else {
            // A ConfigMap may have lost what made it matter.
            guard object.group.isEmpty, object.kind == MeshObjects.Kind.configMap.name else { return false }
            return edit(.configMap, key, nil)
        }
        return edit(kind, key, object)
    }

    private mutating func edit(_ kind: MeshObjects.Kind, _ key: NamespacedName, _ now: KubernetesObject?) -> Bool {
        guard present(kind, key) != now else { return false }
        pending[kind, default: [:]].updateValue(now, forKey: key)
        return true
    }

    /// The object as the last edit left it.
    private func present(_ kind: MeshObjects.Kind, _ key: NamespacedName) -> KubernetesObject? {
        if let edited = pending[kind]?[key] { return edited }
        return model.known(kind, key)
    }

    /// Takes out an object; tells whether the mesh differs.
    ///
    /// Effective with the next `refresh`.
    @discardableResult
    public mutating func remove(_ object: KubernetesObject) -> Bool {
        guard let kind = MeshObjects.Kind(group: object.group, kind: object.kind) else { return false }
        return edit(kind, NamespacedName(namespace: object.namespace, name: object.name), nil)
    }

    /// Whether edits wait for a `refresh`.
    public var isStale: Bool { !pending.isEmpty }

    /// Goes on to the objects as they are now.
    public mutating func refresh() {
        guard !pending.isEmpty else { return }
        let touched = model.update(pending)
        pending = [:]
        guard !touched.isEmpty else { return }
        if touched.everything || !touched.ruleHosts.isEmpty || !touched.policyHosts.isEmpty
            || touched.facts.contains(.kind(.service))
        {
            readCallers()
        }
        for caller in plans.forget(touched) {
            outbounds[caller] = nil
            if let list = hostLists.removeValue(forKey: caller) { formerHostLists[caller] = list }
            staleHosts[caller] = nil
        }
        for key in virtualHosts.forget(touched) {
            outbounds[key.caller] = nil
            if hostLists[key.caller] != nil { staleHosts[key.caller, default: []].append(key) }
        }
        _ = gateways.forget(touched)
        let ways = inbounds.forget(touched)
        touchedPods.formUnion(ways)
        sharedInbounds.forget(ways.count, live: inbounds)
        for pod in patchSets.forget(touched) {
            patchedLayers.forget(pod)
            touchedPods.insert(pod)
        }
        var hosts = Set(services.forget(touched).map(\.service.host))
        if touched.everything {
            views = [:]
            forgetGateways()
            callers = [:]
            outbounds = [:]
            lastOutbounds = [:]
            hostLists = [:]
            formerHostLists = [:]
            staleHosts = [:]
            sharedInbounds = SharedLayers()
            patchedLayers = PatchedLayers()
            touchAll()
        }
        for case .workload(let pod) in touched.facts { names.set(pod, model.workload(pod), model.workloads) }
        if touched.everything { return }
        for fact in touched.facts {
            switch fact {
            case .service(let host): hosts.insert(host)
            case .workload(let pod):
                touchedPods.insert(pod)
                callers[ProxyIdentity(pod: pod, role: .sidecar)] = nil
                callers[ProxyIdentity(pod: pod, role: .gateway)] = nil
                if model.workload(pod) == nil {
                    gatewayViews[pod] = nil
                    gatewayNeeds[pod] = nil
                    lastGateways[pod] = nil
                }
            default: break
            }
        }
        for pattern in touched.policyHosts { hosts.formUnion(model.hosts(coveredBy: pattern)) }
        // A Sidecar names rules, too: what they lead to comes and goes with them.
        if !touched.ruleHosts.isEmpty {
            for caller in views.keys where caller.sidecar != nil { views[caller]?.touchAll() }
        }
        guard !hosts.isEmpty else { return }
        for caller in views.keys { views[caller]?.touch(hosts) }
        for pod in gatewayViews.keys { gatewayViews[pod]?.touch(hosts) }
    }

    private mutating func forgetGateways() {
        gatewayViews = [:]
        gatewayNeeds = [:]
        lastGateways = [:]
    }

    /// The kinds whose edits cost what they touch.
    private static let incremental: Set<MeshObjects.Kind> = [
        .service, .endpointSlice, .pod, .node, .serviceEntry, .workloadEntry, .virtualService, .destinationRule,
    ]

    /// What a look at the model says that has an object, too; the translation stays as it is.
    ///
    /// The model is changed and changed back, since a copy of it would be a copy of all tables that the object is in.
    public mutating func trial<Answer>(with object: KubernetesObject, _ look: (MeshModel) -> Answer) -> Answer {
        refresh()
        guard let kind = MeshObjects.kind(of: object) else { return look(model) }
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        let before = model.known(kind, key)
        guard before != object else { return look(model) }
        guard Self.incremental.contains(kind) else {
            var copy = model
            copy.update([kind: [key: object]])
            return look(copy)
        }
        // Whatever the way to a set of objects, the tables are the same: nothing that was made of them is touched.
        model.update([kind: [key: object]])
        defer { model.update([kind: [key: before]]) }
        return look(model)
    }

    /// Which properties of callers some rule or service asks for; when that differs, callers are sorted anew.
    private mutating func readCallers() {
        var labels = model.callerNeeds.labels
        var usesLocality = model.callerNeeds.place || model.servicesNeedPlace
        var usesNode = model.callerNeeds.node || model.servicesNeedNode
        if let mesh = model.config.localitySetting {
            usesLocality = true
            for name in mesh["failoverPriority"]?.array ?? [] {
                labels.insert(String(name.string?.prefix { $0 != "=" } ?? ""))
            }
            usesNode = usesNode || labels.contains("kubernetes.io/hostname")
        }
        labels.formUnion(ProxyTelemetry.labelKeys(model))
        labels.formUnion(EnvoyPatches.labelKeys(model))
        if let setting = model.meshLocality {
            usesLocality = usesLocality || !setting.distribute.isEmpty
            for name in setting.failoverPriority {
                labels.insert(String(name.prefix { $0 != "=" }))
                usesNode = usesNode || name.hasPrefix("kubernetes.io/hostname")
            }
        }
        guard labels != relevantLabels || usesLocality != self.usesLocality || usesNode != self.usesNode else { return }
        relevantLabels = labels
        self.usesLocality = usesLocality
        self.usesNode = usesNode
        callers = [:]
        views = [:]
        forgetGateways()
        touchAll()
    }

    // MARK: Snapshots

    /// The snapshot for one proxy.
    public mutating func snapshot(for proxy: ProxyIdentity) -> ProxySnapshot {
        refresh()
        let caller = caller(proxy)
        let patches =
            isPatching
            ? patchSets.value(proxy.pod, of: model) { model in
                EnvoyPatches(
                    model: model, namespace: proxy.pod.namespace, labels: model.workload(proxy.pod)?.labels ?? [:])
            } : nil
        switch proxy.role {
        case .sidecar:
            return patched(proxy, caller, patches, shared: shared(caller), own: inbound(proxy.pod))
        case .gateway:
            let gateway = gateways.value(proxy.pod, of: model) {
                MeshLayer(Self.gateway(proxy.pod, caller, $0)).settled(after: lastGateways[proxy.pod])
            }
            lastGateways[proxy.pod] = gateway
            let services = services(of: proxy, caller, gateway, patches)
            return patched(proxy, caller, patches, shared: services + [names.layer(), gateway], own: nil)
        }
    }

    /// The clusters and endpoints that a gateway's listeners and routes name, as EnvoyFilters leave them.
    private mutating func services(
        of proxy: ProxyIdentity, _ caller: Caller, _ gateway: MeshLayer, _ patches: EnvoyPatches?
    ) -> [MeshLayer] {
        var view = gatewayViews.removeValue(forKey: proxy.pod) ?? ServiceView(caller: caller)
        if view.caller != caller { view = ServiceView(caller: caller) }
        if model.config.tellsGatewaysEverything {
            view.need(nil)
        } else {
            var own = gateway
            if let patches, !patches.isEmpty {
                let key = PatchedLayers.Key(caller: caller, pod: proxy.pod, patches: patches.names)
                own = patchedLayers.layer(key, [gateway]) { resources in
                    var run = PatchRun(patches, role: .gateway, model: model)
                    run.apply(to: &resources)
                }
            }
            var needs = gatewayNeeds[proxy.pod]
            if needs?.layer !== own { needs = GatewayNeeds(own, isPatched: own !== gateway) }
            gatewayNeeds[proxy.pod] = needs
            view.need(needs?.hosts)
        }
        view.update(model, &services)
        gatewayViews[proxy.pod] = view
        return view.layers
    }

    /// The layers as EnvoyFilters leave them; what is the same for many proxies stays shared.
    private mutating func patched(
        _ proxy: ProxyIdentity, _ caller: Caller, _ patches: EnvoyPatches?, shared: [MeshLayer], own: MeshLayer?
    ) -> ProxySnapshot {
        let all = ProxySnapshot(layers: shared + [own].compactMap { $0 })
        guard let patches, !patches.isEmpty else { return all }
        // What a gateway gets is for it alone.
        let sharedKey = PatchedLayers.Key(
            caller: caller, pod: nil, gateway: proxy.role == .gateway ? proxy.pod : nil, patches: patches.names)
        var layers = [
            patchedLayers.layer(sharedKey, shared) { resources in
                var run = PatchRun(patches, role: proxy.role, model: model)
                run.apply(to: &resources)
            }
        ]
        if let own {
            let ownKey = PatchedLayers.Key(caller: caller, pod: proxy.pod, patches: patches.names)
            layers.append(
                patchedLayers.layer(ownKey, [own]) { resources in
                    var run = PatchRun(patches, role: proxy.role, model: model, isOwnPart: true)
                    run.apply(to: &resources)
                })
        }
        return ProxySnapshot(layers: layers)
    }

    /// Which proxies may differ from others of their kind in another way than before; asked once after each `refresh`.
    ///
    /// Of all other sidecars only what they share can be different: `shared(_:)` tells.
    public mutating func takeTouched() -> (all: Bool, pods: Set<NamespacedName>) {
        defer {
            allAreTouched = false
            touchedPods = []
        }
        return (allAreTouched, touchedPods)
    }

    private mutating func touchAll() {
        allAreTouched = true
        kinds = []
        kindNumbers = [:]
    }

    /// A number for the sidecars that see the same world and are patched by nobody; `nil` for others.
    public mutating func kind(of proxy: ProxyIdentity) -> Int? {
        guard proxy.role == .sidecar else { return nil }
        if isPatching, patchSets[proxy.pod]?.isEmpty != true { return nil }
        let caller = caller(proxy)
        if let known = kindNumbers[caller] { return known }
        kinds.append(caller)
        kindNumbers[caller] = kinds.count - 1
        return kinds.count - 1
    }

    /// The layers that all sidecars of a kind share.
    public mutating func shared(_ kind: Int) -> [MeshLayer] {
        guard kinds.indices.contains(kind) else { return [] }
        return shared(kinds[kind])
    }

    /// What sidecars of a kind share.
    private mutating func shared(_ caller: Caller) -> [MeshLayer] {
        var view = views.removeValue(forKey: caller) ?? ServiceView(caller: caller)
        view.update(model, &services)
        views[caller] = view
        return view.layers + [outbound(caller), names.layer()]
    }

    private mutating func caller(_ proxy: ProxyIdentity) -> Caller {
        if let known = callers[proxy] { return known }
        let workload = model.workload(proxy.pod)
        var place = CallerPlace(workload)
        place.labels = place.labels.filter { relevantLabels.contains($0.key) }
        if !usesLocality { place.locality = MeshLocality() }
        if !usesNode { place.node = "" }
        var caller = Caller(namespace: proxy.pod.namespace, labels: place.labels, place: place, role: proxy.role)
        if proxy.role == .sidecar { caller.sidecar = model.sidecar(for: proxy.pod)?.key }
        callers[proxy] = caller
        return caller
    }

    private mutating func outbound(_ caller: Caller) -> MeshLayer {
        if let known = outbounds[caller] { return known }
        let plan = plans.value(caller, of: model) { OutboundPlan(caller: caller, model: $0) }
        // Made when the first virtual host is wanted: mostly there is but one.
        var whole: Outbound?
        let model = model
        var kept = virtualHosts
        virtualHosts = Memo()
        func host(_ wanted: OutboundPlan.Host) -> EncodedHost {
            kept.value(VirtualHostKey(caller: caller, host: wanted), of: model) { noting in
                var outbound = whole ?? OutboundPlan.outbound(caller, model)
                whole = outbound
                outbound.model = noting
                // The service is asked for, so that it is noted.
                guard let service = noting.service(wanted.service), let port = service.port(wanted.port) else {
                    return EncodedHost(VirtualHost())
                }
                return EncodedHost(
                    OutboundRoutes(outbound: outbound, port: port.number).virtualHost(
                        Outbound.Member(service: service, port: port), wanted.form))
            }
        }
        var hosts: OutboundHosts
        if let known = hostLists.removeValue(forKey: caller) {
            hosts = known
            hosts.replace((staleHosts.removeValue(forKey: caller) ?? []).map(\.host), host)
        } else {
            hosts = OutboundHosts(plan, like: formerHostLists.removeValue(forKey: caller), host)
        }
        hostLists[caller] = hosts
        let resources = hosts.resources
        virtualHosts = kept
        let layer = MeshLayer(resources).settled(after: lastOutbounds[caller])
        outbounds[caller] = layer
        lastOutbounds[caller] = layer
        return layer
    }

    /// A virtual host of a service, for a kind of callers.
    private struct VirtualHostKey: Hashable, Sendable {
        var caller: Caller
        var host: OutboundPlan.Host
    }

    /// The way into a pod; copies of a workload have the same layer.
    private mutating func inbound(_ pod: NamespacedName) -> MeshLayer {
        if let known = inbounds[pod] { return known }
        let layer = sharedInbounds.layer(
            like: inbounds.value(pod, of: model) { MeshLayer(Self.inbound(pod, $0)) })
        inbounds.replace(pod, layer)
        return layer
    }

    private static func inbound(_ pod: NamespacedName, _ model: MeshModel) -> MeshResources {
        var resources = MeshResources()
        let inbound = Inbound(model: model, pod: pod)
        inbound.clusters().forEach { resources.add($0) }
        resources.add(inbound.listener())
        return resources
    }

    private static func gateway(_ pod: NamespacedName, _ caller: Caller, _ model: MeshModel) -> MeshResources {
        var resources = MeshResources()
        resources.add(Clusters.blackHole)
        let entrances = Entrances(
            model: model, namespace: pod.namespace, labels: model.workload(pod)?.labels ?? [:])
        entrances.add(to: &resources)
        UpstreamCredentials.resources(caller, model).forEach { resources.add($0) }
        return resources
    }
}
