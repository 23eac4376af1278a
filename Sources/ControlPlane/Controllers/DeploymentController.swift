public import KubernetesAPI
import Mesh
public import Serialization

/// Moves a Deployment from its old ReplicaSets to the one of its present template.
public enum DeploymentController {
    static let hashLabel = "pod-template-hash"
    static let desiredAnnotation = "deployment.kubernetes.io/desired-replicas"
    static let mostAnnotation = "deployment.kubernetes.io/max-replicas"
    static let revisionAnnotation = "deployment.kubernetes.io/revision"

    /// What to do for a Deployment, given the ReplicaSets that it controls and how many pods these still have
    /// (terminating ones count: `Recreate` waits for them).
    public static func decide(
        _ object: KubernetesObject, replicaSets: [KubernetesObject], podCounts: [String: Int], now: Timestamp
    ) -> Decision {
        var rollout = Rollout(object, replicaSets, podCounts, now)
        if object.metadata.deletionTimestamp == nil { rollout.roll() }
        rollout.writeStatus()
        return rollout.decision
    }

    /// The template as the hash sees it: without the label that the hash goes into.
    static func plainTemplate(_ template: JSON) -> JSON {
        var template = template
        var metadata = template["metadata"] ?? .object([:])
        var labels = metadata["labels"] ?? .object([:])
        labels[hashLabel] = nil
        metadata["labels"] = labels
        metadata["creationTimestamp"] = nil
        template["metadata"] = metadata
        return template
    }
}

/// One look at one Deployment.
private struct Rollout {
    let object: KubernetesObject
    let deployment: Deployment
    let podCounts: [String: Int]
    let now: Timestamp
    /// Oldest first.
    var all: [KubernetesObject]
    /// The one with the present template.
    var current: KubernetesObject?
    var decision = Decision()
    private var collisions: Int
    /// What happened in this look, for the condition Progressing.
    private var progress: (reason: String, message: String)?

    init(
        _ object: KubernetesObject, _ replicaSets: [KubernetesObject], _ podCounts: [String: Int], _ now: Timestamp
    ) {
        self.object = object
        deployment = Deployment(json: object.content)
        self.podCounts = podCounts
        self.now = now
        all = replicaSets.sorted {
            ($0.metadata.creationTimestamp, $0.name) < ($1.metadata.creationTimestamp, $1.name)
        }
        collisions = object.status["collisionCount"]?.int ?? 0
        let template = DeploymentController.plainTemplate(object.spec["template"] ?? .null)
        current = all.first { DeploymentController.plainTemplate($0.spec["template"] ?? .null) == template }
    }

    private var wanted: Int { deployment.spec.replicas }
    private var old: [KubernetesObject] { all.filter { $0.metadata.uid != current?.metadata.uid } }
    private func replicas(_ set: KubernetesObject) -> Int { ReplicaSet(json: set.content).spec.replicas }
    private func available(_ set: KubernetesObject) -> Int { ReplicaSet(json: set.content).status.availableReplicas }
    private var isRecreate: Bool { deployment.spec.strategy.type == "Recreate" }

    private var maxSurge: Int {
        isRecreate ? 0 : deployment.spec.strategy.rollingUpdate.maxSurge?.scaled(of: wanted, roundUp: true) ?? 1
    }
    private var maxUnavailable: Int {
        guard !isRecreate else { return 0 }
        let value =
            deployment.spec.strategy.rollingUpdate.maxUnavailable?.scaled(of: wanted, roundUp: false) ?? 0
        // Nothing could ever move; Kubernetes gives way here, too.
        return value == 0 && maxSurge == 0 ? 1 : min(value, wanted)
    }

    // MARK: Rolling

    mutating func roll() {
        if deployment.spec.paused || isScaled { return scaleProportionally() }
        guard isRecreate else {
            ensureCurrent(initial: { $0.newReplicas(of: nil) })
            guard let set = current else { return }
            if scale(set, to: newReplicas(of: set)) { return }
            scaleDownOld()
            cleanUp()
            return
        }
        let isBusy = old.filter { replicas($0) > 0 }.map { scale($0, to: 0) }.contains(true)
        if isBusy || old.contains(where: { (podCounts[$0.metadata.uid] ?? 0) > 0 }) { return }
        ensureCurrent(initial: { $0.wanted })
        if let current { scale(current, to: wanted) }
        cleanUp()
    }

    // MARK: Scaling

