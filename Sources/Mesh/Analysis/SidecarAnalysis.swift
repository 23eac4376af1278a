import KubernetesAPI

/// What a Sidecar says that does not take effect.
struct SidecarAnalysis {
    let tables: AnalysisTables
    let object: KubernetesObject

    func diagnostics() -> [Diagnostic] {
        let scope = SidecarScope(object)
        let sidecar = IstioSidecar(json: object.json)
        var found: [Diagnostic] = []
        func finding(_ code: DiagnosticCode, _ field: String, _ message: String) {
            found.append(Diagnostic(code, kind: "Sidecar", object: scope.key, field: field, message: message))
        }
        let same = tables.sidecars[AnalysisTables.Scope(namespace: scope.key.namespace, labels: scope.selector)] ?? []
        if let first = same.first, first != scope.key {
            finding(.sidecarTwice, "spec.workloadSelector", "the older Sidecar \(first) for the same pods wins (R-11)")
        } else if let loser = same.first(where: { $0 != scope.key }) {
            finding(
                .sidecarTwice, "spec.workloadSelector",
                "Sidecar \(loser) is for the same pods; this one is older and wins")
        }
        if !scope.selector.isEmpty, !tables.hasPod(in: scope.key.namespace, with: scope.selector) {
            finding(.sidecarSelectsNothing, "spec.workloadSelector.labels", "no pod of the namespace has these labels")
        }
        if sidecar.egressProxy != nil {
            finding(
                .sidecarFieldWithoutEffect, "spec.outboundTrafficPolicy.egressProxy",
                "has no effect: unmatched traffic goes where it was going, or nowhere with REGISTRY_ONLY")
        }
        for (index, entry) in (sidecar.egress ?? []).enumerated() {
            let field = "spec.egress[\(index)]"
            for (position, host) in entry.hosts.enumerated() {
                let place = "\(field).hosts[\(position)]"
                guard host.contains("/") else {
                    finding(
                        .invalidSidecarHost, place,
                        "\"\(host)\" must be NAMESPACE/HOST: */*, ./*, ~/*, shop/web.shop.svc.cluster.local")
                    continue
                }
                guard let pattern = SidecarScope.Pattern(host, owner: scope.key.namespace) else { continue }
                if pattern.host != "*", !HostName.isWildcard(pattern.host),
                    !(tables.servicesByHost[pattern.host] ?? []).contains(where: {
                        pattern.covers($0.host, in: $0.key.namespace)
                    })
                {
                    finding(
                        .sidecarImportsNothing, place,
                        "no service \"\(pattern.host)\" in that namespace: nothing is imported")
                }
            }
            if entry.port == nil, entry.bind.isEmpty == false {
                finding(.invalidSidecarEgress, "\(field).bind", "needs a port")
            }
            if entry.bind.hasPrefix("unix://"), entry.captureMode == "IPTABLES" {
                finding(.invalidSidecarEgress, "\(field).captureMode", "IPTABLES cannot capture what goes to a path")
            }
            let earlier = (sidecar.egress ?? []).prefix(index)
            if let port = entry.port {
                let isPath = entry.bind.hasPrefix("unix://")
                if !((isPath ? 0 : 1)...65535).contains(port.number) {
                    finding(
                        .invalidSidecarEgress, "\(field).port.number", "\(port.number) is not between 1 and 65535")
                }
                if earlier.contains(where: { isPath ? $0.bind == entry.bind : $0.port?.number == port.number }) {
                    finding(.invalidSidecarEgress, "\(field).port", "an earlier entry is for the same, too")
                }
            }
            if entry.port == nil, entry.bind.isEmpty, earlier.contains(where: { $0.port == nil && $0.bind.isEmpty }) {
                finding(.invalidSidecarEgress, field, "only one entry may be without a port")
            }
        }
        for (index, entry) in sidecar.ingress.enumerated() {
            let field = "spec.ingress[\(index)]"
            if !(1...65535).contains(entry.port.number) {
                finding(
                    .invalidSidecarIngress, "\(field).port.number", "\(entry.port.number) is not between 1 and 65535")
            }
            if sidecar.ingress.prefix(index).contains(where: { $0.port.number == entry.port.number }) {
                finding(.invalidSidecarIngress, "\(field).port.number", "an earlier entry is for the port, too")
            }
            if !entry.defaultEndpoint.isEmpty, !Self.isOwn(entry.defaultEndpoint) {
                finding(
                    .invalidSidecarIngress, "\(field).defaultEndpoint",
                    "\"\(entry.defaultEndpoint)\" is none of 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, unix:///PATH")
            }
            if entry.captureMode == "NONE" || !entry.bind.isEmpty {
                finding(
                    .sidecarFieldWithoutEffect, "\(field).captureMode",
                    "bind and NONE have no effect: what comes to the pod is captured, whatever its address")
            }
            if entry.tls != nil {
                finding(
                    .sidecarFieldWithoutEffect, "\(field).tls",
                    "has no effect: mutual TLS of the mesh is as PeerAuthentication says")
            }
        }
        return found
    }

    /// Whether an endpoint is the pod itself: what comes to a port is handed to nobody else.
    private static func isOwn(_ endpoint: String) -> Bool {
        guard SidecarScope.endpoint(endpoint) != nil else { return false }
        if endpoint.hasPrefix("unix://") { return endpoint.drop { $0 != ":" }.dropFirst().contains { $0 != "/" } }
        let host = endpoint.lastIndex(of: ":").map { endpoint[..<$0] } ?? ""
        return ["", "127.0.0.1", "0.0.0.0", "[::1]", "[::]"].contains(host)
    }
}
