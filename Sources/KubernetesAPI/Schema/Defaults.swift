public import Serialization

extension SchemaTable {
    /// Fills in what an object of `kind` leaves out, as Kubernetes does.
    public func applyDefaults(to object: JSON, of kind: ResourceKind) -> JSON {
        guard let type = types[kind.schema], case .object(var members) = object else { return object }
        for field in type.fields {
            guard let value = members[field.name] ?? field.defaultValue else { continue }
            members[field.name] = filled(value, field.type)
        }
        if kind == .secret { Defaults.secret(&members) }
        Defaults.computed(kind.schema, &members)
        return .object(members)
    }

    private func filled(_ value: JSON, _ type: FieldType) -> JSON {
        switch (type, value) {
        case (.reference(let name), .object(var members)):
            guard let known = types[name] else { return value }
            for field in known.fields {
                if members[field.name] == nil, let constant = field.defaultValue { members[field.name] = constant }
                if let inner = members[field.name] { members[field.name] = filled(inner, field.type) }
            }
            Defaults.computed(name, &members)
            return .object(members)
        case (.array(let element), .array(let elements)): return .array(elements.map { filled($0, element) })
        case (.map(let element), .object(let members)): return .object(members.mapValues { filled($0, element) })
        default: return value
        }
    }
}

/// The defaults that depend on other fields.
enum Defaults {
    static func computed(_ type: String, _ members: inout [String: JSON]) {
        switch type {
        case "Container", "EphemeralContainer": container(&members)
        case "PodSpec": podSpec(&members)
        case "Pod":
            // Pods alone: their templates leave it open.
            if case .object(var spec) = members["spec"], spec["enableServiceLinks"] == nil {
                spec["enableServiceLinks"] = true
                members["spec"] = .object(spec)
            }
        case "ReplicationController": replicationController(&members)
        case "EndpointSlice":
            members["ports"] = members["ports"]?.array.map { ports in
                .array(ports.map { $0["name"] == nil ? named($0) : $0 })
            }
        case "Volume": if members.count == 1 { members["emptyDir"] = .object([:]) }
        case "ServicePort": if members["targetPort"] == nil { members["targetPort"] = members["port"] }
        case "ServiceSpec": serviceSpec(&members)
        case "Subject":
            if members["apiGroup"] == nil, members["kind"] == "User" || members["kind"] == "Group" {
                members["apiGroup"] = "rbac.authorization.k8s.io"
            }
        case "DeploymentStrategy":
            if members["type"] == "RollingUpdate", members["rollingUpdate"] == nil {
                members["rollingUpdate"] = ["maxUnavailable": "25%", "maxSurge": "25%"]
            }
        case "StatefulSetUpdateStrategy", "DaemonSetUpdateStrategy":
            if members["type"] == "RollingUpdate", members["rollingUpdate"] == nil {
                members["rollingUpdate"] =
                    type == "DaemonSetUpdateStrategy" ? ["maxUnavailable": 1, "maxSurge": 0] : ["partition": 0]
            }
        case "JobSpec":
            // Neither told: one pod. Completions alone: one pod at a time. Parallelism alone is a work queue.
            if members["completions"] == nil, members["parallelism"] == nil { members["completions"] = 1 }
            if members["parallelism"] == nil { members["parallelism"] = 1 }
        case "LimitRangeItem": limitRange(&members)
        case "HorizontalPodAutoscalerSpec": autoscaler(&members)
        case "NetworkPolicySpec":
            // N-2: Ingress always, Egress when there are such rules.
            if members["policyTypes"]?.array?.isEmpty ?? true {
                let hasEgress = !(members["egress"]?.array?.isEmpty ?? true)
                members["policyTypes"] = hasEgress ? ["Ingress", "Egress"] : ["Ingress"]
            }
        default: break
        }
    }

