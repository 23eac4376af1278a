import KubernetesAPI
import Serialization
import Store

/// Who may do what: the roles and bindings of the store, indexed by whom they are for.
///
/// Pure. Source: Kubernetes' documentation, "Using RBAC Authorization".
struct AccessPolicy: Sendable {
    /// The rules of one binding, and where they hold.
    struct Grant: Sendable {
        /// The namespace in which they hold; `nil` everywhere.
        var namespace: String?
        /// What they allow.
        var rules: [PolicyRule]
    }

    private var grants: [String: [Grant]] = [:]
    private let clusterRoles: [String: [PolicyRule]]
    private let roles: [String: [PolicyRule]]

    /// The policy of these objects.
    init(clusterRoles: [JSON], roles: [JSON], clusterBindings: [JSON], bindings: [JSON]) {
        func name(_ object: JSON) -> String { object["metadata"]?["name"]?.string ?? "" }
        func namespace(_ object: JSON) -> String { object["metadata"]?["namespace"]?.string ?? "" }
        func rules(_ object: JSON) -> [PolicyRule] { (object["rules"]?.array ?? []).map(PolicyRule.init(json:)) }
        self.clusterRoles = Dictionary(clusterRoles.map { (name($0), rules($0)) }, uniquingKeysWith: { $1 })
        self.roles = Dictionary(
            roles.map { (namespace($0) + "/" + name($0), rules($0)) }, uniquingKeysWith: { $1 })
        for binding in clusterBindings {
            add(binding, Grant(namespace: nil, rules: self.clusterRoles[Self.role(binding).name] ?? []))
        }
        for binding in bindings {
            let place = namespace(binding)
            add(binding, Grant(namespace: place, rules: self.rules(of: Self.role(binding), in: place)))
        }
    }

    /// The policy of what `store` holds.
    init(_ store: any ObjectStore) {
        func all(_ kind: ResourceKind) -> [JSON] { store.list(kind.storeResource, namespace: nil).map(\.object) }
        self.init(
            clusterRoles: all(.clusterRole), roles: all(.role), clusterBindings: all(.clusterRoleBinding),
            bindings: all(.roleBinding))
    }

    /// The role that a binding names.
    static func role(_ binding: JSON) -> (kind: String, name: String) {
        (binding["roleRef"]?["kind"]?.string ?? "", binding["roleRef"]?["name"]?.string ?? "")
    }

    /// What the role allows that a binding in `namespace` names.
    func rules(of role: (kind: String, name: String), in namespace: String) -> [PolicyRule] {
        (role.kind == "ClusterRole" ? clusterRoles[role.name] : roles[namespace + "/" + role.name]) ?? []
    }

    private mutating func add(_ binding: JSON, _ grant: Grant) {
        for subject in binding["subjects"]?.array ?? [] {
            let name = subject["name"]?.string ?? ""
            switch subject["kind"]?.string {
            case "User": grants["u:" + name, default: []].append(grant)
            case "Group": grants["g:" + name, default: []].append(grant)
            case "ServiceAccount":
                let place = subject["namespace"]?.string ?? grant.namespace ?? ""
                grants["u:system:serviceaccount:\(place):\(name)", default: []].append(grant)
            default: continue  // Validation has refused other kinds.
            }
        }
    }

    /// What a user may do in a namespace (with `nil`: at the cluster scope).
    func rules(for user: APIUser, in namespace: String?) -> [PolicyRule] {
        if user.isMaster {
            return [PolicyRule(verb: "*", group: "*", resource: "*", name: nil), PolicyRule(verb: "*", path: "*")]
        }
        let keys = ["u:" + user.name] + Set(user.groups + ["system:authenticated"]).map { "g:" + $0 }
        return keys.flatMap { grants[$0] ?? [] }
            .filter { $0.namespace == nil || $0.namespace == namespace }
            .flatMap(\.rules)
    }

    /// Whether a user may do that.
    func allows(_ user: APIUser, _ wish: AccessAttributes) -> Bool {
        if user.isMaster { return true }
        let namespace = wish.namespace.isEmpty ? nil : wish.namespace
        let keys = ["u:" + user.name, "g:system:authenticated"] + user.groups.map { "g:" + $0 }
        for key in keys {
            for grant in grants[key] ?? [] where grant.namespace == nil || grant.namespace == namespace {
                if grant.rules.contains(where: { $0.allows(wish) }) { return true }
            }
        }
        return false
    }

    /// The rights among `wanted` that a user does not have himself.
    func missing(_ user: APIUser, _ wanted: [PolicyRule], in namespace: String?) -> [PolicyRule] {
        let own = rules(for: user, in: namespace)
        return wanted.flatMap { rule in
            guard let parts = rule.parts else { return [rule] }
            return parts.filter { part in !own.contains { $0.covers(part) } }
        }
    }
}
