internal import EnvoyAPI
internal import IO
internal import Upstream

/// What a listener filter says.
enum ListenerFilterStep {
    /// The next filter's turn.
    case next
    /// The client must say more first.
    case more
    /// The connection ends here; the reason is Envoy's `connection_termination_details`.
    case close(StaticString)
}

/// A listener filter as configured: makes the object that looks at a connection's first bytes.
protocol ListenerFilterConfig: Sendable {
    /// What it does when the connection is accepted, before any byte; most filters that need no bytes end here.
    func accepted(_ socket: Socket, _ info: inout ConnectionInfo) -> ListenerFilterStep

    /// The object that reads; nil for a filter that needs no bytes.
    func make(_ listener: ListenerRuntime) -> (any ConnectionInspector)?
}

extension ListenerFilterConfig {
    func accepted(_ socket: Socket, _ info: inout ConnectionInfo) -> ListenerFilterStep { .next }

    func make(_ listener: ListenerRuntime) -> (any ConnectionInspector)? { nil }
}

/// A listener filter at work on one connection.
protocol ConnectionInspector: AnyObject {
    /// Looks at all bytes that nobody has consumed yet.
    ///
    /// - Parameters:
    ///   - isLast: nothing follows: the client ended, or the time for listener filters is over and the listener goes on
    ///     without an answer. `.more` then means `.next`.
    ///   - consumed: how many bytes the filter takes away; they are no part of what the connection carries.
    func inspect(
        _ bytes: UnsafeRawBufferPointer, _ info: inout ConnectionInfo, isLast: Bool, consumed: inout Int
    ) -> ListenerFilterStep
}

/// When a listener filter does not run: `filter_disabled`, compiled.
indirect enum ListenerFilterPredicate: Sendable {
    case any([ListenerFilterPredicate])
    case all([ListenerFilterPredicate])
    case not(ListenerFilterPredicate)
    case always(Bool)
    case destinationPort(start: Int32, end: Int32)

    /// Envoy's message nests; deeper than this is a mistake.
    private static let depthMax = 16

    init(
        compiling message: ListenerFilterChainMatchPredicate, at path: String, depth: Int = 0
    ) throws(ConfigurationError) {
        guard depth < Self.depthMax else { throw ConfigurationError(at: path, "nested too deeply") }
        func list(
            _ set: ListenerFilterChainMatchPredicate.MatchSet, _ name: String
        ) throws(ConfigurationError) -> [ListenerFilterPredicate] {
            guard set.rules.count >= 2 else {
                throw ConfigurationError(at: "\(path).\(name).rules", "at least two rules are needed")
            }
            var rules: [ListenerFilterPredicate] = []
            for (index, rule) in set.rules.enumerated() {
                rules.append(
                    try ListenerFilterPredicate(
                        compiling: rule, at: "\(path).\(name).rules[\(index)]", depth: depth + 1))
            }
            return rules
        }
        switch message.rule {
        case .orMatch(let set): self = .any(try list(set, "or_match"))
        case .andMatch(let set): self = .all(try list(set, "and_match"))
        case .notMatch(let inner):
            self = .not(try ListenerFilterPredicate(compiling: inner, at: path + ".not_match", depth: depth + 1))
        case .anyMatch(let value): self = .always(value)
        case .destinationPortRange(let range):
            self = .destinationPort(start: range.start, end: range.end)
        case nil: throw ConfigurationError(at: path, "a rule is needed")
        }
    }

    /// Whether a connection to that port matches.
    func matches(port: UInt16?) -> Bool {
        switch self {
        case .any(let rules): rules.contains { $0.matches(port: port) }
        case .all(let rules): rules.allSatisfy { $0.matches(port: port) }
        case .not(let rule): !rule.matches(port: port)
        case .always(let value): value
        case .destinationPort(let start, let end): port.map { Int32($0) >= start && Int32($0) < end } ?? false
        }
    }
}
