import KubernetesAPI

/// What a Service says that the mesh does in its own way.
struct ServiceAnalysis {
    let key: NamespacedName
    let service: Service

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        func warn(_ field: String, _ message: String) {
            found.append(
                Diagnostic(severity: .warning, kind: "Service", object: key, field: field, message: message))
        }
        if service.spec.sessionAffinity == "ClientIP", service.spec.sessionAffinitySeconds != nil {
            warn(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                "proxies choose by a hash of the client's address, which has no end: the time has no effect (S-10)")
        }
        let known = ["", "PreferClose", "PreferSameZone", "PreferSameNode"]
        if !known.contains(service.spec.trafficDistribution) {
            warn(
                "spec.trafficDistribution",
                "\(service.spec.trafficDistribution) is none of PreferSameZone, PreferSameNode and PreferClose (B-10)")
        }
        return found
    }
}

/// What a ServiceEntry says that cannot be, or does not take effect.
struct ServiceEntryAnalysis {
    let model: MeshModel
    let key: NamespacedName
    let entry: ServiceEntry

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        func note(_ severity: Diagnostic.Severity, _ field: String, _ message: String) {
            found.append(
                Diagnostic(severity: severity, kind: "ServiceEntry", object: key, field: field, message: message))
        }
        let resolution = MeshService.Resolution(rawValue: entry.resolution) ?? .none
        let resolves = resolution == .dns || resolution == .dnsRoundRobin
        for (index, host) in entry.hosts.enumerated() {
            let field = "spec.hosts[\(index)]"
            if host == "*" || host.isEmpty { note(.error, field, "a host cannot be \"\(host)\"") }
            let isWildcard = HostName.isWildcard(host)
            if isWildcard && resolves && (entry.endpoints.isEmpty || resolution == .dns) {
                note(.error, field, "\(entry.resolution) cannot resolve a wildcard (S-14)")
            }
            if !isWildcard && resolution == .dynamicDNS {
                note(.error, field, "DYNAMIC_DNS is for wildcards: use DNS for a single name (S-14)")
            }
            guard let first = model.firstService(host: host.lowercased()) else { continue }
            if first.registry == .kubernetes {
                note(
                    .warning, field,
                    "a Kubernetes service has that name: of this object only subjectAltNames count (S-15)")
            } else if first.key.namespace == key.namespace, first.key != key {
                note(.warning, field, "the older ServiceEntry \(first.key) for the same host wins")
            }
        }
        for (index, address) in entry.addresses.enumerated() where !Addresses.isAddressOrRange(address) {
            note(.error, "spec.addresses[\(index)]", "\"\(address)\" is neither an IP address nor a range in CIDR form")
        }
        if entry.workloadSelector != nil {
            if !entry.endpoints.isEmpty {
                note(.error, "spec.endpoints", "endpoints and workloadSelector exclude each other")
            }
            if resolution == .none { note(.warning, "spec.workloadSelector", "no effect with resolution NONE (S-14)") }
        } else if resolution == .fixed, entry.endpoints.isEmpty, entry.hosts.allSatisfy({ !isKubernetes($0) }) {
            note(.warning, "spec.endpoints", "STATIC without endpoints: requests get 503")
        }
        if !entry.endpoints.isEmpty, resolution == .none || resolution == .dynamicDNS {
            note(.error, "spec.endpoints", "\(resolution.rawValue) cannot have endpoints (S-14)")
        }
        if resolution == .dnsRoundRobin, entry.endpoints.count > 1 {
            note(.error, "spec.endpoints", "DNS_ROUND_ROBIN takes one endpoint; further ones have no effect (S-14)")
        }
        found += ports(resolution) + endpoints(resolution)
        return found
    }

    private func isKubernetes(_ host: String) -> Bool {
        model.firstService(host: host.lowercased())?.registry == .kubernetes
    }

    private func diagnostic(_ severity: Diagnostic.Severity, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(severity: severity, kind: "ServiceEntry", object: key, field: field, message: message)
    }

    private func ports(_ resolution: MeshService.Resolution) -> [Diagnostic] {
        var found: [Diagnostic] = []
        let services = model.sortedServices
        for (index, port) in entry.ports.enumerated() {
            let field = "spec.ports[\(index)]"
            guard (1...65535).contains(port.number) else {
                found.append(diagnostic(.error, "\(field).number", "\(port.number) is not between 1 and 65535"))
                continue
            }
            if entry.ports.prefix(index).contains(where: { $0.number == port.number || $0.name == port.name }) {
                found.append(diagnostic(.error, field, "number or name is used by an earlier port"))
            }
            if port.protocol.uppercased() == "UDP" {
                found.append(diagnostic(.warning, "\(field).protocol", "UDP is never proxied (S-1)"))
            }
            // S-4: who else takes any address of the port?
            let mine = services.first { $0.key == key && $0.registry == .serviceEntry && $0.takesAnyAddress }
            guard let mine, let written = mine.port(port.number), !written.portProtocol.isHTTP else { continue }
            let rival = services.first { other in
                other.port(port.number).map { $0.portProtocol.isHTTP || other.takesAnyAddress } ?? false
            }
            if let rival, rival.id != mine.id {
                found.append(
                    diagnostic(
                        .warning, "spec.addresses",
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
            if endpoint.address.isEmpty { return diagnostic(.error, field, "is required") }
            if resolution == .fixed, !isSocket, !Addresses.isAddress(endpoint.address) {
                return diagnostic(
                    .error, field, "STATIC takes IP addresses and unix:// paths: use DNS for names (S-14)")
            }
            if resolution == .dns || resolution == .dnsRoundRobin, isSocket {
                return diagnostic(.error, field, "\(resolution.rawValue) cannot resolve a path (S-14)")
            }
            return nil
        }
    }
}

/// What a WorkloadEntry or WorkloadGroup says that does not take effect.
struct WorkloadAnalysis {
    let model: MeshModel
    let object: KubernetesObject

    func diagnostics() -> [Diagnostic] {
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        func warn(_ field: String, _ message: String) -> Diagnostic {
            Diagnostic(severity: .warning, kind: object.kind, object: key, field: field, message: message)
        }
        if object.kind == "WorkloadGroup" {
            return WorkloadGroup(json: object.json).hasProbe
                ? [
                    warn(
                        "spec.probe",
                        "workloads outside of the cluster are not probed; write their WorkloadEntries by hand")
                ]
                : []
        }
        let entry = WorkloadEntry(json: object.json)
        var found: [Diagnostic] = []
        if entry.address.isEmpty { found.append(warn("spec.address", "absent: it is no endpoint")) }
        let isSelected = model.sortedServices.contains {
            $0.key.namespace == object.namespace && !$0.selector.isEmpty && Labels.match($0.selector, entry.labels)
        }
        if !isSelected { found.append(warn("spec.labels", "no service of the namespace selects it")) }
        if !entry.network.isEmpty {
            found.append(
                warn("spec.network", "networks are told apart by failoverPriority only: there are no gateways"))
        }
        return found
    }
}
