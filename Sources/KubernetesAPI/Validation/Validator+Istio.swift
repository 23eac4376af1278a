import Serialization

// What Istio's own definitions refuse beyond the bounds of single fields: rules between fields, and of names in maps.
extension Validator {
    /// The rules that several of Istio's kinds share, and those of kinds that no other file has.
    mutating func istio(_ object: KubernetesObject) {
        let spec = object.spec
        selector(spec["selector"]?["matchLabels"], "spec.selector.matchLabels")
        selector(spec["workloadSelector"]?["matchLabels"], "spec.workloadSelector.matchLabels")
        selector(spec["workloadSelector"]?["labels"], "spec.workloadSelector.labels")
        targets(spec, object.kind)
        exports(object)
        dryRun(object)
        switch object.kind {
        case "VirtualService": routing(object)
        case "DestinationRule": destinationRule(object)
        case "Gateway": gateway(object)
        case "Sidecar": sidecar(object)
        case "WorkloadEntry":
            workload(spec, "spec")
            workloadPlace(spec, "spec")
        case "WorkloadGroup":
            labels("spec.metadata.labels", KubernetesObject(json: spec["metadata"] ?? .object([:])).map("labels"))
            if let template = spec["template"] { workload(template, "spec.template") }
            if let probe = spec["probe"] { self.probe(probe) }
        case "ServiceEntry":
            serviceEntry(object)
            for (index, endpoint) in (spec["endpoints"]?.array ?? []).enumerated() {
                workload(endpoint, "spec.endpoints[\(index)]")
                workloadPlace(endpoint, "spec.endpoints[\(index)]")
            }
        case "Telemetry": telemetry(spec)
        case "EnvoyFilter": patches(spec)
        default: break
        }
    }

