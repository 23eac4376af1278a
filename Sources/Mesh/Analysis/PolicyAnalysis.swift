import KubernetesAPI
import Serialization

/// What a DestinationRule says that does not take effect, or not as its author may think.
struct PolicyAnalysis {
    let model: MeshModel
    let policy: MeshModel.Policy

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if !HostName.isWildcard(policy.host), !model.hasService(host: policy.host) {
            found.append(finding(.policyHostUnknown, "spec.host", "no service \"\(policy.host)\""))
        }
        found += settings("spec.trafficPolicy", policy.rule.trafficPolicy)
        for (index, subset) in policy.subsets.enumerated() {
            let field = "spec.subsets[\(index)]"
            found += settings("\(field).trafficPolicy", subset.trafficPolicy)
            if policy.subsets.prefix(index).contains(where: { $0.name == subset.name }) {
                found.append(
                    finding(
                        .subsetTwice, "\(field).name",
                        "\"\(subset.name)\" is defined before; the first one counts (D-2)"))
            }
            if let service = model.service(host: policy.host), !subset.labels.isEmpty {
                let all = model.endpoints(of: service)
                if !all.isEmpty, !all.contains(where: { $0.has(subset.labels) }) {
                    found.append(
                        finding(
                            .subsetWithoutEndpoints,
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
                finding(
                    .policyOverruled, "spec.trafficPolicy",
                    "the older DestinationRule \(older.key) for the same host wins (D-2)"))
        }
        return found
    }

    private func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(code, kind: "DestinationRule", object: policy.key, field: field, message: message)
    }

    private func settings(_ field: String, _ policy: DestinationRule.TrafficPolicy?) -> [Diagnostic] {
        guard let policy else { return [] }
        var found = level(field, policy)
        if let tunnel = policy.tunnel {
            if !["CONNECT", "POST"].contains(tunnel.protocol) {
                found.append(
                    finding(
                        .invalidTunnel, "\(field).tunnel.protocol", "\(tunnel.protocol) is neither CONNECT nor POST"))
            }
            if tunnel.targetHost.isEmpty || !(1...65535).contains(tunnel.targetPort) {
                found.append(
                    finding(
                        .invalidTunnel, "\(field).tunnel",
                        "targetHost and a targetPort between 1 and 65535 are required"))
            }
            if let service = model.service(host: self.policy.host),
                service.ports.contains(where: { $0.portProtocol.isHTTP })
            {
                found.append(
                    finding(
                        .tunnelForHTTP, "\(field).tunnel",
                        "only connections that are carried as bytes are tunnelled, not HTTP ports"))
            }
        }
        for (index, port) in policy.portLevelSettings.enumerated() {
            let place = "\(field).portLevelSettings[\(index)]"
            found += level(place, port.policy)
            if let service = model.service(host: self.policy.host), let number = port.port, service.port(number) == nil
            {
                found.append(
                    finding(.policyPortUnknown, "\(place).port.number", "\"\(service.host)\" has no port \(number)"))
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
                    finding(
                        .outlierWithoutEffect,
                        "\(field).outlierDetection.consecutiveGatewayErrors",
                        "no effect: consecutive5xxErrors (\(outlier.consecutive5xxErrors ?? 5)) ejects before (O-3)"))
            }
            for (name, time) in [("interval", outlier.interval), ("baseEjectionTime", outlier.baseEjectionTime)] {
                if let time, time <= .zero {
                    found.append(
                        finding(.invalidOutlierDetection, "\(field).outlierDetection.\(name)", "must be more than 0"))
                }
            }
            if !(0...100).contains(outlier.minHealthPercent) {
                found.append(
                    finding(
                        .invalidOutlierDetection,
                        "\(field).outlierDetection.minHealthPercent",
                        "\(outlier.minHealthPercent) is not between 0 and 100"))
            }
            if let share = outlier.maxEjectionPercent, !(0...100).contains(share) {
                found.append(
                    finding(
                        .invalidOutlierDetection, "\(field).outlierDetection.maxEjectionPercent",
                        "\(share) is not between 0 and 100"))
            }
            for code in outlier.errorCodes where !(100...599).contains(code) {
                found.append(
                    finding(
                        .invalidOutlierDetection, "\(field).outlierDetection.outlierDetectionHttpErrorCodes",
                        "\(code) is no HTTP status"))
            }
        }
        if policy.retryBudget?.interval != nil {
            found.append(
                finding(
                    .policyFieldWithoutEffect, "\(field).retryBudget.budgetInterval",
                    "no effect: the budget is a share of the requests under way"))
        }
        if let pool = policy.connectionPool { found += limits("\(field).connectionPool", pool) }
        if let tls = policy.tls { found += security("\(field).tls", tls) }
        return found
    }

