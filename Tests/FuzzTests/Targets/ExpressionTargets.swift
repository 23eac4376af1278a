import CEL
import EnvoyAPI
import HTTP
import IO
import Serialization

@testable import Proxy
@testable import Upstream

/// A request as a format sees it.
private struct Scene: FormatContext {
    var info: StreamInfo
    var connectionInfo: ConnectionInfo
    var request = RequestHead()
    var protocolVersion: HTTPVersion? { .http2 }
    var isGRPC: Bool { true }
    var grpcStatus: Int? { 99 }
    var traceContext: TraceContext? { nil }

    init() {
        info = StreamInfo(started: .now)
        info.metadata = ["n": ["k": ["deep": [1, "two\n", .null]]]]
        info.details = "a \"quoted\"\ntext"
        connectionInfo = ConnectionInfo(
            localAddress: .ip(.v4(0x7F00_0001), port: 80), remoteAddress: .unix("/x"),
            directRemoteAddress: .ip(.v4(0x0A00_0002), port: 999), id: 42)
        connectionInfo.requestedServerName = "\"},{\r\n"
        try? request.setPath(Array("/a%zz?x=%4&y".utf8).span.bytes)
        try? request.headers.append("x-a", "\"\\\u{7F}é")
    }

    func readRequestFields<Result>(_ body: (borrowing RequestHeadView) -> Result) -> Result { request.read(body) }
    func appendPath(isOriginal: Bool, to bytes: inout FormatLine) -> Bool {
        request.appendPath(to: &bytes)
        return true
    }
}

extension FuzzTarget {
    static let formats = FuzzTarget(
        "formats",
        words: [
            "%", "%%", "(", ")", ":", "?", "%REQ(", "%RESP(", "%START_TIME(%Y-%3f", "%DYNAMIC_METADATA(n:k:deep)%",
            "%f", "%9f",
            "%COMMON_DURATION(", "DS_RX_BEG", ":us)", "%REQUESTED_SERVER_NAME%", "%QUERY_PARAM(x)%", "\"", "{", "}",
            "%FILTER_STATE(",
        ], smoke: 4000
    ) { input in
        guard let text = String(validating: input, as: UTF8.self) else { return }
        let scene = Scene()
        let moment = FormatMoment(now: .now)
        if let format = try? SubstitutionFormat(text: text, path: "f") {
            var line: [UInt8] = []
            format.appendLine(scene, moment, to: &line)
            try holds(line.count <= (input.count + 1) * (Limits.formatValueBytes + 1), "a line of \(line.count) bytes")
        }
        if let format = try? SubstitutionFormat(json: ["a": .string(text), "b": [.string(text)]], path: "f") {
            var line: [UInt8] = []
            format.appendLine(scene, moment, to: &line)
            guard let value = try? JSON.parse(line) else {
                throw Violation("a line that is no JSON: \(String(decoding: line, as: UTF8.self))")
            }
            try holds(value.object?.count == 2, "another number of members")
            try holds(line.count { $0 == 10 } == 1, "more than one line")
        }
        _ = try? HeaderTemplate(parsing: text)
    }

    static let expressions = FuzzTarget(
        "expressions",
        words: [
            "(", ")", "[", "]", "*", "+", "?", "{1,1000}", "|", "\\", "^", "$", ".", "\\1", "\\9", "/", "{a}", "{a=**}",
            "**", "(?:", "[[:alpha:]]",
        ],
        smoke: 3000
    ) { input in
        guard let text = String(validating: input, as: UTF8.self) else { return }
        let lines = text.split(separator: "\n", maxSplits: 1).map(String.init)
        let subject = Array("/aaaaaaaaaaaaaaaaaaaaaaaa/b?c=d".utf8)
        if let pattern = lines.first, let expression = try? RegularExpression(pattern) {
            _ = expression.matches(subject.span)
            if let found = expression.find(in: subject, groups: 9) {
                try holds(found.match.upperBound <= subject.count, "a match behind the end")
                try holds(
                    found.groups.allSatisfy { $0.map { $0.upperBound <= subject.count } ?? true },
                    "a group behind the end")
            }
            let rewrite = Array((lines.count > 1 ? lines[1] : "\\0").utf8)
            if expression.refusal(ofRewrite: rewrite) == nil {
                let path = expression.replacingAll(inPath: subject, with: rewrite)
                // A path has 26 bytes, and a match may be empty: each place gets the rewrite at most once.
                try holds(path.count <= 27 * (1 + 9 * 26 * (rewrite.count + 1)), "a path of \(path.count) bytes")
            }
        }
        if let pattern = lines.first { _ = try? PathTemplate(pattern) }
    }

