import KubernetesAPI
import Serialization

/// What controllers ask about a pod.
struct PodState {
    let object: KubernetesObject
    let phase: String
    let isTerminating: Bool
    /// Since when the pod has been ready; `nil` when it is not.
    let readySince: Timestamp?

    init(_ object: KubernetesObject) {
        self.object = object
        let pod = Pod(json: object.content)
        phase = object.status["phase"]?.string ?? "Pending"
        isTerminating = object.metadata.deletionTimestamp != nil
        let ready = (object.status["conditions"]?.array ?? []).first { $0["type"]?.string == "Ready" }
        if ready?["status"]?.string == "True" {
            readySince =
                Timestamp(ready?["lastTransitionTime"]?.string ?? pod.metadata.creationTimestamp)
                ?? Timestamp(seconds: 0)
        } else {
            readySince = nil
        }
    }

    var isReady: Bool { readySince != nil }
    /// Whether it has run to its end.
    var isFinished: Bool { phase == "Succeeded" || phase == "Failed" }
    /// Whether it counts as a replica.
    var isActive: Bool { !isFinished && !isTerminating }

    func isAvailable(minReadySeconds: Int, now: Timestamp) -> Bool {
        guard let readySince else { return false }
        return minReadySeconds == 0 || readySince + .seconds(minReadySeconds) <= now
    }

    var restarts: Int {
        (object.status["containerStatuses"]?.array ?? []).reduce(0) { $0 + ($1["restartCount"]?.int ?? 0) }
    }
}
