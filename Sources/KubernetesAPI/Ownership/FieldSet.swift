public import Serialization

/// A set of fields of an object, as a tree of path elements.
///
/// Source: Kubernetes' API reference, FieldsV1.
public struct FieldSet: Sendable, Hashable {
    /// Whether the place itself is in the set: for a list element or an object, not what is inside.
    public var isMember = false
    /// What is in the set below this place.
    public var children: [PathElement: FieldSet] = [:]

    /// Nothing.
    public init() {}

    /// Only the place itself.
    public static let leaf: FieldSet = {
        var set = FieldSet()
        set.isMember = true
        return set
    }()

    /// Whether nothing is in the set.
    public var isEmpty: Bool { !isMember && children.isEmpty }

    /// Puts `inner` below the element, together with what is there.
    public mutating func add(_ inner: FieldSet, at element: PathElement) {
        guard !inner.isEmpty else { return }
        children[element, default: FieldSet()].formUnion(inner)
    }

    /// Adds all fields of another set.
    public mutating func formUnion(_ other: FieldSet) {
        isMember = isMember || other.isMember
        for (element, inner) in other.children { children[element, default: FieldSet()].formUnion(inner) }
    }

    /// The fields of both sets.
    public func union(_ other: FieldSet) -> FieldSet {
        var result = self
        result.formUnion(other)
        return result
    }

    /// The fields that are in `other` too.
    public func intersection(_ other: FieldSet) -> FieldSet {
        var result = FieldSet()
        result.isMember = isMember && other.isMember
        for (element, inner) in children {
            guard let theirs = other.children[element] else { continue }
            result.add(inner.intersection(theirs), at: element)
        }
        return result
    }

    /// The fields that are not in `other`.
    public func subtracting(_ other: FieldSet) -> FieldSet {
        var result = FieldSet()
        result.isMember = isMember && !other.isMember
        for (element, inner) in children {
            result.add(other.children[element].map { inner.subtracting($0) } ?? inner, at: element)
        }
        return result
    }

    /// Takes out a member of the top and everything below it.
    public mutating func remove(field name: String) { children[.field(name)] = nil }

    /// Only one member of the top, with everything below it.
    public func only(field name: String) -> FieldSet {
        var result = FieldSet()
        if let inner = children[.field(name)] { result.children[.field(name)] = inner }
        return result
    }

    /// Every path, as conflicts name them, in order.
    public var paths: [String] {
        var result: [String] = []
        collect("", &result)
        return result.sorted()
    }

    private func collect(_ prefix: String, _ result: inout [String]) {
        if isMember { result.append(prefix) }
        for (element, inner) in children { inner.collect(prefix + element.description, &result) }
    }

    /// As `fieldsV1` of a managed fields entry.
    public var json: JSON {
        var members: [String: JSON] = [:]
        for (element, inner) in children { members[element.encoded] = inner.json }
        if isMember, !children.isEmpty { members["."] = [:] }
        return .object(members)
    }

    /// The most levels of a set that is read; objects have fewer, their parser sees to it.
    static let depthMax = 100

    /// From `fieldsV1`; `nil` when it is none.
    public init?(json: JSON) { self.init(json: json, depth: 0) }

    private init?(json: JSON, depth: Int) {
        guard case .object(let members) = json, depth <= Self.depthMax else { return nil }
        if members.isEmpty { isMember = depth > 0 }
        for (name, inner) in members {
            if name == "." {
                isMember = true
                continue
            }
            guard let element = PathElement(encoded: name), let set = FieldSet(json: inner, depth: depth + 1) else {
                return nil
            }
            children[element] = set
        }
    }
}
