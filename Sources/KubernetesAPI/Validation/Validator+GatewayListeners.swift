import Serialization

// What the definitions of the Gateway API refuse of Gateways, ListenerSets, classes and BackendTLSPolicies.
extension Validator {
    /// `DOMAIN/PATH`.
    mutating func gatewayClass(_ spec: JSON) {
        let name = spec["controllerName"]?.string ?? ""
        let parts = name.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let isName =
            parts.count == 2 && parts.first.map { Names.dns1123SubdomainProblem($0) == nil } == true
            && parts.last?.isEmpty == false && !name.contains(" ")
        if !name.isEmpty, !isName {
            add(.invalid("spec.controllerName", text: name, "must be DOMAIN/PATH, such as example.com/controller"))
        }
    }

    /// Of a Gateway or a ListenerSet.
    mutating func listeners(_ spec: JSON) {
        var names: Set<String> = []
        var claims: Set<[String]> = []
        for (index, listener) in (spec["listeners"]?.array ?? []).enumerated() {
            let path = "spec.listeners[\(index)]"
            let view = KubernetesObject(json: listener)
            let (name, spoken, host) = (view.string("name"), view.string("protocol"), view.string("hostname"))
            if !name.isEmpty {
                check("\(path).name", name, Names.dns1123SubdomainProblem)
                if !names.insert(name).inserted { add(.duplicate("\(path).name", "\"\(name)\"")) }
            }
            if !host.isEmpty { hostname(host, "\(path).hostname") }
            if !host.isEmpty, ["TCP", "UDP"].contains(spoken) {
                add(.forbidden("\(path).hostname", "\(spoken) names no host"))
            }
            if !claims.insert([String(listener["port"]?.int ?? 0), spoken, host]).inserted {
                add(.duplicate(path, "port, protocol and hostname of an earlier listener"))
            }
            if let tls = listener["tls"] {
                listenerTLS(tls, spoken, path)
            } else if spoken == "TLS" {
                add(.required("\(path).tls", "TLS is either terminated here or passed through"))
            }
        }
    }

    private mutating func listenerTLS(_ tls: JSON, _ spoken: String, _ path: String) {
        if ["HTTP", "TCP", "UDP"].contains(spoken) {
            return add(.forbidden("\(path).tls", "\(spoken) is no TLS: use HTTPS or TLS"))
        }
        let mode = tls["mode"]?.string ?? "Terminate"
        if spoken == "HTTPS", mode != "Terminate" {
            add(.notSupported("\(path).tls.mode", mode, ["Terminate"]))
        }
        if mode == "Terminate", (tls["certificateRefs"]?.array ?? []).isEmpty,
            (tls["options"]?.object ?? [:]).isEmpty
        {
            add(.required("\(path).tls.certificateRefs", "Terminate needs a certificate"))
        }
    }

    /// Of a Gateway: each is asked for once.
    mutating func addresses(_ spec: JSON) {
        var seen: Set<[String]> = []
        for (index, address) in (spec["addresses"]?.array ?? []).enumerated() {
            let path = "spec.addresses[\(index)]"
            let (type, value) = (address["type"]?.string ?? "IPAddress", address["value"]?.string ?? "")
            // Without a value any will do.
            guard !value.isEmpty else { continue }
            if type == "IPAddress", !AddressRange.isAddress(value) {
                add(.invalid("\(path).value", text: value, "must be an IP address"))
            }
            if type == "Hostname" { hostname(value, "\(path).value") }
            if !seen.insert([type, value]).inserted { add(.duplicate("\(path).value", "\"\(value)\"")) }
        }
    }

    /// Labels for what a Gateway is made of.
    mutating func infrastructure(_ spec: JSON) {
        let view = KubernetesObject(json: spec["infrastructure"] ?? .object([:]))
        labels("spec.infrastructure.labels", view.map("labels"))
        for key in view.map("annotations").keys.sorted() {
            check("spec.infrastructure.annotations", key, Names.qualifiedNameProblem)
        }
    }

    /// Several references of a BackendTLSPolicy to one target are told apart by section.
    mutating func backendTargets(_ targets: [JSON]) {
        func key(_ target: JSON) -> [String] {
            ["group", "kind", "name"].map { KubernetesObject(json: target).string($0) }
        }
        let all = Dictionary(grouping: targets, by: key)
        var seen: Set<JSON> = []
        for (index, target) in targets.enumerated() where all[key(target)]?.count ?? 0 > 1 {
            if (target["sectionName"]?.string ?? "").isEmpty {
                add(.required("spec.targetRefs[\(index)].sectionName", "the target is referred to more than once"))
            } else if !seen.insert(target).inserted {
                add(.duplicate("spec.targetRefs[\(index)]", Self.short(target)))
            }
        }
    }

    /// `validation` of a BackendTLSPolicy.
    mutating func backendTLS(_ validation: JSON, _ path: String) {
        let hasReferences = !(validation["caCertificateRefs"]?.array ?? []).isEmpty
        let hasKnown = !(validation["wellKnownCACertificates"]?.string ?? "").isEmpty
        if hasReferences, hasKnown {
            add(.forbidden("\(path).wellKnownCACertificates", "may not stand beside caCertificateRefs"))
        } else if !hasReferences, !hasKnown {
            add(.required(path, "caCertificateRefs or wellKnownCACertificates"))
        }
        if let host = validation["hostname"]?.string, !host.isEmpty {
            check("\(path).hostname", host, Names.dns1123SubdomainProblem)
        }
        for (index, name) in (validation["subjectAltNames"]?.array ?? []).enumerated() {
            for (type, member) in [("Hostname", "hostname"), ("URI", "uri")] {
                let here = "\(path).subjectAltNames[\(index)].\(member)"
                let text = name[member]?.string ?? ""
                if name["type"]?.string == type, text.isEmpty { add(.required(here)) }
                if name["type"]?.string != type, !text.isEmpty {
                    add(.forbidden(here, "belongs to the type \(type)"))
                }
            }
        }
    }
}