    /// Whether the number of replicas was changed since the sets were brought to it.
    private var isScaled: Bool {
        all.contains { set in
            guard replicas(set) > 0, let known = number(set, DeploymentController.desiredAnnotation) else {
                return false
            }
            return known != wanted
        }
    }

    private func number(_ set: KubernetesObject, _ annotation: String) -> Int? {
        set.metadata.annotations[annotation].flatMap { Int($0) }
    }

    /// Shares a changed number out among the sets that have pods, in proportion: a rollout that is under way keeps its place.
    private mutating func scaleProportionally() {
        let active = all.filter { replicas($0) > 0 }
        if active.count <= 1 {
            if let only = active.first ?? current ?? all.last { scale(only, to: wanted) }
            return
        }
        if let current, replicas(current) == wanted, available(current) == wanted {
            for set in old where replicas(set) > 0 { scale(set, to: 0) }
            return
        }
        guard !isRecreate else { return }
        let allowed = wanted > 0 ? wanted + maxSurge : 0
        let change = allowed - active.reduce(0) { $0 + replicas($1) }
        // The largest first; of equals the newer when there are more to come, the older when some go.
        let order = active.sorted { left, right in
            if replicas(left) != replicas(right) { return replicas(left) > replicas(right) }
            let (first, second) = (left.metadata.creationTimestamp, right.metadata.creationTimestamp)
            return change > 0 ? first > second : first < second
        }
        var counts = order.map(replicas)
        var rest = change
        for index in order.indices where rest != 0 {
            let most = max(number(order[index], DeploymentController.mostAnnotation) ?? 0, 1)
            let share = Int((Double(counts[index]) * Double(allowed) / Double(most)).rounded()) - counts[index]
            let step = change > 0 ? min(max(share, 0), rest) : max(min(share, 0), rest)
            counts[index] += step
            rest -= step
        }
        if let first = counts.first { counts[0] = max(0, first + rest) }
        for (set, count) in zip(order, counts) { scale(set, to: count) }
    }

    /// How many replicas the present set may have now.
    func newReplicas(of set: KubernetesObject?) -> Int {
        let mine = set.map(replicas) ?? 0
        if isRecreate || mine > wanted { return wanted }
        let total = all.reduce(0) { $0 + replicas($1) }
        let room = wanted + maxSurge - total
        return room <= 0 ? mine : mine + min(room, wanted - mine)
    }

