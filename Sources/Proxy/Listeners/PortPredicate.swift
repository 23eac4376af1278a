internal import EnvoyAPI
internal import Upstream

/// When a listener filter is left out: a condition on the destination port (`ListenerFilterChainMatchPredicate`).
indirect enum PortPredicate: Sendable, Hashable {
    case any
    case range(Range<Int32>)
    case not(PortPredicate)
    case anyOf([PortPredicate])
    case allOf([PortPredicate])

    init(compiling message: ListenerFilterChainMatchPredicate, at path: String) throws(ConfigurationError) {
        switch message.rule {
        case .anyMatch(true): self = .any
        case .anyMatch(false): throw ConfigurationError(at: path + ".any_match", "must be true")
        case .destinationPortRange(let range):
            guard range.start < range.end else {
                throw ConfigurationError(
                    at: path + ".destination_port_range",
                    "\(range.start) to \(range.end) has no port; the end is exclusive")
            }
            self = .range(range.start..<range.end)
        case .notMatch(let inner): self = .not(try PortPredicate(compiling: inner, at: path + ".not_match"))
        case .orMatch(let set): self = .anyOf(try Self.list(set.rules, at: path + ".or_match.rules"))
        case .andMatch(let set): self = .allOf(try Self.list(set.rules, at: path + ".and_match.rules"))
        case nil: throw ConfigurationError(at: path, "a rule is needed")
        }
    }

    private static func list(
        _ rules: [ListenerFilterChainMatchPredicate], at path: String
    ) throws(ConfigurationError) -> [PortPredicate] {
        var list: [PortPredicate] = []
        for (index, rule) in rules.enumerated() {
            list.append(try PortPredicate(compiling: rule, at: "\(path)[\(index)]"))
        }
        return list
    }

    func matches(port: UInt16) -> Bool {
        switch self {
        case .any: true
        case .range(let range): range.contains(Int32(port))
        case .not(let inner): !inner.matches(port: port)
        case .anyOf(let list): list.contains { $0.matches(port: port) }
        case .allOf(let list): list.allSatisfy { $0.matches(port: port) }
        }
    }
}
