import KubernetesAPI

/// What a Gateway says that does not take effect.
struct EntranceAnalysis {
    let model: MeshModel
    let key: NamespacedName
    let gateway: IstioGateway

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        func warn(_ field: String, _ message: String) {
            found.append(
                Diagnostic(severity: .warning, kind: "Gateway", object: key, field: field, message: message))
        }
        for (index, server) in gateway.servers.enumerated() {
            let field = "spec.servers[\(index)]"
            if !Entrances.canServe(server) {
                let isTLS = ["HTTPS", "TLS"].contains(server.portProtocol.uppercased())
                warn(
                    "\(field).port.protocol",
                    isTLS
                        ? "TLS at gateways is not supported yet: port \(server.port ?? 0) is not opened"
                        : "\(server.portProtocol) is not supported: port \(server.port ?? 0) is not opened")
            }
        }
        let pods = model.workloads.values.filter { pod in
            gateway.selector.allSatisfy { pod.labels[$0.key] == $0.value }
        }
        if pods.isEmpty {
            warn("spec.selector", "no pod has these labels; the gateway of skein has istio: ingressgateway")
        }
        return found
    }
}

/// What an Ingress says that does not take effect.
struct IngressAnalysis {
    let model: MeshModel
    let key: NamespacedName
    let object: KubernetesObject

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        func warn(_ field: String, _ message: String) {
            found.append(
                Diagnostic(severity: .warning, kind: "Ingress", object: key, field: field, message: message))
        }
        func check(_ backend: IngressBackend, _ field: String) {
            guard let service = backend.service else {
                warn(field, "only service backends are supported; such requests get 503")
                return
            }
            let host = HostName.ofService(NamespacedName(namespace: key.namespace, name: service.name))
            guard let known = model.service(host: host) else {
                warn("\(field).service.name", "no service \"\(host)\": such requests get 503")
                return
            }
            let hasPort = known.ports.contains {
                $0.number == service.port.number || (!$0.name.isEmpty && $0.name == service.port.name)
            }
            if !hasPort { warn("\(field).service.port", "service \"\(host)\" has no such port: such requests get 503") }
        }
        let spec = Ingress(json: object.json).spec
        if !spec.tls.isEmpty { warn("spec.tls", "TLS at gateways is not supported yet; plain HTTP is served") }
        if let backend = spec.defaultBackend { check(backend, "spec.defaultBackend") }
        for (index, rule) in spec.rules.enumerated() {
            for (position, path) in rule.http.paths.enumerated() {
                check(path.backend, "spec.rules[\(index)].http.paths[\(position)].backend")
            }
        }
        return found
    }
}
