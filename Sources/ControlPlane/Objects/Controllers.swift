public import APIServer
import KubernetesAPI
import Mesh
public import Serialization
import Telemetry

/// Runs the controllers: what changed is looked at, one object at a time, until nothing is left to do.
///
/// Loop-owned and synchronous. `wake` is called when `run` should be called soon, `later` to have it called after a time.
public final class Controllers {
    /// Something to look at.
    private enum Work: Hashable {
        case deployment(NamespacedName)
        case replicaSet(NamespacedName)
        case service(NamespacedName)
        case ingress(NamespacedName)
    }

    /// Decisions in one run at most, so that requests are served in between.
    static let decisionsMax = 200
    static let kinds: [ResourceKind] = [
        .deployment, .replicaSet, .pod, .service, .endpointSlice, .endpoints, .ingress,
    ]

    private let registry: ObjectRegistry
    private let cache: ObjectCache
    private let events: EventRecorder
    private let now: () -> Timestamp
    private let wake: () -> Void
    private let later: (Duration, @escaping () -> Void) -> Void
    private let log = Logger("controllers")
    private var queue: [Work] = []
    private var queued: Set<Work> = []
    private var alarms: [Work: Timestamp] = [:]
    private var failures: [Work: Int] = [:]

    /// Controllers over the objects of `registry`.
    public init(
        _ registry: ObjectRegistry, now: @escaping () -> Timestamp, wake: @escaping () -> Void,
        later: @escaping (Duration, @escaping () -> Void) -> Void
    ) throws(StatusError) {
        self.registry = registry
        self.now = now
        self.wake = wake
        self.later = later
        events = EventRecorder(registry, component: "skein-control-plane", now: now)
        cache = try ObjectCache(registry, kinds: Self.kinds, wake: wake)
        // A controller that starts looks at everything once.
        cache.objects(.deployment).forEach { enqueue(.deployment($0.key)) }
        cache.objects(.replicaSet).forEach { enqueue(.replicaSet($0.key)) }
        cache.objects(.service).forEach { enqueue(.service($0.key)) }
        cache.objects(.ingress).forEach { enqueue(.ingress($0.key)) }
    }

    /// Whether there is nothing to look at.
    public var isIdle: Bool { queue.isEmpty }

    /// Works until there is nothing left, or for a while; calls `wake` when more is left.
    public func run() {
        for _ in 0..<Self.decisionsMax {
            cache.drain().forEach(notice)
            guard let work = queue.first else { return }
            queue.removeFirst()
            queued.remove(work)
            act(on: work)
        }
        if !queue.isEmpty { wake() }
    }

    private func enqueue(_ work: Work) {
        if queued.insert(work).inserted { queue.append(work) }
    }

    // MARK: What a change means

    private func notice(_ event: ObjectEvent) {
        let object = event.object
        switch event.kind {
        case .deployment: enqueue(.deployment(object.key))
        case .replicaSet:
            enqueue(.replicaSet(object.key))
            owner(of: object, .deployment).map { enqueue(.deployment($0)) }
        case .pod:
            if event.previous == nil, !event.isDeleted, let node = object.spec["nodeName"]?.string, !node.isEmpty {
                events.record(
                    EventNote(object, "Scheduled", "Successfully assigned \(object.key) to \(node)"))
            }
            if let set = owner(of: object, .replicaSet) {
                enqueue(.replicaSet(set))
                // Recreate waits for the last pod.
                if event.isDeleted, let parent = cache.object(.replicaSet, set),
                    let deployment = owner(of: parent, .deployment)
                {
                    enqueue(.deployment(deployment))
                }
            }
            for service in cache.objects(.service, namespace: object.namespace)
            where selects(service, object) || event.previous.map({ selects(service, $0) }) ?? false {
                enqueue(.service(service.key))
            }
        case .service:
            enqueue(.service(object.key))
            if object.namespace == GatewayObjects.namespace && object.name == GatewayObjects.name {
                cache.objects(.ingress).forEach { enqueue(.ingress($0.key)) }
            }
        case .endpointSlice:
            if let service = object.metadata.labels[EndpointSliceController.serviceLabel] {
                enqueue(.service(NamespacedName(namespace: object.namespace, name: service)))
            }
        case .endpoints: enqueue(.service(object.key))
        case .ingress: enqueue(.ingress(object.key))
        default: break
        }
    }

    private func owner(of object: KubernetesObject, _ kind: ResourceKind) -> NamespacedName? {
        object.metadata.ownerReferences.first { $0.isController && $0.kind == kind.kind }
            .map { NamespacedName(namespace: object.namespace, name: $0.name) }
    }

