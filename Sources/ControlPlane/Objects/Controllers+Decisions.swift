import Identity
import KubernetesAPI
import Mesh
import Serialization

// What each controller is shown of the world: its object and what belongs to that.
extension Controllers {
    func decide(_ work: Work) -> Decision {
        switch work {
        case .deployment(let key): decideDeployment(key)
        case .replicaSet(let key): decideReplicas(.replicaSet, key)
        case .replicationController(let key): decideReplicas(.replicationController, key)
        case .statefulSet(let key): decideStatefulSet(key)
        case .daemonSet(let key): decideDaemonSet(key)
        case .job(let key): decideJob(key)
        case .cronJob(let key): decideCronJob(key)
        case .disruptionBudget(let key): decideBudget(key)
        case .quota(let key): decideQuota(key)
        case .autoscaler(let key): decideAutoscaler(key)
        case .service(let key): decideService(key)
        case .ingress(let key): decideIngress(key)
        case .namespace(let key): decideNamespace(key)
        case .node(let key): decideNode(key)
        case .claim(let key): decideClaim(key)
        case .volume(let key): decideVolume(key)
        }
    }

    func controlled(_ kind: ResourceKind, by owner: KubernetesObject) -> [KubernetesObject] {
        cache.objects(kind, by: .controller, owner.metadata.uid, namespace: owner.namespace)
    }

    /// Those that are an owner's own, and those that its selector wants.
    private func concerned(_ kind: ResourceKind, by owner: KubernetesObject) -> [KubernetesObject] {
        let own = controlled(kind, by: owner)
        let wanted = matching(kind, Adoption.selector(owner), namespace: owner.namespace)
        let names = Set(own.map(\.name))
        return own + wanted.filter { !names.contains($0.name) }
    }

    /// What a selector wants; one without conditions wants nothing.
    func matching(_ kind: ResourceKind, _ selector: LabelMatcher, namespace: String) -> [KubernetesObject] {
        guard !selector.requirements.isEmpty else { return [] }
        var labels: [String: String] = [:]
        for requirement in selector.requirements where requirement.operator == .in && requirement.values.count == 1 {
            labels[requirement.key] = requirement.values[0]
        }
        return cache.candidates(kind, labels: labels, namespace: namespace)
            .filter { selector.matches($0.metadata.labels) }
    }

    /// The pods that a Service leads to; none without a selector.
    private func pods(of service: KubernetesObject) -> [KubernetesObject] {
        let selector = Service(json: service.content).spec.selector
        guard !selector.isEmpty else { return [] }
        return cache.candidates(.pod, labels: selector, namespace: service.namespace)
            .filter { LabelMatcher(matchLabels: selector).matches($0.metadata.labels) }
    }

    /// The pods of an owner, or what has to be done first so that they are its own and no others.
    private func pods(
        of owner: KubernetesObject, _ kind: ResourceKind, fits: (KubernetesObject) -> Bool = { _ in true }
    ) -> (pods: [KubernetesObject], claims: [ObjectChange]) {
        let all = concerned(.pod, by: owner)
        let claims = Adoption.claims(owner, kind, .pod, among: all, fits: fits)
        return (all.filter { $0.controllerUID == owner.metadata.uid }, claims)
    }

