import KubernetesAPI
import Serialization

/// The objects that controllers would make of others: a pod for each Deployment, addresses and endpoints for Services.
///
/// Files hold Deployments and Services, the mesh is made of pods and endpoints; with these the same analysis serves both.
/// What is there already is left as it is.
struct PlannedObjects {
    /// The given objects and those that follow from them.
    let all: [KubernetesObject]

    private struct Template {
        var key: NamespacedName
        var labels: [String: String]
        var object: KubernetesObject
    }

    private struct LabelKey: Hashable {
        var namespace: String
        var label: String
        var value: String
    }

    init(_ given: [KubernetesObject]) {
        var objects = given
        var pods = given.filter { $0.group.isEmpty && $0.kind == "Pod" }
        var byLabel = Self.index(pods)
        for template in given.compactMap(Self.template) {
            // Pods of a live Deployment are there; of one that is only written none is.
            if Self.fits(template, byLabel, pods) { continue }
            let pod = Self.pod(template, number: pods.count)
            for (label, value) in template.labels {
                let key = LabelKey(namespace: template.key.namespace, label: label, value: value)
                byLabel[key, default: []].append(pods.count)
            }
            pods.append(pod)
            objects.append(pod)
        }
        let sliced = Set(
            given.filter { $0.kind == "EndpointSlice" }.compactMap { slice in
                slice.metadata.labels["kubernetes.io/service-name"].map {
                    NamespacedName(namespace: slice.namespace, name: $0)
                }
            })
        var count = 0
        for index in objects.indices where objects[index].group.isEmpty && objects[index].kind == "Service" {
            count += 1
            objects[index] = Self.addressed(objects[index], number: count)
            let key = NamespacedName(namespace: objects[index].namespace, name: objects[index].name)
            if sliced.contains(key) { continue }
            if let slice = Self.slice(objects[index], byLabel, pods) { objects.append(slice) }
        }
        all = objects
    }

    private static func index(_ pods: [KubernetesObject]) -> [LabelKey: [Int]] {
        var table: [LabelKey: [Int]] = [:]
        for (index, pod) in pods.enumerated() {
            for (label, value) in pod.metadata.labels {
                table[LabelKey(namespace: pod.namespace, label: label, value: value), default: []].append(index)
            }
        }
        return table
    }

    private static func candidates(
        _ namespace: String, _ labels: [String: String], _ index: [LabelKey: [Int]]
    ) -> [Int] {
        labels.map { index[LabelKey(namespace: namespace, label: $0.key, value: $0.value)] ?? [] }
            .min { $0.count < $1.count } ?? []
    }

    private static func template(_ object: KubernetesObject) -> Template? {
        guard object.group == "apps", ["Deployment", "ReplicaSet"].contains(object.kind),
            object.metadata.ownerReferences.isEmpty
        else { return nil }
        return Template(
            key: NamespacedName(namespace: object.namespace, name: object.name),
            labels: Deployment(json: object.json).spec.template.metadata.labels, object: object)
    }

    private static func fits(_ template: Template, _ index: [LabelKey: [Int]], _ pods: [KubernetesObject]) -> Bool {
        candidates(template.key.namespace, template.labels, index).contains { position in
            pods.indices.contains(position) && Labels.match(template.labels, pods[position].metadata.labels)
        }
    }

    /// From 198.18.0.0/15 (RFC 2544), which no cluster uses.
    private static func address(_ number: Int) -> String {
        let host = UInt32(truncatingIfNeeded: number) & 0x1_ffff | 0xc612_0000
        return "\(host >> 24).\(host >> 16 & 255).\(host >> 8 & 255).\(host & 255)"
    }

    private static func pod(_ template: Template, number: Int) -> KubernetesObject {
        let written = template.object.spec["template"] ?? .object([:])
        var metadata = written["metadata"] ?? .object([:])
        metadata["name"] = .string(template.key.name)
        metadata["namespace"] = .string(template.key.namespace)
        return KubernetesObject(json: [
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": written["spec"] ?? .object([:]),
            "status": ["podIP": .string(address(number + 1))],
        ])
    }

    private static func addressed(_ object: KubernetesObject, number: Int) -> KubernetesObject {
        let spec = Service(json: object.json).spec
        guard spec.type != "ExternalName", spec.clusterIP.isEmpty, spec.clusterIPs.isEmpty else { return object }
        var object = object
        object.spec["clusterIP"] = .string(address(0x1_0000 + number))
        return object
    }

    /// The endpoints of a Service with a selector, as its controller makes them.
    private static func slice(
        _ object: KubernetesObject, _ index: [LabelKey: [Int]], _ pods: [KubernetesObject]
    ) -> KubernetesObject? {
        let spec = Service(json: object.json).spec
        guard !spec.selector.isEmpty, spec.type != "ExternalName" else { return nil }
        let chosen = candidates(object.namespace, spec.selector, index).filter {
            pods.indices.contains($0) && Labels.match(spec.selector, pods[$0].metadata.labels)
        }
        guard let first = chosen.first else { return nil }
        let ports: [JSON] = spec.ports.compactMap { port in
            let number: Int?
            switch port.targetPort {
            case .string(let name): number = Self.port(named: name, of: pods[first])
            case .int(let target) where target > 0: number = target
            default: number = port.port
            }
            return number.map {
                ["name": .string(port.name), "port": .integer(Int64($0)), "protocol": .string(port.protocol)]
            }
        }
        return KubernetesObject(json: [
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": [
                "name": .string(object.name), "namespace": .string(object.namespace),
                "labels": ["kubernetes.io/service-name": .string(object.name)],
            ],
            "addressType": "IPv4", "ports": .array(ports),
            "endpoints": .array(
                chosen.compactMap { position in
                    let pod = pods[position]
                    guard let address = pod.status["podIP"] else { return nil }
                    return [
                        "addresses": [address], "conditions": ["ready": true],
                        "targetRef": ["kind": "Pod", "name": .string(pod.name)],
                    ]
                }),
        ])
    }

    private static func port(named name: String, of pod: KubernetesObject) -> Int? {
        (pod.spec["containers"]?.array ?? []).flatMap { $0["ports"]?.array ?? [] }
            .first { $0["name"]?.string == name }?["containerPort"]?.int
    }
}
