internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A test on text: a string matcher of the proxy's own policies, compiled.
struct ValueMatcher: Sendable {
    let matcher: Upstream.StringMatcher

    func matches(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return matcher.matches(bytes.span)
    }

    func matches(_ bytes: [UInt8]) -> Bool { matcher.matches(bytes.span) }

    init(_ matcher: Upstream.StringMatcher) { self.matcher = matcher }

    init(compiling message: EnvoyAPI.StringMatcher, at path: String) throws(ConfigurationError) {
        let ignoringCase = message.ignoreCase
        switch message.matchPattern {
        case .exact(let text): matcher = .exact(Array(text.utf8), ignoringCase: ignoringCase)
        case .prefix(let text): matcher = .prefix(try Self.bytes(text, path + ".prefix"), ignoringCase: ignoringCase)
        case .suffix(let text): matcher = .suffix(try Self.bytes(text, path + ".suffix"), ignoringCase: ignoringCase)
        case .contains(let text):
            matcher = .contains(try Self.bytes(text, path + ".contains"), ignoringCase: ignoringCase)
        case .safeRegex(let regex): matcher = .regex(try Self.expression(regex.regex, path + ".safe_regex.regex"))
        case .custom: throw ConfigurationError(at: path + ".custom", "not supported")
        case nil:
            throw ConfigurationError(at: path, "a pattern is needed: exact, prefix, suffix, contains or safe_regex")
        }
    }

    init(compiling message: XdsStringMatcher, at path: String) throws(ConfigurationError) {
        let ignoringCase = message.ignoreCase
        switch message.matchPattern {
        case .exact(let text): matcher = .exact(Array(text.utf8), ignoringCase: ignoringCase)
        case .prefix(let text): matcher = .prefix(try Self.bytes(text, path + ".prefix"), ignoringCase: ignoringCase)
        case .suffix(let text): matcher = .suffix(try Self.bytes(text, path + ".suffix"), ignoringCase: ignoringCase)
        case .contains(let text):
            matcher = .contains(try Self.bytes(text, path + ".contains"), ignoringCase: ignoringCase)
        case .safeRegex(let regex): matcher = .regex(try Self.expression(regex.regex, path + ".safe_regex.regex"))
        case .custom: throw ConfigurationError(at: path + ".custom", "not supported")
        case nil:
            throw ConfigurationError(at: path, "a pattern is needed: exact, prefix, suffix, contains or safe_regex")
        }
    }

    private static func bytes(_ text: String, _ path: String) throws(ConfigurationError) -> [UInt8] {
        guard !text.isEmpty else { throw ConfigurationError(at: path, "is empty: it would match everything") }
        return Array(text.utf8)
    }

    private static func expression(_ text: String, _ path: String) throws(ConfigurationError) -> RegularExpression {
        guard !text.isEmpty else { throw ConfigurationError(at: path, "is empty") }
        do throws(RegularExpressionError) {
            return try RegularExpression(text)
        } catch {
            throw ConfigurationError(at: path, error.description)
        }
    }
}

/// What actions and custom matchers of matcher trees are made of.
enum MatchActions {
    /// The text of a `google.protobuf.StringValue`.
    static func stringValue(_ any: AnyMessage) -> String? {
        guard any.name == "google.protobuf.StringValue" else { return nil }
        return any.json(names: .proto)["value"]?.string
    }

    /// The ranges of an `xds.type.matcher.v3.IPMatcher`; nil for anything else.
    static func addressRanges(
        _ any: AnyMessage, _ path: String
    ) throws(ConfigurationError) -> [(prefixes: [Prefix], onMatch: Matcher.OnMatch?)]? { nil }
}
