import KubernetesAPI

/// What a Sidecar says that does not take effect.
struct SidecarAnalysis {
    let model: MeshModel
    let object: KubernetesObject

    func diagnostics() -> [Diagnostic] {
        let scope = SidecarScope(object)
        let sidecar = IstioSidecar(json: object.json)
        var found: [Diagnostic] = []
        func note(_ severity: Diagnostic.Severity, _ field: String, _ message: String) {
            found.append(
                Diagnostic(severity: severity, kind: "Sidecar", object: scope.key, field: field, message: message))
        }
        let rivals = model.sidecars.filter {
            $0.key.namespace == scope.key.namespace && $0.selector == scope.selector && $0.key != scope.key
        }
        if let first = model.sidecars.first(where: { other in
            other.key == scope.key || rivals.contains { $0.key == other.key }
        }), first.key != scope.key {
            note(.warning, "spec.workloadSelector", "the older Sidecar \(first.key) for the same pods wins (R-11)")
        } else if let loser = rivals.first {
            note(
                .warning, "spec.workloadSelector",
                "Sidecar \(loser.key) is for the same pods; this one is older and wins")
        }
        if !scope.selector.isEmpty,
            !model.workloads.contains(where: {
                $0.key.namespace == scope.key.namespace && Labels.match(scope.selector, $0.value.labels)
            })
        {
            note(.warning, "spec.workloadSelector.labels", "no pod of the namespace has these labels")
        }
        if sidecar.egressProxy != nil {
            note(
                .warning, "spec.outboundTrafficPolicy.egressProxy",
                "has no effect: unmatched traffic goes where it was going, or nowhere with REGISTRY_ONLY")
        }
        for (index, entry) in (sidecar.egress ?? []).enumerated() {
            let field = "spec.egress[\(index)]"
            for (position, host) in entry.hosts.enumerated() {
                let place = "\(field).hosts[\(position)]"
                guard host.contains("/") else {
                    note(
                        .error, place,
                        "\"\(host)\" must be NAMESPACE/HOST: */*, ./*, ~/*, shop/web.shop.svc.cluster.local")
                    continue
                }
                guard let pattern = SidecarScope.Pattern(host, owner: scope.key.namespace) else { continue }
                if pattern.host != "*", !HostName.isWildcard(pattern.host),
                    !model.sortedServices.contains(where: { pattern.covers($0.host, in: $0.key.namespace) })
                {
                    note(.warning, place, "no service \"\(pattern.host)\" in that namespace: nothing is imported")
                }
            }
            if entry.port == nil, entry.bind.isEmpty == false {
                note(.error, "\(field).bind", "needs a port")
            }
            if entry.bind.hasPrefix("unix://"), entry.captureMode == "IPTABLES" {
                note(.error, "\(field).captureMode", "IPTABLES cannot capture what goes to a path")
            }
            let earlier = (sidecar.egress ?? []).prefix(index)
            if entry.port == nil, entry.bind.isEmpty, earlier.contains(where: { $0.port == nil && $0.bind.isEmpty }) {
                note(.error, field, "only one entry may be without a port")
            }
        }
        for (index, entry) in sidecar.ingress.enumerated() {
            let field = "spec.ingress[\(index)]"
            if !(1...65535).contains(entry.port.number) {
                note(.error, "\(field).port.number", "\(entry.port.number) is not between 1 and 65535")
            }
            if !entry.defaultEndpoint.isEmpty, SidecarScope.endpoint(entry.defaultEndpoint) == nil {
                note(
                    .error, "\(field).defaultEndpoint",
                    "\"\(entry.defaultEndpoint)\" is none of 127.0.0.1:PORT, 0.0.0.0:PORT, [::1]:PORT, unix:///PATH")
            }
            if entry.captureMode == "NONE" || !entry.bind.isEmpty {
                note(
                    .warning, "\(field).captureMode",
                    "bind and NONE have no effect: what comes to the pod is captured, whatever its address")
            }
            if entry.tls != nil {
                note(.warning, "\(field).tls", "has no effect: mutual TLS of the mesh is as PeerAuthentication says")
            }
        }
        return found
    }
}
