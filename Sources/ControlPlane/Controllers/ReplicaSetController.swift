public import KubernetesAPI
import Mesh
public import Serialization

/// Keeps the number of pods that a ReplicaSet or a ReplicationController asks for.
public enum ReplicaSetController {
    /// Pods made or deleted in one decision at most; more follow when these are seen.
    static let burstMax = 50

    /// What to do for an object of that kind, given the pods that it controls.
    public static func decide(
        _ object: KubernetesObject, _ kind: ResourceKind = .replicaSet, pods: [KubernetesObject], now: Timestamp
    ) -> Decision {
        var decision = Decision()
        let replicaSet = ReplicaSet(json: object.content)
        let states = pods.map(PodState.init)
        let active = states.filter(\.isActive)
        let wanted = replicaSet.spec.replicas
        if object.metadata.deletionTimestamp == nil {
            if active.count < wanted {
                let missing = min(wanted - active.count, burstMax)
                decision.changes += (0..<missing).map { _ in .create(.pod, newPod(of: object, kind)) }
            } else if active.count > wanted {
                for pod in victims(active, count: min(active.count - wanted, burstMax), now: now) {
                    decision.changes.append(.delete(.pod, pod.object.key, uid: pod.object.metadata.uid))
                    decision.changes.append(
                        .event(EventNote(object, "SuccessfulDelete", "Deleted pod: \(pod.object.name)")))
                }
            }
        }
        let minReady = replicaSet.spec.minReadySeconds
        let available = active.filter { $0.isAvailable(minReadySeconds: minReady, now: now) }.count
        if minReady > 0,
            let next = active.compactMap(\.readySince).map({ $0 + .seconds(minReady) }).filter({ $0 > now }).min()
        {
            decision.lookAgain(after: next - now)
        }
        let templateLabels = object.spec["template"]?["metadata"]?["labels"]?.object ?? [:]
        let labelled = active.filter { pod in
            templateLabels.allSatisfy { pod.object.metadata.labels[$0.key] == $0.value.string }
        }
        var status: JSON = ["replicas": .integer(Int64(active.count))]
        for (name, count) in [
            ("fullyLabeledReplicas", labelled.count), ("readyReplicas", active.filter(\.isReady).count),
            ("availableReplicas", available),
        ] where count > 0 {
            status[name] = .integer(Int64(count))
        }
        status["observedGeneration"] = .integer(Int64(object.metadata.generation))
        status["conditions"] = object.status["conditions"]
        if status != object.status { decision.changes.append(.updateStatus(kind, object.key, status)) }
        return decision
    }

    private static func newPod(of object: KubernetesObject, _ kind: ResourceKind) -> KubernetesObject {
        let template = object.spec["template"] ?? .object([:])
        var metadata = template["metadata"] ?? .object([:])
        metadata["creationTimestamp"] = nil
        metadata["name"] = nil
        metadata["generateName"] = .string(object.name + "-")
        metadata["namespace"] = .string(object.namespace)
        metadata["ownerReferences"] = [object.controllerReference(kind)]
        return KubernetesObject(json: [
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] ?? .object([:]),
        ])
    }

    /// The pods to delete, as Kubernetes ranks them: without node, not running, not ready, cheap to delete, ready for
    /// the shortest time, restarted most often, youngest.
    private static func victims(_ pods: [PodState], count: Int, now: Timestamp) -> [PodState] {
        func cost(_ pod: PodState) -> Int {
            Int(pod.object.metadata.annotations["controller.kubernetes.io/pod-deletion-cost"] ?? "") ?? 0
        }
        func phaseRank(_ pod: PodState) -> Int { pod.phase == "Pending" ? 0 : pod.phase == "Unknown" ? 1 : 2 }
        func goesFirst(_ left: PodState, _ right: PodState) -> Bool {
            let unbound = { (pod: PodState) in pod.object.spec["nodeName"]?.string ?? "" == "" }
            if unbound(left) != unbound(right) { return unbound(left) }
            if phaseRank(left) != phaseRank(right) { return phaseRank(left) < phaseRank(right) }
            if left.isReady != right.isReady { return !left.isReady }
            if cost(left) != cost(right) { return cost(left) < cost(right) }
            if let since = left.readySince, let other = right.readySince, since != other { return since > other }
            if left.restarts != right.restarts { return left.restarts > right.restarts }
            let (born, otherBorn) = (
                left.object.metadata.creationTimestamp, right.object.metadata.creationTimestamp
            )
            if born != otherBorn { return born > otherBorn }
            return left.object.name > right.object.name
        }
        return Array(pods.sorted(by: goesFirst).prefix(count))
    }
}
