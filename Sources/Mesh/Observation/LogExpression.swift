import EnvoyAPI
import KubernetesAPI

/// The filter expression of an access log (Telemetry `accessLogging.filter`): the part of CEL that is used in practice.
///
/// Comparisons of `response.code`, `response.grpc_status`, `response.flags`, `request.duration`, of request headers and of
/// `request.method`, `.host`, `.scheme`, `.path`, `.url_path`; `startsWith`, `endsWith`, `contains` and `matches` of these;
/// `"name" in request.headers`, `has(…)`, `true`, `false`; joined by `&&`, `||`, `!` and parentheses. Everything else is refused with
/// the reason.
struct LogExpression {
    /// Why an expression cannot be used.
    struct Refusal: Error, CustomStringConvertible {
        var description: String
    }

    private enum Token: Equatable {
        case name(String)
        case text(String)
        case number(Int64)
        case sign(String)
    }

    /// How deep parentheses may be nested.
    static let depthMax = 32
    /// The longest expression, in bytes.
    static let bytesMax = 4096

    private var tokens: [Token]
    private var position = 0
    private var depth = 0

    /// The filter that an expression means.
    static func filter(_ text: String) throws(Refusal) -> AccessLogFilter {
        guard text.utf8.count <= bytesMax else { throw Refusal(description: "is longer than \(bytesMax) bytes") }
        var parser = LogExpression(tokens: try scan(text))
        let filter = try parser.alternatives(isNegated: false)
        guard parser.position == parser.tokens.count else {
            throw Refusal(description: "\(parser.shown) was not expected here")
        }
        return filter
    }

    private init(tokens: [Token]) { self.tokens = tokens }

    // MARK: Words

