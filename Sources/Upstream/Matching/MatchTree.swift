internal import Serialization

/// A compiled `xds.type.matcher.v3.Matcher`: inputs are compared, an action comes out.
public struct MatchTree<Action: Sendable>: Sendable {
    /// What follows a match.
    indirect enum Outcome: Sendable {
        case action(Action)
        case tree(MatchTree)
    }

    enum Kind: Sendable {
        case list([(predicate: MatchPredicate, outcome: Outcome, keepsMatching: Bool)])
        case exact(MatchInput, [[UInt8]: Outcome])
        /// Longest first.
        case prefix(MatchInput, [(prefix: [UInt8], outcome: Outcome)])
        case nothing
    }

    let kind: Kind
    let otherwise: Outcome?

    /// The action for a request; nil when nothing matches.
    public func action(
        for request: borrowing some RequestView & ~Copyable & ~Escapable, facts: some RouteFacts
    ) -> Action? {
        var found: Action?
        visit(request, facts) { action in
            found = action
            return true
        }
        return found
    }

    /// Calls the body with the actions of all matches in their order, until it answers true.
    ///
    /// Later ones come only where a match says `keep_matching`, or where the body refuses what came before.
    @discardableResult
    func visit(
        _ request: borrowing some RequestView & ~Copyable & ~Escapable, _ facts: some RouteFacts,
        _ body: (Action) -> Bool
    ) -> Bool {
        switch kind {
        case .list(let entries):
            for entry in entries where entry.predicate.matches(request, facts) {
                if visit(entry.outcome, request, facts, body), !entry.keepsMatching { return true }
            }
        case .exact(let input, let map):
            if let value = input.value(request, facts), let outcome = map[value], visit(outcome, request, facts, body) {
                return true
            }
        case .prefix(let input, let entries):
            if let value = input.value(request, facts) {
                for entry in entries where value.starts(with: entry.prefix) {
                    if visit(entry.outcome, request, facts, body) { return true }
                }
            }
        case .nothing: break
        }
        guard let otherwise else { return false }
        return visit(otherwise, request, facts, body)
    }

    private func visit(
        _ outcome: Outcome, _ request: borrowing some RequestView & ~Copyable & ~Escapable, _ facts: some RouteFacts,
        _ body: (Action) -> Bool
    ) -> Bool {
        switch outcome {
        case .action(let action): body(action)
        case .tree(let tree): tree.visit(request, facts, body)
        }
    }
}

/// A condition of a matcher list.
indirect enum MatchPredicate: Sendable {
    case value(MatchInput, StringMatcher)
    case addresses(MatchInput, [AddressRange])
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
