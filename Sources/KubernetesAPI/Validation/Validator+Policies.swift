import Serialization

extension Validator {
    /// What Kubernetes refuses of a NetworkPolicy.
    mutating func networkPolicy(_ spec: JSON) {
        labelSelector(spec["podSelector"], "spec.podSelector")
        for (list, field) in [("ingress", "from"), ("egress", "to")] {
            for (index, rule) in (spec[list]?.array ?? []).enumerated() {
                let path = "spec.\(list)[\(index)]"
                for (number, port) in (rule["ports"]?.array ?? []).enumerated() {
                    policyPort(port, "\(path).ports[\(number)]")
                }
                for (number, peer) in (rule[field]?.array ?? []).enumerated() {
                    policyPeer(peer, "\(path).\(field)[\(number)]")
                }
            }
        }
        if (spec["policyTypes"]?.array ?? []).count > 2 {
            add(
                .invalid(
                    "spec.policyTypes", "\(spec["policyTypes"]?.text ?? "")",
                    "may not specify more than two policyTypes"))
        }
        for (index, type) in (spec["policyTypes"]?.array ?? []).enumerated() {
            guard let text = type.string, text != "Ingress", text != "Egress" else { continue }
            add(.notSupported("spec.policyTypes[\(index)]", text, ["Egress", "Ingress"]))
        }
    }

    private mutating func policyPort(_ port: JSON, _ path: String) {
        if let number = port["port"]?.int {
            if let problem = Names.portProblem(number) { add(.invalid("\(path).port", String(number), problem)) }
            guard let end = port["endPort"]?.int else { return }
            if end < number {
                add(.invalid("\(path).endPort", String(end), "must be greater than or equal to `port`"))
            }
            if let problem = Names.portProblem(end) { add(.invalid("\(path).endPort", String(end), problem)) }
            return
        }
        if let name = port["port"]?.string { check("\(path).port", name, Names.portNameProblem) }
        // N-7: a range begins with a number.
        if let end = port["endPort"]?.int {
            if port["port"] == nil {
                add(.invalid("\(path).endPort", String(end), "may not be specified when `port` is not specified"))
            } else {
                add(.invalid("\(path).endPort", String(end), "may not be specified when `port` is non-numeric"))
            }
        }
    }

    private mutating func policyPeer(_ peer: JSON, _ path: String) {
        let selectors = ["podSelector", "namespaceSelector"].filter { peer[$0] != nil }
        for name in selectors { labelSelector(peer[name], "\(path).\(name)") }
        guard let block = peer["ipBlock"] else {
            if selectors.isEmpty { add(.required(path, "must specify a peer")) }
            return
        }
        if !selectors.isEmpty { add(.forbidden(path, "may not specify both ipBlock and another peer")) }
        let text = block["cidr"]?.string ?? ""
        guard let range = AddressRange(text) else {
            if !text.isEmpty { add(.invalid("\(path).ipBlock.cidr", text: text, AddressRange.problem)) }
            return
        }
        for (index, text) in (block["except"]?.array ?? []).map({ $0.string ?? "" }).enumerated() {
            let here = "\(path).ipBlock.except[\(index)]"
            guard let excepted = AddressRange(text) else {
                add(.invalid(here, text: text, AddressRange.problem))
                continue
            }
            // N-6: a strict part of the block.
            if !range.strictlyContains(excepted) {
                add(.invalid(here, text: text, "must be a strict subset of `cidr`"))
            }
        }
    }

    /// What the administrator's policies must not say, or say to nobody.
    mutating func adminPolicy(_ spec: JSON) {
        one(of: ["namespaces", "pods"], spec["subject"] ?? [:], "spec.subject")
        adminSelectors(spec["subject"] ?? [:], "spec.subject")
        for (list, field) in [("ingress", "from"), ("egress", "to")] {
            for (index, rule) in (spec[list]?.array ?? []).enumerated() {
                let path = "spec.\(list)[\(index)]"
                for (number, peer) in (rule[field]?.array ?? []).enumerated() {
                    adminPeer(peer, list == "egress", "\(path).\(field)[\(number)]")
                }
                for (number, port) in (rule["ports"]?.array ?? []).enumerated() {
                    let here = "\(path).ports[\(number)]"
                    one(of: ["portNumber", "namedPort", "portRange"], port, here)
                    if let start = port["portRange"]?["start"]?.int, let end = port["portRange"]?["end"]?.int,
                        end <= start
                    {
                        add(.invalid("\(here).portRange.end", String(end), "must be greater than `start`"))
                    }
                }
            }
        }
    }

    private mutating func adminPeer(_ peer: JSON, _ isEgress: Bool, _ path: String) {
        for name in ["nodes", "domainNames"] where peer[name] != nil {
            add(.forbidden("\(path).\(name)", "is not enforced by Skein: choose by networks"))
        }
        if !isEgress, peer["networks"] != nil {
            add(.forbidden("\(path).networks", "is for egress alone"))
        }
        one(of: ["namespaces", "pods", "nodes", "networks", "domainNames"], peer, path)
        adminSelectors(peer, path)
        for (index, text) in (peer["networks"]?.array ?? []).map({ $0.string ?? "" }).enumerated()
        where AddressRange(text) == nil {
            add(.invalid("\(path).networks[\(index)]", text: text, AddressRange.problem))
        }
    }

    private mutating func adminSelectors(_ json: JSON, _ path: String) {
        labelSelector(json["namespaces"], "\(path).namespaces")
        labelSelector(json["pods"]?["namespaceSelector"], "\(path).pods.namespaceSelector")
        labelSelector(json["pods"]?["podSelector"], "\(path).pods.podSelector")
    }

    private mutating func one(of names: [String], _ json: JSON, _ path: String) {
        let given = names.filter { json[$0] != nil }
        if given.count != 1 {
            add(
                .invalid(
                    path, given.joined(separator: ", "), "exactly one of \(names.joined(separator: ", ")) must be set"))
        }
    }

    /// Names and values of a selector, and whether its conditions have the values that they need.
    mutating func labelSelector(_ json: JSON?, _ path: String) {
        guard let json else { return }
        let selector = LabelSelector(json: json)
        labels("\(path).matchLabels", selector.matchLabels)
        for (index, entry) in (json["matchExpressions"]?.array ?? []).enumerated() {
            let here = "\(path).matchExpressions[\(index)]"
            check("\(here).key", entry["key"]?.string ?? "", Names.qualifiedNameProblem)
            let values = (entry["values"]?.array ?? []).compactMap(\.string)
            switch entry["operator"]?.string {
            case "In", "NotIn":
                if values.isEmpty {
                    add(.required("\(here).values", "must be specified when `operator` is 'In' or 'NotIn'"))
                }
            case "Exists", "DoesNotExist":
                if !values.isEmpty {
                    add(
                        .forbidden(
                            "\(here).values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
                }
            default: break
            }
            for value in values { check("\(here).values", value, Names.labelValueProblem) }
        }
    }
}
