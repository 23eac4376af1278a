/// A version as semver.org writes it; builds do not count when two are compared.
public struct CELVersion: Sendable, Hashable {
    let major: UInt64
    let minor: UInt64
    let patch: UInt64
    private let before: [String]
    let text: String

    /// Nil for what is none.
    ///
    /// - Parameter normalizing: takes a `v` before it, missing numbers and zeros before numbers, too.
    init?(_ given: String, normalizing: Bool = false) {
        guard let text = normalizing ? Self.normalized(given) : given, text.utf8.count <= 4096 else { return nil }
        let parts = text.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let major = Self.number(parts[0]), let minor = Self.number(parts[1]) else { return nil }
        let whole = parts[2].split(separator: "+", maxSplits: 1, omittingEmptySubsequences: false)
        let halves = whole[0].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard let patch = Self.number(halves[0]) else { return nil }
        var before: [String] = []
        if halves.count > 1 {
            for word in halves[1].split(separator: ".", omittingEmptySubsequences: false) {
                guard Self.isWord(word), !Self.isNumeric(word) || Self.number(word) != nil else { return nil }
                before.append(String(word))
            }
        }
        if whole.count > 1 {
            let words = whole[1].split(separator: ".", omittingEmptySubsequences: false)
            guard words.allSatisfy(Self.isWord) else { return nil }
        }
        (self.major, self.minor, self.patch, self.before, self.text) = (major, minor, patch, before, text)
    }

    private static func isNumeric(_ text: some StringProtocol) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    private static func isWord(_ text: Substring) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { $0 == 0x2d || (0x30...0x39).contains($0) || (0x61...0x7a).contains($0 | 0x20) }
    }

    private static func number(_ text: some StringProtocol) -> UInt64? {
        guard isNumeric(text), text.utf8.count == 1 || text.utf8.first != 0x30 else { return nil }
        return UInt64(text)
    }

    private static func normalized(_ given: String) -> String? {
        let text = given.hasPrefix("v") ? given.dropFirst() : given[...]
        var parts = text.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false).map { part in
            guard part.utf8.count > 1 else { return String(part) }
            let rest = part.drop { $0 == "0" }
            return rest.utf8.first.map { (0x30...0x39).contains($0) } ?? false ? String(rest) : "0" + rest
        }
        guard parts.count < 3 else { return parts.joined(separator: ".") }
        // A short one has nothing behind its numbers.
        guard let last = parts.last, !last.contains("+"), !last.contains("-") else { return nil }
        while parts.count < 3 { parts.append("0") }
        return parts.joined(separator: ".")
    }

    /// Below 0 where it comes before the other, above 0 where it comes after.
    func order(to other: CELVersion) -> Int {
        for (left, right) in [(major, other.major), (minor, other.minor), (patch, other.patch)] where left != right {
            return left < right ? -1 : 1
        }
        if before.isEmpty || other.before.isEmpty {
            return before.isEmpty == other.before.isEmpty ? 0 : before.isEmpty ? 1 : -1
        }
        for (left, right) in zip(before, other.before) where left != right {
            switch (UInt64(left), UInt64(right)) {
            case (let one?, let two?) where Self.isNumeric(left) && Self.isNumeric(right): return one < two ? -1 : 1
            default:
                let (isNumber, isOtherNumber) = (Self.isNumeric(left), Self.isNumeric(right))
                if isNumber != isOtherNumber { return isNumber ? -1 : 1 }
                return left.utf8.lexicographicallyPrecedes(right.utf8) ? -1 : 1
            }
        }
        return (before.count - other.before.count).signum()
    }

    /// Versions that differ in their builds are equal.
    public static func == (one: CELVersion, other: CELVersion) -> Bool { one.order(to: other) == 0 }

    /// As `==`.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(major)
        hasher.combine(minor)
        hasher.combine(patch)
        hasher.combine(before)
    }
}
