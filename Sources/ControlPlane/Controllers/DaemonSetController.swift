public import KubernetesAPI
import Mesh
public import Serialization

/// Keeps one pod of a DaemonSet on every node that it wants.
public enum DaemonSetController {
    /// What to do for a DaemonSet, given the nodes, and the pods and ControllerRevisions that it controls.
    public static func decide(
        _ object: KubernetesObject, nodes: [KubernetesObject], pods: [KubernetesObject], revisions: [KubernetesObject],
        now: Timestamp
    ) -> Decision {
        var look = DaemonSetLook(object, nodes, pods, revisions, now)
        if object.metadata.deletionTimestamp == nil { look.act() }
        look.writeStatus()
        return look.decision
    }
}

/// One look at one DaemonSet.
private struct DaemonSetLook {
    let object: KubernetesObject
    let spec: DaemonSetSpec
    let now: Timestamp
    var decision = Decision()
    private let wanted: [String]
    private let others: Set<String>
    private var byNode: [String: [PodState]] = [:]
    private var history: RevisionHistory

    init(
        _ object: KubernetesObject, _ nodes: [KubernetesObject], _ pods: [KubernetesObject],
        _ revisions: [KubernetesObject], _ now: Timestamp
    ) {
        self.object = object
        self.now = now
        let spec = DaemonSetSpec(json: object.spec)
        self.spec = spec
        history = RevisionHistory(
            object, .daemonSet, revisions, collisions: object.status["collisionCount"]?.int ?? 0)
        wanted = nodes.filter { Self.isWanted(spec, $0) && $0.metadata.deletionTimestamp == nil }.map(\.name).sorted()
        others = Set(nodes.map(\.name)).subtracting(wanted)
        for pod in pods { byNode[pod.spec["nodeName"]?.string ?? "", default: []].append(PodState(pod)) }
    }

    /// Whether the template may run on that node: its selector, and taints that forbid scheduling and are not tolerated.
    ///
    /// A node that is not ready or unschedulable is wanted, as in Kubernetes.
    private static func isWanted(_ spec: DaemonSetSpec, _ node: KubernetesObject) -> Bool {
        let pod = spec.template.spec
        if !pod.nodeName.isEmpty, pod.nodeName != node.name { return false }
        guard pod.nodeSelector.allSatisfy({ node.metadata.labels[$0.key] == $0.value }) else { return false }
        let tolerations = pod.json["tolerations"]?.array ?? []
        return (node.spec["taints"]?.array ?? []).allSatisfy { taint in
            let key = taint["key"]?.string ?? ""
            if key.hasPrefix("node.kubernetes.io/") || taint["effect"] == "PreferNoSchedule" { return true }
            return tolerations.contains { toleration in
                let effect = toleration["effect"]?.string ?? ""
                guard effect.isEmpty || effect == taint["effect"]?.string else { return false }
                let name = toleration["key"]?.string ?? ""
                if toleration["operator"] == "Exists" { return name.isEmpty || name == key }
                return name == key && (toleration["value"]?.string ?? "") == (taint["value"]?.string ?? "")
            }
        }
    }

    private func isAvailable(_ pod: PodState) -> Bool {
        !pod.isTerminating && pod.isAvailable(minReadySeconds: spec.minReadySeconds, now: now)
    }

    private func isUpdated(_ pod: PodState) -> Bool {
        pod.object.metadata.labels[RevisionHistory.hashLabel] == history.update.name
    }

    private func living(_ node: String) -> [PodState] {
        (byNode[node] ?? []).filter { !$0.isTerminating }.sorted {
            ($0.object.metadata.creationTimestamp, $0.object.name) < (
                $1.object.metadata.creationTimestamp, $1.object.name
            )
        }
    }

    mutating func act() {
        var created = 0
        for node in wanted {
            for pod in living(node) where pod.isFinished {
                note(
                    "FailedDaemonPod",
                    "Found \(pod.phase.lowercased()) daemon pod \(pod.object.key) on node \(node), will try to kill it",
                    isWarning: true)
                delete(pod)
            }
            let pods = living(node).filter { !$0.isFinished }
            // A pod that is going away must be gone first: two of them could want the same port of the node.
            if pods.isEmpty, (byNode[node] ?? []).isEmpty, created < ReplicaSetController.burstMax {
                create(on: node)
                created += 1
            }
        }
        for (node, pods) in byNode where !wanted.contains(node) {
            for pod in pods where !pod.isTerminating { delete(pod) }
        }
        if spec.isOnDelete { dropDuplicates() } else { roll() }
    }

