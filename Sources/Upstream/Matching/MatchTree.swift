internal import Serialization

/// A compiled `xds.type.matcher.v3.Matcher`: inputs are compared, an action comes out.
public struct MatchTree<Action: Sendable>: Sendable {
    /// What follows a match.
    indirect enum Outcome: Sendable {
        case action(Action)
        case tree(MatchTree)
    }

    /// What follows an address in a range.
    struct AddressOutcome: Sendable {
        let outcome: Outcome
        /// It counts only where no narrower range has the address.
        let isExclusive: Bool
    }

    enum Kind: Sendable {
        case list([(predicate: MatchPredicate, outcome: Outcome)])
        case exact(MatchInput, [[UInt8]: Outcome])
        /// Longest first.
        case prefix(MatchInput, [(prefix: [UInt8], outcome: Outcome)])
        case addresses(MatchInput, AddressMap<AddressOutcome>)
        case nothing
    }

    let kind: Kind
    let otherwise: Outcome?

    /// The action of the first match for a request; nil when nothing matches.
    ///
    /// A branch whose inner tree has none is no match: the next one is asked.
    public func action(
        for request: borrowing some RequestView & ~Copyable & ~Escapable, facts: some RouteFacts
    ) -> Action? {
        switch kind {
        case .list(let entries):
            for entry in entries where entry.predicate.matches(request, facts) {
                if let found = action(entry.outcome, request, facts) { return found }
            }
        case .exact(let input, let map):
            if let value = input.value(request, facts), let outcome = map[value],
                let found = action(outcome, request, facts)
            {
                return found
            }
        case .prefix(let input, let entries):
            if let value = input.value(request, facts) {
                for entry in entries where value.starts(with: entry.prefix) {
                    if let found = action(entry.outcome, request, facts) { return found }
                }
            }
        case .addresses(let input, let map):
            if let value = input.value(request, facts),
                let address = AddressRange.bytes(String(decoding: value, as: UTF8.self))
            {
                for (index, entry) in map.entries(for: address).enumerated() {
                    if entry.isExclusive, index > 0 { continue }
                    if let found = action(entry.outcome, request, facts) { return found }
                }
            }
        case .nothing: break
        }
        guard let otherwise else { return nil }
        return action(otherwise, request, facts)
    }

    private func action(
        _ outcome: Outcome, _ request: borrowing some RequestView & ~Copyable & ~Escapable, _ facts: some RouteFacts
    ) -> Action? {
        switch outcome {
        case .action(let action): action
        case .tree(let tree): tree.action(for: request, facts: facts)
        }
    }
}

/// A condition of a matcher list.
indirect enum MatchPredicate: Sendable {
    case value(MatchInput, StringMatcher)
    case addresses(MatchInput, [AddressRange])
    case expression(CELCondition)
    case any([MatchPredicate])
    case all([MatchPredicate])
    case not(MatchPredicate)

    func matches(_ request: borrowing some RequestView & ~Copyable & ~Escapable, _ facts: some RouteFacts) -> Bool {
        switch self {
        case .value(let input, let matcher):
            guard let value = input.value(request, facts) else { return false }
            return matcher.matches(value.span)
        case .addresses(let input, let ranges):
            guard let value = input.value(request, facts),
                let bytes = AddressRange.bytes(String(decoding: value, as: UTF8.self))
            else { return false }
            return ranges.contains { $0.contains(bytes) }
        case .expression(let condition):
            return facts.holds(condition)
        case .any(let predicates):
            for predicate in predicates where predicate.matches(request, facts) { return true }
            return false
        case .all(let predicates):
            for predicate in predicates where !predicate.matches(request, facts) { return false }
            return true
        case .not(let predicate): return !predicate.matches(request, facts)
        }
    }
}

/// What a matcher looks at.
enum MatchInput: Sendable {
    case header(HeaderName)
    case queryParameter([UInt8])
    case connection(ConnectionFact)
    case filterState(String)
    case metadata(namespace: String, path: [String])

