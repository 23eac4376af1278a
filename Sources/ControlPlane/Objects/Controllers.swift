public import APIServer
import Identity
import KubernetesAPI
import Mesh
public import Serialization
import Telemetry

/// Runs the controllers: what changed is looked at, one object at a time, until nothing is left to do.
///
/// Loop-owned and synchronous. `wake` is called when `run` should be called soon, `later` to have it called after a time.
public final class Controllers {
    /// Something to look at.
    enum Work: Hashable {
        case deployment(NamespacedName)
        case replicaSet(NamespacedName)
        case replicationController(NamespacedName)
        case statefulSet(NamespacedName)
        case daemonSet(NamespacedName)
        case job(NamespacedName)
        case cronJob(NamespacedName)
        case disruptionBudget(NamespacedName)
        case quota(NamespacedName)
        case autoscaler(NamespacedName)
        case service(NamespacedName)
        case ingress(NamespacedName)
        case namespace(NamespacedName)
        case node(NamespacedName)
        case claim(NamespacedName)
        case volume(NamespacedName)

        /// What looks after an object of that kind; nil: nobody.
        init?(_ kind: ResourceKind, _ key: NamespacedName) {
            switch kind {
            case .deployment: self = .deployment(key)
            case .replicaSet: self = .replicaSet(key)
            case .replicationController: self = .replicationController(key)
            case .statefulSet: self = .statefulSet(key)
            case .daemonSet: self = .daemonSet(key)
            case .job: self = .job(key)
            case .cronJob: self = .cronJob(key)
            case .podDisruptionBudget: self = .disruptionBudget(key)
            case .resourceQuota: self = .quota(key)
            case .horizontalPodAutoscaler: self = .autoscaler(key)
            case .service: self = .service(key)
            case .ingress: self = .ingress(key)
            case .namespace: self = .namespace(key)
            case .node: self = .node(key)
            case .persistentVolumeClaim: self = .claim(key)
            case .persistentVolume: self = .volume(key)
            default: return nil
            }
        }
    }

    /// Decisions in one run at most, so that requests are served in between.
    static let decisionsMax = 200
    static let kinds: [ResourceKind] = [
        .deployment, .replicaSet, .replicationController, .statefulSet, .daemonSet, .controllerRevision, .job, .cronJob,
        .podDisruptionBudget,
        .resourceQuota, .horizontalPodAutoscaler, .pod,
        .node, .lease, .service, .endpointSlice, .endpoints, .ingress, .namespace, .serviceAccount,
        .storageClass, .persistentVolume, .persistentVolumeClaim,
    ]
    /// What makes pods, each by a selector.
    static let podOwners: [ResourceKind] = [.replicaSet, .replicationController, .statefulSet, .daemonSet, .job]

    /// By what controllers find objects, so that a change costs what it concerns and not what there is.
    private static var indexes: [ObjectIndex] {
        [
            .slicesOfServices, .serviceSelectors, .labels(.pod), .controllers(.pod), .labels(.replicaSet),
            .controllers(.replicaSet), .controllers(.controllerRevision), .controllers(.job), .selectors(.deployment),
            .claimsOfPods,
        ] + podOwners.map(ObjectIndex.selectors)
    }

    let registry: ObjectRegistry
    let cache: ObjectCache
    private let events: EventRecorder
    /// The rules of a time zone by its name; nil when nobody knows it.
    var timeZone: (String) -> TimeZoneRules? = { _ in nil }
    let now: () -> Timestamp
    private let wake: () -> Void
    private let later: (Duration, @escaping () -> Void) -> Void
    private let log = Logger("controllers")
    private var queue: [Work] = []
    private var queued: Set<Work> = []
    private var alarms: [Work: Timestamp] = [:]
    private var failures: [Work: Int] = [:]
    /// Pods that were made for an owner and that the cache does not have yet: an event comes when its write is settled.
    private var unseen: [Work: Set<String>] = [:]
    /// The ranges from which nodes get their blocks, one of a family; none: nodes get none.
    public var nodePools: [NodeBlocks] = []
    /// What pods use, for autoscalers.
    public var usage = PodUsageBook()
    var autoscalerMemory: [NamespacedName: AutoscalerController.Memory] = [:]

