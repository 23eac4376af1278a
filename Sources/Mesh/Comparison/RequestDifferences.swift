public import Serialization

/// Which of many requests two configurations answer differently, grouped by what differs.
///
/// Pure: what each configuration does with each request was said by the proxy's own code (`skein-proxy explain --batch`).
public struct RequestDifferences: Sendable {
    /// Where a field is written: `reviews.yaml:14`; nil where nobody knows.
    public typealias Place = (Provenance) -> String?

    /// One request, and what both say.
    public struct Example: Sendable, Hashable {
        /// The pod whose proxy has recorded it: `default/web-1`.
        public var pod: String
        /// As it was recorded.
        public var request: JSON
        /// The answer of the old configuration.
        public var old: ProxyAnswer
        /// The answer of the new configuration.
        public var new: ProxyAnswer
        /// What differs: by name, `old` and `new`.
        public var changes: JSON

        /// `GET http://reviews/x`.
        public var line: String {
            let scheme = request["tls"]?.bool == true ? "https" : "http"
            return "\(request["method"]?.string ?? "GET") \(scheme)://\(request["authority"]?.string ?? "")"
                + (request["path"]?.string ?? "/")
        }
    }

    /// Requests of which the same kind of thing differs, in the same virtual host.
    public struct Group: Sendable, Hashable {
        /// What differs: `weights`, `destination`, `policy`.
        public var kinds: [String]
        /// The virtual host or filter chain.
        public var place: String
        /// How many requests.
        public var count: Int
        /// One of them.
        public var example: Example
    }

    /// Requests that were compared.
    public private(set) var compared = 0
    /// Requests that could not be read, by reason.
    public private(set) var unread: [String: Int] = [:]
    /// Requests about which not everything is known: what was not recorded, by name.
    public private(set) var inexact: [String: Int] = [:]
    /// Requests that the old configuration of now decides otherwise than it did when they were recorded.
    public private(set) var notReproduced = 0
    private var found: [String: Group] = [:]
    /// Most groups; further ones are counted among `others`.
    static let groupsMax = 500
    /// Differing requests of groups beyond `groupsMax`.
    public private(set) var others = 0

    /// Nothing was compared.
    public init() {}

    /// Counts requests that no configuration can answer differently: all that their proxy has is the same.
    public mutating func addSame(_ count: Int) { compared += count }

    /// Takes the comparison of one request.
    public mutating func add(_ comparison: JSON, request: JSON, pod: String) {
        if let problem = comparison["error"]?.string {
            unread[problem, default: 0] += 1
            return
        }
        compared += 1
        if comparison["not_reproduced"] != nil { notReproduced += 1 }
        for name in comparison["not_recorded"]?.array ?? [] { inexact["header \(name.string ?? "")", default: 0] += 1 }
        guard let old = comparison["old"].flatMap(ProxyAnswer.init),
            let new = comparison["new"].flatMap(ProxyAnswer.init),
            case .object(let all)? = comparison["changes"], !all.isEmpty
        else { return }
        let changes = Self.withoutConsequences(all)
        let kinds = Set(changes.flatMap { Self.kinds($0.key, $0.value) }).sorted { Self.rank($0) < Self.rank($1) }
        guard !kinds.isEmpty else { return }
        let place = [new, old].lazy.compactMap { $0.json["virtual_host"]?.string ?? $0.json["filter_chain"]?.string }
            .first
        let key = kinds.joined(separator: ",") + " " + (place ?? "")
        if found[key] != nil {
            found[key]?.count += 1
        } else if found.count < Self.groupsMax {
            found[key] = Group(
                kinds: kinds, place: place ?? "", count: 1,
                example: Example(
                    pod: pod, request: request, old: old, new: new, changes: .object(changes)))
        } else {
            others += 1
        }
    }

    /// The groups, what is felt most first.
    public var groups: [Group] {
        found.values.sorted {
            (Self.rank($0.kinds.first ?? ""), $1.count, $0.place) < (
                Self.rank($1.kinds.first ?? ""), $0.count, $1.place
            )
        }
    }

    /// Requests that are answered differently.
    public var differing: Int { groups.reduce(others) { $0 + $1.count } }

    /// Where one of them ends earlier, what it does not come to is no difference of its own.
    private static func withoutConsequences(_ changes: [String: JSON]) -> [String: JSON] {
        guard changes["outcome"] != nil || changes["redirect"] != nil || changes["direct_response"] != nil else {
            return changes
        }
        return changes.filter { name, change in
            guard ["timeouts", "retries", "mirrors", "hash", "upstream_tls", "clusters"].contains(name) else {
                return true
            }
            return change["old"]?.isNull == false && change["new"]?.isNull == false
        }
    }

    // MARK: Kinds

    private static let order = [
        "answer", "policy", "redirect", "direct response", "destination", "weights", "mutual TLS", "timeouts",
        "retries",
        "mirrors", "hash", "fault and filters", "endpoints", "cluster settings",
    ]

    private static func rank(_ kind: String) -> Int { order.firstIndex(of: kind) ?? order.count }

