public import KubernetesAPI

/// Which findings somebody does not want to hear of.
public struct Suppression: Sendable, Hashable {
    /// A code of ours or of Istio's, or `*`.
    private var code: String
    private var kind: String
    /// `NAME.NAMESPACE`, or the name alone for objects of the cluster; `*` stands for any text.
    private var name: String

    /// Reads `CODE=KIND NAME.NAMESPACE`; nil when it is something else.
    public init?(_ text: String) {
        guard let equals = text.firstIndex(of: "=") else { return nil }
        let parts = text[text.index(after: equals)...].split(separator: " ").map(String.init)
        code = String(text[..<equals])
        guard parts.count == 2, let first = parts.first, let last = parts.last, Self.isCode(code) else { return nil }
        kind = first
        name = last
    }

    private static func isCode(_ text: String) -> Bool {
        text == "*" || DiagnosticCode(rawValue: text) != nil
            || DiagnosticCode.allCases.contains { $0.istioCodes.contains(text) }
    }

    /// Whether that finding is meant.
    public func covers(_ diagnostic: Diagnostic) -> Bool {
        let object = diagnostic.object
        let full = object.namespace.isEmpty ? object.name : "\(object.name).\(object.namespace)"
        return Self.fits(code, diagnostic.code) && (kind == "*" || kind == diagnostic.kind)
            && Self.fits(name[...], full[...])
    }

    private static func fits(_ written: String, _ code: DiagnosticCode) -> Bool {
        written == "*" || written == code.id || code.istioCodes.contains(written)
    }

    /// Whether a pattern with stars stands for a text.
    private static func fits(_ pattern: Substring, _ text: Substring) -> Bool {
        let parts = pattern.split(separator: "*", omittingEmptySubsequences: false)
        guard let first = parts.first, let last = parts.last, parts.count > 1 else { return pattern == text }
        guard text.hasPrefix(first), text.count >= first.count + last.count, text.hasSuffix(last) else { return false }
        var rest = text.dropFirst(first.count).dropLast(last.count)
        for part in parts.dropFirst().dropLast() where !part.isEmpty {
            guard let found = rest.range(of: part) else { return false }
            rest = rest[found...].dropFirst(part.count)
        }
        return true
    }

    /// The annotations by which an object's author keeps findings quiet: codes with commas between, or `*`.
    public static let annotations = ["skein.dev/analyze-suppress", "galley.istio.io/analyze-suppress"]

    /// Whether the object itself says that it does not want to hear of it.
    public static func isSuppressed(_ diagnostic: Diagnostic, by object: KubernetesObject) -> Bool {
        let written = object.metadata.annotations
        return annotations.contains { name in
            (written[name] ?? "").split(separator: ",").contains { part in
                fits(String(part.filter { $0 != " " }), diagnostic.code)
            }
        }
    }
}

extension Substring {
    /// Where a text first is in this one.
    fileprivate func range(of part: Substring) -> Index? {
        indices.first { self[$0...].hasPrefix(part) }
    }
}
