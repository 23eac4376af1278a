public import Serialization

/// JSON merge patch (RFC 7396).
public enum MergePatch {
    /// The object after the patch: null removes, objects merge, everything else replaces.
    public static func apply(_ patch: JSON, to original: JSON) -> JSON {
        guard case .object(let changes) = patch else { return patch }
        var members = original.object ?? [:]
        for (name, value) in changes {
            members[name] = value.isNull ? JSON?.none : apply(value, to: members[name] ?? .null)
        }
        return .object(members)
    }

    /// The patch that makes `new` of `old`; nil when they are the same.
    ///
    /// Lists are replaced whole. A null in `new` counts as absent: a merge patch cannot write one.
    public static func difference(from old: JSON, to new: JSON) -> JSON? {
        guard case .object(let before) = old, case .object(let after) = new else { return old == new ? nil : new }
        var patch: [String: JSON] = [:]
        for (name, value) in after where !value.isNull {
            guard let known = before[name], !known.isNull else {
                patch[name] = value
                continue
            }
            if let change = difference(from: known, to: value) { patch[name] = change }
        }
        for (name, value) in before where !value.isNull && (after[name]?.isNull ?? true) { patch[name] = .null }
        return patch.isEmpty ? nil : .object(patch)
    }
}
