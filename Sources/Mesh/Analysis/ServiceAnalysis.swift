import KubernetesAPI
import Serialization

/// What a Service says that the mesh does in its own way.
struct ServiceAnalysis {
    let key: NamespacedName
    let service: Service

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        func finding(_ code: DiagnosticCode, _ field: String, _ message: String) {
            found.append(Diagnostic(code, kind: "Service", object: key, field: field, message: message))
        }
        if service.spec.sessionAffinity == "ClientIP", let seconds = service.spec.sessionAffinitySeconds,
            seconds != MeshService.defaultAffinitySeconds
        {
            finding(
                .affinityTimeout,
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                "proxies choose by a hash of the client's address, which has no end: the time has no effect (S-10)")
        }
        if service.spec.type == "ExternalName" {
            for (index, port) in service.spec.ports.enumerated()
            where PortProtocol(
                transport: port.protocol, appProtocol: port.appProtocol, name: port.name, port: port.port) == .sniffed
            {
                finding(
                    .externalNamePort, "spec.ports[\(index)]",
                    "port \(port.port) does not say what is spoken: connections to it are told by the name's addresses alone"
                )
            }
        }
        let known = ["", "PreferClose", "PreferSameZone", "PreferSameNode"]
        if !known.contains(service.spec.trafficDistribution) {
            finding(
                .unknownTrafficDistribution,
                "spec.trafficDistribution",
                "\(service.spec.trafficDistribution) is none of PreferSameZone, PreferSameNode and PreferClose (B-10)")
        }
        return found
    }
}

/// What a ServiceEntry says that cannot be, or does not take effect.
struct ServiceEntryAnalysis {
    let tables: AnalysisTables
    let key: NamespacedName
    let entry: ServiceEntry
    private var model: MeshModel { tables.model }

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        func note(_ code: DiagnosticCode, _ field: String, _ message: String) {
            found.append(finding(code, field, message))
        }
        let resolution = MeshService.Resolution(rawValue: entry.resolution) ?? .none
        let resolves = resolution == .dns || resolution == .dnsRoundRobin
        for (index, host) in entry.hosts.enumerated() {
            let field = "spec.hosts[\(index)]"
            if host == "*" || host.isEmpty { note(.invalidEntryHost, field, "a host cannot be \"\(host)\"") }
            let isWildcard = HostName.isWildcard(host)
            // The names of endpoints are resolved, whatever the host is.
            if isWildcard && resolves && entry.endpoints.isEmpty {
                note(.invalidEntryHost, field, "\(entry.resolution) cannot resolve a wildcard (S-14)")
            }
            if !isWildcard && resolution == .dynamicDNS {
                note(.invalidEntryHost, field, "DYNAMIC_DNS is for wildcards: use DNS for a single name (S-14)")
            }
            guard let first = model.firstService(host: host.lowercased()) else { continue }
            if first.registry == .kubernetes {
                note(
                    .entryHidesService, field,
                    "a Kubernetes service has that name: of this object only subjectAltNames count (S-15)")
            } else if first.key.namespace == key.namespace, first.key != key {
                note(.entryHostTwice, field, "the older ServiceEntry \(first.key) for the same host wins")
            }
        }
        for (index, address) in entry.addresses.enumerated() where !Addresses.isAddressOrRange(address) {
            note(
                .invalidEntryAddress, "spec.addresses[\(index)]",
                "\"\(address)\" is neither an IP address nor a range in CIDR form")
        }
        // What is resolved by name has the addresses that callers use it by: single ones, not whole ranges.
        for (index, address) in entry.addresses.enumerated() where resolves && address.contains("/") {
            note(
                .invalidEntryAddress, "spec.addresses[\(index)]",
                "a range such as \(address) goes with the resolutions NONE and STATIC only")
        }
        if entry.workloadSelector != nil {
            if !entry.endpoints.isEmpty {
                note(.invalidEntryEndpoints, "spec.endpoints", "endpoints and workloadSelector exclude each other")
            }
            if resolution == .none {
                note(.entrySelectorWithoutEffect, "spec.workloadSelector", "no effect with resolution NONE (S-14)")
            }
        } else if resolution == .fixed, entry.endpoints.isEmpty, entry.hosts.allSatisfy({ !isKubernetes($0) }) {
            note(.entryWithoutEndpoints, "spec.endpoints", "STATIC without endpoints: requests get 503")
        }
        if !entry.endpoints.isEmpty, resolution == .none || resolution == .dynamicDNS {
            note(.invalidEntryEndpoints, "spec.endpoints", "\(resolution.rawValue) cannot have endpoints (S-14)")
        }
        if resolution == .dnsRoundRobin, entry.endpoints.count > 1 {
            note(
                .invalidEntryEndpoints, "spec.endpoints",
                "DNS_ROUND_ROBIN takes one endpoint; further ones have no effect (S-14)")
        }
        found += ports(resolution) + endpoints(resolution)
        return found
    }

    private func isKubernetes(_ host: String) -> Bool {
        model.firstService(host: host.lowercased())?.registry == .kubernetes
    }

    private func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(code, kind: "ServiceEntry", object: key, field: field, message: message)
    }

    private func ports(_ resolution: MeshService.Resolution) -> [Diagnostic] {
        var found: [Diagnostic] = []
        for (index, port) in entry.ports.enumerated() {
            let field = "spec.ports[\(index)]"
            guard (1...65535).contains(port.number) else {
                found.append(finding(.invalidEntryPort, "\(field).number", "\(port.number) is not between 1 and 65535"))
                continue
            }
            if entry.ports.prefix(index).contains(where: { $0.number == port.number || $0.name == port.name }) {
                found.append(finding(.invalidEntryPort, field, "number or name is used by an earlier port"))
            }
            if let target = port.targetPort, target > 65535 {
                found.append(finding(.invalidEntryPort, "\(field).targetPort", "\(target) is not between 1 and 65535"))
            }
            if port.protocol.uppercased() == "UDP" {
                found.append(finding(.datagramPort, "\(field).protocol", "UDP is never proxied (S-1)"))
            }
            // S-4: who else takes any address of the port?
            // What speaks TLS is told apart by the server name.
            guard let mine = tables.anyAddressEntries[key], let written = mine.port(port.number),
                !written.portProtocol.isHTTP, written.portProtocol != .tls
            else { continue }
            if let rival = tables.anyAddress[port.number], rival.id != mine.id {
                found.append(
                    finding(
                        .entryAddressesNeeded, "spec.addresses",
                        "absent: port \(port.number) of any address belongs to the older \(rival.place().kind) "
                            + "\(rival.key) (S-4); give addresses"))
            }
        }
        return found
    }

    private func endpoints(_ resolution: MeshService.Resolution) -> [Diagnostic] {
        entry.endpoints.enumerated().compactMap { index, endpoint in
            let field = "spec.endpoints[\(index)].address"
            let isSocket = endpoint.address.hasPrefix("unix://")
            if endpoint.address.isEmpty {
                guard resolution == .fixed, !endpoint.network.isEmpty else {
                    return finding(.invalidEntryEndpoints, field, "is required")
                }
                return finding(
                    .workloadNetwork, field, "absent: there are no gateways to networks, so it is no endpoint")
            }
            for (name, number) in endpoint.ports.sorted(by: { $0.key < $1.key }) {
                if isSocket {
                    return finding(
                        .invalidEntryEndpoints, "spec.endpoints[\(index)].ports", "a unix:// path has no ports")
                }
                guard (1...65535).contains(number) else {
                    return finding(
                        .invalidEntryEndpoints, "spec.endpoints[\(index)].ports[\(name)]",
                        "\(number) is not between 1 and 65535")
                }
            }
            if isSocket, !endpoint.address.hasPrefix("unix:///") && !endpoint.address.hasPrefix("unix://@") {
                return finding(
                    .invalidEntryEndpoints, field, "a path begins with unix:/// (unix://@ for an abstract one)")
            }
            if resolution == .fixed, !isSocket, !Addresses.isAddress(endpoint.address) {
                return finding(
                    .invalidEntryEndpoints, field,
                    "STATIC takes IP addresses and unix:// paths: use DNS for names (S-14)")
            }
            if resolution == .dns || resolution == .dnsRoundRobin, isSocket {
                return finding(.invalidEntryEndpoints, field, "\(resolution.rawValue) cannot resolve a path (S-14)")
            }
            return nil
        }
    }
}