    /// Makes the ReplicaSet of the present template, or brings its revision up to date.
    private mutating func ensureCurrent(initial: (Rollout) -> Int) {
        let highest =
            old.compactMap { Int($0.metadata.annotations[DeploymentController.revisionAnnotation] ?? "") }
            .max() ?? 0
        if var set = current {
            let mine = Int(set.metadata.annotations[DeploymentController.revisionAnnotation] ?? "") ?? 0
            let revision = max(mine, highest + 1)
            // A template that comes back gets a new number: it is the newest again.
            let annotations = self.annotations(revision: revision, of: set)
            if annotations != set.metadata.annotations {
                set.metadata.annotations = annotations
                decision.changes.append(.update(.replicaSet, set))
                replace(set)
            }
            noteRevision(revision)
            return
        }
        let template = object.spec["template"] ?? .object([:])
        let seed = DeploymentController.plainTemplate(template).text + (collisions > 0 ? String(collisions) : "")
        let hash = SafeText.hash(seed)
        let count = initial(self)
        var labelled = template
        var metadata = template["metadata"] ?? .object([:])
        var labels = metadata["labels"] ?? .object([:])
        labels[DeploymentController.hashLabel] = .string(hash)
        metadata["labels"] = labels
        labelled["metadata"] = metadata
        var selector = object.spec["selector"] ?? .object([:])
        var match = selector["matchLabels"] ?? .object([:])
        match[DeploymentController.hashLabel] = .string(hash)
        selector["matchLabels"] = match
        let name = "\(object.name)-\(hash)"
        var spec: JSON = [
            "replicas": .integer(Int64(count)), "selector": selector, "template": labelled,
        ]
        if deployment.spec.minReadySeconds > 0 {
            spec["minReadySeconds"] = .integer(Int64(deployment.spec.minReadySeconds))
        }
        let annotations = self.annotations(revision: highest + 1, of: nil)
        let set = KubernetesObject(json: [
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": [
                "name": .string(name), "namespace": .string(object.namespace), "labels": labels,
                "annotations": .object(annotations.mapValues { .string($0) }),
                "ownerReferences": [object.controllerReference(.deployment)],
            ],
            "spec": spec,
        ])
        decision.changes.append(.create(.replicaSet, set))
        if count > 0 {
            decision.changes.append(
                .event(
                    EventNote(
                        object, "ScalingReplicaSet", "Scaled up replica set \(name) to \(count)")))
        }
        progress = ("NewReplicaSetCreated", "Created new replica set \"\(name)\"")
        noteRevision(highest + 1)
        // The set does not exist yet: the rest follows when it is seen.
    }

    private func annotations(revision: Int, of set: KubernetesObject?) -> [String: String] {
        var annotations = set?.metadata.annotations ?? [:]
        for (name, value) in object.metadata.annotations
        where !["kubectl.kubernetes.io/last-applied-configuration", DeploymentController.revisionAnnotation]
            .contains(name)
        {
            annotations[name] = value
        }
        annotations[DeploymentController.revisionAnnotation] = String(revision)
        annotations[DeploymentController.desiredAnnotation] = String(wanted)
        annotations[DeploymentController.mostAnnotation] = String(wanted + maxSurge)
        return annotations
    }

    private mutating func noteRevision(_ revision: Int) {
        guard object.metadata.annotations[DeploymentController.revisionAnnotation] != String(revision) else { return }
        var changed = object
        changed.metadata.annotations[DeploymentController.revisionAnnotation] = String(revision)
        decision.changes.append(.update(.deployment, changed))
    }

    private mutating func replace(_ set: KubernetesObject) {
        all = all.map { $0.metadata.uid == set.metadata.uid ? set : $0 }
        if current?.metadata.uid == set.metadata.uid { current = set }
    }

    @discardableResult
    private mutating func scale(_ set: KubernetesObject, to count: Int) -> Bool {
        let before = replicas(set)
        var changed = set
        changed.spec["replicas"] = .integer(Int64(count))
        // What the next change of the number is measured by.
        changed.metadata.annotations[DeploymentController.desiredAnnotation] = String(wanted)
        changed.metadata.annotations[DeploymentController.mostAnnotation] = String(wanted + maxSurge)
        guard changed != set else { return false }
        decision.changes.append(.update(.replicaSet, changed))
        guard before != count else {
            replace(changed)
            return false
        }
        let direction = count > before ? "up" : "down"
        decision.changes.append(
            .event(
                EventNote(
                    object, "ScalingReplicaSet",
                    "Scaled \(direction) replica set \(set.name) to \(count) from \(before)")))
        replace(changed)
        return true
    }

    /// Old replicas go as far as enough replicas stay available: first those that are not available anyway.
    private mutating func scaleDownOld() {
        let minAvailable = wanted - maxUnavailable
        let missingNew = current.map { max(replicas($0) - available($0), 0) } ?? 0
        let total = all.reduce(0) { $0 + replicas($1) }
        var unhealthy = total - minAvailable - missingNew
        guard unhealthy > 0 else { return }
        for set in old where unhealthy > 0 {
            let useless = min(unhealthy, max(replicas(set) - available(set), 0))
            unhealthy -= useless
            scale(set, to: replicas(set) - useless)
        }
        var spare = all.reduce(0) { $0 + min(available($1), replicas($1)) } - minAvailable
        for set in old where spare > 0 {
            let count = min(spare, replicas(set))
            spare -= count
            scale(set, to: replicas(set) - count)
        }
    }

    /// Empty old sets beyond the history limit go, the oldest first.
    private mutating func cleanUp() {
        guard isComplete else { return }
        let empty = old.filter {
            replicas($0) == 0 && ReplicaSet(json: $0.content).status.replicas == 0
                && $0.metadata.deletionTimestamp == nil
        }
        let surplus = empty.count - deployment.spec.revisionHistoryLimit
        guard surplus > 0 else { return }
        func revision(_ set: KubernetesObject) -> Int {
            Int(set.metadata.annotations[DeploymentController.revisionAnnotation] ?? "") ?? 0
        }
        for set in empty.sorted(by: { revision($0) < revision($1) }).prefix(surplus) {
            decision.changes.append(.delete(.replicaSet, set.key, uid: set.metadata.uid))
        }
    }

    // MARK: Status

    private var counts: (replicas: Int, updated: Int, ready: Int, available: Int) {
        let states = all.map { ReplicaSet(json: $0.content).status }
        return (
            states.reduce(0) { $0 + $1.replicas },
            current.map { ReplicaSet(json: $0.content).status.replicas } ?? 0,
            states.reduce(0) { $0 + $1.readyReplicas }, states.reduce(0) { $0 + $1.availableReplicas }
        )
    }

    private var isComplete: Bool {
        let counts = self.counts
        return counts.updated == wanted && counts.replicas == wanted && counts.available == wanted && current != nil
    }

    mutating func writeStatus() {
        let counts = self.counts
        var status: JSON = ["observedGeneration": .integer(Int64(object.metadata.generation))]
        let unavailable = max(all.reduce(0) { $0 + replicas($1) } - counts.available, 0)
        for (name, count) in [
            ("replicas", counts.replicas), ("updatedReplicas", counts.updated), ("readyReplicas", counts.ready),
            ("availableReplicas", counts.available), ("unavailableReplicas", unavailable),
        ] where count > 0 {
            status[name] = .integer(Int64(count))
        }
        if collisions > 0 { status["collisionCount"] = .integer(Int64(collisions)) }
        var conditions = object.status["conditions"]?.array ?? []
        let isAvailable = counts.available >= wanted - maxUnavailable
        set(
            &conditions, "Available", isAvailable,
            isAvailable ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
            isAvailable ? "Deployment has minimum availability." : "Deployment does not have minimum availability.")
        setProgress(&conditions, status)
        status["conditions"] = .array(conditions)
        if status != object.status { decision.changes.append(.updateStatus(.deployment, object.key, status)) }
    }

    private mutating func setProgress(_ conditions: inout [JSON], _ status: JSON) {
        let known = conditions.first { $0["type"]?.string == "Progressing" }
        let name = current?.name ?? object.name
        if deployment.spec.paused {
            set(&conditions, "Progressing", nil, "DeploymentPaused", "Deployment is paused")
            return
        }
        if let progress {
            set(&conditions, "Progressing", true, progress.reason, progress.message, isMove: true)
        } else if isComplete {
            set(
                &conditions, "Progressing", true, "NewReplicaSetAvailable",
                "ReplicaSet \"\(name)\" has successfully progressed.")
            return
        } else if hasMoved(status) {
            set(
                &conditions, "Progressing", true, "ReplicaSetUpdated", "ReplicaSet \"\(name)\" is progressing.",
                isMove: true)
        } else if known?["reason"]?.string == "NewReplicaSetAvailable" {
            // Complete before, and now a replica is missing: no rollout, no deadline.
            return
        }
        let since = conditions.first { $0["type"]?.string == "Progressing" }?["lastUpdateTime"]?.string
        guard let since = since.flatMap({ Timestamp($0) }) else {
            set(
                &conditions, "Progressing", true, "ReplicaSetUpdated", "ReplicaSet \"\(name)\" is progressing.",
                isMove: true)
            decision.lookAgain(after: .seconds(deployment.spec.progressDeadlineSeconds))
            return
        }
        let deadline = since + .seconds(deployment.spec.progressDeadlineSeconds)
        if deadline <= now {
            set(
                &conditions, "Progressing", false, "ProgressDeadlineExceeded",
                "ReplicaSet \"\(name)\" has timed out progressing.")
        } else {
            decision.lookAgain(after: (deadline - now) + .seconds(1))
        }
    }

    private func hasMoved(_ status: JSON) -> Bool {
        func count(_ json: JSON, _ name: String) -> Int { json[name]?.int ?? 0 }
        let before = object.status
        return count(status, "updatedReplicas") > count(before, "updatedReplicas")
            || count(status, "readyReplicas") > count(before, "readyReplicas")
            || count(status, "availableReplicas") > count(before, "availableReplicas")
            || count(status, "replicas") - count(status, "updatedReplicas")
                < count(before, "replicas") - count(before, "updatedReplicas")
    }

    /// Changes a condition; the transition time moves with the status only, the update time when something moved.
    private func set(
        _ conditions: inout [JSON], _ type: String, _ value: Bool?, _ reason: String, _ message: String,
        isMove: Bool = false
    ) {
        let text: JSON = .string(now.secondsText)
        let status: JSON = value.map { $0 ? "True" : "False" } ?? "Unknown"
        let position = conditions.firstIndex { $0["type"]?.string == type }
        let known = position.map { conditions[$0] }
        if let known, !isMove, known["status"] == status, known["reason"]?.string == reason,
            known["message"]?.string == message
        {
            return
        }
        let condition: JSON = [
            "type": .string(type), "status": status, "reason": .string(reason), "message": .string(message),
            "lastUpdateTime": text,
            "lastTransitionTime": known?["status"] == status ? known?["lastTransitionTime"] ?? text : text,
        ]
        if let position { conditions[position] = condition } else { conditions.append(condition) }
    }
}
