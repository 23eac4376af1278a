public import Serialization

/// What is asked for, or claimed, of storage that outlives pods.
public struct PersistentVolumeClaimSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Who may mount it at once: `ReadWriteOnce` and so on.
    public var accessModes: [String] { strings("accessModes") }
    /// The class that makes it; nil: nobody has said, empty: none.
    public var storageClassName: String? { json["storageClassName"]?.string }
    /// The volume that it is bound to, or wants; empty for any.
    public var volumeName: String { string("volumeName") }
    /// `Filesystem` or `Block`.
    public var volumeMode: String { json["volumeMode"]?.string ?? "Filesystem" }
    /// How much is asked for.
    public var request: Quantity? { json["resources"]?["requests"]?["storage"]?.quantity }
    /// Which volumes will do; nil: all.
    public var selector: LabelSelector? { view("selector") }
}

/// A piece of storage.
public struct PersistentVolumeSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Who may mount it at once.
    public var accessModes: [String] { strings("accessModes") }
    /// The class it is of; empty for none.
    public var storageClassName: String { string("storageClassName") }
    /// `Filesystem` or `Block`.
    public var volumeMode: String { json["volumeMode"]?.string ?? "Filesystem" }
    /// What becomes of it without its claim: `Retain` or `Delete`.
    public var reclaimPolicy: String { json["persistentVolumeReclaimPolicy"]?.string ?? "Retain" }
    /// How much it holds.
    public var capacity: Quantity? { json["capacity"]?["storage"]?.quantity }
    /// The claim that has it; nil: none.
    public var claim: ObjectReference? { view("claimRef") }
    /// The volume's name towards the node, when it is a directory that nodes of ours keep; nil for all others.
    public var localHandle: String? {
        json["csi"]?["driver"]?.string == LocalStorage.driver ? json["csi"]?["volumeHandle"]?.string : nil
    }

    /// Whether pods of a node with those labels can have it.
    public func isReachable(fromNodeWith labels: [String: String]) -> Bool {
        guard let terms = json["nodeAffinity"]?["required"]?["nodeSelectorTerms"]?.array else { return true }
        return terms.contains { term in
            guard let expressions = term["matchExpressions"], expressions.array?.isEmpty == false else { return false }
            return LabelSelector(json: ["matchExpressions": expressions]).matcher.matches(labels)
        }
    }
}

/// How storage of a class is made.
public struct StorageClass: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Who makes it.
    public var provisioner: String { string("provisioner") }
    /// What becomes of a volume without its claim.
    public var reclaimPolicy: String { json["reclaimPolicy"]?.string ?? "Delete" }
    /// Whether a claim waits for the first pod, and so gets its volume on that pod's node.
    public var waitsForConsumer: Bool { string("volumeBindingMode") == "WaitForFirstConsumer" }
    /// Whether claims that name no class mean this one.
    public var isDefault: Bool {
        ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"].contains {
            json["metadata"]?["annotations"]?[$0]?.string == "true"
        }
    }
}

/// The storage that Skein itself makes: a directory on the node of the first pod that uses a claim.
public enum LocalStorage {
    /// The class that is there from the start, and the default.
    public static let className = "skein-local"
    /// Its provisioner.
    public static let provisioner = "skein.dev/local"
    /// The driver in its volumes.
    public static let driver = "local.skein.dev"
    /// Of a volume: its node has removed the directory.
    public static let reclaimedAnnotation = "skein.dev/reclaimed"
    /// The label by which a volume names its node.
    public static let nodeLabel = "kubernetes.io/hostname"
    /// Keeps a claim that pods use.
    public static let claimProtection = "kubernetes.io/pvc-protection"
    /// Keeps a volume that a claim has.
    public static let volumeProtection = "kubernetes.io/pv-protection"
}

/// What a Node's object says beside what Kubernetes' does.
extension Node {
    /// The fingerprint of the key that speaks for the node: on nodes that have joined over the network.
    public static let keyAnnotation = "skein.dev/node-key"
    /// The zone in which a node is; endpoints are preferred by it.
    public static let zoneLabel = "topology.kubernetes.io/zone"
}

extension JSON {
    /// An amount, written as text or as a number.
    var quantity: Quantity? { (string ?? int.map(String.init)).flatMap { Quantity($0) } }
}

extension PodSpec {
    /// The names of the claims that its volumes use.
    public var claimNames: [String] {
        (json["volumes"]?.array ?? []).compactMap { $0["persistentVolumeClaim"]?["claimName"]?.string }
    }
}