/// What a WorkloadEntry or WorkloadGroup says that does not take effect.
struct WorkloadAnalysis {
    let tables: AnalysisTables
    let object: KubernetesObject

    func diagnostics() -> [Diagnostic] {
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
            Diagnostic(code, kind: object.kind, object: key, field: field, message: message)
        }
        if object.kind == "WorkloadGroup" {
            return WorkloadGroup(json: object.json).hasProbe
                ? [
                    finding(
                        .workloadGroupProbe,
                        "spec.probe",
                        "the workload's agent makes it: entries of the group take no traffic before it has said that they are healthy"
                    )
                ]
                : []
        }
        let entry = WorkloadEntry(json: object.json)
        var found: [Diagnostic] = []
        if entry.address.isEmpty, entry.network.isEmpty {
            found.append(
                finding(.workloadEntryWithoutAddress, "spec.address", "required: without one it is no endpoint"))
        }
        if tables.services(in: object.namespace, selecting: entry.labels).isEmpty {
            found.append(finding(.workloadEntryUnused, "spec.labels", "no service of the namespace selects it"))
        }
        if !MeshModel.isHealthy(object) {
            let said = (object.status["conditions"]?.array ?? []).first { $0["type"] == "Healthy" }
            let reason = said?["message"]?.string ?? ""
            found.append(
                finding(
                    .workloadWithoutHealth, said == nil ? "metadata.annotations" : "status.conditions",
                    said == nil
                        ? "its health is to be checked (\(MeshModel.healthAnnotation)), and nobody has reported it: Skein runs no probe on machines, the workload's own agent does"
                        : "its agent reported that it is not healthy" + (reason.isEmpty ? "" : ": \(reason)")))
        }
        if !entry.network.isEmpty {
            found.append(
                finding(
                    .workloadNetwork, "spec.network",
                    "networks are told apart by failoverPriority only: there are no gateways"
                        + (entry.address.isEmpty ? ", and without spec.address it is no endpoint" : "")))
        }
        return found
    }
}
