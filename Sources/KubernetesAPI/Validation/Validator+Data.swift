import Serialization

// ConfigMaps, Secrets, Leases and EndpointSlices; finalizers and owners of all.
// Source: Kubernetes' API reference, core/v1, coordination.k8s.io/v1, discovery.k8s.io/v1 and meta/v1.
extension Validator {
    private static let dataBytesMax = 1_048_576
    /// What a Secret of a type must have.
    private static let secretKeys = [
        "kubernetes.io/tls": ["tls.crt", "tls.key"], "kubernetes.io/dockercfg": [".dockercfg"],
        "kubernetes.io/dockerconfigjson": [".dockerconfigjson"], "kubernetes.io/ssh-auth": ["ssh-privatekey"],
    ]

    mutating func configMap(_ json: JSON) {
        let (data, binary) = (json["data"]?.object ?? [:], json["binaryData"]?.object ?? [:])
        var size = 0
        for (list, members) in [("data", data), ("binaryData", binary)] {
            for (key, value) in members.sorted(by: { $0.key < $1.key }) {
                check("\(list)[\(key)]", key, Names.configKeyProblem)
                let bytes = value.string?.utf8.count ?? 0
                size += list == "data" ? bytes : bytes / 4 * 3
            }
        }
        for key in data.keys.sorted() where binary[key] != nil {
            add(.invalid("data[\(key)]", text: key, "duplicate of key present in binaryData"))
        }
        if size > Self.dataBytesMax { add(.tooLong("", Self.dataBytesMax)) }
    }

    mutating func secret(_ object: KubernetesObject) {
        let data = object.json["data"]?.object ?? [:]
        for key in data.keys.sorted() { check("data[\(key)]", key, Names.configKeyProblem) }
        if data.values.reduce(0, { $0 + ($1.string?.utf8.count ?? 0) / 4 * 3 }) > Self.dataBytesMax {
            add(.tooLong("data", Self.dataBytesMax))
        }
        let type = object.json["type"]?.string ?? ""
        for key in Self.secretKeys[type] ?? [] where data[key] == nil { add(.required("data[\(key)]")) }
        for key in [".dockercfg", ".dockerconfigjson"] where Self.secretKeys[type]?.contains(key) == true {
            guard let text = data[key]?.string, let bytes = Base64.decode(text), (try? JSON.parse(bytes)) == nil
            else { continue }
            add(.invalid("data[\(key)]", text: "<secret contents redacted>", "must be JSON"))
        }
        if type == "kubernetes.io/basic-auth", data["username"] == nil, data["password"] == nil {
            add(.required("data[username]"))
            add(.required("data[password]"))
        }
        let account = object.metadata.annotations["kubernetes.io/service-account.name"] ?? ""
        if type == "kubernetes.io/service-account-token", account.isEmpty {
            add(.required("metadata.annotations[kubernetes.io/service-account.name]"))
        }
    }

    mutating func lease(_ spec: JSON) {
        if let seconds = spec["leaseDurationSeconds"]?.int, seconds <= 0 {
            add(.invalid("spec.leaseDurationSeconds", String(seconds), "must be greater than 0"))
        }
        counts(spec, ["leaseTransitions"], "spec")
    }

    mutating func endpointSlice(_ json: JSON) {
        let type = json["addressType"]?.string ?? ""
        for (index, endpoint) in (json["endpoints"]?.array ?? []).enumerated() {
            for (number, address) in (endpoint["addresses"]?.array ?? []).enumerated() {
                let text = address.string ?? ""
                let path = "endpoints[\(index)].addresses[\(number)]"
                switch type {
                case "IPv4" where !AddressRange.isAddress(text) || text.contains(":"):
                    add(.invalid(path, text: text, "must be a valid IPv4 address"))
                case "IPv6" where !AddressRange.isAddress(text) || !text.contains(":"):
                    add(.invalid(path, text: text, "must be a valid IPv6 address"))
                case "FQDN": check(path, text, Names.dns1123SubdomainProblem)
                default: break
                }
            }
        }
    }

