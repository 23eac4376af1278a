extension ResourceKind {
    /// The kinds that are found out when somebody asks, and never stored: what pods and machines use.
    static let measured: [ResourceKind] = [nodeMetrics, podMetrics]

    private static func metrics(_ kind: String, _ plural: String, isNamespaced: Bool) -> ResourceKind {
        ResourceKind("metrics.k8s.io", ["v1beta1"], kind, plural, isNamespaced: isNamespaced, verbs: ["get", "list"])
    }

    /// `nodes` of `metrics.k8s.io`: what machines use now.
    public static let nodeMetrics = metrics("NodeMetrics", "nodes", isNamespaced: false)
    /// `pods` of `metrics.k8s.io`: what containers use now.
    public static let podMetrics = metrics("PodMetrics", "pods", isNamespaced: true)

    /// Whether objects of this kind are measured when somebody asks.
    public var isMeasured: Bool { group == "metrics.k8s.io" }
}
