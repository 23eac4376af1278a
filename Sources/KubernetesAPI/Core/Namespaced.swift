public import Serialization

/// A scope for names.
public struct Namespace: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// Whether it is being deleted.
    public var status: NamespaceStatus { view("status") ?? NamespaceStatus(json: .object([:])) }
}

/// Whether a namespace is being deleted.
public struct NamespaceStatus: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// `Active` or `Terminating`.
    public var phase: String { json["phase"]?.string ?? "Active" }
}

/// Configuration as keys and texts.
public struct ConfigMap: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// Texts.
    public var data: [String: String] { map("data") }
    /// Bytes, in base64.
    public var binaryData: [String: String] { map("binaryData") }
    /// Whether the data may not change.
    public var immutable: Bool { bool("immutable") }
}

/// Confidential keys and bytes.
public struct Secret: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// Bytes, in base64.
    public var data: [String: String] { map("data") }
    /// What it holds.
    public var type: String { json["type"]?.string ?? "Opaque" }
    /// Whether the data may not change.
    public var immutable: Bool { bool("immutable") }
}

/// An identity for pods.
public struct ServiceAccount: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// Secrets with registry credentials.
    public var imagePullSecrets: [LocalObjectReference] { views("imagePullSecrets") }
    /// Whether a token is mounted.
    public var automountServiceAccountToken: Bool? { json["automountServiceAccountToken"]?.bool }
}

/// A machine that runs pods.
public struct Node: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// What it is told.
    public var spec: NodeSpec { view("spec") ?? NodeSpec(json: .object([:])) }
    /// What it reports.
    public var status: NodeStatus { view("status") ?? NodeStatus(json: .object([:])) }
}

/// What a node is told.
public struct NodeSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The addresses of its pods.
    public var podCIDR: String { string("podCIDR") }
    /// The addresses of its pods, by family.
    public var podCIDRs: [String] { strings("podCIDRs") }
    /// Whether it takes no new pods.
    public var unschedulable: Bool { bool("unschedulable") }
    /// Its name at the provider.
    public var providerID: String { string("providerID") }
}

/// What a node reports.
public struct NodeStatus: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Its addresses.
    public var addresses: [NodeAddress] { views("addresses") }
    /// `Ready` and others.
    public var conditions: [Condition] { views("conditions") }
    /// What it has.
    public var capacity: [String: Quantity] { map("capacity").compactMapValues(Quantity.init) }
    /// What pods may use.
    public var allocatable: [String: Quantity] { map("allocatable").compactMapValues(Quantity.init) }
    /// Versions.
    public var nodeInfo: NodeSystemInfo { view("nodeInfo") ?? NodeSystemInfo(json: .object([:])) }
}

/// An address of a node.
public struct NodeAddress: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// `InternalIP`, `Hostname` and so on.
    public var type: String { string("type") }
    /// The address.
    public var address: String { string("address") }
}

/// Versions on a node.
public struct NodeSystemInfo: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Of the agent.
    public var kubeletVersion: String { string("kubeletVersion") }
    /// Of the runtime.
    public var containerRuntimeVersion: String { string("containerRuntimeVersion") }
    /// Of the system.
    public var osImage: String { string("osImage") }
    /// Of the kernel.
    public var kernelVersion: String { string("kernelVersion") }
    /// Of the processor.
    public var architecture: String { string("architecture") }
    /// `linux`.
    public var operatingSystem: String { string("operatingSystem") }
}

/// Something that happened to an object.
public struct Event: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// To what.
    public var involvedObject: ObjectReference { view("involvedObject") ?? ObjectReference(json: .object([:])) }
    /// In one word.
    public var reason: String { string("reason") }
    /// For people.
    public var message: String { string("message") }
    /// `Normal` or `Warning`.
    public var type: String { string("type") }
    /// How often.
    public var count: Int { int("count") ?? 1 }
    /// The first time.
    public var firstTimestamp: String? { json["firstTimestamp"]?.string }
    /// The last time.
    public var lastTimestamp: String? { json["lastTimestamp"]?.string }
    /// When, with microseconds.
    public var eventTime: String? { json["eventTime"]?.string }
    /// Who says so.
    public var reportingComponent: String { string("reportingComponent") }
}