    /// Without metrics 80 % of the processors that are asked for; the rules of `behavior` as far as they are told.
    private static func autoscaler(_ members: inout [String: JSON]) {
        if members["metrics"]?.array?.isEmpty ?? true {
            members["metrics"] = [
                [
                    "type": "Resource",
                    "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": 80]],
                ]
            ]
        }
        guard var behavior = members["behavior"] else { return }
        var up = behavior["scaleUp"] ?? ["selectPolicy": "Max"]
        if up["stabilizationWindowSeconds"] == nil { up["stabilizationWindowSeconds"] = 0 }
        if up["policies"]?.array?.isEmpty ?? true {
            up["policies"] = [
                ["type": "Pods", "value": 4, "periodSeconds": 15],
                ["type": "Percent", "value": 100, "periodSeconds": 15],
            ]
        }
        var down = behavior["scaleDown"] ?? ["selectPolicy": "Max"]
        if down["policies"]?.array?.isEmpty ?? true {
            down["policies"] = [["type": "Percent", "value": 100, "periodSeconds": 15]]
        }
        behavior["scaleUp"] = up
        behavior["scaleDown"] = down
        members["behavior"] = behavior
    }

    /// Without a selector the labels of the template are it, without labels of its own they are those too.
    private static func replicationController(_ members: inout [String: JSON]) {
        guard case .object(var spec)? = members["spec"],
            let labels = spec["template"]?["metadata"]?["labels"]?.object, !labels.isEmpty
        else { return }
        if spec["selector"]?.object?.isEmpty ?? true { spec["selector"] = .object(labels) }
        members["spec"] = .object(spec)
        guard members["metadata"]?["labels"]?.object?.isEmpty ?? true else { return }
        var metadata = members["metadata"]?.object ?? [:]
        metadata["labels"] = .object(labels)
        members["metadata"] = .object(metadata)
    }

    /// Of containers: who says what most is says what is usual, and that what is asked for; else the least is asked for.
    private static func limitRange(_ members: inout [String: JSON]) {
        guard members["type"] == "Container" else { return }
        var usual = members["default"]?.object ?? [:]
        usual.merge(members["max"]?.object ?? [:]) { own, _ in own }
        var asked = members["defaultRequest"]?.object ?? [:]
        asked.merge(usual) { own, _ in own }
        asked.merge(members["min"]?.object ?? [:]) { own, _ in own }
        if !usual.isEmpty { members["default"] = .object(usual) }
        if !asked.isEmpty { members["defaultRequest"] = .object(asked) }
    }

    private static func container(_ members: inout [String: JSON]) {
        if members["imagePullPolicy"] == nil {
            let image = members["image"]?.string ?? ""
            let last = image.split(separator: "/").last.map(String.init) ?? image
            let isLatest = !image.contains("@") && (last.hasSuffix(":latest") || !last.contains(":"))
            members["imagePullPolicy"] = isLatest ? "Always" : "IfNotPresent"
        }
        if case .object(var resources) = members["resources"], let limits = resources["limits"]?.object {
            var requests = resources["requests"]?.object ?? [:]
            requests.merge(limits) { own, _ in own }
            resources["requests"] = .object(requests)
            members["resources"] = .object(resources)
        }
    }

    private static func podSpec(_ members: inout [String: JSON]) {
        if let account = members["serviceAccountName"] ?? members["serviceAccount"] {
            members["serviceAccountName"] = account
            members["serviceAccount"] = account
        }
        guard members["hostNetwork"]?.bool == true else { return }
        for list in ["containers", "initContainers"] {
            guard let containers = members[list]?.array else { continue }
            members[list] = .array(
                containers.map { container in
                    guard let ports = container["ports"]?.array else { return container }
                    var changed = container
                    changed["ports"] = .array(
                        ports.map { port in
                            var changed = port
                            if port["hostPort"] == nil { changed["hostPort"] = port["containerPort"] }
                            return changed
                        })
                    return changed
                })
        }
    }

    private static func named(_ port: JSON) -> JSON {
        var port = port
        port["name"] = ""
        return port
    }

    private static func serviceSpec(_ members: inout [String: JSON]) {
        let type = members["type"]?.string ?? "ClusterIP"
        if type == "ExternalName" { members["internalTrafficPolicy"] = nil }
        if type == "LoadBalancer" || type == "NodePort", members["externalTrafficPolicy"] == nil {
            members["externalTrafficPolicy"] = "Cluster"
        }
        if type == "LoadBalancer", members["allocateLoadBalancerNodePorts"] == nil {
            members["allocateLoadBalancerNodePorts"] = true
        }
        if members["sessionAffinity"] == "ClientIP", members["sessionAffinityConfig"] == nil {
            members["sessionAffinityConfig"] = ["clientIP": ["timeoutSeconds": 10800]]
        }
    }

    /// `stringData` is written, never read: it becomes part of `data`.
    static func secret(_ members: inout [String: JSON]) {
        if members["type"] == nil { members["type"] = "Opaque" }
        guard let texts = members["stringData"]?.object else { return }
        var data = members["data"]?.object ?? [:]
        for (key, text) in texts { data[key] = .string(Base64Text.encode(Array((text.string ?? "").utf8))) }
        members["data"] = .object(data)
        members["stringData"] = nil
    }
}

/// Base64 with padding (RFC 4648 section 4), for Secrets.
enum Base64Text {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var out: [UInt8] = []
        var index = 0
        while index < bytes.count {
            let group = bytes[index..<min(index + 3, bytes.count)]
            var word: UInt32 = 0
            for (position, byte) in group.enumerated() { word |= UInt32(byte) << (16 - 8 * UInt32(position)) }
            for position in 0..<4 {
                out.append(position <= group.count ? alphabet[Int(word >> (18 - 6 * UInt32(position))) & 63] : 0x3d)
            }
            index += 3
        }
        return String(decoding: out, as: UTF8.self)
    }

    static func isValid(_ text: String) -> Bool {
        let bytes = text.utf8.filter { $0 != 0x0a && $0 != 0x0d }
        guard bytes.count % 4 == 0 else { return false }
        let padding = bytes.reversed().prefix { $0 == 0x3d }.count
        return padding <= 2 && bytes.dropLast(padding).allSatisfy(alphabet.contains)
    }
}
