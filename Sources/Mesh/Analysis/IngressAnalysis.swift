import KubernetesAPI
import Serialization

/// What an Ingress says that does not take effect.
struct IngressAnalysis {
    let tables: AnalysisTables
    let key: NamespacedName
    let object: KubernetesObject
    private var model: MeshModel { tables.model }

    func diagnostics() -> [Diagnostic] {
        let classes = tables.ingressClasses
        guard classes.serves(object) else {
            // Somebody else's; but a class that is nobody's is worth a word.
            guard let name = object.spec["ingressClassName"]?.string, !classes.knows(name) else { return [] }
            return [
                finding(
                    .unknownIngressClass, "spec.ingressClassName",
                    "there is no IngressClass \"\(name)\": nobody serves this Ingress (I-3)")
            ]
        }
        let spec = Ingress(json: object.json).spec
        var found: [Diagnostic] = []
        for (index, entry) in spec.tls.enumerated() {
            if let problem = problem(entry) {
                found.append(
                    finding(
                        .ingressCertificate, "spec.tls[\(index)].secretName",
                        "\(problem): its hosts are not served with TLS"))
            }
        }
        if let backend = spec.defaultBackend { found += check(backend, "spec.defaultBackend") }
        for (index, rule) in spec.rules.enumerated() {
            for (position, path) in rule.http.paths.enumerated() {
                found += check(path.backend, "spec.rules[\(index)].http.paths[\(position)].backend")
            }
        }
        return found
    }

    private func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(code, kind: "Ingress", object: key, field: field, message: message)
    }

    private func problem(_ entry: IngressTLS) -> String? {
        guard !entry.secretName.isEmpty else { return "a Secret is required" }
        let secret = NamespacedName(namespace: key.namespace, name: entry.secretName)
        guard let held = model.objects.object(.secret, secret) else { return "there is no Secret \(secret)" }
        return GatewaySecrets.problem(certificateIn: held).map { "Secret \(secret): \($0)" }
    }

    private func check(_ backend: IngressBackend, _ field: String) -> [Diagnostic] {
        guard let service = backend.service else {
            let kind = backend.resource?.kind ?? ""
            return [
                finding(
                    .ingressBackend, field,
                    "a resource (\(kind)) cannot be a backend here, only a service: such requests get 503")
            ]
        }
        let host = HostName.ofService(NamespacedName(namespace: key.namespace, name: service.name))
        guard let known = model.service(host: host) else {
            return [finding(.ingressBackend, "\(field).service.name", "no service \"\(host)\": such requests get 503")]
        }
        let hasPort = known.ports.contains {
            $0.number == service.port.number || (!$0.name.isEmpty && $0.name == service.port.name)
        }
        guard hasPort else {
            return [
                finding(
                    .ingressBackend, "\(field).service.port",
                    "service \"\(host)\" has no such port: such requests get 503")
            ]
        }
        // the routes of sidecars are not those of gateways.
        let rule = model.rules(covering: host).first { rule in
            !rule.http.isEmpty && rule.hosts.contains(host) && rule.gateways.contains(Mesh.meshGateway)
        }
        guard let rule else { return [] }
        return [
            finding(
                .ingressBypassesRule, "\(field).service.name",
                "VirtualService \(rule.key) is for sidecars: requests by this Ingress go to \(host) without it (R-7)")
        ]
    }
}
