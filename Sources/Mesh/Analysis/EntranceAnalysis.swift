import KubernetesAPI
import Serialization

/// What an Istio Gateway says that does not take effect.
struct EntranceAnalysis {
    let tables: AnalysisTables
    let key: NamespacedName
    let gateway: IstioGateway
    private var model: MeshModel { tables.model }

    func diagnostics() -> [Diagnostic] {
        var found = invalid() + gateway.servers.enumerated().flatMap { server($0.offset, $0.element) }
        if !tables.hasPod(in: nil, with: gateway.selector) {
            found.append(
                finding(
                    .gatewaySelectsNothing, "spec.selector",
                    "no pod has these labels; the gateway of skein has istio: ingressgateway"))
        }
        return found
    }

    private func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(code, kind: "Gateway", object: key, field: field, message: message)
    }

    /// What no Gateway can say.
    private func invalid() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if gateway.servers.isEmpty { found.append(finding(.invalidValue, "spec.servers", "at least one is required")) }
        for (index, server) in gateway.servers.enumerated() {
            let field = "spec.servers[\(index)]"
            // Routes choose servers by the names of their ports.
            let name = server.portName
            if !name.isEmpty, gateway.servers.prefix(index).contains(where: { $0.portName == name }) {
                found.append(
                    finding(.invalidValue, "\(field).port.name", "\"\(name)\" is the name of an earlier port"))
            }
        }
        return found
    }

    private func server(_ index: Int, _ server: IstioGateway.Server) -> [Diagnostic] {
        let field = "spec.servers[\(index)]"
        let closed = "port \(server.port ?? 0) is not opened"
        guard let family = ServerTLSCheck.family(server) else {
            let isTLS = ["HTTPS", "TLS"].contains(server.portProtocol.uppercased())
            return [
                finding(
                    .gatewayPortClosed,
                    isTLS ? "\(field).tls" : "\(field).port.protocol",
                    isTLS
                        ? "\(server.portProtocol) needs TLS settings: \(closed)"
                        : "\(server.portProtocol) is not supported: \(closed)")
            ]
        }
        if server.bind.hasPrefix("unix://") {
            return [
                finding(
                    .gatewayPortClosed, "\(field).bind", "gateways listen on ports alone: \(server.bind) is not opened")
            ]
        }
        var found: [Diagnostic] = []
        if !server.bind.isEmpty {
            found.append(
                finding(
                    .gatewayFieldWithoutEffect, "\(field).bind",
                    "has no effect: gateways listen on all addresses of their pod"))
        }
        if server.httpsRedirect, family == .tls {
            found.append(
                finding(.gatewayFieldWithoutEffect, "\(field).tls.httpsRedirect", "has no effect where TLS is spoken"))
        }
        if let other = rival(server, family) {
            found.append(
                finding(
                    .gatewayPortConflict, "\(field).port",
                    "port \(server.port ?? 0) speaks something else for the older Gateway \(other)"))
        }
        if let tls = server.tls, case .terminate(let clients) = ServerTLSCheck.mode(server) {
            found += self.tls("\(field).tls", tls, clients, closed)
        }
        return found
    }

    /// The older Gateway for the same pods that decided what a port speaks.
    private func rival(_ server: IstioGateway.Server, _ family: Entrances.Family) -> NamespacedName? {
        guard let port = server.port, let age = tables.ages[key] else { return nil }
        let claims = tables.claims[AnalysisTables.Door(selector: gateway.selector, port: port)] ?? []
        return claims.first { $0.age < age && $0.family != family }?.key
    }

    private func tls(
        _ field: String, _ tls: IstioGateway.ServerTLS, _ clients: ServerTLSCheck.Clients, _ closed: String
    ) -> [Diagnostic] {
        var found: [Diagnostic] = []
        for member in tls.fileMembers {
            found.append(
                finding(
                    .gatewayCertificateFiles, "\(field).\(member)",
                    "files of the gateway's pod are not read: use credentialName"))
        }
        if clients == .meshIdentity { return found }
        if tls.credentialNames.isEmpty {
            found.append(finding(.gatewayCredential, "\(field).credentialName", "a certificate is required: \(closed)"))
        }
        for name in tls.credentialNames {
            if let problem = problem(name, GatewaySecrets.problem(certificateIn:)) {
                found.append(finding(.gatewayCredential, "\(field).credentialName", "\(problem): \(closed)"))
            }
        }
        if clients == .certificate || clients == .optionalCertificate {
            let isApart = !tls.caCertCredentialName.isEmpty
            let name = isApart ? tls.caCertCredentialName : tls.credentialNames.first ?? ""
            let problem = problem(name) { secret in
                GatewaySecrets.problem(
                    authorityIn: "Secret", NamespacedName(namespace: secret.namespace, name: secret.name),
                    model.objects)
            }
            if let problem {
                found.append(
                    finding(
                        .gatewayCredential, "\(field).\(isApart ? "caCertCredentialName" : "credentialName")",
                        "\(problem): \(closed)"))
            }
        }
        return found
    }

    /// Why no Secret of that name can be used by the gateway pods.
    private func problem(_ name: String, _ check: (KubernetesObject) -> String?) -> String? {
        guard !name.isEmpty else { return nil }
        let candidates = ServerTLSCheck.candidates(name, gateway: key.namespace, pod: Mesh.gatewayNamespace)
        let secrets = candidates.compactMap { model.objects.object(.secret, $0) }
        guard let first = secrets.first else {
            return "there is no Secret \"\(name)\" in namespace "
                + candidates.map(\.namespace).joined(separator: ", ")
        }
        if secrets.contains(where: { check($0) == nil }) { return nil }
        return check(first).map { "Secret \(first.namespace)/\(first.name): \($0)" }
    }
}
