import KubernetesAPI
import Serialization

/// What the security kinds say that has no effect, or another than its author hopes.
struct SecurityAnalysis {
    let tables: AnalysisTables
    let kind: MeshObjects.Kind
    let object: KubernetesObject
    private var model: MeshModel { tables.model }
    private var key: NamespacedName { NamespacedName(namespace: object.namespace, name: object.name) }

    init(tables: AnalysisTables, kind: MeshObjects.Kind, object: KubernetesObject) {
        self.tables = tables
        self.kind = kind
        self.object = object
    }

    func diagnostics() -> [Diagnostic] {
        switch kind {
        case .peerAuthentication: peer()
        case .requestAuthentication: tokens()
        case .authorizationPolicy: authorization()
        default: []
        }
    }

    private func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(code, kind: kind.name, object: key, field: field, message: message)
    }

    /// Whether any pod is chosen.
    private func selection(_ selector: [String: String]?, _ targets: [PolicyTarget]) -> [Diagnostic] {
        var found = targets.enumerated().compactMap { index, target in
            target.problem.map { finding(.policyTarget, "spec.targetRefs[\(index)]", $0) }
        }
        guard let selector, targets.isEmpty else { return found }
        if let name = selector[Mesh.gatewayNameLabel], let gateway = gateway(name) {
            found.append(
                finding(
                    .policySelectsGateway, "spec.selector",
                    "Gateway \(gateway) has no pod of its own, and no pod has its name as a label: nobody is held to the policy"
                ))
            return found
        }
        if !tables.hasPod(in: key.namespace == Mesh.rootNamespace ? nil : key.namespace, with: selector) {
            found.append(
                finding(.policySelectsNothing, "spec.selector", "no pod has these labels: the policy has no effect"))
        }
        return found
    }

    /// A Gateway of the Gateway API that a policy of this namespace may mean.
    private func gateway(_ name: String) -> NamespacedName? {
        model.gatewayAPI.gateways.lazy.map(\.key).first {
            $0.name == name && (key.namespace == Mesh.rootNamespace || $0.namespace == key.namespace)
        }
    }

    private func peer() -> [Diagnostic] {
        let policy = PeerPolicy(object)
        var found: [Diagnostic] = []
        if key.namespace == Mesh.rootNamespace, policy.selector != nil {
            found.append(
                finding(
                    .selectorInRootNamespace,
                    "spec.selector",
                    "a selector in \(Mesh.rootNamespace) selects nothing: the policy has no effect (A-12)")
            )
            return found
        }
        found += selection(policy.selector, [])
        let scope = AnalysisTables.Scope(namespace: key.namespace, labels: policy.selector ?? [:])
        if let older = tables.peers[scope], older != key {
            found.append(
                finding(
                    .peerAuthenticationTwice, policy.selector == nil ? "spec" : "spec.selector",
                    "the older PeerAuthentication \(older) wins "
                        + (policy.selector == nil ? "in the whole namespace (A-12)" : "for these pods (A-12)")))
        }
        // A DestinationRule that keeps callers from speaking what is demanded here.
        if policy.mode == .strict {
            let isForAll = key.namespace == Mesh.rootNamespace
            let names = isForAll ? tables.plainTextRules.keys.sorted() : [key.namespace]
            for rule in names.flatMap({ tables.plainTextRules[$0] ?? [] }) {
                found.append(
                    finding(
                        .mutualTLSConflict,
                        "spec.mtls.mode",
                        "DestinationRule \(rule.key) calls \(rule.host) in plain text: every such request fails (D-5)"))
            }
        }
        return found
    }

    private func tokens() -> [Diagnostic] {
        let policy = RequestAuthentication(object)
        var found = selection(policy.selector, policy.targets)
        for rule in policy.rules where rule.keySet.isEmpty {
            if rule.keySetURI.isEmpty {
                found.append(
                    finding(
                        .tokenWithoutKeys,
                        rule.field,
                        "neither jwks nor jwksUri: keys are not looked up from the issuer, every token is refused"))
                continue
            }
            guard let location = KeySetLocation(rule.keySetURI) else {
                found.append(
                    finding(.tokenWithoutKeys, "\(rule.field).jwksUri", "cannot be read: every token is refused"))
                continue
            }
            if location.isForbidden {
                found.append(
                    finding(
                        .tokenWithoutKeys,
                        "\(rule.field).jwksUri",
                        "\(location.host): nobody is sent to this machine's own addresses; every token is refused"))
            }
        }
        if !(object.spec["jwtRules"]?.array ?? []).isEmpty, !requiresTokens(policy) {
            found.append(
                finding(
                    .tokensNotRequired,
                    "spec.jwtRules",
                    "requests without a token pass; an AuthorizationPolicy with requestPrincipals: [\"*\"] keeps them out "
                        + "(A-11)"))
        }
        return found
    }

    /// Whether some policy asks for a request principal.
    private func requiresTokens(_ policy: RequestAuthentication) -> Bool {
        tables.tokenNamespaces.contains(policy.key.namespace) || tables.tokenNamespaces.contains(Mesh.rootNamespace)
    }

    /// Lists that are there and empty: read as absent they mean everybody, and their author meant nobody.
    private func emptyLists() -> [Diagnostic] {
        var found: [Diagnostic] = []
        for (index, rule) in (object.spec["rules"]?.array ?? []).enumerated() {
            for member in ["from", "to", "when"] {
                let field = "spec.rules[\(index)].\(member)"
                guard let list = rule[member]?.array else { continue }
                if list.isEmpty {
                    found.append(finding(.invalidValue, field, "is empty: leave it out where everything is meant"))
                }
                guard member == "when" else { continue }
                for (position, condition) in list.enumerated() {
                    for values in ["values", "notValues"] where condition[values]?.array?.contains("") == true {
                        found.append(
                            finding(.invalidValue, "\(field)[\(position)].\(values)", "a value cannot be empty"))
                    }
                }
            }
        }
        return found
    }

    private func authorization() -> [Diagnostic] {
        let policy = AuthorizationPolicy(object)
        var found = selection(policy.selector, policy.targets)
        if policy.action == .deny, policy.rules.isEmpty {
            found.append(finding(.denyWithoutRules, "spec.rules", "DENY without rules denies nothing (A-2)"))
        }
        found += emptyLists()
        if policy.action == .custom {
            if model.config.security.providers[policy.provider] == nil {
                found.append(
                    finding(
                        .unknownAuthorizationProvider,
                        "spec.provider.name",
                        "the mesh configuration has no extension provider \"\(policy.provider)\": what matches is refused"
                    ))
            }
        }
        if policy.isDryRun, policy.action == .custom || policy.action == .audit {
            found.append(
                finding(
                    .dryRunOfCustom, "metadata.annotations[istio.io/dry-run]",
                    "only ALLOW and DENY can be tried, not \(policy.action.rawValue)"))
        }
        let needsIdentity = policy.rules.contains { rule in
            rule.sources.contains {
                !$0.values("principals").isEmpty || !$0.values("namespaces").isEmpty
                    || !$0.values("serviceAccounts").isEmpty
            }
        }
        if needsIdentity, !model.config.security.usesAutomaticTLS {
            found.append(
                finding(
                    .identitiesSwitchedOff, "spec.rules",
                    "identities come from mutual TLS, which enableAutoMtls: false switches off (A-9)"))
        }
        if policy.action == .deny {
            for rule in policy.rules
            where !rule.operations.isEmpty && rule.operations.allSatisfy({ $0.values("ports").isEmpty }) {
                found.append(
                    finding(
                        .denyOfConnections,
                        "\(rule.field).to",
                        "without ports it is for connections too, where only requests have hosts, methods and paths: all "
                            + "connections from there are denied (A-4)"))
            }
        }
        return found
    }
}