    private func selects(_ service: KubernetesObject, _ pod: KubernetesObject) -> Bool {
        let selector = Service(json: service.json).spec.selector
        return !selector.isEmpty && selector.allSatisfy { pod.metadata.labels[$0.key] == $0.value }
    }

    // MARK: Acting

    private func act(on work: Work) {
        let decision: Decision
        switch work {
        case .deployment(let key): decision = decideDeployment(key)
        case .replicaSet(let key): decision = decideReplicaSet(key)
        case .service(let key): decision = decideService(key)
        case .ingress(let key): decision = decideIngress(key)
        }
        do throws(StatusError) {
            for change in decision.changes { try apply(change) }
            failures[work] = nil
        } catch {
            retry(work, error)
        }
        if let time = decision.lookAgainAfter { setAlarm(work, after: time) }
    }

    private func decideDeployment(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.deployment, key) else { return Decision() }
        let sets = cache.objects(.replicaSet, namespace: key.namespace)
            .filter { $0.controllerUID == object.metadata.uid }
        var counts: [String: Int] = [:]
        for pod in cache.objects(.pod, namespace: key.namespace) where !PodState(pod).isFinished {
            if let owner = pod.controllerUID { counts[owner, default: 0] += 1 }
        }
        return DeploymentController.decide(object, replicaSets: sets, podCounts: counts, now: now())
    }

    private func decideReplicaSet(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.replicaSet, key) else { return Decision() }
        let pods = cache.objects(.pod, namespace: key.namespace).filter { $0.controllerUID == object.metadata.uid }
        return ReplicaSetController.decide(object, pods: pods, now: now())
    }

    private func decideService(_ key: NamespacedName) -> Decision {
        let slices = cache.objects(.endpointSlice, namespace: key.namespace).filter {
            $0.metadata.labels[EndpointSliceController.serviceLabel] == key.name
                && $0.metadata.labels["endpointslice.kubernetes.io/managed-by"] == EndpointSliceController.managedBy
        }
        guard let object = cache.object(.service, key) else { return Decision() }
        let pods = cache.objects(.pod, namespace: key.namespace).filter { selects(object, $0) }
        return EndpointSliceController.decide(
            object, pods: pods, slices: slices, endpoints: cache.object(.endpoints, key))
    }

    private func decideIngress(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.ingress, key) else { return Decision() }
        let gateway = cache.object(
            .service, NamespacedName(namespace: GatewayObjects.namespace, name: GatewayObjects.name))
        return IngressStatus.decide(object, gateway: gateway)
    }

    private func apply(_ change: ObjectChange) throws(StatusError) {
        switch change {
        case .create(let kind, let object):
            let made = try registry.create(object.json, kind, namespace: object.namespace)
            if kind == .pod, let set = owner(of: object, .replicaSet).flatMap({ cache.object(.replicaSet, $0) }) {
                events.record(EventNote(set, "SuccessfulCreate", "Created pod: \(made.object.name)"))
            }
        case .update(let kind, let object):
            var json = object.json
            // The cache was drained before the decision and nobody else ran since: this is the present object, or
            // one that this very decision wrote.
            json["metadata"]?["resourceVersion"] = nil
            _ = try registry.update(json, kind, object.namespace)
        case .updateStatus(let kind, let key, let status):
            _ = try registry.modify(kind, key.namespace, key.name, subresource: "status") {
                (json) throws(StatusError) in
                var json = json
                json["status"] = status
                return json
            }
        case .delete(let kind, let key, let uid):
            var options = DeleteOptions()
            options.uid = uid
            do throws(StatusError) {
                try registry.delete(kind, key.namespace, key.name, options: options)
            } catch  where error.code == 404 {
                // Somebody was faster.
            }
        case .event(let note): events.record(note)
        }
    }

    /// A write that was refused is tried again, less and less often: 0.1 s, 0.2 s … 60 s.
    private func retry(_ work: Work, _ error: StatusError) {
        let count = failures[work, default: 0]
        failures[work] = count + 1
        if error.code != 409 {
            log.warning("a change was refused", ["work": "\(work)", "error": error.message])
        }
        let milliseconds = min(100 << min(count, 10), 60_000)
        later(.milliseconds(milliseconds)) { [weak self] in
            self?.enqueue(work)
            self?.run()
        }
    }

    private func setAlarm(_ work: Work, after time: Duration) {
        let when = now() + time
        // One alarm per object is enough; an earlier one replaces a later one.
        if let known = alarms[work], known > now(), known <= when { return }
        alarms[work] = when
        later(time) { [weak self] in
            guard let self, self.alarms[work] == when else { return }
            self.alarms[work] = nil
            self.enqueue(work)
            self.run()
        }
    }
}
