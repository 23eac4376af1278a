import Serialization

extension Validator {
    /// The rules of roles and bindings, in Kubernetes' words.
    mutating func access(_ object: KubernetesObject) {
        switch object.kind {
        case "Role", "ClusterRole":
            for (index, rule) in (object.json["rules"]?.array ?? []).enumerated() {
                policyRule(KubernetesObject(json: rule), "rules[\(index)]", isNamespaced: object.kind == "Role")
            }
        default: binding(object)
        }
    }

    private mutating func policyRule(_ rule: KubernetesObject, _ path: String, isNamespaced: Bool) {
        let (paths, groups) = (rule.strings("nonResourceURLs"), rule.strings("apiGroups"))
        let (resources, names) = (rule.strings("resources"), rule.strings("resourceNames"))
        if !paths.isEmpty {
            if isNamespaced {
                add(
                    .invalid(
                        path + ".nonResourceURLs", "\(paths)", "namespaced rules cannot apply to non-resource URLs"))
            }
            if !groups.isEmpty || !resources.isEmpty || !names.isEmpty {
                add(
                    .invalid(
                        path + ".nonResourceURLs", "\(paths)",
                        "rules cannot apply to both regular resources and non-resource URLs"))
            }
            return
        }
        if groups.isEmpty {
            add(.required(path + ".apiGroups", "resource rules must supply at least one api group"))
        }
        if resources.isEmpty {
            add(.required(path + ".resources", "resource rules must supply at least one resource"))
        }
    }

    private mutating func binding(_ object: KubernetesObject) {
        let role = object.json["roleRef"]?["kind"]?.string ?? ""
        let allowed = object.kind == "RoleBinding" ? ["ClusterRole", "Role"] : ["ClusterRole"]
        if !role.isEmpty, !allowed.contains(role) { add(.notSupported("roleRef.kind", role, allowed)) }
        let group = object.json["roleRef"]?["apiGroup"]?.string ?? ""
        if group != "rbac.authorization.k8s.io" {
            add(.notSupported("roleRef.apiGroup", group, ["rbac.authorization.k8s.io"]))
        }
        for (index, subject) in (object.json["subjects"]?.array ?? []).enumerated() {
            let path = "subjects[\(index)]"
            let (kind, group) = (subject["kind"]?.string ?? "", subject["apiGroup"]?.string ?? "")
            switch kind {
            case "ServiceAccount":
                if let name = subject["name"]?.string { check(path + ".name", name, Names.dns1123SubdomainProblem) }
                if !group.isEmpty { add(.notSupported(path + ".apiGroup", group, [""])) }
                if object.kind == "ClusterRoleBinding", subject["namespace"]?.string?.isEmpty ?? true {
                    add(.required(path + ".namespace"))
                }
            case "User", "Group":
                if group != "rbac.authorization.k8s.io" {
                    add(.notSupported(path + ".apiGroup", group, ["rbac.authorization.k8s.io"]))
                }
            case "": break  // Said already: it must be there.
            default: add(.notSupported(path + ".kind", kind, ["ServiceAccount", "User", "Group"]))
            }
        }
    }
}
