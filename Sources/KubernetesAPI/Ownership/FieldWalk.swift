public import Serialization

/// What two states of an object differ in.
public struct FieldChanges: Sendable, Hashable {
    /// Fields that are there only afterwards.
    public var added = FieldSet()
    /// Fields with another value afterwards.
    public var modified = FieldSet()
    /// Fields that were there only before.
    public var removed = FieldSet()
    /// Fields that somebody has written: added or modified.
    public var written: FieldSet { added.union(modified) }
    /// Whether nothing differs.
    public var isEmpty: Bool { added.isEmpty && modified.isEmpty && removed.isEmpty }
}

/// The operations of server-side apply on values: which fields there are, what differs, merging and pruning.
///
/// Pure. Values have passed the schema; one of an unexpected type is taken as one thing.
public enum FieldWalk {
    /// All fields of a value.
    public static func fields(of value: JSON, _ type: MergeType) -> FieldSet {
        var result = FieldSet()
        switch (type.shape(of: value), value) {
        case (.members, .object(let members)):
            for (name, inner) in members {
                let (innerType, isNamed) = type.member(name)
                var set = fields(of: inner, innerType)
                if !isNamed || inner == .object([:]) { set.isMember = true }
                result.add(set, at: .field(name))
            }
        case (.keyed, .array(let elements)), (.set, .array(let elements)):
            let shape = type.shape(of: value)
            for element in elements {
                guard let path = type.path(of: element, shape) else { return .leaf }
                var set = fields(of: element, type.element)
                set.isMember = true
                result.add(set, at: path)
            }
        default: return .leaf
        }
        return result
    }

    /// What differs between two states.
    public static func changes(from old: JSON?, to new: JSON?, _ type: MergeType) -> FieldChanges {
        var changes = FieldChanges()
        guard old != new else { return changes }
        guard let old else {
            changes.added = added(new ?? .null, type)
            return changes
        }
        guard let new else {
            changes.removed = added(old, type)
            return changes
        }
        switch (type.shape(of: new), old, new) {
        case (.members, .object(let before), .object(let after)):
            for name in Set(before.keys).union(after.keys) {
                add(Self.changes(from: before[name], to: after[name], type.member(name).type), .field(name), &changes)
            }
        case (.keyed, .array(let before), .array(let after)), (.set, .array(let before), .array(let after)):
            let shape = type.shape(of: new)
            guard let before = index(before, type, shape), let after = index(after, type, shape) else {
                changes.modified = .leaf
                return changes
            }
            for path in Set(before.keys).union(after.keys) {
                add(Self.changes(from: before[path], to: after[path], type.element), path, &changes)
                if before[path] == nil { changes.added.add(.leaf, at: path) }
                if after[path] == nil { changes.removed.add(.leaf, at: path) }
            }
        default: changes.modified = .leaf
        }
        return changes
    }

    private static func add(_ inner: FieldChanges, _ path: PathElement, _ changes: inout FieldChanges) {
        changes.added.add(inner.added, at: path)
        changes.modified.add(inner.modified, at: path)
        changes.removed.add(inner.removed, at: path)
    }

    /// The fields of a value that came as a whole: the free maps and lists in it are fields too.
    private static func added(_ value: JSON, _ type: MergeType) -> FieldSet {
        var result = fields(of: value, type)
        switch (type.shape(of: value), value) {
        case (.members, .object(let members)):
            for (name, inner) in members {
                let (innerType, isNamed) = type.member(name)
                var set = added(inner, innerType)
                if !isNamed || isFree(inner, innerType) { set.isMember = true }
                result.add(set, at: .field(name))
            }
            if !members.isEmpty, isFree(value, type) { result.isMember = true }
        case (.keyed, .array(let elements)), (.set, .array(let elements)):
            let shape = type.shape(of: value)
            for element in elements {
                if let path = type.path(of: element, shape) { result.add(added(element, type.element), at: path) }
            }
            result.isMember = true
        default: break
        }
        return result
    }

    /// Whether a value is a list, or an object with members that no schema names.
    private static func isFree(_ value: JSON, _ type: MergeType) -> Bool {
        switch value {
        case .array: true
        case .object(let members): members.keys.first.map { !type.member($0).isNamed } ?? true
        default: false
        }
    }

    /// The elements of a list by their paths; `nil` when two have one path or one has none.
    private static func index(
        _ elements: [JSON], _ type: MergeType, _ shape: MergeType.Shape
    ) -> [PathElement: JSON]? {
        var result: [PathElement: JSON] = [:]
        for element in elements {
            guard let path = type.path(of: element, shape), result.updateValue(element, forKey: path) == nil else {
                return nil
            }
        }
        return result
    }

    /// The live value with the applied one laid over it.
    public static func merge(_ live: JSON?, _ applied: JSON, _ type: MergeType) -> JSON {
        guard let live else { return applied }
        switch (type.shape(of: applied), live, applied) {
        case (.members, .object(var members), .object(let wanted)):
            for (name, inner) in wanted { members[name] = merge(members[name], inner, type.member(name).type) }
            return .object(members)
        case (.keyed, .array(let before), .array(let wanted)), (.set, .array(let before), .array(let wanted)):
            let shape = type.shape(of: applied)
            guard let known = index(before, type, shape), let new = index(wanted, type, shape) else { return applied }
            return .array(mergeElements(before, wanted, known, new, type, shape))
        default: return applied
        }
    }

    /// The elements of both lists: those of the applied one in its order, those of others where they stood.
    private static func mergeElements(
        _ before: [JSON], _ wanted: [JSON], _ known: [PathElement: JSON], _ new: [PathElement: JSON],
        _ type: MergeType, _ shape: MergeType.Shape
    ) -> [JSON] {
        var result: [JSON] = []
        var rest = before[...]
        for element in wanted {
            guard let path = type.path(of: element, shape) else { continue }
            while let next = rest.first, let other = type.path(of: next, shape), new[other] == nil {
                result.append(next)
                rest = rest.dropFirst()
            }
            if let next = rest.first, type.path(of: next, shape) == path { rest = rest.dropFirst() }
            result.append(merge(known[path], element, type.element))
        }
        for element in rest where type.path(of: element, shape).map({ new[$0] == nil }) ?? true {
            result.append(element)
        }
        return result
    }

    /// Takes out of a value what was owned and is owned by nobody any more; `nil` when nothing is left.
    public static func prune(_ value: JSON, _ lost: FieldSet, stillOwned: FieldSet, _ type: MergeType) -> JSON? {
        switch (type.shape(of: value), value) {
        case (.members, .object(var members)):
            for (element, inner) in lost.children {
                guard case .field(let name) = element, let member = members[name] else { continue }
                members[name] = pruned(member, inner, stillOwned.children[element], type.member(name).type)
            }
            return members.isEmpty && !stillOwned.isMember ? nil : .object(members)
        case (.keyed, .array(let elements)), (.set, .array(let elements)):
            let shape = type.shape(of: value)
            var result: [JSON] = []
            for element in elements {
                guard let path = type.path(of: element, shape), let inner = lost.children[path] else {
                    result.append(element)
                    continue
                }
                if let left = pruned(element, inner, stillOwned.children[path], type.element) { result.append(left) }
            }
            return result.isEmpty && !stillOwned.isMember ? nil : .array(result)
        default: return value
        }
    }

    private static func pruned(_ value: JSON, _ lost: FieldSet, _ owned: FieldSet?, _ type: MergeType) -> JSON? {
        if lost.isMember, owned == nil { return nil }
        return prune(value, lost, stillOwned: owned ?? FieldSet(), type)
    }
}