    /// What is out of the bounds of a proxy.
    private func limits(_ field: String, _ pool: DestinationRule.ConnectionPool) -> [Diagnostic] {
        var found: [Diagnostic] = []
        if let timeout = pool.connectTimeout, timeout <= .zero {
            found.append(finding(.invalidConnectionPool, "\(field).tcp.connectTimeout", "must be more than 0"))
        }
        let counts = [
            ("tcp.maxConnections", pool.maxConnections), ("http.http1MaxPendingRequests", pool.http1MaxPendingRequests),
            ("http.http2MaxRequests", pool.http2MaxRequests), ("http.maxRetries", pool.maxRetries),
            ("http.maxRequestsPerConnection", pool.maxRequestsPerConnection),
            ("http.maxConcurrentStreams", pool.maxConcurrentStreams),
        ]
        for (name, count) in counts {
            if let count, count < 0 {
                found.append(finding(.invalidConnectionPool, "\(field).\(name)", "\(count) is less than 0"))
            }
        }
        if pool.useClientProtocol, pool.h2UpgradePolicy == "UPGRADE" {
            found.append(
                finding(
                    .invalidConnectionPool, "\(field).http.h2UpgradePolicy",
                    "useClientProtocol and UPGRADE exclude each other"))
        }
        return found
    }

    private func balancing(
        _ field: String, _ balancer: DestinationRule.LoadBalancer, _ policy: DestinationRule.TrafficPolicy
    ) -> [Diagnostic] {
        var found: [Diagnostic] = []
        if let hash = balancer.consistentHash {
            if !hash.hasKey {
                found.append(
                    finding(
                        .invalidConsistentHash,
                        "\(field).consistentHash",
                        "one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName is required (B-3)"))
            }
            if let size = hash.tableSize, !Clusters.isTableSize(size) {
                found.append(
                    finding(
                        .invalidConsistentHash,
                        "\(field).consistentHash.maglev.tableSize",
                        "\(size) is no prime number up to \(Clusters.maximumTableSize)"))
            }
            if let size = hash.minimumRingSize, size < 0 || UInt64(size) > Clusters.maximumRingSize {
                found.append(
                    finding(
                        .invalidConsistentHash,
                        "\(field).consistentHash.ringHash.minimumRingSize",
                        "\(size) is not between 0 and \(Clusters.maximumRingSize)"))
            }
            if !balancer.simple.isEmpty {
                found.append(
                    finding(.policyFieldWithoutEffect, "\(field).simple", "no effect beside consistentHash (B-2)"))
            }
        }
        if let setting = balancer.zoneAwareSetting, setting.isEnabled {
            let place = "\(field).zoneAwareLbSetting"
            if setting.minClusterSize != nil {
                found.append(
                    finding(
                        .policyFieldWithoutEffect, "\(place).minClusterSize",
                        "no effect: the zones of a region are not told apart; requests stay in the caller's region"))
            }
            if !setting.failover.isEmpty, !setting.failoverPriority.isEmpty {
                found.append(
                    finding(.policyFieldWithoutEffect, "\(place).failover", "no effect beside failoverPriority"))
            }
        }
        if balancer.backendUtilization != nil, !balancer.simple.isEmpty || balancer.consistentHash != nil {
            found.append(
                finding(
                    .policyFieldWithoutEffect,
                    balancer.simple.isEmpty ? "\(field).consistentHash" : "\(field).simple",
                    "no effect beside backendUtilization"))
        }
        if let warmup = balancer.warmup {
            if let percent = warmup.minimumPercent, !(0...100).contains(percent) {
                found.append(
                    finding(
                        .policyFieldWithoutEffect, "\(field).warmup.minimumPercent",
                        "\(percent) is not between 0 and 100"))
            }
            if let aggression = warmup.aggression, aggression < 1 {
                found.append(
                    finding(
                        .policyFieldWithoutEffect, "\(field).warmup.aggression",
                        "\(aggression) is less than 1, which is taken"))
            }
        }
        if balancer.warmup != nil,
            balancer.consistentHash != nil || ["RANDOM", "PASSTHROUGH"].contains(balancer.simple)
        {
            found.append(
                finding(
                    .policyFieldWithoutEffect, "\(field).warmup", "works with ROUND_ROBIN and LEAST_REQUEST only (B-12)"
                ))
        }
        guard let setting = balancer.localitySetting, setting.isEnabled else { return found }
        let place = "\(field).localityLbSetting"
        let ways = [!setting.distribute.isEmpty, !setting.failover.isEmpty, !setting.failoverPriority.isEmpty]
        if ways.count(where: { $0 }) > 1 {
            found.append(
                finding(
                    .invalidLocality, place, "only one of distribute, failover and failoverPriority may be set (B-5)"))
        }
        if setting.distribute.isEmpty, ways.contains(true), policy.outlierDetection == nil {
            found.append(
                finding(
                    .failoverWithoutOutlierDetection, place,
                    "no effect without outlierDetection: nothing fails over (B-4)"))
        }
        for (index, entry) in setting.distribute.enumerated() {
            let total = entry.to.values.reduce(0, +)
            if total != 100 {
                found.append(
                    finding(
                        .invalidLocality, "\(place).distribute[\(index)].to",
                        "the shares are \(total) in all, not 100 (B-8)"))
            }
        }
        for (index, entry) in setting.failover.enumerated() where entry.from == entry.to {
            found.append(
                finding(.invalidLocality, "\(place).failover[\(index)]", "a region cannot fail over to itself"))
        }
        return found
    }

