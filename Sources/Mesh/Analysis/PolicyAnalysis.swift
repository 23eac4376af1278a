import KubernetesAPI

/// What a DestinationRule says that does not take effect, or not as its author may think.
struct PolicyAnalysis {
    let model: MeshModel
    let policy: MeshModel.Policy

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if !HostName.isWildcard(policy.host), !model.hasService(host: policy.host) {
            found.append(warn("spec.host", "no service \"\(policy.host)\""))
        }
        found += settings("spec.trafficPolicy", policy.rule.trafficPolicy)
        for (index, subset) in policy.subsets.enumerated() {
            let field = "spec.subsets[\(index)]"
            found += settings("\(field).trafficPolicy", subset.trafficPolicy)
            if policy.subsets.prefix(index).contains(where: { $0.name == subset.name }) {
                found.append(warn("\(field).name", "\"\(subset.name)\" is defined before; the first one counts (D-2)"))
            }
            if let service = model.service(host: policy.host), !subset.labels.isEmpty {
                let all = model.endpoints(of: service)
                if !all.isEmpty, !all.contains(where: { $0.has(subset.labels) }) {
                    found.append(
                        warn(
                            "\(field).labels",
                            "no endpoint of \"\(policy.host)\" has these labels: such requests get 503"))
                }
            }
        }
        if let older = model.policies(covering: policy.host).first(where: {
            $0.key.namespace == policy.key.namespace && $0.host == policy.host && $0.rule.trafficPolicy != nil
                && $0.rule.workloadSelector.isEmpty == policy.rule.workloadSelector.isEmpty
        }), older.key != policy.key, policy.rule.trafficPolicy != nil {
            found.append(
                warn("spec.trafficPolicy", "the older DestinationRule \(older.key) for the same host wins (D-2)"))
        }
        return found
    }

    private func warn(_ field: String, _ message: String) -> Diagnostic {
        Diagnostic(severity: .warning, kind: "DestinationRule", object: policy.key, field: field, message: message)
    }

    private func refuse(_ field: String, _ message: String) -> Diagnostic {
        Diagnostic(severity: .error, kind: "DestinationRule", object: policy.key, field: field, message: message)
    }

    private func settings(_ field: String, _ policy: DestinationRule.TrafficPolicy?) -> [Diagnostic] {
        guard let policy else { return [] }
        var found = level(field, policy)
        if let tunnel = policy.tunnel {
            if !["CONNECT", "POST"].contains(tunnel.protocol.uppercased()) {
                found.append(refuse("\(field).tunnel.protocol", "\(tunnel.protocol) is neither CONNECT nor POST"))
            }
            if tunnel.targetHost.isEmpty || !(1...65535).contains(tunnel.targetPort) {
                found.append(refuse("\(field).tunnel", "targetHost and a targetPort between 1 and 65535 are required"))
            }
            if let service = model.service(host: self.policy.host),
                service.ports.contains(where: { $0.portProtocol.isHTTP })
            {
                found.append(
                    warn("\(field).tunnel", "only connections that are carried as bytes are tunnelled, not HTTP ports"))
            }
        }
        for (index, port) in policy.portLevelSettings.enumerated() {
            let place = "\(field).portLevelSettings[\(index)]"
            found += level(place, port.policy)
            if let service = model.service(host: self.policy.host), let number = port.port, service.port(number) == nil
            {
                found.append(warn("\(place).port.number", "\"\(service.host)\" has no port \(number)"))
            }
        }
        return found
    }

    /// The blocks that the whole policy and those of single ports have in common.
    private func level(_ field: String, _ policy: DestinationRule.TrafficPolicy) -> [Diagnostic] {
        var found: [Diagnostic] = []
        if let balancer = policy.loadBalancer { found += balancing("\(field).loadBalancer", balancer, policy) }
        if let outlier = policy.outlierDetection {
            if let gateway = outlier.consecutiveGatewayErrors, gateway > 0,
                gateway >= outlier.consecutive5xxErrors ?? 5, outlier.consecutive5xxErrors != 0
            {
                found.append(
                    warn(
                        "\(field).outlierDetection.consecutiveGatewayErrors",
                        "no effect: consecutive5xxErrors (\(outlier.consecutive5xxErrors ?? 5)) ejects before (O-3)"))
            }
            if let share = outlier.maxEjectionPercent, !(0...100).contains(share) {
                found.append(
                    refuse("\(field).outlierDetection.maxEjectionPercent", "\(share) is not between 0 and 100"))
            }
            for code in outlier.errorCodes where !(100...599).contains(code) {
                found.append(
                    refuse("\(field).outlierDetection.outlierDetectionHttpErrorCodes", "\(code) is no HTTP status"))
            }
        }
        if let tls = policy.tls { found += security("\(field).tls", tls) }
        return found
    }

    private func balancing(
        _ field: String, _ balancer: DestinationRule.LoadBalancer, _ policy: DestinationRule.TrafficPolicy
    ) -> [Diagnostic] {
        var found: [Diagnostic] = []
        if let hash = balancer.consistentHash {
            if !hash.hasKey {
                found.append(
                    refuse(
                        "\(field).consistentHash",
                        "one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName is required (B-3)"))
            }
            if !balancer.simple.isEmpty {
                found.append(warn("\(field).simple", "no effect beside consistentHash (B-2)"))
            }
        }
        if balancer.warmup != nil,
            balancer.consistentHash != nil || ["RANDOM", "PASSTHROUGH"].contains(balancer.simple)
        {
            found.append(warn("\(field).warmup", "works with ROUND_ROBIN and LEAST_REQUEST only (B-12)"))
        }
        guard let setting = balancer.localitySetting, setting.isEnabled else { return found }
        let place = "\(field).localityLbSetting"
        let ways = [!setting.distribute.isEmpty, !setting.failover.isEmpty, !setting.failoverPriority.isEmpty]
        if ways.count(where: { $0 }) > 1 {
            found.append(
                refuse(place, "only one of distribute, failover and failoverPriority may be set (B-5)"))
        }
        if setting.distribute.isEmpty, ways.contains(true), policy.outlierDetection == nil {
            found.append(warn(place, "no effect without outlierDetection: nothing fails over (B-4)"))
        }
        for (index, entry) in setting.distribute.enumerated() {
            let total = entry.to.values.reduce(0, +)
            if total != 100 {
                found.append(
                    refuse("\(place).distribute[\(index)].to", "the shares are \(total) in all, not 100 (B-8)"))
            }
        }
        for (index, entry) in setting.failover.enumerated() where entry.from == entry.to {
            found.append(refuse("\(place).failover[\(index)]", "a region cannot fail over to itself"))
        }
        return found
    }

    private func security(_ field: String, _ tls: DestinationRule.ClientTLS) -> [Diagnostic] {
        var found: [Diagnostic] = []
        let names = [tls.clientCertificate, tls.privateKey, tls.caCertificates, tls.credentialName]
        switch tls.mode {
        case "SIMPLE" where tls.caCertificates.isEmpty && tls.credentialName.isEmpty && !tls.insecureSkipVerify:
            found.append(
                warn(
                    "\(field).caCertificates",
                    "absent: the server's certificate is verified with those of the system in the proxy's image (D-8)"))
        case "MUTUAL" where tls.credentialName.isEmpty && (tls.clientCertificate.isEmpty || tls.privateKey.isEmpty):
            found.append(refuse(field, "MUTUAL requires clientCertificate and privateKey, or credentialName"))
        case "ISTIO_MUTUAL" where names.contains(where: { !$0.isEmpty }):
            found.append(refuse(field, "ISTIO_MUTUAL uses the mesh's certificates: others cannot be given"))
        default: break
        }
        if !tls.credentialName.isEmpty, !tls.caCertificates.isEmpty || !tls.clientCertificate.isEmpty {
            found.append(warn(field, "files have no effect beside credentialName"))
        }
        return found
    }
}