    /// The first byte chooses: 0 a parsed expression as bytes, 1 as JSON, anything else is a text.
    static let cel = FuzzTarget(
        "cel",
        words: [
            "&&", "||", "!", "==", "<=", "in ", "?", ":", "(", ")", "[", "]", "{", "}", ".", ",", "\"", "'", "'\''",
            "r'", "b\"", "\\u00e9",
            "\\x", "0x", "1u", "1e9", "9223372036854775807", "-9223372036854775808", "request.headers['x-a']",
            "metadata.filter_metadata",
            ".all(x, x", ".map(x, x + x)", ".exists(", "has(", "size(", ".matches('(a+)+$')", ".split('')",
            ".replace('', 'aaaa')",
            "timestamp('", "duration('1h", "int(", "string(", "@result", "_&&_", "@in", "__not_strictly_false__",
        ],
        smoke: 3000
    ) { input in
        let scene = Scene()
        let facts = RequestAttributes(context: scene, now: scene.info.started)
        func evaluate(_ condition: CELCondition) throws {
            if case .success(let value) = condition.evaluate(facts) {
                // What grows is paid for: a value is never larger than all the steps of an evaluation.
                try holds(
                    value.printed.utf8.count <= 4 * CELLimits.steps * 16, "a value of \(value.printed.utf8.count) bytes"
                )
                _ = value.json
            }
            _ = condition.explain(facts)
        }
        switch input.first {
        case 0:
            guard let message = try? CelParsedExpr(serialized: Array(input.dropFirst())) else { return }
            var expression = CelExpression()
            expression.celExprParsed = message
            if let condition = try? CELCondition(compiling: expression, at: "") { try evaluate(condition) }
        case 1:
            guard let json = try? JSON.parse(Array(input.dropFirst())), let message = try? CelCheckedExpr(json: json)
            else { return }
            if let condition = try? CELCondition(compiling: message, at: "") { try evaluate(condition) }
        default:
            guard let text = String(validating: input, as: UTF8.self) else { return }
            if let expression = try? CELExpression(parsing: text) {
                let written = expression.text
                do throws(CELSyntaxError) {
                    let again = try CELExpression(parsing: written)
                    if again.text != written, !written.contains("(loop over") {
                        throw CELSyntaxError("means something else")
                    }
                } catch {
                    // More parentheses are a deeper text; a loop is not written out.
                    let isKnown =
                        ["nested", "bytes long"].contains { error.description.contains($0) }
                        || written.contains("(loop over")
                    try holds(isKnown, "\(written) is read differently: \(error)")
                }
            }
            if let condition = try? CELCondition(text: text, at: "") { try evaluate(condition) }
        }
    }

    static let paths = FuzzTarget(
        "paths",
        words: [
            "/", "//", "/..", "/../", "/.", "%2e", "%2E%2e", "%2f", "%5c", "\\", "%00", "%", "#", "?", ";", "%25", "a",
        ],
        smoke: 6000
    ) { input in
        var random = FuzzRandom(of: input)
        let (normalizes, merges, choice) = (random.below(4) > 0, random.below(2) > 0, random.below(3))
        let rule = PathNormalization(
            normalizes: normalizes, mergesSlashes: merges,
            escapedSlashes: [.keepUnchanged, .rejectRequest, .unescapeAndForward][choice])
        var request = RequestHead()
        guard (try? request.setPath(input.span.bytes)) != nil, rule.apply(to: &request) == .forward else { return }
        let once = request.pathText
        try holds(
            rule.apply(to: &request) == .forward && request.pathText == once,
            "not settled: \(once) becomes \(request.pathText)")
        let path = once.prefix { $0 != "?" }
        try holds(!path.contains("#"), "a fragment is left in \(once)")
        guard normalizes else { return }
        for part in path.split(separator: "/", omittingEmptySubsequences: false) {
            try holds(part != ".." && part != ".", "a dot segment is left in \(once)")
        }
        try holds(!path.contains("\\"), "a backslash is left in \(once)")
        try holds(!merges || !path.contains("//"), "two slashes are left in \(once)")
    }
}
