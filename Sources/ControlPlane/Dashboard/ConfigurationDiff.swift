import Serialization

/// What differs between two forms of an object, field by field.
///
/// Pure.
enum ConfigurationDiff {
    /// A field that differs.
    struct Line: Hashable {
        /// `spec.http[0].route[1].weight`.
        var field: String
        /// How it was; nil when it was not there.
        var old: String?
        /// How it is; nil when it is not there.
        var new: String?

        var json: JSON {
            [
                "field": .string(field), "old": old.map { .string($0) } ?? .null,
                "new": new.map { .string($0) } ?? .null,
            ]
        }
    }

    /// Lines that are told at most.
    static let linesMax = 500
    /// Characters of a value that are shown.
    private static let valueMax = 400

    /// The fields that differ, in their order; `nil` is an object that is not there.
    static func lines(_ old: JSON?, _ new: JSON?) -> [Line] {
        var found: [Line] = []
        compare(old, new, "", &found)
        return found
    }

    private static func compare(_ old: JSON?, _ new: JSON?, _ field: String, _ found: inout [Line]) {
        guard old != new, found.count < linesMax else { return }
        if let left = old?.object ?? (old == nil ? new?.object.map { _ in [:] } : nil),
            let right = new?.object ?? (new == nil ? old?.object.map { _ in [:] } : nil),
            !(left.isEmpty && right.isEmpty)
        {
            for name in Set(left.keys).union(right.keys).sorted() {
                compare(left[name], right[name], join(field, name), &found)
            }
        } else if let left = old?.array, let right = new?.array {
            compare(left, right, field, &found)
        } else {
            found.append(Line(field: field, old: old.map(text), new: new.map(text)))
        }
    }

    /// What is alike at both ends stays out, so that one element more is one line more.
    private static func compare(_ old: [JSON], _ new: [JSON], _ field: String, _ found: inout [Line]) {
        let shorter = min(old.count, new.count)
        var head = 0
        while head < shorter, old[head] == new[head] { head += 1 }
        var tail = 0
        while tail < shorter - head, old[old.count - 1 - tail] == new[new.count - 1 - tail] { tail += 1 }
        let (left, right) = (old[head..<(old.count - tail)], new[head..<(new.count - tail)])
        for offset in 0..<max(left.count, right.count) {
            let index = head + offset
            let before = offset < left.count ? left[index] : nil
            let after = offset < right.count ? right[index] : nil
            // One that came or went is told whole.
            if before == nil || after == nil {
                found.append(Line(field: "\(field)[\(index)]", old: before.map(text), new: after.map(text)))
            } else {
                compare(before, after, "\(field)[\(index)]", &found)
            }
        }
    }

    private static func join(_ field: String, _ name: String) -> String {
        let plain = name.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45
                || byte == 95
        }
        let part = plain && !name.isEmpty ? name : "[\"\(name)\"]"
        return field.isEmpty || !plain ? field + part : "\(field).\(part)"
    }

    private static func text(_ value: JSON) -> String {
        let text = value.string ?? value.text
        return text.count > valueMax ? text.prefix(valueMax) + "…" : text
    }
}

/// An object as its history shows it: what somebody wrote, without what the API adds, and without values that may be secret.
enum ShownConfiguration {
    /// Members of which only is told whether they changed.
    private static let hidden: Set<String> = [
        "data", "binaryData", "stringData", "env", "envFrom", "vmConfig", "jwks", "inlineString", "inlineBytes",
        "pluginConfig",
    ]
    /// Words that make a member's name suspicious; names of Secrets are none.
    private static let suspicious = [
        "authorization", "cookie", "token", "secret", "password", "passwd", "api-key", "apikey", "session",
        "signature", "clientcredential",
    ]
    /// Members whose name is suspicious and whose value is harmless.
    private static let harmless: Set<String> = [
        "credentialname", "credentialnames", "secretname", "secretref", "forwardoriginaltoken", "tokenlocation",
        "fromcookies", "httpcookie", "serviceaccounttoken",
    ]
    private static let unshownAnnotations = [
        "kubectl.kubernetes.io/last-applied-configuration", "skein.dev/last-applied",
    ]

    static func of(_ object: JSON) -> JSON {
        var shown: [String: JSON] = [:]
        for (name, value) in object.object ?? [:] where !["status", "metadata", "apiVersion", "kind"].contains(name) {
            shown[name] = mask(value, name, depth: 0)
        }
        var metadata: [String: JSON] = [:]
        if let labels = object["metadata"]?["labels"] { metadata["labels"] = labels }
        let annotations = (object["metadata"]?["annotations"]?.object ?? [:]).filter { name, _ in
            !unshownAnnotations.contains(name)
        }
        // What stands in annotations of others is anybody's text: that it changed is enough.
        if !annotations.isEmpty { metadata["annotations"] = .object(annotations.mapValues { .string(mark($0)) }) }
        shown["metadata"] = metadata.isEmpty ? nil : .object(metadata)
        return .object(shown)
    }

    private static func mask(_ value: JSON, _ name: String, depth: Int) -> JSON {
        let lower = name.lowercased()
        if hidden.contains(name) || (!harmless.contains(lower) && suspicious.contains { lower.contains($0) }) {
            return covered(value)
        }
        guard depth < 64 else { return .string("…") }
        if let members = value.object {
            // `{name: PASSWORD, value: …}`: the name stands beside.
            let own = (members["name"]?.string ?? members["key"]?.string ?? "").lowercased()
            return .object(
                Dictionary(
                    members.map { key, member in
                        let isValue = ["value", "exact", "prefix", "regex"].contains(key)
                        return isValue && suspicious.contains { own.contains($0) }
                            ? (key, covered(member)) : (key, mask(member, key, depth: depth + 1))
                    }, uniquingKeysWith: { $1 }))
        }
        if let items = value.array { return .array(items.map { mask($0, name, depth: depth + 1) }) }
        return value
    }

    /// Members stay, values do not.
    private static func covered(_ value: JSON) -> JSON {
        if let members = value.object { return .object(members.mapValues { .string(mark($0)) }) }
        return .string(mark(value))
    }

    /// The same for the same value in this process, and nothing that could be looked up.
    private static func mark(_ value: JSON) -> String {
        var hasher = Hasher()
        hasher.combine(value)
        return "(hidden, " + String(UInt16(truncatingIfNeeded: hasher.finalize()), radix: 16) + ")"
    }
}
