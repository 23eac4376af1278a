import KubernetesAPI

extension MeshService.Port {
    /// The port of a pod that it leads to.
    func number(at pod: AnalysisTables.Pod) -> Int? {
        switch target {
        case .int(let number): number
        case .string(let name): pod.ports.first { $0.name == name }?.number
        }
    }
}

/// Whether a Service leads somewhere.
struct ServiceReach {
    let tables: AnalysisTables
    let workloads: WorkloadTables
    let key: NamespacedName
    let service: Service

    /// The words by which a port name says what is spoken (S-1).
    private static let protocols = [
        "grpc", "http", "http2", "https", "mongo", "mysql", "redis", "tcp", "tls", "udp",
    ]

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        func note(_ code: DiagnosticCode, _ field: String, _ message: String) {
            found.append(Diagnostic(code, kind: "Service", object: key, field: field, message: message))
        }
        let spec = service.spec
        for (index, port) in spec.ports.enumerated() where port.appProtocol == nil && port.protocol == "TCP" {
            let name = port.name.lowercased()
            let isSaid =
                PortProtocol(transport: "TCP", appProtocol: nil, name: name, port: 0) != .sniffed
            guard !isSaid, let word = Self.protocols.last(where: name.hasPrefix) else { continue }
            note(
                .portNameWithoutProtocol, "spec.ports[\(index)].name",
                "\"\(port.name)\" does not say \(word): that would be \(word) or \(word)-SUFFIX; what is spoken is found "
                    + "out on each connection (S-1)")
        }
        if spec.type == "ExternalName" {
            if isCircle() { note(.externalNameCircle, "spec.externalName", "leads back to this Service: no answer") }
            return found
        }
        guard !spec.selector.isEmpty else { return found }
        let pods = tables.pods(in: key.namespace, with: spec.selector)
        if pods.isEmpty {
            if !tables.hasWorkloadEntry(in: key.namespace, with: spec.selector) {
                note(
                    .serviceSelectsNothing, "spec.selector",
                    "no pod of the namespace has these labels: it has no endpoint")
            }
            return found
        }
        for (index, port) in spec.ports.enumerated() {
            let field = "spec.ports[\(index)].targetPort"
            switch port.targetPort {
            case .string(let name):
                if !pods.contains(where: { $0.ports.contains { $0.name == name } }) {
                    note(
                        .unknownTargetPortName, field, "no container of the selected pods has a port named \"\(name)\"")
                }
            case .int(let target) where target > 0: declared(target, field, pods, note)
            default: declared(port.port, "spec.ports[\(index)].port", pods, note)
            }
        }
        if let conflict = workloads.protocolConflicts[key] {
            note(.workloadWithTwoProtocols, conflict.field, conflict.message)
        }
        return found
    }

    private func declared(
        _ target: Int, _ field: String, _ pods: [AnalysisTables.Pod], _ note: (DiagnosticCode, String, String) -> Void
    ) {
        // Containers need not declare ports; those that do are taken at their word.
        guard pods.allSatisfy({ !$0.ports.isEmpty }),
            !pods.contains(where: { $0.ports.contains { $0.number == target } })
        else { return }
        note(.targetPortNotDeclared, field, "no container of the selected pods declares port \(target)")
    }

    private func isCircle() -> Bool {
        var host = HostName.ofService(key)
        var seen: Set<String> = [host]
        while let alias = tables.servicesByHost[host]?.first?.externalName {
            host = alias.lowercased()
            if !seen.insert(host).inserted { return true }
        }
        return false
    }
}

/// Whether a ServiceEntry has workloads, and addresses of its own.
struct EntryReach {
    let tables: AnalysisTables
    let key: NamespacedName
    let entry: ServiceEntry

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        func note(_ code: DiagnosticCode, _ field: String, _ message: String) {
            found.append(Diagnostic(code, kind: "ServiceEntry", object: key, field: field, message: message))
        }
        if let selector = entry.workloadSelector, !tables.hasPod(in: key.namespace, with: selector),
            !tables.hasWorkloadEntry(in: key.namespace, with: selector)
        {
            note(
                .entrySelectsNothing, "spec.workloadSelector.labels",
                "neither a pod nor a WorkloadEntry of the namespace has these labels: requests get 503")
        }
        for (index, port) in entry.ports.enumerated() {
            let spoken = PortProtocol(
                transport: port.protocol, appProtocol: port.protocol, name: port.name, port: port.number)
            for host in entry.hosts {
                guard
                    let other = tables.entryProtocols["\(host.lowercased()) \(port.number)"]?.first(where: { other in
                        other.key != key && other.protocol != spoken
                            && HostName.meet(other.exportTo, other.key.namespace, entry.exportTo, key.namespace)
                    })
                else { continue }
                note(
                    .entryProtocolConflict, "spec.ports[\(index)].protocol",
                    "\(spoken) here, \(other.protocol) for the same host in ServiceEntry \(other.key): the older one counts"
                )
                break
            }
        }
        for (index, address) in entry.addresses.enumerated() {
            let port = entry.ports.first { port in
                tables.entryAddresses["\(address) \(port.number)"].map { $0 != key } ?? false
            }
            if let port, let older = tables.entryAddresses["\(address) \(port.number)"] {
                note(
                    .entryAddressTwice, "spec.addresses[\(index)]",
                    "\(address) port \(port.number) belongs to the older ServiceEntry \(older)")
            }
        }
        return found
    }
}

/// What a ServiceEntry says of a port of a host.
struct EntryProtocol {
    var key: NamespacedName
    var `protocol`: PortProtocol
    var exportTo: [String]

    /// By `HOST PORT`, the oldest of each protocol and namespace; also those that another one for the host stands before.
    static func table(_ objects: [KubernetesObject]) -> [String: [EntryProtocol]] {
        var table: [String: [EntryProtocol]] = [:]
        for object in objects {
            let entry = ServiceEntry(json: object.json)
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            for port in entry.ports {
                let spoken = PortProtocol(
                    transport: port.protocol, appProtocol: port.protocol, name: port.name, port: port.number)
                for host in entry.hosts {
                    let place = "\(host.lowercased()) \(port.number)"
                    let isKnown = table[place]?.contains {
                        $0.protocol == spoken && $0.key.namespace == key.namespace
                    }
                    if isKnown == true { continue }
                    table[place, default: []].append(
                        EntryProtocol(key: key, protocol: spoken, exportTo: entry.exportTo))
                }
            }
        }
        return table
    }
}
