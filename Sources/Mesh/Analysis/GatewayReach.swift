import KubernetesAPI

/// Whether anything goes through an Istio Gateway.
struct GatewayReach {
    let tables: AnalysisTables
    let key: NamespacedName
    let object: KubernetesObject

    func diagnostics() -> [Diagnostic] {
        let gateway = IstioGateway(json: object.json)
        var found: [Diagnostic] = []
        func note(_ code: DiagnosticCode, _ field: String, _ message: String) {
            found.append(Diagnostic(code, kind: "Gateway", object: key, field: field, message: message))
        }
        let needsRules = gateway.servers.contains { server in
            !server.httpsRedirect && ServerTLSCheck.mode(server) != .autoPassthrough
        }
        if needsRules, !tables.usedGateways.contains(key.description) {
            note(.gatewayWithoutRules, "metadata.name", "no VirtualService names it: requests get 404")
        }
        let pods = tables.pods(in: nil, with: gateway.selector)
        var ports: Set<Int> = []
        for pod in pods.prefix(1) {
            for service in tables.services(in: pod.key.namespace, selecting: pod.labels) {
                ports.formUnion(service.ports.compactMap { $0.number(at: pod) })
            }
        }
        for (index, server) in gateway.servers.enumerated() {
            guard let port = server.port else { continue }
            if !ports.isEmpty, !ports.contains(port) {
                note(
                    .gatewayPortNotOnService, "spec.servers[\(index)].port.number",
                    "no Service of the gateway's pods leads to port \(port): it answers at the pods' addresses only")
            }
            guard ServerTLSCheck.family(server) == .tls else { continue }
            let claims = tables.hostClaims[AnalysisTables.Door(selector: gateway.selector, port: port)] ?? [:]
            for (position, host) in server.hosts.enumerated() {
                guard let older = claims[host], older != key else { continue }
                note(
                    .gatewayPortConflict, "spec.servers[\(index)].hosts[\(position)]",
                    "host \"\(host)\" of port \(port) belongs to the older Gateway \(older)")
            }
        }
        return found
    }
}
