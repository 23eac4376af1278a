import KubernetesAPI
import Serialization
import Store

// `kubectl drain`: a deletion that asks the disruption budgets first.
// Source: Kubernetes' documentation, "API-initiated Eviction".
extension APIRouter {
    /// More pods than that may not be on their way out of one budget.
    private static let disruptedMax = 2000

    func evict(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        guard request.method == "POST" else { throw .methodNotAllowed() }
        let body = try RequestBody.json(request)
        if let stated = body["metadata"]?["name"]?.string, !stated.isEmpty, stated != name {
            throw .badRequest("name in URL does not match name in Eviction object")
        }
        var options = try deleteOptions(request, body["deleteOptions"] ?? .object([:]))
        if try isDryRun(request.query["dryRun"]) { options.isDryRun = true }
        let namespace = target.namespace ?? ""
        let stored = try registry.stored(.pod, namespace, name)
        // What a deletion would be refused for counts before any budget does.
        var trial = options
        trial.isDryRun = true
        _ = try registry.delete(.pod, namespace, name, options: trial)
        try askBudgets(stored.object, namespace, name, isDryRun: options.isDryRun)
        _ = try registry.delete(.pod, namespace, name, options: options)
        return .json(
            ["kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success", "code": 201], status: 201)
    }

    private func askBudgets(
        _ pod: JSON, _ namespace: String, _ name: String, isDryRun: Bool
    ) throws(StatusError) {
        let phase = pod["status"]?["phase"]?.string ?? "Pending"
        // What runs no more, or not yet, or is leaving already, disrupts nothing.
        guard !["Succeeded", "Failed", "Pending"].contains(phase), pod["metadata"]?["deletionTimestamp"] == nil else {
            return
        }
        let labels = ObjectMeta(json: pod["metadata"] ?? .null).labels
        let budgets = registry.list(.podDisruptionBudget, namespace: namespace).filter { budget in
            guard let selector = budget.spec["selector"] else { return false }
            return LabelSelector(json: selector).matcher.matches(labels)
        }
        guard budgets.count <= 1 else {
            throw .internalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
        }
        guard let budget = budgets.first else { return }
        let status = budget.status
        let isReady = (pod["status"]?["conditions"]?.array ?? []).contains {
            $0["type"] == "Ready" && $0["status"] == "True"
        }
        let (healthy, desired) = (status["currentHealthy"]?.int ?? 0, status["desiredHealthy"]?.int ?? 0)
        if !isReady {
            if budget.spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow" { return }
            if healthy >= desired, desired > 0 { return }
        }
        func refuse(_ message: String, retryAfter seconds: Int64?) -> StatusError {
            var details: [String: JSON] = [
                "causes": [["reason": "DisruptionBudget", "message": .string(message)]]
            ]
            if let seconds { details["retryAfterSeconds"] = .integer(seconds) }
            return StatusError(
                code: 429, reason: "TooManyRequests",
                message: "Cannot evict pod as it would violate the pod's disruption budget.", details: details)
        }
        guard (status["observedGeneration"]?.int ?? 0) >= (budget.json["metadata"]?["generation"]?.int ?? 0) else {
            throw refuse("The disruption budget \(budget.name) is still being processed by the server.", retryAfter: 10)
        }
        let allowed = status["disruptionsAllowed"]?.int ?? 0
        guard allowed > 0 else {
            throw refuse(
                "The disruption budget \(budget.name) needs \(desired) healthy pods and has \(healthy) currently",
                retryAfter: nil)
        }
        guard (status["disruptedPods"]?.object?.count ?? 0) < Self.disruptedMax else {
            throw .forbidden(
                .podDisruptionBudget, budget.name,
                "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
        }
        guard !isDryRun else { return }
        let now = registry.now().secondsText
        _ = try registry.modify(.podDisruptionBudget, namespace, budget.name, subresource: "status") {
            current throws(StatusError) in
            var current = current
            var status = current["status"] ?? .object([:])
            var disrupted = status["disruptedPods"] ?? .object([:])
            disrupted[name] = .string(now)
            status["disruptedPods"] = disrupted
            status["disruptionsAllowed"] = .integer(Int64(allowed - 1))
            current["status"] = status
            return current
        }
    }
}