    /// Finalizers and owners: names by which others must find them.
    mutating func bonds(_ metadata: ObjectMeta) {
        for (index, finalizer) in (metadata.json["finalizers"]?.array ?? []).enumerated() {
            check("metadata.finalizers[\(index)]", finalizer.string ?? "", Names.qualifiedNameProblem)
        }
        var controllers: [String] = []
        for (index, owner) in (metadata.json["ownerReferences"]?.array ?? []).enumerated() {
            let path = "metadata.ownerReferences[\(index)]"
            func text(_ name: String) -> String { owner[name]?.string ?? "" }
            if text("apiVersion").isEmpty {
                add(.invalid(path + ".apiVersion", text: "", "version must not be empty"))
            }
            for name in ["kind", "name", "uid"] where text(name).isEmpty {
                add(.invalid("\(path).\(name)", text: "", "must not be empty"))
            }
            if owner["controller"] == true { controllers.append(text("name")) }
        }
        if let first = controllers.first, let second = controllers.dropFirst().first {
            add(
                .invalid(
                    "metadata.ownerReferences", Validator.short(metadata.json["ownerReferences"] ?? .null),
                    "Only one reference can have Controller set to true. Found \"true\" in references for \(first) and \(second)"
                ))
        }
    }

    /// What a Service's fields have to do with each other.
    mutating func exposure(_ spec: ServiceSpec) {
        if spec.type == "LoadBalancer" || spec.type == "NodePort", spec.clusterIP == "None" {
            add(
                .invalid(
                    "spec.clusterIPs[0]", text: "None", "may not be set to 'None' for \(spec.type) services"))
        }
        if let policy = spec.json["externalTrafficPolicy"]?.string, !spec.isReachedFromOutside {
            add(
                .invalid(
                    "spec.externalTrafficPolicy", text: policy,
                    "may only be set for externally-accessible services"))
        }
        if spec.type != "LoadBalancer", spec.json["allocateLoadBalancerNodePorts"] != nil {
            add(.forbidden("spec.allocateLoadBalancerNodePorts", "may only be used when `type` is 'LoadBalancer'"))
        }
        if spec.type == "ExternalName", !spec.externalName.isEmpty {
            let name = spec.externalName.hasSuffix(".") ? String(spec.externalName.dropLast()) : spec.externalName
            check("spec.externalName", name, Names.dns1123SubdomainProblem)
        }
        for (index, address) in (spec.json["externalIPs"]?.array ?? []).enumerated() {
            let (text, path) = (address.string ?? "", "spec.externalIPs[\(index)]")
            guard let single = AddressRange.single(text) else {
                add(.invalid(path, text: text, Self.addressProblem))
                continue
            }
            for (ranges, problem) in Self.specialRanges where ranges.contains(where: { $0.contains(single) }) {
                add(.invalid(path, text: text, problem))
            }
        }
        let ranges = spec.json["loadBalancerSourceRanges"]?.array ?? []
        if !ranges.isEmpty, spec.type != "LoadBalancer" {
            add(.forbidden("spec.loadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'"))
        }
        for (index, range) in ranges.enumerated() where AddressRange(range.string ?? "") == nil {
            add(.invalid("spec.loadBalancerSourceRanges[\(index)]", text: range.string ?? "", AddressRange.problem))
        }
        if let seconds = spec.json["sessionAffinityConfig"]?["clientIP"]?["timeoutSeconds"]?.int,
            !(1...86_400).contains(seconds)
        {
            add(
                .invalid(
                    "spec.sessionAffinityConfig.clientIP.timeoutSeconds", String(seconds),
                    "must be greater than 0 and less than or equal to 86400"))
        }
        for (index, port) in spec.ports.enumerated() {
            guard let name = port.json["appProtocol"]?.string, !name.isEmpty else { continue }
            check("spec.ports[\(index)].appProtocol", name, Names.qualifiedNameProblem)
        }
    }

    private static let specialRanges: [([AddressRange], String)] = [
        (["0.0.0.0/32", "::/128"], "may not be unspecified (0.0.0.0 or ::)"),
        (["127.0.0.0/8", "::1/128"], "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (["169.254.0.0/16", "fe80::/10"], "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (["224.0.0.0/24", "ff02::/10"], "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ].map { ($0.0.compactMap(AddressRange.init), $0.1) }
}
