import Serialization

// What a Sidecar cannot say.
extension Validator {
    /// The rules of Sidecars.
    mutating func sidecar(_ object: KubernetesObject) {
        let spec = object.spec
        let egress = spec["egress"]?.array ?? []
        let ingress = spec["ingress"]?.array ?? []
        if egress.isEmpty, ingress.isEmpty, spec["outboundTrafficPolicy"] == nil, spec["inboundConnectionPool"] == nil {
            add(.required("spec", "egress, ingress, outboundTrafficPolicy or inboundConnectionPool"))
        }
        if let pool = spec["inboundConnectionPool"] { connectionPool(pool, "spec.inboundConnectionPool") }
        if let policy = spec["outboundTrafficPolicy"] { outbound(policy, "spec.outboundTrafficPolicy") }
        for (index, entry) in ingress.enumerated() { inbound(entry, "spec.ingress[\(index)]") }
        for (index, entry) in egress.enumerated() {
            let path = "spec.egress[\(index)]"
            if entry["port"] == nil, index < egress.count - 1 {
                add(.required("\(path).port", "only the last entry can be for all other ports"))
            }
            self.egress(entry, path)
        }
    }

    private mutating func outbound(_ policy: JSON, _ path: String) {
        guard let proxy = policy["egressProxy"] else { return }
        if policy["mode"] != "ALLOW_ANY" {
            add(.forbidden("\(path).egressProxy", "takes what ALLOW_ANY lets out"))
        }
        if let host = proxy["host"]?.string, !host.isEmpty {
            check("\(path).egressProxy.host", host, IstioNames.hostProblem)
        }
        number(proxy["port"]?["number"], "\(path).egressProxy.port.number")
        if let subset = proxy["subset"]?.string, !subset.isEmpty {
            check("\(path).egressProxy.subset", subset, IstioNames.labelProblem)
        }
    }

    private mutating func port(_ port: JSON?, _ path: String) {
        guard let port else { return }
        let (name, spoken) = (port["name"]?.string ?? "", port["protocol"]?.string ?? "")
        if !name.isEmpty { check("\(path).name", name, IstioNames.labelProblem) }
        if !spoken.isEmpty { portProtocol(spoken, "\(path).protocol") }
        if let target = port["targetPort"]?.int, target > 0 {
            add(.forbidden("\(path).targetPort", "a sidecar listens on the number itself"))
        }
    }

    private mutating func inbound(_ entry: JSON, _ path: String) {
        port(entry["port"], "\(path).port")
        // The number of a port that is there `Mesh/Analysis` looks at.
        if let port = entry["port"], port["number"] == nil { add(.required("\(path).port.number")) }
        address(entry["bind"]?.string ?? "", "\(path).bind")
        if let pool = entry["connectionPool"] { connectionPool(pool, "\(path).connectionPool") }
        guard let tls = entry["tls"] else { return }
        let given = ["subjectAltNames", "httpsRedirect", "credentialName", "credentialNames", "tlsCertificates"].filter
        { name in
            switch tls[name] {
            case .string(let text)?: !text.isEmpty
            case .array(let elements)?: !elements.isEmpty
            case .bool(let flag)?: flag
            default: false
            }
        }
        for name in given { add(.forbidden("\(path).tls.\(name)", "a sidecar has no such setting")) }
        let mode = tls["mode"]?.string ?? ""
        if ["ISTIO_MUTUAL", "AUTO_PASSTHROUGH"].contains(mode) {
            add(.notSupported("\(path).tls.mode", mode, ["PASSTHROUGH", "SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"]))
        }
        if !IstioNames.tlsProtocols.contains((entry["port"]?["protocol"]?.string ?? "").uppercased()) {
            add(.forbidden("\(path).tls", "goes with the protocols HTTPS and TLS alone"))
        }
        if given.isEmpty { serverTLS(tls, "\(path).tls") }
    }

    private mutating func egress(_ entry: JSON, _ path: String) {
        port(entry["port"], "\(path).port")
        let bind = entry["bind"]?.string ?? ""
        let isSocket = bind.hasPrefix("unix://")
        if let port = entry["port"] {
            if port["number"]?.int ?? 0 != 0 {
                address(bind, "\(path).bind")
            } else if isSocket {
                check("\(path).bind", String(bind.dropFirst("unix://".count)), IstioNames.socketProblem)
            } else {
                add(.required("\(path).port.number", "without one, bind must be unix:///PATH"))
            }
        }
        for (index, host) in KubernetesObject(json: entry).strings("hosts").enumerated() {
            importedHost(host, "\(path).hosts[\(index)]")
        }
    }

    private mutating func address(_ bind: String, _ path: String) {
        if !bind.isEmpty, !AddressRange.isAddress(bind) { add(.invalid(path, text: bind, "must be an IP address")) }
    }

    /// `NAMESPACE/HOST`; with `~` before the namespace, what is left out.
    private mutating func importedHost(_ written: String, _ path: String) {
        let parts = written.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        // Of the missing / the analysis tells.
        guard parts.count == 2, let first = parts.first, let host = parts.last else { return }
        let namespace = first.hasPrefix("~") ? first.dropFirst() : first[...]
        if first.isEmpty || !namespace.isEmpty && namespace != "*" && namespace != "." && !IstioNames.isLabel(namespace)
        {
            add(.invalid(path, text: written, "before the / stands a namespace, \"*\", \".\" or \"~\""))
        }
        if host == "*" { return }
        if !host.contains(".") {
            add(.invalid(path, text: written, "after the / stands \"*\" or a full name, with dots"))
        } else if host.hasPrefix("*"), !host.hasPrefix("*.") {
            add(.invalid(path, text: written, "a wildcard stands for whole parts: *.example.com"))
        } else {
            check(path, host, IstioNames.patternProblem)
        }
    }
}
