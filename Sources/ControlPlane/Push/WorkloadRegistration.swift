import EnvoyAPI
import HTTP
import IO
import KubernetesAPI
import Mesh
import Serialization

/// What a proxy outside of the cluster says of its workload when it comes to be registered: Istio's metadata of a node.
///
/// Pure.
struct WorkloadRegistration: Sendable, Hashable {
    /// Names the WorkloadGroup, of the namespace in the node's id.
    static let groupMember = "AUTO_REGISTER_GROUP"
    /// The annotation of an entry that was made from a group.
    static let groupAnnotation = "istio.io/autoRegistrationGroup"
    /// Which control plane has the workload's stream.
    static let controllerAnnotation = "istio.io/workloadController"
    /// When its stream was there last; it is written again as long as it is.
    static let connectedAnnotation = "istio.io/connectedAt"
    /// When its last stream ended.
    static let disconnectedAnnotation = "istio.io/disconnectedAt"
    /// Labels that a node may bring; more are refused.
    static let labelsMax = 64

    var group: NamespacedName
    var address: String
    var network: String
    var labels: [String: String]
    /// `region/zone/subzone`; empty when the node does not say where it is.
    var locality: String
    /// The node's whole id, which may not change on a stream.
    var node: String

    /// Reads what a node says; nil when it does not ask to be registered.
    init?(_ node: EnvoyAPI.Node) throws(GRPCStatus) {
        guard let group = node.metadata?[Self.groupMember]?.string, !group.isEmpty else { return nil }
        guard let id = NodeID(node.id), id.role == "sidecar" else {
            throw GRPCStatus(.permissionDenied, "node \(node.id) is not of the form \(NodeID.form)")
        }
        guard let address = IPAddress(id.address) else {
            throw GRPCStatus(.invalidArgument, "node \(node.id): \"\(id.address)\" is no address to register")
        }
        let said = node.metadata?["NAMESPACE"]?.string ?? id.pod.namespace
        guard said == id.pod.namespace else {
            throw GRPCStatus(.permissionDenied, "node \(node.id): NAMESPACE is \(said)")
        }
        let labels = (node.metadata?["LABELS"]?.object ?? [:]).compactMapValues(\.string)
        guard labels.count <= Self.labelsMax else {
            throw GRPCStatus(.invalidArgument, "node \(node.id): more than \(Self.labelsMax) LABELS")
        }
        self.group = NamespacedName(namespace: id.pod.namespace, name: group)
        self.address = address.description
        self.labels = labels
        network = node.metadata?["NETWORK"]?.string ?? ""
        let parts = [node.locality?.region, node.locality?.zone, node.locality?.subZone].map { $0 ?? "" }
        locality = parts.joined(separator: "/").trimmed("/")
        self.node = node.id
    }

    /// The name of the workload's entry: `GROUP-ADDRESS[-NETWORK]`, as Istio has it.
    var entry: NamespacedName {
        let address = address.map { $0 == ":" ? "-" : String($0) }.joined()
        let parts = [group.name, address] + (network.isEmpty ? [] : [network])
        return NamespacedName(namespace: group.namespace, name: parts.joined(separator: "-"))
    }

    /// The entry that its group makes of it.
    ///
    /// Labels of the node win over the group's metadata, those over the template's.
    func object(_ group: KubernetesObject, controller: String, now: Timestamp) -> JSON {
        let view = WorkloadGroup(json: group.content)
        var spec = group.spec["template"] ?? .object([:])
        var labels = view.template.labels.merging(view.labels) { $1 }.merging(self.labels) { $1 }
        labels["istio-locality"] = nil
        // Whoever has this proxy takes mutual TLS.
        labels[SidecarLabel.mode] = labels[SidecarLabel.mode] ?? "istio"
        spec["address"] = .string(address)
        spec["labels"] = .object(labels.mapValues { .string($0) })
        spec["serviceAccount"] = .string(Self.account(group).name)
        if !network.isEmpty { spec["network"] = .string(network) }
        if !locality.isEmpty { spec["locality"] = .string(locality) }
        var annotations = group.json["spec"]?["metadata"]?["annotations"]?.object ?? [:]
        annotations[Self.groupAnnotation] = .string(group.name)
        annotations[Self.controllerAnnotation] = .string(controller)
        annotations[Self.connectedAnnotation] = .string(now.description)
        if view.hasProbe { annotations[WorkloadHealth.annotation] = "true" }
        return [
            "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
            "metadata": [
                "name": .string(entry.name), "namespace": .string(entry.namespace),
                "labels": .object(labels.mapValues { .string($0) }), "annotations": .object(annotations),
                "ownerReferences": [
                    [
                        "apiVersion": .string(group.apiVersion), "kind": "WorkloadGroup", "name": .string(group.name),
                        "uid": .string(group.metadata.uid), "controller": true,
                    ]
                ],
            ], "spec": spec,
        ]
    }