    /// Letters, digits, `-` and `_`, at least one of them.
    static func isPlainHeader(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case 0x2D, 0x5F, 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                default: false
                }
            }
    }

    /// Labels are compared as they are: a pattern among them would select nothing.
    private mutating func selector(_ labels: JSON?, _ path: String) {
        for (key, value) in (labels?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
            if key.isEmpty { add(.invalid(path, text: key, "a label's name must not be empty")) }
            if key.contains("*") { add(.invalid(path, text: key, "wildcards are not supported in label names")) }
            if let text = value.string, text.contains("*") {
                add(.invalid("\(path)[\(key)]", text: text, "wildcards are not supported in label values"))
            }
        }
    }

    // MARK: targetRefs

    /// What policies and Telemetry can be attached to.
    private static let targetKinds = [
        "Service", "networking.istio.io/ServiceEntry", "gateway.networking.k8s.io/Gateway",
        "gateway.networking.k8s.io/GatewayClass",
    ]

    private mutating func targets(_ spec: JSON, _ kind: String) {
        let ways = ["selector", "workloadSelector", "targetRef", "targetRefs"].filter { spec[$0] != nil }
        guard spec["targetRef"] ?? spec["targetRefs"] != nil else { return }
        if ways.count > 1, let first = ways.first, let last = ways.last {
            add(.forbidden("spec.\(last)", "\(first) and \(last) exclude each other"))
        }
        if let target = spec["targetRef"] { self.target(target, "spec.targetRef", kind) }
        for (index, target) in (spec["targetRefs"]?.array ?? []).enumerated() {
            self.target(target, "spec.targetRefs[\(index)]", kind)
        }
    }

    private mutating func target(_ target: JSON, _ path: String, _ owner: String) {
        let view = KubernetesObject(json: target)
        let (group, kind, namespace) = (view.string("group"), view.string("kind"), view.string("namespace"))
        if !group.isEmpty { check("\(path).group", group, Names.dns1123SubdomainProblem) }
        if !kind.isEmpty, !Self.isKind(kind) {
            add(.invalid("\(path).kind", text: kind, "must be the name of a kind, such as Service"))
        } else if !kind.isEmpty, owner != "EnvoyFilter", Names.dns1123SubdomainProblem(group) == nil || group.isEmpty {
            let full = group.isEmpty || group == "core" ? kind : "\(group)/\(kind)"
            if !Self.targetKinds.contains(full) { add(.notSupported("\(path).kind", full, Self.targetKinds)) }
        }
        if !namespace.isEmpty {
            add(.forbidden("\(path).namespace", "a policy is for what is in its own namespace; leave the field out"))
        }
    }

    /// The name of a kind: letters, digits and `-`, beginning with a letter.
    static func isKind(_ text: String) -> Bool {
        guard let first = text.utf8.first, let last = text.utf8.last, first != 0x2D, last != 0x2D,
            !(0x30...0x39).contains(first)
        else { return false }
        return !text.contains("_") && isPlainHeader(text)
    }

    // MARK: Workloads outside of the cluster

    private mutating func workload(_ workload: JSON, _ path: String) {
        let view = KubernetesObject(json: workload)
        let address = view.string("address")
        let ports = workload["ports"]?.object ?? [:]
        if address.hasPrefix("unix://") {
            if let problem = IstioNames.socketProblem(address.dropFirst("unix://".count)) {
                add(.invalid("\(path).address", text: address, problem))
            }
            if !ports.isEmpty { add(.forbidden("\(path).ports", "a Unix socket has no ports")) }
        }
        for name in ports.keys.sorted() where !Self.isPortName(name) {
            add(
                .invalid(
                    "\(path).ports", text: name,
                    "a port's name must consist of letters, digits and '-', begin and end with a letter or digit, and have less than 63 characters"
                ))
        }
    }

    private static func isPortName(_ text: String) -> Bool {
        text.utf8.count < 63 && text.utf8.first != 0x2D && text.utf8.last != 0x2D && !text.contains("_")
            && isPlainHeader(text)
    }

    private mutating func probe(_ probe: JSON) {
        let ways = ["httpGet", "tcpSocket", "exec", "grpc"].filter { probe[$0] != nil }
        if ways.isEmpty { add(.required("spec.probe", "httpGet, tcpSocket, exec or grpc")) }
        if ways.count > 1, let first = ways.first, let last = ways.last {
            add(.forbidden("spec.probe.\(last)", "\(first) and \(last) exclude each other"))
        }
        for name in ["httpGet", "tcpSocket", "grpc"] {
            guard let way = probe[name] else { continue }
            let path = "spec.probe.\(name).port"
            guard let port = way["port"]?.int else {
                if name != "grpc" { add(.required(path)) }
                continue
            }
            if let problem = Names.portProblem(port) { add(.invalid(path, String(port), problem)) }
        }
        let scheme = probe["httpGet"]?["scheme"]?.string ?? ""
        if !["", "HTTP", "HTTPS"].contains(scheme) {
            add(.notSupported("spec.probe.httpGet.scheme", scheme, ["HTTP", "HTTPS"]))
        }
        for (index, header) in (probe["httpGet"]?["httpHeaders"]?.array ?? []).enumerated() {
            let name = header["name"]?.string ?? ""
            guard !Self.isPlainHeader(name) else { continue }
            add(
                .invalid(
                    "spec.probe.httpGet.httpHeaders[\(index)].name", text: name,
                    "must consist of letters, digits, '-' and '_'"))
        }
        if let exec = probe["exec"] {
            let command = exec["command"]?.array ?? []
            if command.isEmpty { add(.required("spec.probe.exec.command")) }
            for (index, word) in command.enumerated() where word.string?.isEmpty ?? true {
                add(.invalid("spec.probe.exec.command[\(index)]", text: "", "must not be empty"))
            }
        }
    }

    // MARK: Telemetry

    private mutating func telemetry(_ spec: JSON) {
        for (index, metrics) in (spec["metrics"]?.array ?? []).enumerated() {
            for (position, override) in (metrics["overrides"]?.array ?? []).enumerated() {
                let path = "spec.metrics[\(index)].overrides[\(position)].tagOverrides"
                for (tag, rule) in (override["tagOverrides"]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
                    let hasValue = !(rule["value"]?.string ?? "").isEmpty
                    switch rule["operation"]?.string {
                    case "REMOVE" where hasValue:
                        add(.forbidden("\(path)[\(tag)].value", "REMOVE takes no value"))
                    case "UPSERT" where !hasValue: add(.required("\(path)[\(tag)].value", "UPSERT sets a value"))
                    default: break
                    }
                }
            }
        }
    }

    // MARK: EnvoyFilter

    private static let listenerSubjects = [
        "LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER", "LISTENER_FILTER",
    ]
    private static let managers = ["envoy.filters.network.http_connection_manager", "envoy.http_connection_manager"]

    /// What a patch is applied to, what it matches and what it does must fit together.
    private mutating func patches(_ spec: JSON) {
        for (index, patch) in (spec["configPatches"]?.array ?? []).enumerated() {
            guard let match = patch["match"] else { continue }
            let path = "spec.configPatches[\(index)].match"
            let subject = patch["applyTo"]?.string ?? ""
            if (match["context"]?.string == "WAYPOINT") != (match["waypoint"] != nil) {
                add(.forbidden("\(path).waypoint", "goes with the context WAYPOINT, and with that alone"))
            }
            if match["context"]?.string == "WAYPOINT" { continue }
            let wanted: String? =
                switch subject {
                case _ where Self.listenerSubjects.contains(subject): "listener"
                case "ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE": "routeConfiguration"
                case "CLUSTER": "cluster"
                default: nil
                }
            if let wanted, match[wanted] == nil {
                for other in ["listener", "routeConfiguration", "cluster"] where match[other] != nil {
                    add(.forbidden("\(path).\(other)", "\(subject) is matched by \(wanted)"))
                }
            }
            if wanted == "listener" { filter(match["listener"]?["filterChain"]?["filter"], subject, path) }
        }
    }

    private mutating func filter(_ filter: JSON?, _ subject: String, _ match: String) {
        guard let filter else { return }
        let path = "\(match).listener.filterChain.filter"
        let name = filter["name"]?.string ?? ""
        if name.isEmpty { return add(.required("\(path).name")) }
        guard let inner = filter["subFilter"] else { return }
        if subject != "HTTP_FILTER" {
            add(.forbidden("\(path).subFilter", "goes with HTTP_FILTER alone"))
        } else if !Self.managers.contains(name) {
            add(.invalid("\(path).name", text: name, "only \(Self.managers[0]) has filters inside"))
        } else if (inner["name"]?.string ?? "").isEmpty {
            add(.required("\(path).subFilter.name"))
        }
    }
}
