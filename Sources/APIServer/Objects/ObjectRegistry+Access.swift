import KubernetesAPI
import Serialization
import Store

extension ObjectRegistry {
    private static let rbac = "rbac.authorization.k8s.io"

    /// Who may do what, as the store says now.
    var policy: AccessPolicy {
        if let known = knownPolicy { return known }
        let policy = AccessPolicy(store)
        knownPolicy = policy
        return policy
    }

    /// An object has changed that others follow from: definitions make kinds, roles and bindings the policy.
    func kindChanged(_ kind: ResourceKind) {
        foreignChange(of: kind)
        if kind == .clusterRole { aggregateRoles() }
    }

    /// The same, when another server over the same store wrote it and has put roles together.
    func foreignChange(of kind: ResourceKind) {
        if kind == .customResourceDefinition { readDefinitions() }
        if kind.group == Self.rbac { knownPolicy = nil }
    }

    /// Writes the rules of roles with an `aggregationRule`: those of all roles that its selectors want.
    private func aggregateRoles() {
        guard !isAggregating else { return }
        isAggregating = true
        defer { isAggregating = false }
        // A role may be put together of one that is put together itself; each round settles one level.
        for _ in 0..<4 {
            let all = store.list(ResourceKind.clusterRole.storeResource, namespace: nil)
            var hasChanged = false
            for stored in all {
                guard let selectors = stored.object["aggregationRule"]?["clusterRoleSelectors"]?.array else { continue }
                let matchers = selectors.map { LabelSelector(json: $0).matcher }
                var rules: [JSON] = []
                for other in all where other.key != stored.key {
                    let labels = ObjectMeta(json: other.object["metadata"] ?? .null).labels
                    guard matchers.contains(where: { $0.matches(labels) }) else { continue }
                    for rule in other.object["rules"]?.array ?? [] where !rules.contains(rule) { rules.append(rule) }
                }
                guard stored.object["rules"] ?? [] != .array(rules) else { continue }
                var object = stored.object
                object["rules"] = .array(rules)
                hasChanged = (try? replace(stored, with: object, .clusterRole, "")) != nil || hasChanged
            }
            if !hasChanged { return }
        }
    }

    /// Makes the roles and bindings that are missing; a role that is there gets the rules that it lacks, as an earlier version knew fewer.
    ///
    /// What somebody has added stays, and so does all of a role whose annotation `rbac.authorization.kubernetes.io/autoupdate`
    /// is not `true`.
    func createDefaultRoles() throws(StatusError) {
        isAggregating = true
        for role in DefaultRoles.clusterRoles {
            let name = role["metadata"]?["name"]?.string ?? ""
            guard let stored = store.get(key(.clusterRole, "", name)) else {
                _ = try create(role, .clusterRole)
                continue
            }
            guard stored.object["metadata"]?["annotations"]?[DefaultRoles.autoupdate]?.string == "true" else {
                continue
            }
            let known = stored.object["rules"]?.array ?? []
            let own = known.map(PolicyRule.init(json:))
            let missing = (role["rules"]?.array ?? []).filter { rule in
                !known.contains(rule)
                    && PolicyRule(json: rule).parts?.contains { part in !own.contains { $0.covers(part) } } ?? true
            }
            guard !missing.isEmpty else { continue }
            var object = stored.object
            object["rules"] = .array(known + missing)
            do throws(StatusError) {
                _ = try replace(stored, with: object, .clusterRole, "")
            } catch {
                // Another server over the same store has just done it.
                guard error.code == 409 else { throw error }
            }
        }
        for binding in DefaultRoles.clusterBindings {
            let name = binding["metadata"]?["name"]?.string ?? ""
            if store.get(key(.clusterRoleBinding, "", name)) == nil { _ = try create(binding, .clusterRoleBinding) }
        }
        isAggregating = false
        aggregateRoles()
        knownPolicy = nil
    }

    /// Nobody gives rights that he does not have, unless he may `escalate` roles or `bind` the role.
    func checkEscalation(_ object: JSON, _ kind: ResourceKind, _ user: APIUser?) throws(StatusError) {
        guard kind.group == Self.rbac, let user, !user.isMaster else { return }
        let name = object["metadata"]?["name"]?.string ?? ""
        let namespace = object["metadata"]?["namespace"]?.string
        let policy = policy
        var wanted: [PolicyRule]
        switch kind {
        case .role, .clusterRole:
            let wish = AccessAttributes(
                verb: "escalate", group: Self.rbac, resource: kind.plural, namespace: namespace ?? "", name: name)
            if policy.allows(user, wish) { return }
            wanted = (object["rules"]?.array ?? []).map(PolicyRule.init(json:))
            if object["aggregationRule"] != nil {
                wanted += [
                    PolicyRule(verb: "*", group: "*", resource: "*", name: nil), PolicyRule(verb: "*", path: "*"),
                ]
            }
        default:
            let role = AccessPolicy.role(object)
            let wish = AccessAttributes(
                verb: "bind", group: Self.rbac, resource: role.kind == "ClusterRole" ? "clusterroles" : "roles",
                namespace: namespace ?? "", name: role.name)
            if policy.allows(user, wish) { return }
            wanted = policy.rules(of: role, in: namespace ?? "")
        }
        let missing = policy.missing(user, wanted, in: namespace)
        guard missing.isEmpty else {
            let shown = missing.prefix(20).map(\.json.text).joined(separator: "\n")
            throw .forbidden(
                kind, name,
                "user \"\(user.name)\" (groups=[\(user.groups.map { "\"\($0)\"" }.joined(separator: " "))]) is attempting "
                    + "to grant RBAC permissions not currently held:\n\(shown)")
        }
    }
}
