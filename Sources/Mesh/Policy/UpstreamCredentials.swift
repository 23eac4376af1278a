import EnvoyAPI
import KubernetesAPI
import Serialization

/// The certificates that proxies show to servers, and the authorities by which they judge them, where a DestinationRule
/// names a Secret (`credentialName`, destination_rule.proto).
///
/// As in Istio the Secret is in the namespace of the proxy, and sidecars use it only under a rule that selects their
/// workload: a rule for everybody would ask every pod's namespace for the same Secret. Gateways look where they look for
/// their own certificates: beside the pod, in the root namespace, beside the rule.
struct UpstreamCredentials: Sendable, Hashable {
    /// The resource with certificate and key; nil where only authorities are named.
    var certificate: String?
    /// The resource with the authorities.
    var authority: String

    /// What a rule's `credentialName` means to a proxy; `nil` where it means nothing to it.
    ///
    /// - Parameters:
    ///   - name: As written: of a Secret, perhaps after `kubernetes://`, or of a ConfigMap after `configmap://`.
    ///   - rule: The namespace of the rule.
    ///   - holder: Who shows the certificate.
    init?(_ name: String, rule: String, holder: Holder, model: MeshModel) {
        let isConfigMap = name.hasPrefix(GatewaySecrets.configMapScheme)
        var plain = name[...]
        for scheme in [GatewaySecrets.scheme, GatewaySecrets.configMapScheme] where plain.hasPrefix(scheme) {
            plain = plain.dropFirst(scheme.count)
        }
        // A namespace in the name must be the one that is meant anyhow.
        if let slash = plain.firstIndex(of: "/") {
            guard plain[..<slash] == holder.namespace else { return nil }
            plain = plain[plain.index(after: slash)...]
        }
        guard !plain.isEmpty, !plain.contains("/") else { return nil }
        let kind: MeshObjects.Kind = isConfigMap ? .configMap : .secret
        let key = NamespacedName(
            namespace: holder.places(rule).first { namespace in
                model.hasObject(kind, NamespacedName(namespace: namespace, name: String(plain)))
            } ?? holder.namespace, name: String(plain))
        certificate = isConfigMap ? nil : GatewaySecrets.certificateName(key)
        authority = GatewaySecrets.authorityName(isConfigMap ? "ConfigMap" : "Secret", key)
    }

    /// Whose credentials they are.
    struct Holder: Sendable, Hashable {
        var namespace: String
        var isGateway: Bool

        /// Where a Secret may be, best first.
        fileprivate func places(_ rule: String) -> [String] {
            isGateway ? [namespace, Mesh.rootNamespace, rule] : [namespace]
        }
    }

    /// The resources that a proxy may be asked for by its clusters.
    static func resources(_ caller: Caller, _ model: MeshModel) -> [EnvoyAPI.Secret] {
        let holder = Holder(namespace: caller.namespace, isGateway: caller.role == .gateway)
        var names: Set<String> = []
        for rule in model.credentialPolicies where counts(rule, for: caller) {
            for name in rule.rule.credentialNames {
                guard let found = UpstreamCredentials(name, rule: rule.key.namespace, holder: holder, model: model)
                else { continue }
                names.formUnion([found.certificate, found.authority].compactMap { $0 })
            }
        }
        guard !names.isEmpty else { return [] }
        return names.sorted().compactMap { model.secretResource($0) }
    }

    /// Whether a rule's Secrets are for that caller.
    private static func counts(_ rule: MeshModel.Policy, for caller: Caller) -> Bool {
        guard HostName.isVisible(exportTo: rule.rule.exportTo, owner: rule.key.namespace, to: caller.namespace)
        else { return false }
        if rule.rule.workloadSelector.isEmpty { return caller.role == .gateway }
        return rule.key.namespace == caller.namespace && Labels.match(rule.rule.workloadSelector, caller.labels)
    }
}

extension DestinationRule {
    /// All Secrets that the rule names for TLS.
    var credentialNames: [String] {
        let policies = [trafficPolicy].compactMap { $0 } + subsets.compactMap(\.trafficPolicy)
        let levels = policies + policies.flatMap { $0.portLevelSettings.map(\.policy) }
        return levels.compactMap { $0.tls }.filter { ["SIMPLE", "MUTUAL"].contains($0.mode) }.map(\.credentialName)
            .filter { !$0.isEmpty }
    }
}
