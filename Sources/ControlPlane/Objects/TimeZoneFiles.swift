import IO
import KubernetesAPI

/// The time zones of this machine's database, each read once.
///
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class TimeZoneFiles: @unchecked Sendable {
    /// Where the database is: Debian's `tzdata`.
    private static let directory = "/usr/share/zoneinfo"
    /// Names that are remembered, also of zones that there are not.
    private static let namesMax = 1000

    private var known: [String: TimeZoneRules?] = ["UTC": .utc, "Etc/UTC": .utc]

    /// The rules of a zone; nil when there is none of that name.
    func rules(_ name: String) -> TimeZoneRules? {
        guard TimeZoneRules.isName(name) else { return nil }
        if let rules = known[name] { return rules }
        let rules = (try? File.read("\(Self.directory)/\(name)")).flatMap { TimeZoneRules(file: $0) }
        if known.count < Self.namesMax { known[name] = .some(rules) }
        return rules
    }
}
