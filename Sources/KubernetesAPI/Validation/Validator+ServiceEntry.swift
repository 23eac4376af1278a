import Serialization

// What a ServiceEntry or a WorkloadEntry cannot say.
extension Validator {
    /// What a gateway or sidecar can resolve for each request: it must find the name in what is spoken.
    private static let namingProtocols = ["HTTP", "HTTP2", "GRPC", "TLS"]

    /// The rules of ServiceEntries; those of its endpoints that hold for every WorkloadEntry come besides.
    mutating func serviceEntry(_ object: KubernetesObject) {
        let spec = object.spec
        let view = KubernetesObject(json: spec)
        let resolution = spec["resolution"]?.string ?? "NONE"
        let hosts = view.strings("hosts")
        // Of `*` and the empty name the analysis tells.
        for (index, host) in hosts.enumerated() where host != "*" && !host.isEmpty {
            check("spec.hosts[\(index)]", host, IstioNames.patternProblem)
        }
        let ports = spec["ports"]?.array ?? []
        for (index, port) in ports.enumerated() {
            let path = "spec.ports[\(index)]"
            let (name, spoken) = (port["name"]?.string ?? "", port["protocol"]?.string ?? "")
            if !name.isEmpty { check("\(path).name", name, IstioNames.labelProblem) }
            if !spoken.isEmpty { portProtocol(spoken, "\(path).protocol") }
        }
        if resolution == "DYNAMIC_DNS" { dynamic(object, ports) }
        // Without names in what is spoken nobody can tell whose address was meant.
        let told = IstioNames.httpProtocols + IstioNames.tlsProtocols
        if resolution != "NONE", hosts.count > 1,
            let index = ports.firstIndex(where: { !told.contains(($0["protocol"]?.string ?? "").uppercased()) })
        {
            add(
                .forbidden(
                    "spec.ports[\(index)].protocol",
                    "several hosts are told apart by HTTP or TLS alone: write one ServiceEntry for each"))
        }
        let names = Set(ports.compactMap { $0["name"]?.string })
        for (index, endpoint) in (spec["endpoints"]?.array ?? []).enumerated() {
            entryEndpoint(endpoint, "spec.endpoints[\(index)]", names, resolution)
        }
    }

    private mutating func dynamic(_ object: KubernetesObject, _ ports: [JSON]) {
        if !(object.spec["addresses"]?.array ?? []).isEmpty {
            add(.forbidden("spec.addresses", "DYNAMIC_DNS goes by the name that is asked for"))
        }
        for (index, port) in ports.enumerated() {
            let spoken = port["protocol"]?.string ?? ""
            if !Self.namingProtocols.contains(spoken.uppercased()) {
                add(.notSupported("spec.ports[\(index)].protocol", spoken, Self.namingProtocols))
            }
        }
        let waypoint = object.metadata.labels["istio.io/use-waypoint"] ?? ""
        if object.spec["location"] == "MESH_INTERNAL", !waypoint.isEmpty, waypoint.lowercased() != "none" {
            add(.forbidden("spec.location", "DYNAMIC_DNS behind a waypoint is for MESH_EXTERNAL alone"))
        }
    }

    private mutating func entryEndpoint(
        _ endpoint: JSON, _ path: String, _ ports: Set<String>, _ resolution: String
    ) {
        let view = KubernetesObject(json: endpoint)
        let address = view.string("address")
        for name in (endpoint["ports"]?.object ?? [:]).keys.sorted() where !ports.contains(name) {
            add(.invalid("\(path).ports", text: name, "must be the name of one of spec.ports"))
        }
        if resolution == "STATIC", address.hasPrefix("unix://"), ports.count != 1 {
            add(.forbidden("\(path).address", "a Unix socket is for one port: spec.ports has \(ports.count)"))
        }
    }

    /// Labels and address of a WorkloadEntry, of an endpoint and of the template of a group.
    mutating func workloadPlace(_ workload: JSON, _ path: String) {
        let view = KubernetesObject(json: workload)
        labels("\(path).labels", view.map("labels"))
        let address = view.string("address")
        guard !address.isEmpty, !address.hasPrefix("unix://"), !AddressRange.isAddress(address) else { return }
        if IstioNames.hostProblem(address) != nil {
            add(.invalid("\(path).address", text: address, "must be an IP address, the name of a host or unix:///PATH"))
        }
    }
}
