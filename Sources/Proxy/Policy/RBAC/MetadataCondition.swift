internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// A compiled `envoy.type.matcher.v3.MetadataMatcher`.
struct MetadataCondition: Sendable {
    let namespace: String
    private let path: [String]
    private let value: JSONCondition
    private let isInverted: Bool

    init(compiling message: EnvoyAPI.MetadataMatcher, at here: String) throws(ConfigurationError) {
        guard !message.filter.isEmpty else { throw ConfigurationError(at: here + ".filter", "is empty") }
        namespace = message.filter
        var path: [String] = []
        for (index, segment) in message.path.enumerated() {
            guard case .key(let key) = segment.segment, !key.isEmpty else {
                throw ConfigurationError(at: "\(here).path[\(index)].key", "is empty")
            }
            path.append(key)
        }
        guard !path.isEmpty else { throw ConfigurationError(at: here + ".path", "at least one key is needed") }
        self.path = path
        guard let value = message.value else { throw ConfigurationError(at: here + ".value", "is missing") }
        self.value = try JSONCondition(compiling: value, at: here + ".value")
        isInverted = message.invert
    }

    /// `metadata`: what is under the namespace.
    func matches(_ metadata: JSON?) -> Bool {
        var found = metadata
        for key in path { found = found?[key] }
        return value.matches(found) != isInverted
    }
}

/// A compiled `envoy.type.matcher.v3.ValueMatcher`.
indirect enum JSONCondition: Sendable {
    case null
    case range(Double, Double)
    case number(Double)
    case string(TextMatcher)
    case bool(Bool)
    case present(Bool)
    case anyElement(JSONCondition)
    case anyOf([JSONCondition])

    init(compiling message: EnvoyAPI.ValueMatcher, at path: String, depth: Int = 0) throws(ConfigurationError) {
        guard depth < 16 else { throw ConfigurationError(at: path, "nested too deeply") }
        switch message.matchPattern {
        case .nullMatch: self = .null
        case .doubleMatch(let matcher):
            switch matcher.matchPattern {
            case .range(let range): self = .range(range.start, range.end)
            case .exact(let number): self = .number(number)
            case nil: throw ConfigurationError(at: path + ".double_match", "range or exact is needed")
            }
        case .stringMatch(let matcher):
            self = .string(try TextMatcher(compiling: matcher, at: path + ".string_match"))
        case .boolMatch(let value): self = .bool(value)
        case .presentMatch(let value): self = .present(value)
        case .listMatch(let list):
            guard case .oneOf(let inner) = list.matchPattern else {
                throw ConfigurationError(at: path + ".list_match.one_of", "is missing")
            }
            self = .anyElement(try JSONCondition(compiling: inner, at: path + ".list_match.one_of", depth: depth + 1))
        case .orMatch(let list):
            var inner: [JSONCondition] = []
            for (index, matcher) in list.valueMatchers.enumerated() {
                inner.append(
                    try JSONCondition(
                        compiling: matcher, at: "\(path).or_match.value_matchers[\(index)]", depth: depth + 1))
            }
            self = .anyOf(inner)
        case nil: throw ConfigurationError(at: path, "a pattern is needed")
        }
    }

    func matches(_ value: JSON?) -> Bool {
        switch self {
        case .null: value == .null
        case .range(let start, let end): Self.number(value).map { $0 >= start && $0 < end } ?? false
        case .number(let wanted): Self.number(value) == wanted
        case .string(let matcher): value?.string.map { matcher.matches($0) } ?? false
        case .bool(let wanted): value?.bool == wanted
        case .present(let wanted): (value != nil && value != .null) == wanted
        case .anyElement(let inner):
            if case .array(let elements)? = value { elements.contains { inner.matches($0) } } else { false }
        case .anyOf(let conditions): conditions.contains { $0.matches(value) }
        }
    }

    private static func number(_ value: JSON?) -> Double? {
        switch value {
        case .integer(let number)?: Double(number)
        case .number(let number)?: number
        default: nil
        }
    }
}