    private static func scan(_ text: String) throws(Refusal) -> [Token] {
        var tokens: [Token] = []
        var rest = Substring(text)
        while let first = rest.first {
            if first.isWhitespace {
                rest = rest.dropFirst()
            } else if first == "\"" || first == "'" {
                let body = rest.dropFirst().prefix { $0 != first }
                guard body.endIndex < rest.endIndex else { throw Refusal(description: "a text has no end") }
                guard !body.contains("\\") else { throw Refusal(description: "\\ in texts is not supported") }
                tokens.append(.text(String(body)))
                rest = rest[rest.index(after: body.endIndex)...]
            } else if first.isASCII && first.isNumber {
                let digits = rest.prefix { $0.isASCII && $0.isNumber }
                guard let number = Int64(digits) else { throw Refusal(description: "\(digits) is too large") }
                tokens.append(.number(number))
                rest = rest.dropFirst(digits.count)
            } else if first.isASCII && first.isLetter || first == "_" {
                let word = rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber) || "._".contains($0) }
                tokens.append(.name(String(word)))
                rest = rest.dropFirst(word.count)
            } else if let sign = ["&&", "||", "==", "!=", ">=", "<="].first(where: { rest.hasPrefix($0) }) {
                tokens.append(.sign(sign))
                rest = rest.dropFirst(2)
            } else if "!<>()[].".contains(first) {
                tokens.append(.sign(String(first)))
                rest = rest.dropFirst()
            } else {
                throw Refusal(description: "\"\(first)\" is not supported")
            }
        }
        return tokens
    }

    private var next: Token? { tokens.indices.contains(position) ? tokens[position] : nil }

    private var shown: String {
        switch next {
        case .name(let name): "\"\(name)\""
        case .text(let text): "'\(text)'"
        case .number(let number): "\(number)"
        case .sign(let sign): "\"\(sign)\""
        case nil: "the end"
        }
    }

    private mutating func take(_ sign: String) -> Bool {
        guard next == .sign(sign) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ sign: String) throws(Refusal) {
        guard take(sign) else { throw Refusal(description: "\"\(sign)\" was expected instead of \(shown)") }
    }

    // MARK: Structure

    private mutating func alternatives(isNegated: Bool) throws(Refusal) -> AccessLogFilter {
        var parts = [try sequence(isNegated: isNegated)]
        while take("||") { parts.append(try sequence(isNegated: isNegated)) }
        return isNegated ? Self.all(parts) : Self.any(parts)
    }

    private mutating func sequence(isNegated: Bool) throws(Refusal) -> AccessLogFilter {
        var parts = [try part(isNegated: isNegated)]
        while take("&&") { parts.append(try part(isNegated: isNegated)) }
        return isNegated ? Self.any(parts) : Self.all(parts)
    }

    private mutating func part(isNegated: Bool) throws(Refusal) -> AccessLogFilter {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.depthMax else { throw Refusal(description: "is nested more than \(Self.depthMax) deep") }
        if take("!") { return try part(isNegated: !isNegated) }
        if take("(") {
            let inner = try alternatives(isNegated: isNegated)
            try expect(")")
            return inner
        }
        return try comparison(isNegated: isNegated)
    }

    private static func all(_ parts: [AccessLogFilter]) -> AccessLogFilter {
        if let only = parts.first, parts.count == 1 { return only }
        var both = AndFilter()
        both.filters = parts
        var filter = AccessLogFilter()
        filter.filterSpecifier = .andFilter(both)
        return filter
    }

    private static func any(_ parts: [AccessLogFilter]) -> AccessLogFilter {
        if let only = parts.first, parts.count == 1 { return only }
        var either = OrFilter()
        either.filters = parts
        var filter = AccessLogFilter()
        filter.filterSpecifier = .orFilter(either)
        return filter
    }

    // MARK: Comparisons

    private mutating func comparison(isNegated: Bool) throws(Refusal) -> AccessLogFilter {
        let token = next
        position += 1
        switch token {
        case .text(let header):
            guard next == .name("in") else { throw Refusal(description: "\"in\" was expected instead of \(shown)") }
            position += 1
            guard next == .name("request.headers") else {
                throw Refusal(description: "only request.headers can be looked into")
            }
            position += 1
            return Self.header(header, nil, isNegated)
        case .name("has"):
            try expect("(")
            guard case .name(let name) = next else { throw Refusal(description: "a name was expected in has()") }
            position += 1
            guard let header = try requestField(name) else { throw Self.unsupported(name) }
            try expect(")")
            return Self.header(header, nil, isNegated)
        case .name("true"), .name("false"): return Self.constant((token == .name("true")) != isNegated)
        case .name("response.code"): return try status(isNegated)
        case .name("response.grpc_status"): return try grpcStatus(isNegated)
        case .name("response.flags"): return try flags(isNegated)
        case .name("request.duration"), .name("response.total_duration"): return try duration(isNegated)
        case .name(let name):
            let parts = name.split(separator: ".").map(String.init)
            // `request.method.startsWith` is one word for the scanner.
            if let call = parts.last, Self.calls.contains(call), parts.count > 1,
                let header = try requestField(parts.dropLast().joined(separator: "."))
            {
                return try self.call(call, header, isNegated)
            }
            guard let header = try requestField(name) else { throw Self.unsupported(name) }
            if take(".") {
                guard case .name(let call) = next, Self.calls.contains(call) else {
                    throw Refusal(description: "\(shown) is not supported here")
                }
                position += 1
                return try self.call(call, header, isNegated)
            }
            let sign = try sign(["==", "!="])
            var matcher = StringMatcher()
            matcher.matchPattern = .exact(try text())
            return Self.header(header, matcher, isNegated != (sign == "!="), isURLPath: name == "request.url_path")
        default:
            position -= 1
            throw Refusal(description: "a comparison was expected instead of \(shown)")
        }
    }

    private static func unsupported(_ name: String) -> Refusal {
        let reasons = [
            "connection.mtls":
                "proxies cannot filter logs by it; %DOWNSTREAM_PEER_URI_SAN% in the format tells the peer"
        ]
        return Refusal(description: "\(name) is not supported" + (reasons[name].map { ": \($0)" } ?? ""))
    }

    /// The header behind an attribute of the request; `nil` when there is none.
    private mutating func requestField(_ name: String) throws(Refusal) -> String? {
        switch name {
        case "request.method": return ":method"
        case "request.host": return ":authority"
        case "request.path", "request.url_path": return ":path"
        case "request.scheme": return ":scheme"
        case "request.useragent": return "user-agent"
        case "request.referer": return "referer"
        case "request.id": return "x-request-id"
        case "request.headers":
            try expect("[")
            let header = try text()
            try expect("]")
            return header
        default:
            return name.hasPrefix("request.headers.") ? String(name.dropFirst("request.headers.".count)) : nil
        }
    }

    private static let calls: Set<String> = ["startsWith", "endsWith", "contains", "matches"]

    private mutating func call(_ name: String, _ header: String, _ isNegated: Bool) throws(Refusal) -> AccessLogFilter {
        try expect("(")
        let argument = try text()
        try expect(")")
        var matcher = StringMatcher()
        switch name {
        case "startsWith": matcher.matchPattern = .prefix(argument)
        case "endsWith": matcher.matchPattern = .suffix(argument)
        case "contains": matcher.matchPattern = .contains(argument)
        // `matches` looks for a part of the value; proxies match the whole.
        default: matcher.matchPattern = .safeRegex(Matches.regex(".*(?:\(argument)).*"))
        }
        return Self.header(header, matcher, isNegated)
    }

    private static func header(
        _ name: String, _ matcher: StringMatcher?, _ isNegated: Bool, isURLPath: Bool = false
    ) -> AccessLogFilter {
        var header = HeaderMatcher()
        header.name = name.lowercased()
        if let matcher {
            var matcher = matcher
            if isURLPath, case .exact(let path) = matcher.matchPattern {
                // The attribute has no query, the header has.
                matcher.matchPattern = .safeRegex(Matches.regex(RegexText.quoted(path) + "(\\?.*)?"))
            }
            header.headerMatchSpecifier = .stringMatch(matcher)
            header.treatMissingHeaderAsEmpty = isNegated
        } else {
            header.headerMatchSpecifier = .presentMatch(true)
        }
        header.invertMatch = isNegated
        var message = HeaderFilter()
        message.header = header
        var filter = AccessLogFilter()
        filter.filterSpecifier = .headerFilter(message)
        return filter
    }

    private mutating func sign(_ allowed: [String]) throws(Refusal) -> String {
        guard case .sign(let sign) = next, allowed.contains(sign) else {
            throw Refusal(description: "\(allowed.joined(separator: " or ")) was expected instead of \(shown)")
        }
        position += 1
        return sign
    }

    private mutating func text() throws(Refusal) -> String {
        guard case .text(let text) = next else { throw Refusal(description: "a text was expected instead of \(shown)") }
        position += 1
        return text
    }

    private mutating func number() throws(Refusal) -> Int64 {
        guard case .number(let number) = next, number < Int64(UInt32.max) else {
            throw Refusal(description: "a number was expected instead of \(shown)")
        }
        position += 1
        return number
    }

    /// A comparison with a number, in the four forms that filters have.
    private mutating func bound(_ isNegated: Bool) throws(Refusal) -> (op: ComparisonFilter.Op, value: Int64) {
        let sign = try sign(["==", "!=", ">=", "<=", ">", "<"])
        return Self.bound(sign, try number(), isNegated)
    }

    private static func bound(_ sign: String, _ value: Int64, _ isNegated: Bool) -> (ComparisonFilter.Op, Int64) {
        let opposite = ["==": "!=", "!=": "==", ">=": "<", "<=": ">", ">": "<=", "<": ">="]
        switch isNegated ? opposite[sign] ?? sign : sign {
        case "==": return (.eq, value)
        case "!=": return (.ne, value)
        case ">=": return (.ge, value)
        case "<=": return (.le, value)
        case ">": return (.ge, value + 1)
        // Less than zero is nothing; numbers of filters have no sign.
        default: return value > 0 ? (.le, value - 1) : (.ge, Int64(UInt32.max))
        }
    }

    private static func comparison(_ bound: (op: ComparisonFilter.Op, value: Int64)) -> ComparisonFilter {
        var comparison = ComparisonFilter()
        comparison.op = bound.op
        var value = RuntimeUInt32()
        value.defaultValue = UInt32(clamping: bound.value)
        value.runtimeKey = "skein.access_log"
        comparison.value = value
        return comparison
    }

    /// Every number is at least zero.
    private static func constant(_ value: Bool) -> AccessLogFilter {
        var message = StatusCodeFilter()
        message.comparison = comparison(bound(value ? ">=" : "<", 0, false))
        var filter = AccessLogFilter()
        filter.filterSpecifier = .statusCodeFilter(message)
        return filter
    }

    private mutating func status(_ isNegated: Bool) throws(Refusal) -> AccessLogFilter {
        var message = StatusCodeFilter()
        message.comparison = Self.comparison(try bound(isNegated))
        var filter = AccessLogFilter()
        filter.filterSpecifier = .statusCodeFilter(message)
        return filter
    }

    private mutating func duration(_ isNegated: Bool) throws(Refusal) -> AccessLogFilter {
        let sign = try sign(["==", "!=", ">=", "<=", ">", "<"])
        guard next == .name("duration") else {
            throw Refusal(description: "duration('…') was expected instead of \(shown)")
        }
        position += 1
        try expect("(")
        let written = try text()
        try expect(")")
        guard let time = Duration(istio: written) else { throw Refusal(description: "'\(written)' is no duration") }
        let (seconds, attoseconds) = time.components
        let milliseconds = min(seconds, 4_000_000) * 1000 + attoseconds / 1_000_000_000_000_000
        var message = DurationFilter()
        message.comparison = Self.comparison(Self.bound(sign, milliseconds, isNegated))
        var filter = AccessLogFilter()
        filter.filterSpecifier = .durationFilter(message)
        return filter
    }

    private mutating func grpcStatus(_ isNegated: Bool) throws(Refusal) -> AccessLogFilter {
        let (op, value) = try bound(isNegated)
        let all = Array(Int64(0)...16)
        let statuses: [Int64] =
            switch op {
            case .eq: [value]
            case .ne: all.filter { $0 != value }
            case .ge: all.filter { $0 >= value }
            default: all.filter { $0 <= value }
            }
        var message = GrpcStatusFilter()
        message.statuses = statuses.map { GrpcStatusFilter.Status(rawValue: Int32(clamping: $0)) }
        var filter = AccessLogFilter()
        filter.filterSpecifier = .grpcStatusFilter(message)
        return filter
    }

    private mutating func flags(_ isNegated: Bool) throws(Refusal) -> AccessLogFilter {
        let (op, value) = try bound(isNegated)
        guard value == 0, op == .ne else { throw Refusal(description: "only response.flags != 0 is supported") }
        var filter = AccessLogFilter()
        filter.filterSpecifier = .responseFlagFilter(ResponseFlagFilter())
        return filter
    }
}
