import Serialization

// What a pod may say beyond its shape: where it runs, whom it obeys, what its containers are given.
// Source: Kubernetes' API reference, core/v1 Pod, and the messages of its API server.
extension Validator {
    static let addressProblem = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    private static let identityProblem = "must be between 0 and 2147483647, inclusive"

    /// Names, selectors, tolerations and addresses of a pod.
    mutating func placement(_ spec: PodSpec, _ path: String) {
        func present(_ text: String?) -> String? { text.flatMap { $0.isEmpty ? nil : $0 } }
        if let name = present(spec.nodeName) { check("\(path).nodeName", name, Names.dns1123SubdomainProblem) }
        if let name = present(spec.json["serviceAccountName"]?.string) {
            check("\(path).serviceAccountName", name, Names.dns1123SubdomainProblem)
        }
        for (field, text) in [("hostname", spec.hostname), ("subdomain", spec.subdomain)] where !text.isEmpty {
            check("\(path).\(field)", text, Names.dns1123LabelProblem)
        }
        labels("\(path).nodeSelector", spec.nodeSelector)
        if let deadline = spec.activeDeadlineSeconds, !(1...Int(Int32.max)).contains(deadline) {
            add(
                .invalid(
                    "\(path).activeDeadlineSeconds", String(deadline), "must be between 1 and 2147483647, inclusive"))
        }
        for (index, toleration) in (spec.json["tolerations"]?.array ?? []).enumerated() {
            self.toleration(toleration, "\(path).tolerations[\(index)]")
        }
        for (index, alias) in spec.hostAliases.enumerated() {
            let here = "\(path).hostAliases[\(index)]"
            let address = alias.json["ip"]?.string ?? ""
            if !address.isEmpty, !AddressRange.isAddress(address) {
                add(.invalid(here + ".ip", text: address, Self.addressProblem))
            }
            for (number, name) in (alias.json["hostnames"]?.array ?? []).enumerated() {
                check("\(here).hostnames[\(number)]", name.string ?? "", Names.dns1123SubdomainProblem)
            }
        }
        for (index, spread) in (spec.json["topologySpreadConstraints"]?.array ?? []).enumerated() {
            guard let skew = spread["maxSkew"]?.int, skew <= 0 else { continue }
            add(
                .invalid(
                    "\(path).topologySpreadConstraints[\(index)].maxSkew", String(skew), "must be greater than zero"))
        }
        names(spec, path)
        identities(spec.json["securityContext"], "\(path).securityContext")
        if spec.json["ephemeralContainers"]?.array?.isEmpty == false {
            add(.forbidden("\(path).ephemeralContainers", "cannot be set on create"))
        }
    }

    /// How a pod's names are looked up: who wants no servers from here must bring some.
    private mutating func names(_ spec: PodSpec, _ path: String) {
        let config = spec.json["dnsConfig"]
        let servers = config?["nameservers"]?.array ?? []
        if spec.dnsPolicy == "None" {
            if config == nil {
                add(.required("\(path).dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None"))
            } else if servers.isEmpty {
                add(
                    .required(
                        "\(path).dnsConfig.nameservers",
                        "must provide at least one DNS nameserver when `dnsPolicy` is None"))
            }
        }
        if servers.count > 3 {
            add(
                .invalid(
                    "\(path).dnsConfig.nameservers", Validator.short(.array(servers)),
                    "must not have more than 3 nameservers"))
        }
        for (index, server) in servers.enumerated() where !AddressRange.isAddress(server.string ?? "") {
            add(.invalid("\(path).dnsConfig.nameservers[\(index)]", text: server.string ?? "", Self.addressProblem))
        }
    }

