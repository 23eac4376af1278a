import Serialization
import Store

/// What came out of a check.
struct CheckOutcome: Sendable, Hashable {
    var status: String
    var output: String
}

/// What is due at this machine's checks: which to make, which programs have been silent for too long, which instances go.
///
/// Pure: time (milliseconds) and randomness come from outside, and what is due is done by others.
struct CheckPlan {
    /// Something that is due.
    enum Due: Hashable {
        /// Make this check, and tell `finished`.
        case run(StoreKey, CheckDefinition)
        /// Nobody has reported in time: it is critical.
        case expire(StoreKey)
        /// Its instance was critical for too long and is removed.
        case remove(StoreKey)
    }

    private struct Entry {
        var how: JSON
        var definition: CheckDefinition
        /// When it is made next, or when a report must have come.
        var next: Int64
        var isRunning = false
        var isExpired = false
        var successes = 0
        var failures = 0
        var criticalSince: Int64?
        var hasService: Bool
    }

    private var entries: [StoreKey: Entry] = [:]
    /// How many checks are under way.
    private(set) var running = 0

    /// So many checks there are.
    var count: Int { entries.count }

    /// Takes over the checks as they are now; one that is made in another way begins anew.
    mutating func follow(_ rows: [Row], now: Int64, random: inout some RandomNumberGenerator) {
        var left = Set(entries.keys)
        for row in rows {
            let how = row.json["how"] ?? .null
            left.remove(row.key)
            let since = row.json["criticalSince"]?.int.map { Int64($0) }
            if entries[row.key]?.how == how {
                entries[row.key]?.criticalSince = since
                continue
            }
            let definition = CheckDefinition(stored: how)
            let next: Int64
            switch definition.kind {
            case .ttl(let time): next = now + time
            case .external: next = .max
            // Those that come together are spread over a second at first.
            default: next = now + Int64.random(in: 0...min(definition.interval, 1_000), using: &random)
            }
            if entries[row.key]?.isRunning == true { running -= 1 }
            entries[row.key] = Entry(
                how: how, definition: definition, next: next, criticalSince: since,
                hasService: !row.text("ServiceID").isEmpty)
        }
        for key in left {
            if entries.removeValue(forKey: key)?.isRunning == true { running -= 1 }
        }
    }

    /// What is due; a check that is given out is under way until `finished`.
    mutating func due(now: Int64, runningMax: Int) -> [Due] {
        var result: [Due] = []
        for (key, entry) in entries.sorted(by: { ($0.value.next, $0.key) < ($1.value.next, $1.key) }) {
            if entry.hasService, let since = entry.criticalSince, let after = entry.definition.deregisterAfter,
                since + after <= now
            {
                result.append(.remove(key))
                continue
            }
            guard entry.next <= now else { continue }
            switch entry.definition.kind {
            case .external: break
            case .ttl:
                guard !entry.isExpired else { break }
                entries[key]?.isExpired = true
                result.append(.expire(key))
            default:
                guard !entry.isRunning, running < runningMax else { break }
                running += 1
                entries[key]?.isRunning = true
                result.append(.run(key, entry.definition))
            }
        }
        return result
    }

    /// A program has reported its state.
    mutating func reported(_ key: StoreKey, now: Int64) {
        guard let entry = entries[key], case .ttl(let time) = entry.definition.kind else { return }
        entries[key]?.next = now + time
        entries[key]?.isExpired = false
    }

    /// A check has been made; the state that follows, nil when it stays as it is until there are more of the same.
    mutating func finished(_ key: StoreKey, _ status: String, now: Int64) -> String? {
        guard var entry = entries[key], entry.isRunning else { return nil }
        running -= 1
        entry.isRunning = false
        entry.next = now + entry.definition.interval
        defer { entries[key] = entry }
        if status == "passing" || status == "warning" {
            entry.failures = 0
            entry.successes += 1
            return entry.successes >= entry.definition.successesBeforePassing ? status : nil
        }
        entry.successes = 0
        entry.failures += 1
        if entry.failures >= entry.definition.failuresBeforeCritical { return "critical" }
        return entry.failures >= entry.definition.failuresBeforeWarning ? "warning" : nil
    }

    /// When something is due next; nil when nothing is.
    var next: Int64? {
        entries.values.compactMap { entry in
            var moments: [Int64] = []
            if !entry.isRunning, !entry.isExpired, entry.next < .max { moments.append(entry.next) }
            if entry.hasService, let since = entry.criticalSince, let after = entry.definition.deregisterAfter {
                moments.append(since + after)
            }
            return moments.min()
        }.min()
    }
}