    /// What a difference is called.
    static func kinds(_ name: String, _ change: JSON) -> [String] {
        let (old, new) = (change["old"] ?? .null, change["new"] ?? .null)
        switch name {
        case "outcome", "status", "refusal": return ["answer"]
        case "policies": return verdicts(old) == verdicts(new) ? [] : ["policy"]
        case "redirect": return ["redirect"]
        case "direct_response": return ["direct response"]
        case "clusters":
            let names = [old, new].map { Set(($0.array ?? []).compactMap { $0.string?.split(separator: " ").first }) }
            return [names[0] == names[1] ? "weights" : "destination"]
        case "upstream_tls": return ["mutual TLS"]
        case "timeouts", "retries", "mirrors", "hash": return [name]
        default: break
        }
        if name.hasPrefix("filter ") { return ["fault and filters"] }
        guard name.hasPrefix("cluster "), old.object != nil, new.object != nil else { return [] }
        var kinds: [String] = []
        if old["endpoints"] != new["endpoints"] { kinds.append("endpoints") }
        var (rest, other) = (old, new)
        rest["endpoints"] = nil
        other["endpoints"] = nil
        if rest != other { kinds.append("cluster settings") }
        return kinds
    }

    /// What policies say, without which of them says it.
    private static func verdicts(_ policies: JSON) -> Bool {
        (policies.array ?? []).allSatisfy { $0["allowed"]?.bool != false || $0["rules"]?.string == "shadow_rules" }
    }

    // MARK: Showing

    /// For people; `place` tells where a field is written.
    public func text(
        old oldPlace: @escaping Place, new newPlace: @escaping Place
    ) -> String {
        var text = "\(compared) recorded requests: "
        text += differing == 0 ? "none would be answered differently\n" : "\(differing) would be answered differently\n"
        for group in groups {
            let example = group.example
            text += "\n\(group.kinds.joined(separator: ", ")): \(group.count) of \(group.place)\n"
            text += "  for example \(example.line), recorded by \(example.pod)\n"
            text += "    old  \(Self.words(example.old, oldPlace))\n    new  \(Self.words(example.new, newPlace))\n"
            for line in Self.lines(example.changes) { text += "    \(line)\n" }
            for (step, answer, place) in [("old", example.old, oldPlace), ("new", example.new, newPlace)] {
                for refused in answer.steps("route") where refused.text.hasPrefix("not ") {
                    text +=
                        "    \(step)  \(refused.text)" + (refused.origin.map { " (\(Self.words($0, place)))" } ?? "")
                        + "\n"
                }
            }
        }
        if others > 0 { text += "\n\(others) more, of other kinds\n" }
        for (what, count) in inexact.sorted(by: { $0.key < $1.key }) {
            text += "\nnot exactly told for \(count) requests: \(what) counts now, and was not recorded\n"
        }
        if notReproduced > 0 {
            text +=
                "\n\(notReproduced) requests were recorded under an earlier configuration: the one of now decides otherwise\n"
        }
        for (problem, count) in unread.sorted(by: { $0.key < $1.key }) {
            text += "\n\(count) recorded requests cannot be explained: \(problem)\n"
        }
        return text
    }

    private static func words(_ origin: Provenance, _ place: Place) -> String {
        origin.words + (place(origin).map { ", \($0)" } ?? "")
    }

    private static func words(_ answer: ProxyAnswer, _ place: Place) -> String {
        answer.text("summary") + (answer.routeOrigin.map { " (\(words($0, place)))" } ?? "")
    }

    /// Each difference in a line; of clusters the fields that differ.
    private static func lines(_ changes: JSON) -> [String] {
        var lines: [String] = []
        for (name, change) in (changes.object ?? [:]).sorted(by: { $0.key < $1.key }) {
            guard !["outcome", "status", "refusal"].contains(name), !kinds(name, change).isEmpty else { continue }
            let (old, new) = (change["old"] ?? .null, change["new"] ?? .null)
            guard case .object(let before) = old, case .object(let after) = new else {
                lines.append("\(name): \(short(old)) → \(short(new))")
                continue
            }
            for field in Set(before.keys).union(after.keys).sorted() where before[field] != after[field] {
                lines.append("\(name) \(field): \(short(before[field] ?? .null)) → \(short(after[field] ?? .null))")
            }
        }
        return lines
    }

    private static func short(_ json: JSON) -> String {
        let text: String =
            switch json {
            case .null: "none"
            case .string(let text): text
            case .array(let items) where items.allSatisfy({ $0.string != nil }):
                items.isEmpty ? "none" : items.compactMap(\.string).joined(separator: ", ")
            default: json.text
            }
        return text.count > 240 ? text.prefix(240) + "…" : text
    }

    /// For programs.
    public func json(
        old oldPlace: @escaping Place, new newPlace: @escaping Place
    ) -> JSON {
        func place(_ answer: ProxyAnswer, _ find: Place) -> JSON {
            guard let origin = answer.routeOrigin else { return .null }
            var json = origin.json
            if let place = find(origin) { json["place"] = .string(place) }
            return json
        }
        return [
            "compared": .integer(Int64(compared)), "differing": .integer(Int64(differing)),
            "inexact": .object(inexact.mapValues { .integer(Int64($0)) }),
            "notReproduced": .integer(Int64(notReproduced)),
            "unread": .object(unread.mapValues { .integer(Int64($0)) }),
            "groups": .array(
                groups.map { group in
                    [
                        "kinds": .array(group.kinds.map { .string($0) }), "place": .string(group.place),
                        "count": .integer(Int64(group.count)),
                        "example": [
                            "pod": .string(group.example.pod), "request": group.example.request,
                            "changes": group.example.changes, "old": group.example.old.json,
                            "new": group.example.new.json, "oldRoute": place(group.example.old, oldPlace),
                            "newRoute": place(group.example.new, newPlace),
                        ],
                    ]
                }),
        ]
    }
}
