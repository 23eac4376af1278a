internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A test on text: a string matcher of the proxy's own policies, compiled.
struct TextMatcher: Sendable {
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
        // One field of text; an empty message is the empty text.
        var reader = BytesReader(any.value[...])
        guard !reader.isAtEnd else { return "" }
        guard reader.uint8() == 0x0A, let low = reader.uint8() else { return nil }
        var count = low & 0x7F
        if low >= 0x80 {
            guard let high = reader.uint8(), high < 0x80 else { return nil }
            count |= high << 7
        }
        guard let text = reader.take(count), reader.isAtEnd else { return nil }
        return String(decoding: text, as: UTF8.self)
    }

    /// The ranges of an `xds.type.matcher.v3.IPMatcher`; nil for anything else.
    static func addressRanges(
        _ any: AnyMessage, _ path: String
    ) throws(ConfigurationError) -> [(prefixes: [Prefix], onMatch: Matcher.OnMatch?, isExclusive: Bool)]? {
        guard any.name == IPMatcher.schema.name else { return nil }
        let message: IPMatcher
        do throws(MessageError) {
            message = try any.unpack(as: IPMatcher.self)
        } catch {
            throw ConfigurationError(at: FieldCheck.join(path, error.path), error.problem)
        }
        var result: [(prefixes: [Prefix], onMatch: Matcher.OnMatch?, isExclusive: Bool)] = []
        for (index, matcher) in message.rangeMatchers.enumerated() {
            var prefixes: [Prefix] = []
            for (number, range) in matcher.ranges.enumerated() {
                guard let address = IPAddress(range.addressPrefix),
                    let prefix = Prefix(address, length: Int(range.prefixLen ?? 0))
                else {
                    throw ConfigurationError(
                        at: "\(path).range_matchers[\(index)].ranges[\(number)]",
                        "\(range.addressPrefix)/\(range.prefixLen ?? 0) is no address range such as 10.0.0.0/8")
                }
                prefixes.append(prefix)
            }
            result.append((prefixes, matcher.onMatch, matcher.exclusive))
        }
        return result
    }
}
