internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// What an input of a matcher tree says.
enum MatchFact: Sendable {
    case text(String)
    /// A value of dynamic metadata: only a matcher of metadata reads it.
    case metadata(JSON)

    /// As text; nil where it is none.
    var text: String? { if case .text(let text) = self { text } else { nil } }
}

/// A matcher in `custom_match` of a predicate.
///
/// Pure. A fact of another kind, and one that is not there, does not match.
enum CustomMatcher: Sendable {
    /// `envoy.matching.matchers.ip`: an address in one of the ranges.
    case addresses([Prefix])
    /// `envoy.matching.matchers.metadata_matcher`.
    case metadata(JSONCondition, isInverted: Bool)

    /// The messages that are known.
    static var names: String { [IpInputMatcher.schema.name, MetadataInputMatcher.schema.name].joined(separator: ", ") }

    /// Nil for a message that is not known.
    init?(compiling any: AnyMessage, at path: String) throws(ConfigurationError) {
        let place = path + ".typed_config"
        if any.holds(IpInputMatcher.self) {
            let message = try HTTPFilters.decode(any, as: IpInputMatcher.self, at: place)
            guard !message.statPrefix.isEmpty else {
                throw ConfigurationError(at: place + ".stat_prefix", "is missing")
            }
            guard !message.cidrRanges.isEmpty else {
                throw ConfigurationError(at: place + ".cidr_ranges", "at least one range is needed")
            }
            self = .addresses(try FilterChainCriteria.prefixes(message.cidrRanges, place + ".cidr_ranges"))
        } else if any.holds(MetadataInputMatcher.self) {
            let message = try HTTPFilters.decode(any, as: MetadataInputMatcher.self, at: place)
            guard let value = message.value else { throw ConfigurationError(at: place + ".value", "is missing") }
            self = .metadata(
                try JSONCondition(compiling: value, at: place + ".value"), isInverted: message.invert)
        } else {
            return nil
        }
    }

    /// Whether a fact passes.
    func matches(_ fact: MatchFact?) -> Bool {
        switch (self, fact) {
        case (.addresses(let ranges), .text(let text)?):
            guard let address = IPAddress(text) else { return false }
            return ranges.contains { $0.contains(address.canonical) }
        case (.metadata(let condition, let isInverted), .metadata(let value)?):
            return condition.matches(value) != isInverted
        default: return false
        }
    }
}

/// Where in dynamic metadata an input looks: `DynamicMetadataInput`.
struct MetadataPlace: Sendable, Hashable {
    let namespace: String
    let path: [String]

    init(compiling any: AnyMessage, at place: String) throws(ConfigurationError) {
        let message = try HTTPFilters.decode(any, as: DynamicMetadataInput.self, at: place)
        guard !message.filter.isEmpty else { throw ConfigurationError(at: place + ".filter", "is empty") }
        guard !message.path.isEmpty else { throw ConfigurationError(at: place + ".path", "at least one key is needed") }
        var path: [String] = []
        for (index, segment) in message.path.enumerated() {
            guard case .key(let key)? = segment.segment, !key.isEmpty else {
                throw ConfigurationError(at: "\(place).path[\(index)].key", "is empty")
            }
            path.append(key)
        }
        namespace = message.filter
        self.path = path
    }

    /// What stands there; nothing is null, as in Envoy.
    func fact(in metadata: JSON?) -> MatchFact {
        var found = metadata
        for key in path { found = found?[key] }
        return .metadata(found ?? .null)
    }
}
