import KubernetesAPI

/// Whether anybody calls by a DestinationRule.
struct PolicyReach {
    let tables: AnalysisTables
    let policy: MeshModel.Policy
    private var model: MeshModel { tables.model }

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        func note(_ code: DiagnosticCode, _ field: String, _ message: String) {
            found.append(Diagnostic(code, kind: "DestinationRule", object: policy.key, field: field, message: message))
        }
        let namespace = policy.key.namespace
        let services = tables.servicesByHost[policy.host] ?? []
        if !HostName.isWildcard(policy.host) {
            let unused = policy.subsets.enumerated().filter {
                !tables.usedSubsets.contains("\(policy.host) \($0.element.name)")
            }
            // Subsets that wait for a rule are common; a policy of which nothing is used is worth a word.
            if let first = unused.first, unused.count == policy.subsets.count, policy.rule.trafficPolicy == nil {
                note(
                    .unusedSubset, "spec.subsets[\(first.offset)]",
                    "no VirtualService sends to a subset of \"\(policy.host)\": the DestinationRule changes nothing")
            }
            if namespace != Mesh.rootNamespace, !services.isEmpty,
                !services.contains(where: { $0.key.namespace == namespace }), !tables.hasPod(in: namespace, with: [:])
            {
                note(
                    .policyWithoutCallers, "metadata.namespace",
                    "outside of the service's namespace it counts for callers in \(namespace), which has no pods (D-1)")
            }
        }
        // Without any endpoint the admission of an object says nothing: its pods may come next.
        if let service = services.first, service.registry == .kubernetes, model.endpoints(of: service).isEmpty {
            for (index, subset) in policy.subsets.enumerated() where !subset.labels.isEmpty {
                note(
                    .subsetWithoutEndpoints, "spec.subsets[\(index)].labels",
                    "\"\(policy.host)\" has no endpoint, with these labels or others: such requests get 503")
            }
        }
        for (field, settings) in levels { found += security(field, settings, services) }
        let selector = policy.rule.workloadSelector
        if !selector.isEmpty, !tables.hasPod(in: namespace, with: selector) {
            note(.policyWithoutCallers, "spec.workloadSelector", "no pod of the namespace has these labels (D-7)")
        }
        return found
    }
}

extension PolicyReach {
    /// How many pods of a service are looked at for their mode of mutual TLS.
    static let podsMax = 16

    /// The TLS settings with their fields.
    private var levels: [(field: String, tls: DestinationRule.ClientTLS)] {
        var found: [(String, DestinationRule.ClientTLS)] = []
        func add(_ field: String, _ settings: DestinationRule.TrafficPolicy?) {
            guard let settings else { return }
            if let tls = settings.tls { found.append(("\(field).tls", tls)) }
            for (index, port) in settings.portLevelSettings.enumerated() {
                if let tls = port.policy.tls { found.append(("\(field).portLevelSettings[\(index)].tls", tls)) }
            }
        }
        add("spec.trafficPolicy", policy.rule.trafficPolicy)
        for (index, subset) in policy.subsets.enumerated() {
            add("spec.subsets[\(index)].trafficPolicy", subset.trafficPolicy)
        }
        return found
    }

    private func security(
        _ field: String, _ tls: DestinationRule.ClientTLS, _ services: [MeshService]
    ) -> [Diagnostic] {
        func finding(_ code: DiagnosticCode, _ member: String, _ message: String) -> Diagnostic {
            Diagnostic(
                code, kind: "DestinationRule", object: policy.key, field: "\(field).\(member)", message: message)
        }
        var found: [Diagnostic] = []
        let pods = services.filter { $0.registry == .kubernetes && !$0.selector.isEmpty }
            .flatMap { tables.pods(in: $0.key.namespace, with: $0.selector).prefix(Self.podsMax) }
        let modes = pods.map { pod -> PeerMode in
            pod.hasProxy ? tables.mode(pod) : .disable
        }
        if let first = pods.first {
            if tls.mode == "DISABLE", modes.allSatisfy({ $0 == .strict }) {
                found.append(
                    finding(
                        .mutualTLSConflict, "mode",
                        "pod \(first.key) and the others demand mutual TLS: every such request fails (D-5)"))
            } else if tls.mode == "ISTIO_MUTUAL", modes.allSatisfy({ $0 == .disable }) {
                found.append(
                    finding(
                        .mutualTLSConflict, "mode",
                        "pod \(first.key) and the others speak plain text: every such request fails (D-5)"))
            }
        }
        if ["SIMPLE", "MUTUAL"].contains(tls.mode), !tls.credentialName.isEmpty {
            found += credential(tls.credentialName).map { finding($0.code, "credentialName", $0.message) }
        }
        return found
    }

    private func credential(_ name: String) -> [(code: DiagnosticCode, message: String)] {
        let isForAll = policy.rule.workloadSelector.isEmpty
        let holder = UpstreamCredentials.Holder(
            namespace: isForAll ? Mesh.gatewayNamespace : policy.key.namespace, isGateway: isForAll)
        let credentials = UpstreamCredentials(name, rule: policy.key.namespace, holder: holder, model: model)
        var found: [(DiagnosticCode, String)] = []
        if credentials.flatMap({ GatewaySecrets.resource($0.authority, model.objects) }) == nil,
            credentials?.certificate.flatMap({ GatewaySecrets.resource($0, model.objects) }) == nil
        {
            let places = isForAll ? [holder.namespace, Mesh.rootNamespace, policy.key.namespace] : [holder.namespace]
            found.append(
                (
                    .policyCredential,
                    "\"\(name)\" is no usable Secret or ConfigMap of namespace \(places.joined(separator: ", ")): connections fail"
                ))
        }
        if isForAll {
            found.append(
                (
                    .credentialForGatewaysOnly,
                    "without workloadSelector it is for gateways; sidecars do not use it (D-8)"
                ))
        }
        return found
    }
}
