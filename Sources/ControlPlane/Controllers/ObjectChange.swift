public import KubernetesAPI
public import Mesh
public import Serialization

/// What a controller wants to have done.
public enum ObjectChange: Sendable, Hashable {
    /// Make an object.
    case create(ResourceKind, KubernetesObject)
    /// Replace an object's spec and metadata.
    case update(ResourceKind, KubernetesObject)
    /// Replace an object's status.
    case updateStatus(ResourceKind, NamespacedName, JSON)
    /// Delete the object with that identity.
    case delete(ResourceKind, NamespacedName, uid: String)
    /// Tell the user what happened to an object.
    case event(EventNote)
}

/// Something a user may want to know about an object, for `kubectl describe`.
public struct EventNote: Sendable, Hashable {
    /// The object.
    public var about: KubernetesObject
    /// Whether it is a warning.
    public var isWarning: Bool
    /// One word: `ScalingReplicaSet`.
    public var reason: String
    /// A sentence.
    public var message: String

    /// A note about an object.
    public init(_ about: KubernetesObject, _ reason: String, _ message: String, isWarning: Bool = false) {
        self.about = about
        self.isWarning = isWarning
        self.reason = reason
        self.message = message
    }
}

/// What a controller decided about one object.
public struct Decision: Sendable, Hashable {
    /// What to do, in order.
    public var changes: [ObjectChange] = []
    /// When to look again although nothing happened.
    public var lookAgainAfter: Duration?

    /// Nothing to do.
    public init() {}

    /// Those changes.
    init(_ changes: [ObjectChange]) { self.changes = changes }

    /// Looks again after that time, or earlier if that was wanted before.
    mutating func lookAgain(after time: Duration) {
        lookAgainAfter = min(lookAgainAfter ?? time, max(time, .milliseconds(100)))
    }
}

/// Short texts as Kubernetes writes them into names.
enum SafeText {
    private static let alphabet = Array("bcdfghjklmnpqrstvwxz2456789")

    /// A hash in letters that make no words.
    static func hash(_ text: String) -> String {
        var hash: UInt32 = 2_166_136_261
        for byte in text.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return String(String(hash).utf8.map { alphabet[Int($0) % alphabet.count] })
    }
}

extension KubernetesObject {
    /// The reference that makes this object the controller of another.
    func controllerReference(_ kind: ResourceKind) -> JSON {
        [
            "apiVersion": .string(kind.apiVersion), "kind": .string(kind.kind), "name": .string(name),
            "uid": .string(metadata.uid), "controller": true, "blockOwnerDeletion": true,
        ]
    }

    /// The identity of the object that controls this one.
    var controllerUID: String? { metadata.ownerReferences.first(where: \.isController)?.uid }

    /// Namespace and name.
    var key: NamespacedName { NamespacedName(namespace: namespace, name: name) }
}
