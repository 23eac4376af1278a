import KubernetesAPI
import Serialization

/// Which parts of policies no request can meet, as far as other objects tell.
struct SecurityReach {
    let tables: AnalysisTables
    let key: NamespacedName
    let object: KubernetesObject

    private var model: MeshModel { tables.model }
    private var selector: [String: String]? { Selectors.labels(object.spec) }

    /// How many pods of a policy are looked at for their mode of mutual TLS.
    static let podsMax = 16

    func diagnostics() -> [Diagnostic] {
        switch object.kind {
        case "PeerAuthentication": enforcement() + peer()
        case "RequestAuthentication": enforcement() + tokens()
        default: enforcement() + authorization()
        }
    }

    private func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(code, kind: object.kind, object: key, field: field, message: message)
    }

    private var pods: [AnalysisTables.Pod] {
        tables.pods(in: key.namespace == Mesh.rootNamespace ? nil : key.namespace, with: selector ?? [:])
    }

    private func enforcement() -> [Diagnostic] {
        let isEverywhere = key.namespace == Mesh.rootNamespace
        if !isEverywhere, selector == nil, PolicyTarget.all(object.spec).isEmpty, pods.isEmpty {
            return [finding(.policySelectsNothing, "metadata.namespace", "the namespace has no pods")]
        }
        let targets = PolicyTarget.all(object.spec)
        if !targets.isEmpty { return targets.enumerated().compactMap(self.target) }
        guard selector != nil, let first = pods.first,
            pods.allSatisfy({ !$0.hasProxy })
        else { return [] }
        return [
            finding(
                .policyWithoutSidecar, "spec.selector",
                "pod \(first.key) and all others with these labels have no sidecar: nobody enforces the policy")
        ]
    }

    /// A Gateway or class that a policy is attached to, and that is not there.
    private func target(_ index: Int, _ target: PolicyTarget) -> Diagnostic? {
        guard target.problem == nil else { return nil }
        let isClass = target.kind == "GatewayClass"
        let name = NamespacedName(namespace: isClass ? "" : key.namespace, name: target.name)
        if tables.model.objects.object(isClass ? .gatewayClass : .gatewayAPIGateway, name) != nil {
            guard isClass, key.namespace != Mesh.rootNamespace else { return nil }
            return finding(
                .policyTarget, "spec.targetRefs[\(index)]",
                "only policies of \(Mesh.rootNamespace) are attached to a GatewayClass")
        }
        return finding(
            .policyTarget, "spec.targetRefs[\(index)]",
            "there is no \(target.kind) \(isClass ? target.name : name.description)")
    }

    private func peer() -> [Diagnostic] {
        let policy = PeerPolicy(object)
        guard policy.selector == nil, !policy.ports.isEmpty else { return [] }
        return [
            finding(.portLevelWithoutSelector, "spec.portLevelMtls", "has no effect without a selector (A-12)")
        ]
    }

    private func tokens() -> [Diagnostic] {
        var seen: [String: String] = [:]
        return RequestAuthentication(object).rules.compactMap { rule in
            guard let first = seen[rule.issuer] else {
                seen[rule.issuer] = rule.field
                return nil
            }
            return finding(.issuerTwice, "\(rule.field).issuer", "\(first) has issuer \"\(rule.issuer)\", too")
        }
    }

    // MARK: AuthorizationPolicy

    private func authorization() -> [Diagnostic] {
        let policy = AuthorizationPolicy(object)
        var found: [Diagnostic] = []
        for rule in policy.rules {
            for (index, source) in rule.sources.enumerated() {
                let field = "\(rule.field).from[\(index)].source"
                found += principals(field, source)
                found += namespaces(field, source)
            }
            for (index, operation) in rule.operations.enumerated() {
                found += ports("\(rule.field).to[\(index)].operation", operation)
            }
        }
        if policy.action == .allow, let place = policy.identityField, plainTextEverywhere() {
            found.append(
                finding(
                    .identityOfPlainText, place,
                    "mutual TLS is DISABLEd for these pods: no caller has an identity, and nothing is allowed (A-9)"))
        }
        return found
    }

    private func principals(_ field: String, _ source: AuthorizationPolicy.Source) -> [Diagnostic] {
        let issuers = tables.issuers(for: key.namespace)
        return source.values("requestPrincipals").enumerated().compactMap { index, value in
            let place = "\(field).requestPrincipals[\(index)]"
            if issuers.isEmpty {
                return finding(
                    .principalWithoutIssuer, place,
                    "no RequestAuthentication in \(key.namespace) or \(Mesh.rootNamespace) checks tokens: no request has a "
                        + "principal")
            }
            // *, suffixes and presence fit some token of any issuer.
            if value.hasPrefix("*") { return nil }
            let isPrefix = value.hasSuffix("*")
            let wanted = isPrefix ? String(value.dropLast()) : value
            let fits = issuers.contains { issuer in
                wanted.hasPrefix(issuer + "/") || isPrefix && (issuer + "/").hasPrefix(wanted)
            }
            return fits
                ? nil
                : finding(
                    .principalWithoutIssuer, place,
                    "\"\(value)\" is ISSUER/SUBJECT; no RequestAuthentication there has such an issuer")
        }
    }

    private func namespaces(_ field: String, _ source: AuthorizationPolicy.Source) -> [Diagnostic] {
        var found: [Diagnostic] = []
        for (index, name) in source.values("namespaces").enumerated()
        where !tables.hasNamespace(name) {
            found.append(
                finding(
                    .unknownSourceNamespace, "\(field).namespaces[\(index)]",
                    "there is nothing in a namespace \(name): no request comes from it"))
        }
        for (index, name) in source.values("notNamespaces").enumerated() where !tables.hasNamespace(name) {
            found.append(
                finding(
                    .unknownSourceNamespace, "\(field).notNamespaces[\(index)]",
                    "there is nothing in a namespace \(name): nobody is left out by it"))
        }
        for (index, principal) in source.values("principals").enumerated() where !principal.contains("*") {
            let parts = principal.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 5, parts[1] == "ns", parts[3] == "sa", !tables.hasNamespace(parts[2]) else {
                continue
            }
            found.append(
                finding(
                    .unknownSourceNamespace, "\(field).principals[\(index)]",
                    "there is nothing in namespace \(parts[2]): no request comes from it"))
        }
        return found
    }

    private func ports(_ field: String, _ operation: AuthorizationPolicy.Source) -> [Diagnostic] {
        let wanted = operation.values("ports")
        guard !wanted.isEmpty, selector != nil else { return [] }
        let selected = pods
        // Containers need not declare ports: only those that do can be asked.
        guard !selected.isEmpty, selected.allSatisfy({ !$0.ports.isEmpty }) else { return [] }
        return wanted.enumerated().compactMap { index, port in
            guard let number = Int(port), !selected.contains(where: { $0.ports.contains { $0.number == number } })
            else { return nil }
            return finding(
                .policyPortUnknownToPods, "\(field).ports[\(index)]",
                "no container of these pods declares port \(number); policies see the pod's port")
        }
    }

    private func plainTextEverywhere() -> Bool {
        let selected = pods.prefix(Self.podsMax)
        return !selected.isEmpty
            && selected.allSatisfy { tables.mode($0) == .disable }
    }
}

extension AuthorizationPolicy {
    /// Where it asks for an identity that only mutual TLS gives; nil when every rule can do without.
    var identityField: String? {
        guard !rules.isEmpty else { return nil }
        var place: String?
        for rule in rules {
            let isBound =
                !rule.sources.isEmpty
                && rule.sources.allSatisfy { source in
                    ["principals", "namespaces", "serviceAccounts"].contains { !source.values($0).isEmpty }
                }
            guard isBound else { return nil }
            place = place ?? "\(rule.field).from"
        }
        return place
    }
}
