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
}