    private mutating func toleration(_ toleration: JSON, _ path: String) {
        func text(_ name: String) -> String { toleration[name]?.string ?? "" }
        let (key, sort, value, effect) = (text("key"), text("operator"), text("value"), text("effect"))
        if !key.isEmpty {
            check(path + ".key", key, Names.qualifiedNameProblem)
        } else if sort != "Exists" {
            add(
                .invalid(
                    path + ".operator", text: sort,
                    "operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
        }
        if toleration["tolerationSeconds"] != nil, effect != "NoExecute" {
            add(
                .invalid(path + ".effect", text: effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"))
        }
        if sort == "Exists", !value.isEmpty {
            add(.invalid(path + ".operator", text: value, "value must be empty when `operator` is 'Exists'"))
        } else if sort != "Exists" {
            check(path + ".operator", value, Names.labelValueProblem)
        }
        if !effect.isEmpty, !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(effect) {
            add(.notSupported(path + ".effect", effect, ["NoSchedule", "PreferNoSchedule", "NoExecute"]))
        }
    }

    /// Users and groups of a pod or container.
    private mutating func identities(_ context: JSON?, _ path: String) {
        for name in ["runAsUser", "runAsGroup", "fsGroup"] {
            guard let number = context?[name]?.int, !(0...Int(Int32.max)).contains(number) else { continue }
            add(.invalid("\(path).\(name)", String(number), Self.identityProblem))
        }
        for (index, group) in (context?["supplementalGroups"]?.array ?? []).enumerated() {
            guard let number = group.int, !(0...Int(Int32.max)).contains(number) else { continue }
            add(.invalid("\(path).supplementalGroups[\(index)]", String(number), Self.identityProblem))
        }
    }

    /// Ports of the node: each once, and those of a pod on the node's network are the container's.
    mutating func hostPorts(_ spec: PodSpec, _ path: String) {
        var taken: Set<String> = []
        for (index, container) in spec.containers.enumerated() {
            for (number, port) in container.ports.enumerated() {
                let here = "\(path).containers[\(index)].ports[\(number)]"
                let hostPort = port.json["hostPort"]?.int ?? 0
                if hostPort != 0 {
                    if let problem = Names.portProblem(hostPort) {
                        add(.invalid(here + ".hostPort", String(hostPort), problem))
                    }
                    let protocolName = port.json["protocol"]?.string ?? "TCP"
                    let key = "\(protocolName)/\(port.json["hostIP"]?.string ?? "")/\(hostPort)"
                    if !taken.insert(key).inserted { add(.duplicate(here + ".hostPort", "\"\(key)\"")) }
                }
                if spec.hostNetwork, hostPort != port.containerPort {
                    add(
                        .invalid(
                            here + ".containerPort", String(port.containerPort),
                            "must match `hostPort` when `hostNetwork` is true"))
                }
            }
        }
    }

    /// What a container asks for, may do and is told when it starts and ends.
    mutating func behaviour(_ container: Container, _ path: String, isInit: Bool) {
        let json = container.json
        let trimmed = container.image.trimmingSpaces
        if trimmed.count != container.image.count {
            add(.invalid(path + ".image", text: container.image, "must not have leading or trailing whitespace"))
        }
        let policy = json["restartPolicy"]?.string
        if let policy, isInit, policy != "Always" {
            add(.notSupported(path + ".restartPolicy", policy, ["Always"]))
        } else if policy != nil, !isInit {
            add(.forbidden(path + ".restartPolicy", "may not be set for non-init containers"))
        }
        if isInit, policy != "Always" {
            for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] where json[name] != nil {
                add(.forbidden("\(path).\(name)", "may not be set for init containers without restartPolicy=Always"))
            }
        }
        resources(json["resources"] ?? .null, path + ".resources")
        let context = json["securityContext"]
        identities(context, path + ".securityContext")
        if context?["allowPrivilegeEscalation"] == false {
            let added = context?["capabilities"]?["add"]?.array ?? []
            let shown = Validator.short(context ?? .null)
            if context?["privileged"] == true {
                add(
                    .invalid(
                        path + ".securityContext", shown,
                        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
            }
            if added.contains("CAP_SYS_ADMIN") {
                add(
                    .invalid(
                        path + ".securityContext", shown,
                        "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
            }
        }
        for name in ["postStart", "preStop"] {
            guard let handler = json["lifecycle"]?[name] else { continue }
            self.handler(handler, ["exec", "httpGet", "tcpSocket", "sleep"], "\(path).lifecycle.\(name)")
        }
    }

    /// What is done at an end or a probe: exactly one thing, and all that it needs.
    mutating func handler(_ handler: JSON, _ kinds: [String], _ path: String) {
        let found = kinds.filter { handler[$0] != nil }
        if found.isEmpty { add(.required(path, "must specify a handler type")) }
        for extra in found.dropFirst() {
            add(.forbidden("\(path).\(extra)", "may not specify more than 1 handler type"))
        }
        if let exec = handler["exec"], exec["command"]?.array?.isEmpty ?? true {
            add(.required(path + ".exec.command"))
        }
        for name in ["httpGet", "tcpSocket", "grpc"] {
            switch IntOrString(json: handler[name]?["port"]) {
            case .int(let number):
                if let problem = Names.portProblem(number) {
                    add(.invalid("\(path).\(name).port", String(number), problem))
                }
            case .string(let text): check("\(path).\(name).port", text, Names.portNameProblem)
            case nil: break
            }
        }
    }

    private mutating func resources(_ resources: JSON, _ path: String) {
        let limits = resources["limits"]?.object ?? [:]
        for (list, amounts) in [("limits", limits), ("requests", resources["requests"]?.object ?? [:])] {
            for (name, value) in amounts.sorted(by: { $0.key < $1.key }) {
                let here = "\(path).\(list)[\(name)]"
                let text = value.string ?? value.text
                if let problem = Names.qualifiedNameProblem(name) {
                    add(.invalid(here, text: name, problem))
                } else if !name.contains("/"), !["cpu", "memory", "ephemeral-storage"].contains(name),
                    !name.hasPrefix("hugepages-")
                {
                    add(.invalid(here, text: name, "must be a standard resource type or fully qualified"))
                    add(.invalid(here, text: name, "must be a standard resource for containers"))
                }
                guard let amount = Quantity(text) else { continue }
                if amount.milli < 0 {
                    add(.invalid(here, text: text, "must be greater than or equal to 0"))
                }
                guard list == "requests", let limit = limits[name], let most = Quantity(limit.string ?? limit.text),
                    amount > most
                else { continue }
                add(
                    .invalid(
                        "\(path).requests", text: text,
                        "must be less than or equal to \(name) limit of \(limit.string ?? limit.text)"))
            }
        }
    }

    /// Numbers of a probe, which may not be negative.
    mutating func timing(_ probe: JSON, _ path: String, isReadiness: Bool) {
        counts(
            probe, ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"],
            path)
        guard let grace = probe["terminationGracePeriodSeconds"]?.int else { return }
        if isReadiness {
            add(
                .invalid(
                    path + ".terminationGracePeriodSeconds", String(grace), "must not be set for readinessProbes"))
        } else if grace <= 0 {
            add(.invalid(path + ".terminationGracePeriodSeconds", String(grace), "must be greater than 0"))
        }
    }
}

extension String {
    /// Without white space at its ends.
    fileprivate var trimmingSpaces: Substring {
        var text = self[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
