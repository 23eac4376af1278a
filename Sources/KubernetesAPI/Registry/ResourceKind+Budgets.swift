extension ResourceKind {
    /// What limits and plans pods.
    static let budgets: [ResourceKind] = [cronJob, podDisruptionBudget, priorityClass, resourceQuota, limitRange]

    /// `cronjobs`.
    public static let cronJob = ResourceKind(
        "batch", ["v1"], "CronJob", "cronjobs", short: ["cj"], categories: ["all"], subresources: ["status"])
    /// `poddisruptionbudgets`.
    public static let podDisruptionBudget = ResourceKind(
        "policy", ["v1"], "PodDisruptionBudget", "poddisruptionbudgets", short: ["pdb"], subresources: ["status"])
    /// `priorityclasses`.
    public static let priorityClass = ResourceKind(
        "scheduling.k8s.io", ["v1"], "PriorityClass", "priorityclasses", short: ["pc"], isNamespaced: false)
    /// `resourcequotas`.
    public static let resourceQuota = ResourceKind(
        "", ["v1"], "ResourceQuota", "resourcequotas", short: ["quota"], subresources: ["status"])
    /// `limitranges`.
    public static let limitRange = ResourceKind("", ["v1"], "LimitRange", "limitranges", short: ["limits"])
}
