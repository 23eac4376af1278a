public import Serialization

/// A typed window onto a JSON value: properties read members, unknown members survive because nobody drops them.
///
/// Reading is lenient (a member of the wrong type reads as absent): the API server has checked the object against its
/// schema before anybody else sees it.
public protocol JSONView: Sendable, Hashable {
    /// The value that is looked at.
    var json: JSON { get }
    /// Looks at `json`, whatever it is.
    init(json: JSON)
}

extension JSONView {
    /// The string member of that name, or the empty string.
    public func string(_ name: String) -> String { json[name]?.string ?? "" }
    /// The whole-number member of that name.
    public func int(_ name: String) -> Int? { json[name]?.int }
    /// The boolean member of that name, or false.
    public func bool(_ name: String) -> Bool { json[name]?.bool ?? false }
    /// The strings of the array member of that name.
    public func strings(_ name: String) -> [String] { (json[name]?.array ?? []).compactMap(\.string) }
    /// The string-to-string map of that name.
    public func map(_ name: String) -> [String: String] { (json[name]?.object ?? [:]).compactMapValues(\.string) }
    /// The member of that name seen as `View`; `nil` when it is absent or null.
    public func view<View: JSONView>(_ name: String, as type: View.Type = View.self) -> View? {
        guard let member = json[name], !member.isNull else { return nil }
        return View(json: member)
    }
    /// The elements of the array member of that name seen as `View`.
    public func views<View: JSONView>(_ name: String, as type: View.Type = View.self) -> [View] {
        (json[name]?.array ?? []).map { View(json: $0) }
    }
}

/// Any object of the API, with what all of them have in common.
public struct KubernetesObject: JSONView {
    /// The whole object.
    public var json: JSON
    /// Looks at `json` as an object.
    public init(json: JSON) { self.json = json }

    /// `v1`, `apps/v1`, `networking.istio.io/v1`.
    public var apiVersion: String { string("apiVersion") }
    /// The API group: the part of `apiVersion` before the slash; empty for the core group.
    public var group: String {
        guard let slash = apiVersion.firstIndex(of: "/") else { return "" }
        return String(apiVersion[..<slash])
    }
    /// The kind, for example `Pod`.
    public var kind: String { string("kind") }
    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta {
        get { ObjectMeta(json: json["metadata"] ?? .object([:])) }
        set { json["metadata"] = newValue.json }
    }
    /// `metadata.name`.
    public var name: String { metadata.name }
    /// `metadata.namespace`; empty for cluster-scoped kinds.
    public var namespace: String { metadata.namespace }
    /// `spec`, or an empty object.
    public var spec: JSON {
        get { json["spec"] ?? .object([:]) }
        set { json["spec"] = newValue }
    }
    /// `status`, or an empty object.
    public var status: JSON {
        get { json["status"] ?? .object([:]) }
        set { json["status"] = newValue }
    }
}

/// `metadata` of an object (Kubernetes API conventions, "Metadata").
public struct ObjectMeta: JSONView {
    /// The member `metadata` itself.
    public var json: JSON
    /// Looks at `json` as metadata.
    public init(json: JSON) { self.json = json }

    /// The object's name, unique in its namespace and kind.
    public var name: String {
        get { string("name") }
        set { json["name"] = .string(newValue) }
    }
    /// The namespace; empty for cluster-scoped kinds.
    public var namespace: String {
        get { string("namespace") }
        set { json["namespace"] = .string(newValue) }
    }
    /// The object's identity over its whole life: a new object of the same name has another.
    public var uid: String { string("uid") }
    /// The store's revision of the last write, as text; compare for equality only.
    public var resourceVersion: String { string("resourceVersion") }
    /// Grows with every change of `spec`.
    public var generation: Int { int("generation") ?? 0 }
    /// RFC 3339 in UTC, whole seconds.
    public var creationTimestamp: String { string("creationTimestamp") }
    /// Set when the object is being deleted and something still holds it.
    public var deletionTimestamp: String? { json["deletionTimestamp"]?.string }
    /// Labels.
    public var labels: [String: String] {
        get { map("labels") }
        set { json["labels"] = .object(newValue.mapValues { .string($0) }) }
    }
    /// Annotations.
    public var annotations: [String: String] {
        get { map("annotations") }
        set { json["annotations"] = .object(newValue.mapValues { .string($0) }) }
    }
    /// The objects that this one belongs to.
    public var ownerReferences: [OwnerReference] { views("ownerReferences") }
    /// What has to happen before the object may vanish.
    public var finalizers: [String] { strings("finalizers") }
}

/// One entry of `metadata.ownerReferences`.
public struct OwnerReference: JSONView {
    /// The entry.
    public var json: JSON
    /// Looks at `json` as an owner reference.
    public init(json: JSON) { self.json = json }

    /// API version of the owner.
    public var apiVersion: String { string("apiVersion") }
    /// Kind of the owner.
    public var kind: String { string("kind") }
    /// Name of the owner.
    public var name: String { string("name") }
    /// Identity of the owner.
    public var uid: String { string("uid") }
    /// Whether the owner, deleted in the foreground, waits until this object is gone.
    public var blocksOwnerDeletion: Bool { bool("blockOwnerDeletion") }
    /// Whether the owner manages this object.
    public var isController: Bool { bool("controller") }
}