    /// The service account that workloads of a group are.
    static func account(_ group: KubernetesObject) -> NamespacedName {
        let name = WorkloadGroup(json: group.content).template.serviceAccount
        return NamespacedName(namespace: group.namespace, name: name.isEmpty ? "default" : name)
    }

    /// An entry whose workload is there (again).
    static func connected(_ json: JSON, controller: String, now: Timestamp) -> JSON {
        var json = json
        json["metadata"]?["annotations"]?[disconnectedAnnotation] = nil
        json["metadata"]?["annotations"]?[controllerAnnotation] = .string(controller)
        json["metadata"]?["annotations"]?[connectedAnnotation] = .string(now.description)
        return json
    }

    /// An entry whose workload's last stream has ended here, unless another control plane has it by now.
    static func disconnected(_ json: JSON, controller: String, now: Timestamp) -> JSON {
        guard json["metadata"]?["annotations"]?[controllerAnnotation]?.string == controller else { return json }
        var json = json
        json["metadata"]?["annotations"]?[disconnectedAnnotation] = .string(now.description)
        return json
    }

    /// How long an entry outlives its workload's last stream.
    static let grace = Duration.seconds(10)
    /// How often the time of a stream is written again.
    static let beat = Duration.seconds(300)

    /// Whether an entry is to go: its workload has said goodbye for longer than the grace, or its control plane has not been
    /// heard of for three beats.
    static func isOver(_ entry: KubernetesObject, now: Timestamp) -> Bool {
        let annotations = entry.metadata.annotations
        guard annotations[groupAnnotation] != nil else { return false }
        func age(_ name: String) -> Duration? { annotations[name].flatMap { Timestamp($0) }.map { now - $0 } }
        if let age = age(disconnectedAnnotation) { return age >= grace }
        // One that says no time is as old as it is.
        let connected = age(connectedAnnotation) ?? Timestamp(entry.metadata.creationTimestamp).map { now - $0 }
        return connected.map { $0 >= beat * 3 } ?? false
    }
}

/// What Istio's agents tell of the health of their workload, on the stream of discovery.
struct WorkloadHealth: Sendable, Hashable {
    static let typeURL = "type.googleapis.com/istio.v1.HealthInformation"
    /// The annotation of entries that take traffic only after they have been said to be healthy.
    static let annotation = MeshModel.healthAnnotation
    /// Of a message so many characters are kept.
    static let messageMax = 1024

    /// Why the workload is not healthy; nil when it is.
    var problem: String?

    /// Reads a request that is such a report; nil when it is another.
    init?(_ request: SnapshotPublisher.Request) {
        guard request.typeURL == Self.typeURL else { return nil }
        let error =
            switch request {
            case .delta(let request): request.errorDetail
            case .stateOfTheWorld(let request): request.errorDetail
            }
        problem = error.map { String($0.message.prefix(Self.messageMax)) }
    }

    /// The entry with that as its condition `Healthy`; as it was when nothing is new.
    func set(in json: JSON, now: Timestamp) -> JSON {
        let status = problem == nil ? "True" : "False"
        var conditions = json["status"]?["conditions"]?.array ?? []
        let index = conditions.firstIndex { $0["type"]?.string == "Healthy" }
        let before = index.map { conditions[$0] }
        if before?["status"]?.string == status, before?["message"]?.string ?? "" == problem ?? "" { return json }
        let isSame = before?["status"]?.string == status
        var condition: JSON = [
            "type": "Healthy", "status": .string(status), "lastProbeTime": .string(now.secondsText),
            "lastTransitionTime": (isSame ? before?["lastTransitionTime"] : nil) ?? .string(now.secondsText),
        ]
        if let problem { condition["message"] = .string(problem) }
        if let index { conditions[index] = condition } else { conditions.append(condition) }
        var json = json
        var whole = json["status"] ?? .object([:])
        whole["conditions"] = .array(conditions)
        json["status"] = whole
        return json
    }
}

/// Istio's label for who speaks mutual TLS.
enum SidecarLabel {
    static let mode = "security.istio.io/tlsMode"
}

extension String {
    /// Without a character at its end.
    fileprivate func trimmed(_ character: Character) -> String {
        var text = self[...]
        while text.last == character { text = text.dropLast() }
        return String(text)
    }
}
