public import KubernetesAPI
import Mesh
public import Serialization

/// Counts for a PodDisruptionBudget how many of its pods may be evicted now.
///
/// Pure. Source: Kubernetes' documentation, "Specifying a Disruption Budget for your Application".
public enum DisruptionController {
    /// How long a pod that was to be evicted may stay before it counts again; seconds.
    static let patience: Int64 = 120

    /// What to write about a budget.
    ///
    /// - Parameters:
    ///   - pods: those that it selects.
    ///   - scale: how many pods the controller of a pod wants, with what tells that controller apart; nil when it has none that says.
    public static func decide(
        _ object: KubernetesObject, pods: [KubernetesObject], now: Timestamp,
        scale: (KubernetesObject) -> (uid: String, replicas: Int)?
    ) -> Decision {
        guard object.metadata.deletionTimestamp == nil else { return Decision() }
        var decision = Decision()
        let states = pods.map(PodState.init)
        // Pods that are about to go have not gone yet, or never will: those are forgotten after a while.
        var disrupted: [String: JSON] = [:]
        var leaving: Set<String> = []
        for (name, value) in object.status["disruptedPods"]?.object ?? [:] {
            guard let time = value.string.flatMap({ Timestamp($0) }),
                let pod = states.first(where: { $0.object.name == name }), !pod.isTerminating
            else { continue }
            let left = time.seconds + patience - now.seconds
            guard left > 0 else { continue }
            disrupted[name] = value
            leaving.insert(name)
            decision.lookAgain(after: .seconds(left))
        }
        let healthy = states.filter {
            $0.isReady && !$0.isTerminating && !$0.isFinished && !leaving.contains($0.object.name)
        }.count
        let known = object.status["conditions"]?.array?.first { $0["type"] == "DisruptionAllowed" }
        func condition(_ isAllowed: Bool, _ reason: String, _ message: String) -> JSON {
            let status: JSON = isAllowed ? "True" : "False"
            let time = known?["status"] == status ? known?["lastTransitionTime"] : nil
            return [
                "type": "DisruptionAllowed", "status": status, "reason": .string(reason), "message": .string(message),
                "observedGeneration": .integer(Int64(object.json["metadata"]?["generation"]?.int ?? 0)),
                "lastTransitionTime": time ?? .string(now.secondsText),
            ]
        }
        var status: JSON = [
            "observedGeneration": .integer(Int64(object.json["metadata"]?["generation"]?.int ?? 0)),
            "currentHealthy": .integer(Int64(healthy)),
        ]
        if !disrupted.isEmpty { status["disruptedPods"] = .object(disrupted) }
        let bounds = Bounds(object.spec, pods: states.filter { !$0.isFinished }.map(\.object), scale)
        guard let bounds else {
            status["desiredHealthy"] = object.status["desiredHealthy"] ?? 0
            status["expectedPods"] = object.status["expectedPods"] ?? 0
            status["disruptionsAllowed"] = 0
            status["conditions"] = [
                condition(
                    false, "SyncFailed", "found no controllers for the pods: how many there should be is not known")
            ]
            if status != object.status {
                decision.changes.append(
                    .event(
                        EventNote(
                            object, "CalculateExpectedPodCountFailed",
                            "Failed to calculate the number of expected pods: found no controllers for a pod",
                            isWarning: true)))
                decision.changes.append(.updateStatus(.podDisruptionBudget, object.key, status))
            }
            return decision
        }
        let allowed = bounds.expected > 0 ? max(0, healthy - bounds.desired) : 0
        status["desiredHealthy"] = .integer(Int64(bounds.desired))
        status["expectedPods"] = .integer(Int64(bounds.expected))
        status["disruptionsAllowed"] = .integer(Int64(allowed))
        status["conditions"] = [
            condition(allowed > 0, allowed > 0 ? "SufficientPods" : "InsufficientPods", "")
        ]
        if states.isEmpty, object.status != status {
            decision.changes.append(.event(EventNote(object, "NoPods", "No matching pods found")))
        }
        if status != object.status { decision.changes.append(.updateStatus(.podDisruptionBudget, object.key, status)) }
        return decision
    }

    private struct Bounds {
        var expected = 0
        var desired = 0

        init?(
            _ spec: JSON, pods: [KubernetesObject], _ scale: (KubernetesObject) -> (uid: String, replicas: Int)?
        ) {
            func wanted() -> Int? {
                var replicas: [String: Int] = [:]
                for pod in pods {
                    guard let found = scale(pod) else { return nil }
                    replicas[found.uid] = found.replicas
                }
                return replicas.values.reduce(0, +)
            }
            if let most = IntOrString(json: spec["maxUnavailable"]) {
                guard let expected = wanted() else { return nil }
                self.expected = expected
                desired = max(0, expected - (most.scaled(of: expected, roundUp: true) ?? 0))
            } else if let least = IntOrString(json: spec["minAvailable"]) {
                switch least {
                case .int(let number): (expected, desired) = (pods.count, number)
                case .string:
                    guard let expected = wanted() else { return nil }
                    self.expected = expected
                    desired = least.scaled(of: expected, roundUp: true) ?? expected
                }
            } else {
                expected = pods.count
            }
        }
    }
}
