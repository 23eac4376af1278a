extension ResourceKind {
    /// The kinds about who may do what, and the reviews that are answered and never stored.
    static let access: [ResourceKind] = [
        clusterRole, clusterRoleBinding, role, roleBinding, tokenReview, selfSubjectReview, subjectAccessReview,
        localSubjectAccessReview, selfSubjectAccessReview, selfSubjectRulesReview,
    ]

    private static func rbac(_ kind: String, _ plural: String, isNamespaced: Bool) -> ResourceKind {
        ResourceKind("rbac.authorization.k8s.io", ["v1"], kind, plural, isNamespaced: isNamespaced)
    }

    private static func review(_ group: String, _ kind: String, _ plural: String, isNamespaced: Bool = false)
        -> ResourceKind
    {
        ResourceKind(group, ["v1"], kind, plural, isNamespaced: isNamespaced, verbs: ["create"])
    }

    /// `clusterroles`.
    public static let clusterRole = rbac("ClusterRole", "clusterroles", isNamespaced: false)
    /// `clusterrolebindings`.
    public static let clusterRoleBinding = rbac("ClusterRoleBinding", "clusterrolebindings", isNamespaced: false)
    /// `roles`.
    public static let role = rbac("Role", "roles", isNamespaced: true)
    /// `rolebindings`.
    public static let roleBinding = rbac("RoleBinding", "rolebindings", isNamespaced: true)
    /// `tokenreviews`: whose is this token.
    public static let tokenReview = review("authentication.k8s.io", "TokenReview", "tokenreviews")
    /// `selfsubjectreviews`: who am I.
    public static let selfSubjectReview = review("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews")
    /// `subjectaccessreviews`: may somebody.
    public static let subjectAccessReview = review(
        "authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews")
    /// `localsubjectaccessreviews`: may somebody in this namespace.
    public static let localSubjectAccessReview = review(
        "authorization.k8s.io", "LocalSubjectAccessReview", "localsubjectaccessreviews", isNamespaced: true)
    /// `selfsubjectaccessreviews`: may I.
    public static let selfSubjectAccessReview = review(
        "authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews")
    /// `selfsubjectrulesreviews`: what may I.
    public static let selfSubjectRulesReview = review(
        "authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews")

    /// Whether objects of this kind are answered at once and never stored.
    public var isReview: Bool { group == "authentication.k8s.io" || group == "authorization.k8s.io" }
}