    /// The value; nil when it is not there, which no condition matches.
    func value(
        _ request: borrowing some RequestView & ~Copyable & ~Escapable, _ facts: some RouteFacts
    ) -> [UInt8]? {
        switch self {
        case .header(let name):
            if name.isPseudo {
                guard let value = request.pseudoHeader(name), !value.isEmpty else { return nil }
                return Bytes.copy(value)
            }
            var joined: [UInt8]?
            var next = request.nextField(named: name, from: 0)
            while let index = next {
                if joined == nil { joined = [] } else { joined?.append(0x2C) }
                joined?.append(contentsOf: Bytes.copy(request.fieldValue(at: index)))
                next = request.nextField(named: name, from: index + 1)
            }
            return joined
        case .queryParameter(let name): return Query.value(of: name, in: request.path)
        case .connection(let fact): return facts.connectionFact(fact).map { Array($0.utf8) }
        case .filterState(let key): return facts.filterState(key).map { Array($0.utf8) }
        case .metadata(let namespace, let path):
            var value = facts.metadata(namespace)
            for key in path { value = value?[key] }
            return value?.string.map { Array($0.utf8) }
        }
    }
}

/// Values by range of addresses; the narrowest range that has an address comes first.
struct AddressMap<Value: Sendable>: Sendable {
    /// Ranges of one length by their bytes, longer ones first.
    private var levels: [(bits: Int, count: Int, values: [[UInt8]: [Value]])] = []

    /// Adds a value; of several for one range the first comes first.
    mutating func insert(_ value: Value, for range: AddressRange) {
        let key = range.masked(range.bytes)
        if let level = levels.firstIndex(where: { $0.bits == range.bits && $0.count == range.bytes.count }) {
            levels[level].values[key, default: []].append(value)
        } else {
            levels.append((range.bits, range.bytes.count, [key: [value]]))
            levels.sort { $0.bits > $1.bits }
        }
    }

    /// All values.
    var all: [Value] { levels.flatMap { $0.values.values.flatMap { $0 } } }

    /// The values of all ranges that have an address.
    func entries(for address: [UInt8]) -> [Value] {
        var found: [Value] = []
        for level in levels where level.count == address.count {
            found += level.values[AddressRange(bytes: address, bits: level.bits).masked(address)] ?? []
        }
        return found
    }
}

/// A range of addresses: `10.0.0.0/8`.
struct AddressRange: Sendable, Hashable {
    let bytes: [UInt8]
    let bits: Int

    func contains(_ address: [UInt8]) -> Bool {
        guard address.count == bytes.count else { return false }
        for index in bytes.indices {
            let kept = min(max(bits - index * 8, 0), 8)
            let mask = UInt8(truncatingIfNeeded: 0xFF00 >> kept)
            if address[index] & mask != bytes[index] & mask { return false }
        }
        return true
    }

    /// An address of this family without the bits behind the range's.
    func masked(_ address: [UInt8]) -> [UInt8] {
        address.indices.map { index in
            let kept = min(max(bits - index * 8, 0), 8)
            return address[index] & UInt8(truncatingIfNeeded: 0xFF00 >> kept)
        }
    }

    /// The bytes of an address in text; nil when it is none.
    static func bytes(_ text: String) -> [UInt8]? {
        guard HostAddress.isIPAddress(text) else { return nil }
        guard text.contains(":") else { return text.split(separator: ".").compactMap { UInt8($0) } }
        let halves = text.split(separator: "::", omittingEmptySubsequences: false)
        func groups(_ half: Substring) -> [UInt8] {
            half.split(separator: ":").flatMap { group -> [UInt8] in
                if group.contains(".") { return group.split(separator: ".").compactMap { UInt8($0) } }
                let value = UInt16(group, radix: 16) ?? 0
                return [UInt8(value >> 8), UInt8(value & 0xFF)]
            }
        }
        guard let first = halves.first else { return nil }
        let head = groups(first)
        let tail = halves.count > 1 ? groups(halves[1]) : []
        guard head.count + tail.count <= 16 else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    }
}
