import EnvoyAPI
import KubernetesAPI
import Serialization

/// How gateways speak TLS to services, as BackendTLSPolicies say.
struct BackendTLS: Sendable, Hashable {
    typealias Finding = GatewayAPIModel.Finding

    /// A service, or one port of it by name.
    struct Target: Sendable, Hashable {
        var service: NamespacedName
        var portName: String?
    }

    /// One policy.
    struct Policy: Sendable, Hashable {
        var key: NamespacedName
        /// The name for SNI and for the certificate.
        var hostname: String
        /// The names of which the certificate must have one, in the place of `hostname`.
        var names: [Name] = []
        var trust: Trust = .nothing
        /// The targets that it got.
        var targets: [Target] = []
        /// Why it has no effect.
        var refusal: Finding?
        /// Which of its references lead nowhere.
        var unresolved: [Finding] = []

        var place: Provenance { Provenance(kind: "BackendTLSPolicy", object: key, field: "spec.validation") }
    }

    /// A name in a certificate.
    struct Name: Sendable, Hashable {
        var isURI: Bool
        var value: String
    }

    /// Whose certificates are trusted.
    enum Trust: Sendable, Hashable {
        /// Nobody's: connections fail.
        case nothing
        /// The authorities of the machine.
        case system
        /// These ConfigMaps and Secrets.
        case authorities([Authority])
    }

    /// An object with a `ca.crt`.
    struct Authority: Sendable, Hashable {
        var kind: String
        var key: NamespacedName
    }

    /// All policies, oldest first.
    private(set) var policies: [Policy] = []
    private var byTarget: [Target: Int] = [:]

    init(_ objects: MeshObjects, services: ServiceLookup) {
        for object in objects.inOrder(.backendTLSPolicy) {
            let written = GatewayAPI.BackendTLSPolicy(json: object.json)
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            var policy = Policy(key: key, hostname: written.hostname.lowercased())
            policy.names = written.subjectAltNames.map { Name(isURI: $0.isURI, value: $0.value) }
            trust(written, &policy, objects)
            if let option = written.options.first {
                policy.refusal = Finding(reason: "Invalid", message: "spec.options: \(option) is not known here")
            }
            target(written, &policy, services)
            policies.append(policy)
        }
    }

    private func trust(_ written: GatewayAPI.BackendTLSPolicy, _ policy: inout Policy, _ objects: MeshObjects) {
        var authorities: [Authority] = []
        for (index, reference) in written.caCertificateRefs.enumerated() {
            let field = "spec.validation.caCertificateRefs[\(index)]"
            let key = NamespacedName(namespace: policy.key.namespace, name: reference.name)
            guard (reference.group ?? "").isEmpty, ["ConfigMap", "Secret"].contains(reference.kind) else {
                policy.unresolved.append(
                    Finding(
                        reason: "InvalidKind", message: "\(field): \(reference.kind) is neither ConfigMap nor Secret"))
                continue
            }
            if let problem = GatewaySecrets.problem(authorityIn: reference.kind, key, objects) {
                policy.unresolved.append(
                    Finding(reason: "InvalidCACertificateRef", message: "\(field): \(problem)"))
                continue
            }
            authorities.append(Authority(kind: reference.kind, key: key))
        }
        if !authorities.isEmpty {
            policy.trust = .authorities(authorities)
        } else if written.wellKnownCACertificates == "System", written.caCertificateRefs.isEmpty {
            policy.trust = .system
        } else if written.caCertificateRefs.isEmpty {
            policy.refusal = Finding(
                reason: "Invalid",
                message: "spec.validation.wellKnownCACertificates: \"\(written.wellKnownCACertificates)\" is not known")
        } else {
            policy.refusal = Finding(
                reason: "NoValidCACertificate", message: "no certificate authority can be used; connections fail")
        }
    }

    /// The oldest policy of a target wins; one for a port beats one for the service.
    private mutating func target(
        _ written: GatewayAPI.BackendTLSPolicy, _ policy: inout Policy, _ services: ServiceLookup
    ) {
        var refusal: Finding?
        for reference in written.targets {
            let key = NamespacedName(namespace: policy.key.namespace, name: reference.name)
            guard (reference.group ?? "").isEmpty, reference.kind == "Service",
                let service = services.service(HostName.ofService(key)),
                reference.sectionName.map({ name in service.ports.contains { $0.name == name } }) ?? true
            else {
                refusal = Finding(reason: "TargetNotFound", message: "spec.targetRefs: there is no such Service \(key)")
                continue
            }
            let target = Target(service: service.key, portName: reference.sectionName)
            if let other = byTarget[target], policies.indices.contains(other) {
                refusal = Finding(
                    reason: "Conflicted",
                    message: "the older BackendTLSPolicy \(policies[other].key) has Service \(key) for its target, too")
                continue
            }
            byTarget[target] = policies.count
            policy.targets.append(target)
        }
        if policy.targets.isEmpty, policy.refusal == nil { policy.refusal = refusal }
    }

    /// Whether some policy has the service for its target.
    func concerns(_ service: NamespacedName) -> Bool {
        !byTarget.isEmpty && byTarget.keys.contains { $0.service == service }
    }

    /// The policy that counts for a port.
    func policy(for service: NamespacedName, port: MeshService.Port) -> Policy? {
        let index =
            (port.name.isEmpty ? nil : byTarget[Target(service: service, portName: port.name)])
            ?? byTarget[Target(service: service, portName: nil)]
        return index.flatMap { policies.indices.contains($0) ? policies[$0] : nil }
    }
}

extension BackendTLS.Policy {
    /// The resource with the authorities of this policy.
    var resourceName: String { "backendtls://\(key)" }

    /// That resource; `nil` when the authorities are the machine's.
    func resource(_ objects: MeshObjects) -> EnvoyAPI.Secret? {
        guard case .authorities(let authorities) = trust else { return nil }
        var bytes: [UInt8] = []
        for authority in authorities {
            bytes += GatewaySecrets.authorityText(authority.kind, authority.key, objects) ?? []
            if bytes.last != 0x0a { bytes.append(0x0a) }
        }
        var source = DataSource()
        source.specifier = .inlineBytes(bytes)
        var context = CertificateValidationContext()
        context.trustedCa = source
        var secret = EnvoyAPI.Secret()
        secret.name = resourceName
        secret.type = .validationContext(context)
        return secret
    }
}
