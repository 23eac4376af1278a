import KubernetesAPI
import Serialization

/// What several Services, Deployments and Ingresses say of the same thing.
struct WorkloadTables {
    /// A port of a pod.
    private struct PodPort: Hashable {
        var pod: NamespacedName
        var port: Int
    }

    private struct Selector {
        var key: NamespacedName
        var labels: [String: String]
    }

    /// What an older Service says of a port of a pod that this one has, too: by Service.
    private(set) var protocolConflicts: [NamespacedName: (field: String, message: String)] = [:]
    private var deployments: [NamespacedName: Diagnostic] = [:]
    private var ingresses: [NamespacedName: [Diagnostic]] = [:]

    init(_ tables: AnalysisTables, _ objects: [KubernetesObject]) {
        readServices(tables)
        readDeployments(tables, objects)
        readIngresses(tables)
    }

    func diagnostics(_ deployment: NamespacedName) -> [Diagnostic] { deployments[deployment].map { [$0] } ?? [] }
    func diagnostics(ingress: NamespacedName) -> [Diagnostic] { ingresses[ingress] ?? [] }

    private mutating func readServices(_ tables: AnalysisTables) {
        var spoken: [PodPort: (service: NamespacedName, protocol: PortProtocol)] = [:]
        for service in tables.model.sortedServices where service.registry == .kubernetes && !service.selector.isEmpty {
            for pod in tables.pods(in: service.key.namespace, with: service.selector) {
                for port in service.ports where port.portProtocol != .sniffed {
                    guard let number = port.number(at: pod) else { continue }
                    tables.count(1)
                    let place = PodPort(pod: pod.key, port: number)
                    guard let first = spoken[place] else {
                        spoken[place] = (service.key, port.portProtocol)
                        continue
                    }
                    if first.protocol == port.portProtocol || first.service == service.key { continue }
                    protocolConflicts[service.key] =
                        protocolConflicts[service.key]
                        ?? (
                            field(port, of: service.key, tables),
                            "port \(number) of pod \(pod.key) is \(first.protocol) in Service \(first.service) and "
                                + "\(port.portProtocol) here: the proxy of the pod reads it in one way only"
                        )
                }
            }
        }
    }

    /// Where a port is written; the mesh leaves some out, so that its own count would not do.
    private func field(_ port: MeshService.Port, of key: NamespacedName, _ tables: AnalysisTables) -> String {
        let object = tables.model.objects.object(.service, key)
        let ports = object.map { Service(json: $0.json).spec.ports } ?? []
        let index = ports.firstIndex { $0.port == port.number && $0.protocol != "UDP" }
        return index.map { "spec.ports[\($0)]" } ?? "spec.ports"
    }

    private mutating func readDeployments(_ tables: AnalysisTables, _ objects: [KubernetesObject]) {
        struct Label: Hashable {
            var namespace: String
            var label: String
            var value: String
        }
        let all = objects.filter { $0.group == "apps" && $0.kind == "Deployment" }
        var selectors: [Label: [Selector]] = [:]
        for object in all {
            let labels = KubernetesObject(json: object.spec["selector"] ?? .null).map("matchLabels")
            guard let first = labels.min(by: { $0.key < $1.key }) else { continue }
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            selectors[Label(namespace: object.namespace, label: first.key, value: first.value), default: []].append(
                Selector(key: key, labels: labels))
        }
        for object in all {
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            let labels = Deployment(json: object.json).spec.template.metadata.labels
            let rival = labels.sorted { $0.key < $1.key }.lazy.flatMap { label, value in
                selectors[Label(namespace: object.namespace, label: label, value: value)] ?? []
            }.first { candidate in
                tables.count(1)
                return candidate.key != key && Labels.match(candidate.labels, labels)
            }
            guard let rival else { continue }
            deployments[key] = Diagnostic(
                .deploymentsShareSelector, kind: "Deployment", object: key, field: "spec.template.metadata.labels",
                message: "the selector of Deployment \(rival.key) fits the pods of this one, too")
        }
    }

    private mutating func readIngresses(_ tables: AnalysisTables) {
        var first: [String: NamespacedName] = [:]
        for object in tables.model.servedIngresses {
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            for (index, rule) in Ingress(json: object.json).spec.rules.enumerated() {
                for (position, path) in rule.http.paths.enumerated() {
                    tables.count(1)
                    let place = "\(rule.host.lowercased()) \(path.pathType == "Exact") \(path.path)"
                    guard let older = first[place] else {
                        first[place] = key
                        continue
                    }
                    if older == key { continue }
                    ingresses[key, default: []].append(
                        Diagnostic(
                            .ingressPathTwice, kind: "Ingress", object: key,
                            field: "spec.rules[\(index)].http.paths[\(position)].path",
                            message: "\(rule.host)\(path.path) belongs to the older Ingress \(older) (I-1)"))
                }
            }
        }
    }
}