    /// Controllers over the objects of `registry`.
    public init(
        _ registry: ObjectRegistry, now: @escaping () -> Timestamp, wake: @escaping () -> Void,
        later: @escaping (Duration, @escaping () -> Void) -> Void
    ) throws(StatusError) {
        self.registry = registry
        self.now = now
        self.wake = wake
        self.later = later
        let source = RegistrySource(registry)
        events = EventRecorder(source, component: "skein-control-plane", now: now)
        cache = try ObjectCache(source, kinds: Self.kinds, indexes: Self.indexes, wake: wake)
        // A controller that starts looks at everything once.
        for kind in Self.kinds {
            for object in cache.objects(kind) { Work(kind, object.key).map { enqueue($0) } }
        }
    }

    /// How many objects controllers have looked at in lists.
    public var visitCount: Int { cache.visitCount }
    /// Whether there is nothing to look at.
    public var isIdle: Bool { queue.isEmpty }

    /// The namespaces in which something is scaled by what its pods use, and so must be measured.
    public var measuredNamespaces: [String] {
        Set(cache.objects(.horizontalPodAutoscaler).map(\.namespace)).sorted()
    }

    /// Works until there is nothing left, or for a while; calls `wake` when more is left.
    public func run() {
        for _ in 0..<Self.decisionsMax {
            cache.drain().forEach(notice)
            guard let work = queue.first else { return }
            queue.removeFirst()
            queued.remove(work)
            // Who does not see what he has made would make it again; the event brings him back.
            if unseen[work] != nil { continue }
            act(on: work)
        }
        if !queue.isEmpty { wake() }
    }

    func enqueue(_ work: Work) {
        if queued.insert(work).inserted { queue.append(work) }
    }

    // MARK: What a change means

    private func notice(_ event: ObjectEvent) {
        let object = event.object
        switch event.kind {
        case .deployment, .statefulSet, .daemonSet, .job, .horizontalPodAutoscaler, .ingress, .namespace, .cronJob,
            .podDisruptionBudget, .resourceQuota, .replicationController:
            Work(event.kind, object.key).map { enqueue($0) }
            if event.kind == .job { noticeOwned(event, by: [.cronJob]) }
            if [.deployment, .statefulSet, .replicationController].contains(event.kind),
                event.previous?.spec != object.spec
            {
                noticeBudgets(object.namespace)
            }
            if event.isDeleted, event.kind == .horizontalPodAutoscaler { autoscalerMemory[object.key] = nil }
        case .replicaSet:
            enqueue(.replicaSet(object.key))
            noticeOwned(event, by: [.deployment])
        case .serviceAccount:
            if event.isDeleted { enqueue(.namespace(NamespacedName(namespace: "", name: object.namespace))) }
        case .controllerRevision: noticeOwned(event, by: [.statefulSet, .daemonSet])
        case .node:
            // Heartbeats change nothing about who runs there.
            let before = event.previous
            if event.isDeleted || before?.spec != object.spec || before?.metadata.labels != object.metadata.labels {
                cache.objects(.daemonSet).forEach { enqueue(.daemonSet($0.key)) }
            }
            if before?.metadata.labels[Node.zoneLabel] != object.metadata.labels[Node.zoneLabel] {
                // Endpoints say where they are.
                cache.objects(.service).forEach { enqueue(.service($0.key)) }
            }
            if event.isDeleted { cache.objects(.persistentVolume).forEach { enqueue(.volume($0.key)) } }
            enqueue(.node(object.key))
        case .lease:
            // A heartbeat, or the claim of a block.
            if object.namespace == NodeJoin.leaseNamespace || object.metadata.labels[NodeController.label] != nil {
                let node = object.metadata.labels[NodeController.label] ?? object.name
                enqueue(.node(NamespacedName(namespace: "", name: node)))
            }
        case .persistentVolumeClaim, .persistentVolume, .storageClass: noticeStorage(event)
        case .pod:
            // Few are under way at once.
            for (work, names) in unseen where names.contains(object.name) {
                unseen[work] = names.count > 1 ? names.subtracting([object.name]) : nil
                enqueue(work)
            }
            noticeClaims(of: event)
            noticeLimits(of: event)
            if event.previous == nil, !event.isDeleted, let node = object.spec["nodeName"]?.string, !node.isEmpty {
                events.record(
                    EventNote(object, "Scheduled", "Successfully assigned \(object.key) to \(node)"))
            }
            noticeOwned(event, by: Self.podOwners)
            // Recreate waits for the last pod.
            if event.isDeleted, let set = owner(of: object, .replicaSet), let parent = cache.object(.replicaSet, set),
                let deployment = owner(of: parent, .deployment)
            {
                enqueue(.deployment(deployment))
            }
            for pod in [object, event.previous].compactMap({ $0 }) {
                for service in selecting(.service, pod) where selects(service, pod) { enqueue(.service(service.key)) }
            }
        case .service:
            noticeQuotas(object.namespace)
            enqueue(.service(object.key))
            if object.namespace == GatewayObjects.namespace && object.name == GatewayObjects.name {
                cache.objects(.ingress).forEach { enqueue(.ingress($0.key)) }
            }
        case .endpointSlice:
            if let service = object.metadata.labels[EndpointSliceController.serviceLabel] {
                enqueue(.service(NamespacedName(namespace: object.namespace, name: service)))
            }
        case .endpoints: enqueue(.service(object.key))
        default: break
        }
    }