    private func security(_ field: String, _ tls: DestinationRule.ClientTLS) -> [Diagnostic] {
        var found: [Diagnostic] = []
        let names = [tls.clientCertificate, tls.privateKey, tls.caCertificates, tls.credentialName]
        switch tls.mode {
        case "MUTUAL" where tls.credentialName.isEmpty && (tls.clientCertificate.isEmpty || tls.privateKey.isEmpty):
            found.append(
                finding(.invalidClientTLS, field, "MUTUAL requires clientCertificate and privateKey, or credentialName")
            )
        case "ISTIO_MUTUAL" where names.contains(where: { !$0.isEmpty }):
            found.append(
                finding(.invalidClientTLS, field, "ISTIO_MUTUAL uses the mesh's certificates: others cannot be given"))
        default: break
        }
        if ["SIMPLE", "MUTUAL"].contains(tls.mode), tls.caCertificates.isEmpty, tls.credentialName.isEmpty,
            !tls.insecureSkipVerify
        {
            found.append(
                finding(
                    .serverNotVerified,
                    "\(field).caCertificates",
                    "absent: the server's certificate is verified with those of the system in the proxy's image (D-8)"))
        }
        guard ["SIMPLE", "MUTUAL"].contains(tls.mode) else { return found }
        let files = ["clientCertificate", "privateKey", "caCertificates", "caCrl"].filter {
            !(tls.json[$0]?.string ?? "").isEmpty
        }
        if !tls.credentialName.isEmpty, let file = files.first {
            found.append(
                finding(.invalidClientTLS, "\(field).\(file)", "files and credentialName exclude each other"))
        }
        if tls.insecureSkipVerify {
            let hasAuthority =
                !tls.caCertificates.isEmpty || tls.mode == "SIMPLE" && !tls.credentialName.isEmpty
                || tls.json["subjectAltNames"] != nil
            if hasAuthority {
                found.append(
                    finding(
                        .invalidClientTLS, "\(field).insecureSkipVerify",
                        "nothing is verified then: authorities and names of the server have no use"))
            }
        }
        return found
    }
}
