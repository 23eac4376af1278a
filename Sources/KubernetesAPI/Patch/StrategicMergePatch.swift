public import Serialization

/// Kubernetes' strategic merge patch: a merge patch that knows which lists are keyed by a field of their elements.
///
/// All directives: `$patch` (merge, replace, delete), `$setElementOrder/LIST`, `$deleteFromPrimitiveList/LIST` and
/// `$retainKeys`. None of them ever enters the object.
public struct StrategicMergePatch {
    private let table: SchemaTable

    /// Patches by the merge keys of `table`.
    public init(_ table: SchemaTable = .standard) { self.table = table }

    /// The object of `kind` after the patch.
    public func apply(_ patch: JSON, to original: JSON, of kind: ResourceKind) throws(PatchError) -> JSON {
        guard case .object(let changes) = patch else { throw PatchError("a strategic merge patch is an object") }
        return .object(
            try merge(changes, into: original.object ?? [:], Scope(table: table, type: kind.schema, isTop: true)))
    }

    /// What is known about the members of an object.
    private struct Scope {
        let table: SchemaTable
        let type: String?
        var isTop = false

        func field(_ name: String) -> SchemaField? {
            if isTop && name == "metadata" { return SchemaField(name: name, type: .reference("ObjectMeta")) }
            return type.flatMap { table.types[$0] }?[name]
        }

        func inner(_ field: SchemaField?) -> Scope {
            switch field?.type {
            case .reference(let name), .array(.reference(let name)): Scope(table: table, type: name)
            default: Scope(table: table, type: nil)
            }
        }
    }

    private static let order = "$setElementOrder/"
    private static let deletion = "$deleteFromPrimitiveList/"

    private func merge(
        _ patch: [String: JSON], into original: [String: JSON], _ scope: Scope
    ) throws(PatchError) -> [String: JSON] {
        var result = original
        switch patch["$patch"]?.string {
        case nil where patch["$patch"] == nil, "merge": break
        case "replace": result = [:]
        case "delete": return [:]
        default: throw PatchError("Invalid value for $patch: \(patch["$patch"]?.string ?? "?")")
        }
        if let kept = patch["$retainKeys"] {
            guard let names = kept.array?.compactMap(\.string) else {
                throw PatchError("$retainKeys is a list of names")
            }
            result = result.filter { names.contains($0.key) }
        }
        // A list may be changed by its directives alone.
        var names = Set(patch.keys.filter { !$0.hasPrefix("$") })
        for directive in patch.keys where directive.hasPrefix("$") {
            if directive.hasPrefix(Self.order) {
                let name = String(directive.dropFirst(Self.order.count))
                if result[name] != nil { names.insert(name) }
            } else if directive.hasPrefix(Self.deletion) {
                names.insert(String(directive.dropFirst(Self.deletion.count)))
            } else if directive != "$patch" && directive != "$retainKeys" {
                throw PatchError("unknown directive \(directive)")
            }
        }
        for name in names.sorted() {
            let change = patch[name]
            if change?.isNull == true {
                result[name] = nil
                continue
            }
            let field = scope.field(name)
            // A directive without the list it speaks of changes merged lists only.
            if change == nil, field?.isMerged != true { continue }
            let hasDirectives = patch[Self.order + name] != nil || patch[Self.deletion + name] != nil
            switch change ?? .array([]) {
            case .object(let members):
                result[name] = .object(try merge(members, into: result[name]?.object ?? [:], scope.inner(field)))
            case .array(let elements) where change != nil || hasDirectives:
                result[name] = .array(
                    try mergeList(
                        elements, into: result[name]?.array ?? [], field, scope.inner(field),
                        order: patch[Self.order + name]?.array, deleted: patch[Self.deletion + name]?.array ?? []))
            case let value: result[name] = value
            }
        }
        return result
    }

    private func mergeList(
        _ patch: [JSON], into original: [JSON], _ field: SchemaField?, _ inner: Scope, order: [JSON]?, deleted: [JSON]
    ) throws(PatchError) -> [JSON] {
        guard let field, field.isMerged else {
            return try patch.mapTyped { element throws(PatchError) in try clean(element, inner) }
        }
        guard let key = field.mergeKey else {
            var merged = original
            for element in patch where !merged.contains(element) { merged.append(element) }
            merged.removeAll { deleted.contains($0) }
            return Self.sorted(merged, original, order) { $0 }
        }
        var merged = original
        if patch.contains(where: { $0["$patch"] == "replace" }) { merged = [] }
        for element in patch {
            guard case .object(var members) = element else {
                throw PatchError("\(field.name): an element of a list merged by \(key) must be an object")
            }
            if members["$patch"] == "replace" {
                if members.count > 1 {
                    members["$patch"] = nil
                    merged.append(.object(try merge(members, into: [:], inner)))
                }
                continue
            }
            guard let identity = members[key] else {
                throw PatchError(
                    "map: \(element.object?.keys.sorted() ?? []) does not contain declared merge key: \(key)")
            }
            if members["$patch"] == "delete" {
                merged.removeAll { $0[key] == identity }
            } else if let index = merged.firstIndex(where: { $0[key] == identity }) {
                merged[index] = .object(try merge(members, into: merged[index].object ?? [:], inner))
            } else {
                merged.append(.object(try merge(members, into: [:], inner)))
            }
        }
        return Self.sorted(merged, original, order) { $0[key] ?? .null }
    }

    /// An element of a list that is replaced whole, without directives.
    private func clean(_ element: JSON, _ inner: Scope) throws(PatchError) -> JSON {
        guard case .object(let members) = element else { return element }
        return .object(try merge(members, into: [:], inner))
    }

    /// Puts the elements named by the directive into its order; the others keep their place relative to the original.
    private static func sorted(
        _ merged: [JSON], _ original: [JSON], _ order: [JSON]?, _ identity: (JSON) -> JSON
    ) -> [JSON] {
        guard let order else { return merged }
        let wanted = order.map(identity)
        var ordered = merged.filter { wanted.contains(identity($0)) }
        let rank = Dictionary(wanted.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        ordered.sort { rank[identity($0)] ?? 0 < rank[identity($1)] ?? 0 }
        let others = merged.filter { !wanted.contains(identity($0)) }
        let place = Dictionary(
            original.enumerated().map { (identity($1), $0) }, uniquingKeysWith: { first, _ in first })
        var result: [JSON] = []
        var left = ordered[...]
        for other in others {
            let position = place[identity(other)] ?? Int.max
            while let next = left.first, let known = place[identity(next)], known < position {
                result.append(next)
                left = left.dropFirst()
            }
            result.append(other)
        }
        return result + left
    }
}

extension Array {
    /// `map` with a typed error.
    func mapTyped<T, E: Error>(_ transform: (Element) throws(E) -> T) throws(E) -> [T] {
        var result: [T] = []
        result.reserveCapacity(count)
        for element in self { result.append(try transform(element)) }
        return result
    }
}