    /// Those look who own the object or did until now; of an object without owner those who would take it.
    private func noticeOwned(_ event: ObjectEvent, by kinds: [ResourceKind]) {
        for kind in kinds {
            for key in [event.object, event.previous].compactMap({ $0.flatMap { owner(of: $0, kind) } }) {
                Work(kind, key).map { enqueue($0) }
            }
        }
        guard event.object.controllerUID == nil, !event.isDeleted else { return }
        for kind in kinds {
            for owner in selecting(kind, event.object)
            where Adoption.selector(owner).matches(event.object.metadata.labels) {
                Work(kind, owner.key).map { enqueue($0) }
            }
        }
    }

    /// Those of a kind that may select an object.
    private func selecting(_ kind: ResourceKind, _ object: KubernetesObject) -> [KubernetesObject] {
        ObjectIndex.selectors(of: object.metadata.labels).flatMap {
            cache.objects(kind, by: .selector, $0, namespace: object.namespace)
        }
    }

    func owner(of object: KubernetesObject, _ kind: ResourceKind) -> NamespacedName? {
        object.metadata.ownerReferences.first { $0.isController && $0.kind == kind.kind }
            .map { NamespacedName(namespace: object.namespace, name: $0.name) }
    }

    func selects(_ service: KubernetesObject, _ pod: KubernetesObject) -> Bool {
        let selector = Service(json: service.content).spec.selector
        return !selector.isEmpty && selector.allSatisfy { pod.metadata.labels[$0.key] == $0.value }
    }

    // MARK: Acting

    private func act(on work: Work) {
        let decision = decide(work)
        do throws(StatusError) {
            for change in decision.changes { try apply(change, of: work) }
            failures[work] = nil
        } catch {
            retry(work, error)
        }
        if let time = decision.lookAgainAfter { setAlarm(work, after: time) }
    }

    private func apply(_ change: ObjectChange, of work: Work) throws(StatusError) {
        switch change {
        case .create(let kind, let object):
            let parent = kind == .pod ? podOwner(object) : nil
            do throws(StatusError) {
                let made = try registry.create(object.json, kind, namespace: object.namespace)
                if kind == .pod { unseen[work, default: []].insert(made.object.name) }
                // A StatefulSet tells it in words of its own.
                if let parent, parent.kind != "StatefulSet" {
                    events.record(EventNote(parent, "SuccessfulCreate", "Created pod: \(made.object.name)"))
                }
            } catch {
                if let parent {
                    events.record(
                        EventNote(parent, "FailedCreate", "Error creating: \(error.message)", isWarning: true))
                }
                throw error
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

    private func podOwner(_ pod: KubernetesObject) -> KubernetesObject? {
        for kind in Self.podOwners {
            if let key = owner(of: pod, kind) { return cache.object(kind, key) }
        }
        return nil
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
