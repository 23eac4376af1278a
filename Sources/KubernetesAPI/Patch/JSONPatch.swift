public import Serialization

/// JSON patch (RFC 6902).
public enum JSONPatch {
    /// How many operations one patch may have (Kubernetes' own bound).
    static let operationsMax = 10_000
    /// How many values all `copy` operations of one patch may copy: copies of copies grow exponentially.
    static let copiedValuesMax = 100_000

    /// The document after all operations, or the first that fails.
    public static func apply(_ patch: JSON, to original: JSON) throws(PatchError) -> JSON {
        guard let operations = patch.array else { throw PatchError("a JSON patch is an array of operations") }
        guard operations.count <= operationsMax else {
            throw PatchError(
                "the allowed maximum operations in a JSON patch is \(operationsMax), got \(operations.count)")
        }
        var document = original
        var copied = 0
        for (index, operation) in operations.enumerated() {
            do {
                document = try apply(operation, document, &copied)
            } catch {
                throw PatchError("[\(index)]: \(error)")
            }
        }
        return document
    }

    private static func apply(_ operation: JSON, _ document: JSON, _ copied: inout Int) throws(PatchError) -> JSON {
        let path = try pointer(operation["path"]?.string)
        func value() throws(PatchError) -> JSON {
            guard let value = operation["value"] else { throw PatchError("'value' is missing") }
            return value
        }
        switch operation["op"]?.string {
        case "add": return try edit(document, path[...], .add(try value()))
        case "replace": return try edit(document, path[...], .replace(try value()))
        case "remove": return try edit(document, path[...], .remove)
        case "test":
            guard try get(document, path) == (try value()) else {
                throw PatchError("testing value \(operation["path"]?.string ?? "") failed")
            }
            return document
        case "copy":
            let source = try get(document, try pointer(operation["from"]?.string))
            count(source, &copied)
            guard copied <= copiedValuesMax else { throw PatchError("the copy operations copy too much") }
            return try edit(document, path[...], .add(source))
        case "move":
            let from = try pointer(operation["from"]?.string)
            guard !(path.count > from.count && path.starts(with: from)) else {
                throw PatchError("cannot move a value into itself")
            }
            let source = try get(document, from)
            return try edit(try edit(document, from[...], .remove), path[...], .add(source))
        default: throw PatchError("unknown operation \(operation["op"]?.string ?? "(none)")")
        }
    }

    private static func count(_ value: JSON, _ total: inout Int) {
        guard total <= copiedValuesMax else { return }
        total += 1
        switch value {
        case .array(let elements): for element in elements { count(element, &total) }
        case .object(let members): for member in members.values { count(member, &total) }
        default: break
        }
    }

    /// The parts of a JSON pointer (RFC 6901).
    private static func pointer(_ text: String?) throws(PatchError) -> [String] {
        guard let text else { throw PatchError("'path' or 'from' is missing") }
        if text.isEmpty { return [] }
        guard text.hasPrefix("/") else { throw PatchError("\(text) is no JSON pointer") }
        let parts = text.dropFirst().split(
            separator: "/", maxSplits: JSON.depthMax, omittingEmptySubsequences: false)
        // Edits go down recursively, and each may hang a value of full depth below its place.
        guard parts.count < JSON.depthMax else { throw PatchError("the JSON pointer has too many parts") }
        return parts.map { String($0).replacing("~1", with: "/").replacing("~0", with: "~") }
    }

    private static func get(_ document: JSON, _ path: [String]) throws(PatchError) -> JSON {
        var value = document
        for part in path {
            guard let next = value[part] ?? Int(part).flatMap({ value[$0] }) else {
                throw PatchError("/\(path.joined(separator: "/")) does not exist")
            }
            value = next
        }
        return value
    }

    private enum Change { case add(JSON), replace(JSON), remove }

    private static func edit(_ document: JSON, _ path: ArraySlice<String>, _ change: Change) throws(PatchError) -> JSON
    {
        guard let part = path.first else {
            switch change {
            case .add(let value), .replace(let value): return value
            case .remove: return .null
            }
        }
        let isLast = path.count == 1
        switch document {
        case .object(var members):
            if isLast {
                switch change {
                case .add(let value): members[part] = value
                case .replace(let value):
                    guard members[part] != nil else { throw PatchError("replace of missing key \(part)") }
                    members[part] = value
                case .remove:
                    guard members.removeValue(forKey: part) != nil else {
                        throw PatchError("remove of missing key \(part)")
                    }
                }
            } else {
                guard let inner = members[part] else { throw PatchError("missing key \(part)") }
                members[part] = try edit(inner, path.dropFirst(), change)
            }
            return .object(members)
        case .array(var elements):
            let index = part == "-" ? elements.count : Int(part) ?? -1
            if isLast, case .add(let value) = change {
                guard (0...elements.count).contains(index) else { throw PatchError("index \(part) out of bounds") }
                elements.insert(value, at: index)
                return .array(elements)
            }
            guard elements.indices.contains(index) else { throw PatchError("index \(part) out of bounds") }
            if !isLast {
                elements[index] = try edit(elements[index], path.dropFirst(), change)
            } else if case .replace(let value) = change {
                elements[index] = value
            } else {
                elements.remove(at: index)
            }
            return .array(elements)
        default: throw PatchError("\(part) is below a value that is no container")
        }
    }
}
