import EnvoyAPI
import Serialization

/// The rules of one domain, in the form of the reference service (envoyproxy/ratelimit, README "Configuration").
struct RateLimitRules: Sendable, Hashable {
    /// How many in how long.
    struct Limit: Sendable, Hashable {
        var requests: UInt32
        var unit: RateLimitResponse.RateLimit.Unit
        var name: String
        /// Counted, but never refused.
        var isShadow: Bool
        /// Never refused and not counted.
        var isUnlimited: Bool

        /// Seconds of a window.
        var seconds: Int64 {
            switch unit {
            case .second: 1
            case .minute: 60
            case .hour: 3600
            case .day: 86_400
            case .week: 7 * 86_400
            case .month: 30 * 86_400
            case .year: 365 * 86_400
            default: 1
            }
        }
    }

    /// One descriptor entry: what it matches, its limit, and what may follow it.
    struct Node: Sendable, Hashable {
        var key: String
        /// nil matches every value; one limit for each.
        var value: String?
        /// A value that ends with `*` matches what begins so; all of it counts together.
        var isPrefix: Bool
        var limit: Limit?
        var children: [Node]
    }

    /// Why rules cannot be used.
    struct Problem: Error, Sendable, Hashable, CustomStringConvertible {
        var path: String
        var message: String
        var description: String { path.isEmpty ? message : "\(path): \(message)" }
    }

    /// Entries of a configuration at most.
    static let nodesMax = 100_000
    /// How deep they are nested at most.
    static let depthMax = 32

    var domain: String
    var nodes: [Node]

    /// Reads `domain` and `descriptors`.
    init(_ json: JSON) throws(Problem) {
        guard let domain = json["domain"]?.string, !domain.isEmpty else {
            throw Problem(path: "domain", message: "is missing")
        }
        self.domain = domain
        for name in (json.object ?? [:]).keys.sorted() where !["domain", "descriptors"].contains(name) {
            throw Problem(path: name, message: "is unknown")
        }
        var count = 0
        nodes = try Self.nodes(json["descriptors"], "descriptors", 1, &count)
    }

    private static func nodes(
        _ json: JSON?, _ path: String, _ depth: Int, _ count: inout Int
    ) throws(Problem) -> [Node] {
        guard let json, !json.isNull else { return [] }
        guard let list = json.array else { throw Problem(path: path, message: "must be a list") }
        guard depth <= depthMax else { throw Problem(path: path, message: "nested deeper than \(depthMax)") }
        var made: [Node] = []
        var seen: Set<String> = []
        for (index, entry) in list.enumerated() {
            let here = "\(path)[\(index)]"
            count += 1
            guard count <= nodesMax else { throw Problem(path: here, message: "more than \(nodesMax) entries") }
            for name in (entry.object ?? [:]).keys.sorted()
            where !["key", "value", "rate_limit", "descriptors", "shadow_mode", "detailed_metric"].contains(name) {
                throw Problem(path: "\(here).\(name)", message: "is unknown")
            }
            guard let key = entry["key"]?.string, !key.isEmpty else {
                throw Problem(path: "\(here).key", message: "is missing")
            }
            let value = entry["value"].flatMap { $0.string ?? ($0.isNull ? nil : $0.text) }
            guard seen.insert("\(key)_\(value ?? "")").inserted else {
                throw Problem(path: here, message: "\(key) \(value ?? "") is there twice")
            }
            let isPrefix = value?.hasSuffix("*") ?? false
            made.append(
                Node(
                    key: key, value: isPrefix ? value.map { String($0.dropLast()) } : value, isPrefix: isPrefix,
                    limit: try limit(entry, here),
                    children: try nodes(entry["descriptors"], here + ".descriptors", depth + 1, &count)))
        }
        return made
    }

    private static func limit(_ entry: JSON, _ path: String) throws(Problem) -> Limit? {
        guard let json = entry["rate_limit"], !json.isNull else { return nil }
        let here = path + ".rate_limit"
        for name in (json.object ?? [:]).keys.sorted()
        where !["unit", "requests_per_unit", "unlimited", "name"].contains(name) {
            throw Problem(path: "\(here).\(name)", message: "is unknown, or not supported here")
        }
        let isUnlimited = json["unlimited"]?.bool ?? false
        let units: [String: RateLimitResponse.RateLimit.Unit] = [
            "second": .second, "minute": .minute, "hour": .hour, "day": .day, "week": .week, "month": .month,
            "year": .year,
        ]
        let written = json["unit"]?.string ?? ""
        guard let unit = units[written.lowercased()] ?? (isUnlimited && written.isEmpty ? .unknown : nil) else {
            throw Problem(
                path: here + ".unit", message: "\"\(written)\": second, minute, hour, day, week, month, year are known")
        }
        if isUnlimited, json["requests_per_unit"] != nil || !written.isEmpty {
            throw Problem(path: here, message: "unlimited stands alone")
        }
        var requests: UInt32 = 0
        if !isUnlimited {
            guard let number = json["requests_per_unit"]?.int, let small = UInt32(exactly: number) else {
                throw Problem(path: here + ".requests_per_unit", message: "a number from 0 to \(UInt32.max) is needed")
            }
            requests = small
        }
        return Limit(
            requests: requests, unit: unit, name: json["name"]?.string ?? "",
            isShadow: entry["shadow_mode"]?.bool ?? false, isUnlimited: isUnlimited)
    }

    /// The limit for a descriptor, with the text that everything has in common that counts together; nil when no rule
    /// is for it.
    ///
    /// Entries must be matched one by one in their order, down to the last: a rule for the first two says nothing about
    /// three.
    func limit(for entries: [RateLimitDescriptor.Entry]) -> (limit: Limit, key: String)? {
        var nodes = nodes
        var key = domain
        var found: Limit?
        for entry in entries {
            guard let node = Self.node(entry, nodes) else { return nil }
            // A NUL keeps values apart that would look alike in a row.
            key += "\u{0}\(entry.key)\u{0}" + (node.isPrefix ? "\(node.value ?? "")*" : entry.value)
            found = node.limit
            nodes = node.children
        }
        return found.map { ($0, key) }
    }

    /// The exact value beats the longest prefix, that beats any value.
    private static func node(_ entry: RateLimitDescriptor.Entry, _ nodes: [Node]) -> Node? {
        let same = nodes.filter { $0.key == entry.key }
        if let exact = same.first(where: { !$0.isPrefix && $0.value == entry.value }) { return exact }
        let prefixes = same.filter { $0.isPrefix && entry.value.hasPrefix($0.value ?? "") }
        if let longest = prefixes.max(by: { ($0.value?.count ?? 0) < ($1.value?.count ?? 0) }) { return longest }
        return same.first { $0.value == nil }
    }
}
