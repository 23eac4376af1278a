public import Serialization

/// What a ResourceQuota counts, and how much of it there may be.
///
/// Pure. Source: Kubernetes' documentation, "Resource Quotas".
public struct QuotaSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The bounds.
    public var hard: ResourceUse { ResourceUse(json: json["hard"]) }

    private static let computed: Set<String> = [
        "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage",
        "limits.cpu", "limits.memory", "limits.ephemeral-storage",
    ]

    /// What one object counts for, by the names that quotas have; nothing when the quota is about others.
    public func use(of object: JSON, _ kind: ResourceKind) -> ResourceUse {
        var use = ResourceUse()
        let one = Quantity(milli: 1000)
        let group = kind.group.isEmpty ? "" : "." + kind.group
        let isScoped = !scopes.isEmpty
        if kind == .pod {
            guard matches(object) else { return use }
            use.add("count/pods", one)
            let phase = object["status"]?["phase"]?.string ?? ""
            guard phase != "Succeeded", phase != "Failed" else { return use }
            use.add("pods", one)
            let spec = PodSpec(json: object["spec"] ?? .null)
            let (asked, most) = (ResourceUse(of: spec, "requests"), ResourceUse(of: spec, "limits"))
            for (name, amount) in asked.amounts {
                let isBinary = asked.binary.contains(name)
                use.add("requests.\(name)", amount, isBinary: isBinary)
                if Self.computed.contains(name) { use.add(name, amount, isBinary: isBinary) }
            }
            for (name, amount) in most.amounts {
                use.add("limits.\(name)", amount, isBinary: most.binary.contains(name))
            }
            return use
        }
        guard !isScoped else { return use }
        use.add("count/\(kind.plural)\(group)", one)
        switch kind {
        case .replicationController: use.add("replicationcontrollers", one)
        case .service:
            use.add("services", one)
            let spec = ServiceSpec(json: object["spec"] ?? .null)
            if spec.type == "LoadBalancer" { use.add("services.loadbalancers", one) }
            if spec.type == "NodePort"
                || spec.type == "LoadBalancer" && spec.json["allocateLoadBalancerNodePorts"] != false
            {
                use.add("services.nodeports", Quantity(milli: Int64(spec.ports.count) * 1000))
            }
        case .persistentVolumeClaim:
            use.add("persistentvolumeclaims", one)
            let amount = object["spec"]?["resources"]?["requests"]?["storage"].map { $0.string ?? $0.text } ?? "0"
            use.add("requests.storage", amount)
            if let name = object["spec"]?["storageClassName"]?.string, !name.isEmpty {
                use.add("\(name).storageclass.storage.k8s.io/persistentvolumeclaims", one)
                use.add("\(name).storageclass.storage.k8s.io/requests.storage", amount)
            }
        case .configMap, .secret, .resourceQuota: use.add(kind.plural, one)
        default: break
        }
        return use
    }

    /// What a pod's containers leave out that a quota counts: `limits.cpu for: a,b`.
    public func missing(of pod: JSON) -> String {
        let spec = PodSpec(json: pod["spec"] ?? .null)
        guard matches(pod) else { return "" }
        let parts = hard.amounts.keys.filter(Self.computed.contains).sorted().compactMap { name -> String? in
            let isLimit = name.hasPrefix("limits.")
            let resource = name.split(separator: ".").last.map(String.init) ?? name
            let without = (spec.initContainers + spec.containers).filter {
                $0.json["resources"]?[isLimit ? "limits" : "requests"]?[resource] == nil
            }
            return without.isEmpty ? nil : "\(name) for: \(without.map(\.name).sorted().joined(separator: ","))"
        }
        return parts.joined(separator: "; ")
    }

    private var scopes: [(name: String, operator: String, values: [String])] {
        (json["scopes"]?.array ?? []).compactMap(\.string).map { ($0, "Exists", []) }
            + (json["scopeSelector"]?["matchExpressions"]?.array ?? []).map { entry in
                (
                    entry["scopeName"]?.string ?? "", entry["operator"]?.string ?? "Exists",
                    (entry["values"]?.array ?? []).compactMap(\.string)
                )
            }
    }

    private func matches(_ pod: JSON) -> Bool {
        let spec = PodSpec(json: pod["spec"] ?? .null)
        let isBestEffort = (spec.containers + spec.initContainers).allSatisfy {
            $0.resources.limits.isEmpty && $0.resources.requests.isEmpty
        }
        let isTerminating = spec.json["activeDeadlineSeconds"] != nil
        return scopes.allSatisfy { scope in
            switch scope.name {
            case "BestEffort": isBestEffort
            case "NotBestEffort": !isBestEffort
            case "Terminating": isTerminating
            case "NotTerminating": !isTerminating
            case "PriorityClass":
                Self.isMet(scope.operator, scope.values, spec.json["priorityClassName"]?.string ?? "")
            default: false
            }
        }
    }

    private static func isMet(_ word: String, _ values: [String], _ name: String) -> Bool {
        switch word {
        case "In": values.contains(name)
        case "NotIn": !values.contains(name)
        case "DoesNotExist": name.isEmpty
        default: !name.isEmpty
        }
    }
}
