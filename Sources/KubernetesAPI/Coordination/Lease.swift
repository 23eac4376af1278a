public import Serialization

/// Who holds something, and until when.
public struct Lease: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// The holder.
    public var spec: LeaseSpec { view("spec") ?? LeaseSpec(json: .object([:])) }
}

/// Who holds something, and until when.
public struct LeaseSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The holder.
    public var holderIdentity: String? { json["holderIdentity"]?.string }
    /// For how long since `renewTime`.
    public var leaseDurationSeconds: Int? { int("leaseDurationSeconds") }
    /// Since when.
    public var acquireTime: String? { json["acquireTime"]?.string }
    /// When it was last renewed.
    public var renewTime: String? { json["renewTime"]?.string }
    /// How often the holder changed.
    public var leaseTransitions: Int? { int("leaseTransitions") }
}
