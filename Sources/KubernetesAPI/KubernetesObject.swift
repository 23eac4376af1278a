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
    /// The member of that name: `json[name]`, without making what is not asked for.
    func member(_ name: String) -> JSON?
}

extension JSONView {
    /// The member of that name.
    public func member(_ name: String) -> JSON? { json[name] }
    /// The string member of that name, or the empty string.
    public func string(_ name: String) -> String { member(name)?.string ?? "" }
    /// The whole-number member of that name.
    public func int(_ name: String) -> Int? { member(name)?.int }
    /// The boolean member of that name, or false.
    public func bool(_ name: String) -> Bool { member(name)?.bool ?? false }
    /// The strings of the array member of that name.
    public func strings(_ name: String) -> [String] { (member(name)?.array ?? []).compactMap(\.string) }
    /// The string-to-string map of that name.
    public func map(_ name: String) -> [String: String] { (member(name)?.object ?? [:]).compactMapValues(\.string) }
    /// The member of that name seen as `View`; `nil` when it is absent or null.
    public func view<View: JSONView>(_ name: String, as type: View.Type = View.self) -> View? {
        guard let member = member(name), !member.isNull else { return nil }
        return View(json: member)
    }
    /// The elements of the array member of that name seen as `View`.
    public func views<View: JSONView>(_ name: String, as type: View.Type = View.self) -> [View] {
        (member(name)?.array ?? []).map { View(json: $0) }
    }
}

/// Any object of the API, with what all of them have in common.
///
/// Its resource version may stand beside it: then it is the same value that the store keeps, and thousands of objects in several caches cost no
/// copies of their members.
public struct KubernetesObject: JSONView {
    /// The object without its resource version when that stands beside it: enough for views of `spec` and `status`, and nothing is copied.
    public private(set) var content: JSON
    /// The resource version; 0 when it is in `content`, as far as there is one.
    private var revision: Int64

    /// The whole object with its resource version.
    public var json: JSON {
        get {
            guard revision != 0 else { return content }
            var object = content
            object["metadata"] = metadata.json
            return object
        }
        set { (content, revision) = (newValue, 0) }
        _modify {
            if revision != 0 { (content, revision) = (json, 0) }
            yield &content
        }
    }
    /// Looks at `json` as an object.
    public init(json: JSON) { (content, revision) = (json, 0) }
    /// The object of a store, at the revision of its last write (more than 0); another resource version in `content` does not count.
    public init(content: JSON, revision: Int64) { (self.content, self.revision) = (content, revision) }

    /// The member of that name.
    public func member(_ name: String) -> JSON? {
        name == "metadata" && revision != 0 ? metadata.json : content[name]
    }

    /// Whether both are the same, wherever their resource versions stand.
    public static func == (one: KubernetesObject, other: KubernetesObject) -> Bool {
        if one.revision == other.revision { return one.content == other.content }
        return one.json == other.json
    }

    /// The same for equal ones.
    public func hash(into hasher: inout Hasher) { hasher.combine(json) }

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
        get { ObjectMeta(content: content["metadata"] ?? .object([:]), revision: revision) }
        set { json["metadata"] = newValue.json }
    }
    /// `metadata.name`.
    public var name: String { metadata.name }
    /// `metadata.namespace`; empty for cluster-scoped kinds.
    public var namespace: String { metadata.namespace }
    /// `spec`, or an empty object.
    public var spec: JSON {
        get { content["spec"] ?? .object([:]) }
        set { json["spec"] = newValue }
    }
    /// `status`, or an empty object.
    public var status: JSON {
        get { content["status"] ?? .object([:]) }
        set { json["status"] = newValue }
    }
}

/// `metadata` of an object (Kubernetes API conventions, "Metadata").
public struct ObjectMeta: JSONView {
    private var content: JSON
    /// As `KubernetesObject.revision`.
    private var revision: Int64

    /// The member `metadata` itself.
    public var json: JSON {
        get {
            guard revision != 0 else { return content }
            var json = content
            json["resourceVersion"] = .string(resourceVersion)
            return json
        }
        set { (content, revision) = (newValue, 0) }
        _modify {
            if revision != 0 { (content, revision) = (json, 0) }
            yield &content
        }
    }
    /// Looks at `json` as metadata.
    public init(json: JSON) { self.init(content: json, revision: 0) }
    fileprivate init(content: JSON, revision: Int64) { (self.content, self.revision) = (content, revision) }

    /// The member of that name.
    public func member(_ name: String) -> JSON? {
        name == "resourceVersion" && revision != 0 ? .string(String(revision)) : content[name]
    }

    /// Whether both are the same, wherever their resource versions stand.
    public static func == (one: ObjectMeta, other: ObjectMeta) -> Bool {
        if one.revision == other.revision { return one.content == other.content }
        return one.json == other.json
    }

    /// The same for equal ones.
    public func hash(into hasher: inout Hasher) { hasher.combine(json) }

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
    public var deletionTimestamp: String? { member("deletionTimestamp")?.string }
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