    private func decideDeployment(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.deployment, key) else { return Decision() }
        let all = concerned(.replicaSet, by: object)
        let claims = Adoption.claims(object, .deployment, .replicaSet, among: all)
        if !claims.isEmpty { return Decision(claims) }
        let sets = all.filter { $0.controllerUID == object.metadata.uid }
        var counts: [String: Int] = [:]
        for set in sets {
            counts[set.metadata.uid] = controlled(.pod, by: set).count { !PodState($0).isFinished }
        }
        return DeploymentController.decide(object, replicaSets: sets, podCounts: counts, now: now())
    }

    private func decideReplicas(_ kind: ResourceKind, _ key: NamespacedName) -> Decision {
        guard let object = cache.object(kind, key) else { return Decision() }
        let (pods, claims) = pods(of: object, kind)
        return claims.isEmpty ? ReplicaSetController.decide(object, kind, pods: pods, now: now()) : Decision(claims)
    }

    private func decideStatefulSet(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.statefulSet, key) else { return Decision() }
        let (pods, claims) = pods(of: object, .statefulSet) {
            StatefulSetController.ordinal($0.name, of: object.name) != nil
        }
        if !claims.isEmpty { return Decision(claims) }
        return StatefulSetController.decide(
            object, pods: pods, revisions: controlled(.controllerRevision, by: object),
            claims: hasClaims(object) ? cache.objects(.persistentVolumeClaim, namespace: key.namespace) : [],
            now: now())
    }

    private func decideClaim(_ key: NamespacedName) -> Decision {
        guard let claim = cache.object(.persistentVolumeClaim, key) else { return Decision() }
        let spec = PersistentVolumeClaimSpec(json: claim.spec)
        let name = spec.storageClassName ?? ""
        let chosen = cache.object(.persistentVolume, NamespacedName(namespace: "", name: spec.volumeName))
        return VolumeController.decide(
            claim: claim,
            VolumeController.World(
                volumes: spec.volumeName.isEmpty ? cache.objects(.persistentVolume) : [chosen].compactMap(\.self),
                storageClass: cache.object(.storageClass, NamespacedName(namespace: "", name: name))
                    .map { StorageClass(json: $0.content) },
                pods: cache.objects(.pod, by: .claim, key.name, namespace: key.namespace),
                nodes: cache.objects(.node)))
    }

    private func decideVolume(_ key: NamespacedName) -> Decision {
        guard let volume = cache.object(.persistentVolume, key) else { return Decision() }
        let holder = PersistentVolumeSpec(json: volume.spec).claim
        return VolumeController.decide(
            volume: volume,
            claim: holder.flatMap {
                cache.object(.persistentVolumeClaim, NamespacedName(namespace: $0.namespace, name: $0.name))
            }, nodes: cache.objects(.node))
    }

    private func decideDaemonSet(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.daemonSet, key) else { return Decision() }
        let (pods, claims) = pods(of: object, .daemonSet)
        if !claims.isEmpty { return Decision(claims) }
        return DaemonSetController.decide(
            object, nodes: cache.objects(.node), pods: pods, revisions: controlled(.controllerRevision, by: object),
            now: now())
    }

    private func decideJob(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.job, key) else { return Decision() }
        let (pods, claims) = pods(of: object, .job)
        return claims.isEmpty ? JobController.decide(object, pods: pods, now: now()) : Decision(claims)
    }

    private func decideAutoscaler(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.horizontalPodAutoscaler, key) else { return Decision() }
        let (book, time) = (usage, now())
        let seconds = Double(time.seconds) + Double(time.nanoseconds) / 1e9
        let found = scaled(AutoscalerSpec(json: object.spec).target, key.namespace)
        let world = AutoscalerController.World(
            target: found?.object, targetKind: found?.kind,
            pods: found.map { selected($0.object) } ?? [], usage: { book.usage($0, now: seconds) },
            described: { [self] in described($0, key.namespace) })
        return AutoscalerController.decide(
            object, world, memory: &autoscalerMemory[key, default: .init()], now: time)
    }

    /// What has the sub-resource `scale`.
    private func scaled(_ target: ScaleTarget, _ namespace: String) -> (object: KubernetesObject, kind: ResourceKind)? {
        let kinds: [ResourceKind] = [.deployment, .replicaSet, .statefulSet, .replicationController]
        guard
            let kind = kinds.first(where: {
                $0.kind == target.kind && [$0.group.isEmpty ? "v1" : "apps/v1", ""].contains(target.apiVersion)
            }),
            let object = cache.object(kind, NamespacedName(namespace: namespace, name: target.name))
        else { return nil }
        return (object, kind)
    }

    private func selected(_ object: KubernetesObject) -> [KubernetesObject] {
        matching(.pod, Adoption.selector(object), namespace: object.namespace)
    }

    /// The pods whose requests an `Object` metric means.
    private func described(_ about: ScaleTarget, _ namespace: String) -> [KubernetesObject]? {
        if about.kind == "Service" {
            guard let service = cache.object(.service, NamespacedName(namespace: namespace, name: about.name)) else {
                return nil
            }
            return pods(of: service).filter { PodState($0).isActive }
        }
        return scaled(about, namespace).map { selected($0.object).filter { PodState($0).isActive } }
    }

    private func decideService(_ key: NamespacedName) -> Decision {
        let slices = cache.objects(.endpointSlice, by: .service, key.name, namespace: key.namespace).filter {
            $0.metadata.labels["endpointslice.kubernetes.io/managed-by"] == EndpointSliceController.managedBy
        }
        guard let object = cache.object(.service, key) else { return Decision() }
        return EndpointSliceController.decide(
            object, pods: pods(of: object), slices: slices, endpoints: cache.object(.endpoints, key), zones: zones)
    }

    /// Where nodes are, of those that say so.
    private var zones: [String: String] {
        Dictionary(
            cache.objects(.node).compactMap { node in node.metadata.labels[Node.zoneLabel].map { (node.name, $0) } },
            uniquingKeysWith: { one, _ in one })
    }

    /// Every namespace has its service account `default`, also after somebody has deleted it.
    private func decideNamespace(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.namespace, key), object.metadata.deletionTimestamp == nil,
            cache.object(.serviceAccount, NamespacedName(namespace: key.name, name: "default")) == nil
        else { return Decision() }
        let account = KubernetesObject(json: [
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": ["name": "default", "namespace": .string(key.name)],
        ])
        return Decision([.create(.serviceAccount, account)])
    }

    private func decideNode(_ key: NamespacedName) -> Decision {
        let node = cache.object(.node, key)
        let isRemote = node?.metadata.annotations[Node.keyAnnotation] != nil
        let world = NodeController.World(
            pools: nodePools, nodes: cache.objects(.node),
            claims: cache.objects(.lease, namespace: NodeController.namespace).filter {
                $0.metadata.labels[NodeController.label] != nil
            },
            heartbeat: cache.object(.lease, NamespacedName(namespace: NodeJoin.leaseNamespace, name: key.name)),
            // Those of a node that is well are nobody's business here: they are looked at when it is late.
            pods: isRemote || node == nil ? cache.objects(.pod).filter { $0.spec["nodeName"]?.string == key.name } : [],
            now: now())
        guard let node else { return NodeController.forget(key.name, world) }
        return NodeController.decide(node, world)
    }

    private func decideIngress(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.ingress, key) else { return Decision() }
        let gateway = cache.object(
            .service, NamespacedName(namespace: GatewayObjects.namespace, name: GatewayObjects.name))
        return IngressStatus.decide(object, gateway: gateway)
    }
}
