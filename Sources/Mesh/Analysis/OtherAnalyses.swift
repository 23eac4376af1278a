import KubernetesAPI

/// What a DestinationRule says that does not, or not yet, take effect.
struct PolicyAnalysis {
    let model: MeshModel
    let policy: MeshModel.Policy

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if !HostName.isWildcard(policy.host), model.service(host: policy.host) == nil {
            found.append(warn("spec.host", "no service \"\(policy.host)\""))
        }
        found += settings("spec.trafficPolicy", policy.rule.trafficPolicy)
        for (index, subset) in policy.subsets.enumerated() {
            let field = "spec.subsets[\(index)]"
            found += settings("\(field).trafficPolicy", subset.trafficPolicy)
            if policy.subsets.prefix(index).contains(where: { $0.name == subset.name }) {
                found.append(warn("\(field).name", "\"\(subset.name)\" is defined before; the first one counts (D-2)"))
            }
        }
        if let older = model.policies.first(where: {
            $0.key.namespace == policy.key.namespace && $0.host == policy.host && $0.rule.trafficPolicy != nil
        }), older.key != policy.key, policy.rule.trafficPolicy != nil {
            found.append(
                warn("spec.trafficPolicy", "the older DestinationRule \(older.key) for the same host wins (D-2)"))
        }
        return found
    }

    private func warn(_ field: String, _ message: String) -> Diagnostic {
        Diagnostic(severity: .warning, kind: "DestinationRule", object: policy.key, field: field, message: message)
    }

    private func settings(_ field: String, _ policy: DestinationRule.TrafficPolicy?) -> [Diagnostic] {
        guard let policy else { return [] }
        var found: [Diagnostic] = []
        if policy.loadBalancer?.hasConsistentHash == true {
            found.append(
                warn("\(field).loadBalancer.consistentHash", "not supported yet; LEAST_REQUEST is used instead"))
        }
        if policy.loadBalancer?.hasLocalitySetting == true {
            found.append(warn("\(field).loadBalancer.localityLbSetting", "not supported yet; it has no effect"))
        }
        if policy.loadBalancer?.hasWarmup == true {
            found.append(warn("\(field).loadBalancer.warmup", "not supported yet; it has no effect"))
        }
        if ["UPGRADE"].contains(policy.connectionPool?.h2UpgradePolicy ?? "") {
            found.append(
                warn("\(field).connectionPool.http.h2UpgradePolicy", "HTTP/2 is not supported yet; HTTP/1.1 is used"))
        }
        found += UpstreamSecurity.problems(policy.tls).map { warn("\(field).tls.\($0.field)", $0.message) }
        for (index, port) in policy.portLevelSettings.enumerated() {
            found += settings("\(field).portLevelSettings[\(index)]", port.policy)
        }
        return found
    }
}

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

/// What a Service says that the mesh does not do.
struct ServiceAnalysis {
    let key: NamespacedName
    let service: Service

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if service.spec.sessionAffinity == "ClientIP" {
            found.append(
                Diagnostic(
                    severity: .warning, kind: "Service", object: key, field: "spec.sessionAffinity",
                    message: "ClientIP is not supported yet: proxies balance each request (S-10)"))
        }
        for (index, port) in service.spec.ports.enumerated() {
            let spoken = PortProtocol(
                transport: port.protocol, appProtocol: port.appProtocol, name: port.name, port: port.port)
            if spoken == .http2 {
                found.append(
                    Diagnostic(
                        severity: .warning, kind: "Service", object: key, field: "spec.ports[\(index)]",
                        message: "HTTP/2 and gRPC are not routed by request yet: connections are balanced as TCP"))
            }
        }
        return found
    }
}
