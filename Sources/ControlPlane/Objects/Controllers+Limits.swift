import APIServer
import KubernetesAPI
import Mesh
import Serialization

// CronJobs, disruption budgets and quotas: what they are shown of the world, and whose changes concern them.
extension Controllers {
    /// How often a quota counts what no controller hears of.
    private static let quotaInterval = Duration.seconds(30)

    /// A pod concerns the budgets that select it and the quotas of its namespace.
    func noticeLimits(of event: ObjectEvent) {
        noticeQuotas(event.object.namespace)
        for budget in cache.objects(.podDisruptionBudget, namespace: event.object.namespace) {
            guard let selector = budget.spec["selector"] else { continue }
            let matcher = LabelSelector(json: selector).matcher
            if [event.object, event.previous].contains(where: {
                $0.map { matcher.matches($0.metadata.labels) } ?? false
            }) {
                enqueue(.disruptionBudget(budget.key))
            }
        }
    }

    /// How many pods there should be has changed in a namespace.
    func noticeBudgets(_ namespace: String) {
        for budget in cache.objects(.podDisruptionBudget, namespace: namespace) {
            enqueue(.disruptionBudget(budget.key))
        }
    }

    func noticeQuotas(_ namespace: String) {
        for quota in cache.objects(.resourceQuota, namespace: namespace) { enqueue(.quota(quota.key)) }
    }

    func decideCronJob(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.cronJob, key) else { return Decision() }
        return CronJobController.decide(object, jobs: controlled(.job, by: object), now: now(), zone: timeZone)
    }

    func decideBudget(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.podDisruptionBudget, key) else { return Decision() }
        var pods: [KubernetesObject] = []
        if let selector = object.spec["selector"] {
            let matcher = LabelSelector(json: selector).matcher
            pods =
                matcher.requirements.isEmpty
                ? cache.objects(.pod, namespace: key.namespace) : matching(.pod, matcher, namespace: key.namespace)
        }
        return DisruptionController.decide(object, pods: pods, now: now()) { pod in self.scale(of: pod) }
    }

    /// How many pods the controller of a pod wants: its Deployment where it has one.
    private func scale(of pod: KubernetesObject) -> (uid: String, replicas: Int)? {
        func replicas(_ object: KubernetesObject) -> (uid: String, replicas: Int) {
            (object.metadata.uid, object.spec["replicas"]?.int ?? 1)
        }
        if let key = owner(of: pod, .statefulSet), let set = cache.object(.statefulSet, key) { return replicas(set) }
        if let key = owner(of: pod, .replicationController), let set = cache.object(.replicationController, key) {
            return replicas(set)
        }
        guard let key = owner(of: pod, .replicaSet), let set = cache.object(.replicaSet, key) else { return nil }
        if let key = owner(of: set, .deployment), let deployment = cache.object(.deployment, key) {
            return replicas(deployment)
        }
        return replicas(set)
    }

    func decideQuota(_ key: NamespacedName) -> Decision {
        guard let object = cache.object(.resourceQuota, key), object.metadata.deletionTimestamp == nil else {
            return Decision()
        }
        let (hard, used) = registry.quotaStatus(object)
        let status: JSON = [
            "hard": .object(hard.mapValues { .string($0) }), "used": .object(used.mapValues { .string($0) }),
        ]
        var decision = Decision()
        if status != object.status { decision.changes.append(.updateStatus(.resourceQuota, key, status)) }
        let heard: Set<String> = [
            "pods", "count/pods", "services", "count/services", "services.nodeports", "services.loadbalancers",
        ]
        if hard.keys.contains(where: { !heard.contains($0) && !$0.hasPrefix("requests.") && !$0.hasPrefix("limits.") })
        {
            decision.lookAgain(after: Self.quotaInterval)
        }
        return decision
    }
}