    /// Of several pods on a node the oldest stays.
    private mutating func dropDuplicates() {
        for node in wanted {
            for pod in living(node).filter({ !$0.isFinished }).dropFirst() { delete(pod) }
        }
    }

    private mutating func roll() {
        let surge = spec.maxSurge?.scaled(of: wanted.count, roundUp: true) ?? 0
        let unavailable = spec.maxUnavailable?.scaled(of: wanted.count, roundUp: true) ?? 1
        if surge > 0 { return rollWithSurge(surge) }
        dropDuplicates()
        var missing = wanted.filter { node in !living(node).contains(where: isAvailable) }.count
        for node in wanted {
            guard let pod = living(node).first(where: { !$0.isFinished }), !isUpdated(pod) else { continue }
            // What does not work anyway costs nothing.
            if isAvailable(pod) {
                guard missing < max(1, unavailable) else { continue }
                missing += 1
            }
            delete(pod)
        }
    }

    private mutating func rollWithSurge(_ surge: Int) {
        var room = surge - wanted.filter { living($0).filter { !$0.isFinished }.count > 1 }.count
        for node in wanted {
            let pods = living(node).filter { !$0.isFinished }
            let old = pods.filter { !isUpdated($0) }
            let new = pods.filter(isUpdated)
            if let first = new.first {
                if isAvailable(first) { old.forEach { delete($0) } }
                for extra in new.dropFirst() { delete(extra) }
            } else if let first = old.first {
                for extra in old.dropFirst() { delete(extra) }
                if !isAvailable(first) {
                    delete(first)
                } else if room > 0 {
                    create(on: node)
                    room -= 1
                }
            }
        }
    }

    private mutating func create(on node: String) {
        var pod = PodFactory.pod(RevisionHistory.template(history.update), of: object, .daemonSet)
        pod.json["metadata"]?["generateName"] = .string(object.name + "-")
        pod.label(RevisionHistory.hashLabel, history.update.name)
        pod.label("pod-template-generation", String(object.metadata.generation))
        pod.spec["nodeName"] = .string(node)
        decision.changes.append(.create(.pod, pod))
    }

    private mutating func delete(_ pod: PodState) {
        decision.changes.append(.delete(.pod, pod.object.key, uid: pod.object.metadata.uid))
        note("SuccessfulDelete", "Deleted pod: \(pod.object.name)")
    }

    private mutating func note(_ reason: String, _ message: String, isWarning: Bool = false) {
        decision.changes.append(.event(EventNote(object, reason, message, isWarning: isWarning)))
    }

    // MARK: Status

    mutating func writeStatus() {
        let running = wanted.map { node in living(node).filter { !$0.isFinished } }
        let scheduled = running.filter { !$0.isEmpty }.count
        let available = running.filter { $0.contains(where: isAvailable) }.count
        if let next = running.flatMap({ $0.compactMap(\.readySince) }).map({ $0 + .seconds(spec.minReadySeconds) })
            .filter({ $0 > now }).min()
        {
            decision.lookAgain(after: next - now)
        }
        var status: JSON = [
            "observedGeneration": .integer(Int64(object.metadata.generation)),
            "currentNumberScheduled": .integer(Int64(scheduled)),
            "desiredNumberScheduled": .integer(Int64(wanted.count)),
            "numberMisscheduled": .integer(Int64(others.filter { !living($0).isEmpty }.count)),
            "numberReady": .integer(Int64(running.filter { $0.contains { $0.isReady } }.count)),
        ]
        for (name, count) in [
            ("updatedNumberScheduled", running.filter { $0.contains(where: isUpdated) }.count),
            ("numberAvailable", available), ("numberUnavailable", wanted.count - available),
        ] where count > 0 {
            status[name] = .integer(Int64(count))
        }
        for name in ["collisionCount", "conditions"] {
            if let value = object.status[name] { status[name] = value }
        }
        if object.metadata.deletionTimestamp == nil {
            let live = byNode.values.joined().compactMap { $0.object.metadata.labels[RevisionHistory.hashLabel] }
            history.trim(limit: spec.revisionHistoryLimit, live: Set(live))
            decision.changes = history.changes + decision.changes
        }
        if status != object.status { decision.changes.append(.updateStatus(.daemonSet, object.key, status)) }
    }
}
