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
        if !["", "DISABLE"].contains(policy.tlsMode) {
            found.append(
                warn(
                    "\(field).tls.mode",
                    "\(policy.tlsMode): TLS to services is not supported yet; such requests get 503 instead of going "
                        + "out in the clear"))
        }
        for (index, port) in policy.portLevelSettings.enumerated() {
            found += settings("\(field).portLevelSettings[\(index)]", port.policy)
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
