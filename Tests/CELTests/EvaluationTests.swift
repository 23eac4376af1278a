import Serialization
import Testing

@testable import CEL

/// Patterns that are looked for as they are: the engine is somebody else's.
private struct Plain: CELPattern {
    let text: String
    func isFound(in text: String) -> Bool { text.contains(self.text) }
}

private let plain: CELPatternCompiler = { (pattern: String) throws(CELError) -> any CELPattern in
    if pattern == "(" { throw .badText("missing )") }
    return Plain(text: pattern)
}

/// A request that a test makes up.
private struct Facts: CELActivation {
    var attributes: [CELAttribute: CELValue] = [
        .requestPath: .string("/a/b?x=1"), .requestMethod: .string("GET"), .responseCode: .int(503),
        .sourcePort: .int(1234), .connectionMTLS: .bool(false), .connectionID: .uint(7),
    ]
    var headers = ["x-team": "blue", ":path": "/a/b?x=1"]

    func value(_ attribute: CELAttribute) -> CELValue? { attributes[attribute] }
    func header(_ name: String, _ part: CELHeaders) -> String? { part == .request ? headers[name] : nil }
    func headerCount(_ part: CELHeaders) -> Int { part == .request ? headers.count : 0 }
    func metadata(_ source: CELMetadata, _ namespace: String) -> CELValue? {
        source == .dynamic && namespace == "com.example"
            ? .map(CELMap(["tier": .string("gold"), "n": .double(3)])) : nil
    }
    func hasMetadata(_ source: CELMetadata) -> Bool { source == .dynamic }
    func filterState(_ key: String, isUpstream: Bool) -> [UInt8]? { key == "k" && !isUpstream ? [0x76] : nil }
    func gaveUp() {}
}

private func evaluate(_ text: String, steps: Int = CELLimits.steps) throws -> Result<CELValue, CELError> {
    try CELProgram(CELExpression(parsing: text), patterns: plain).evaluate(Facts(), steps: steps)
}

/// Whether an expression is true, false, or has no value.
private func truth(_ text: String) throws -> Bool? {
    if case .success(.bool(let value)) = try evaluate(text) { value } else { nil }
}

private func shown(_ text: String) throws -> String {
    switch try evaluate(text) {
    case .success(let value): value.shown
    case .failure(let error): "error: \(error)"
    }
}

@Suite("CEL: evaluation")
struct EvaluationTests {
    @Test(
        "literals, operators and functions mean what CEL's specification says",
        arguments: [
            "1 + 2 * 3 == 7", "(1 + 2) * 3 == 9", "7 / 2 == 3", "-7 / 2 == -3", "-7 % 3 == -1", "7u % 4u == 3u",
            "1.5 + 1.5 == 3.0", "1 == 1u", "1 == 1.0", "1u < 1.5", "-1 < 0u",
            "9223372036854775807 < 9223372036854775808u",
            "0x10 == 16", "0xFFu == 255u", "-9223372036854775808 < 0", "1e3 == 1000.0", ".5 == 0.5",
            "'a' + 'b' == 'ab'", "b'a' + b'b' == b'ab'", "[1] + [2] == [1, 2]", "'a' < 'b'", "b'a' < b'b'",
            "false < true",
            "'\\u00e9' == 'é'", "'\\x41\\101\\n' == 'AA\\n'", "r'\\n' == '\\\\n'", "b'\\xff' != b'\\xfe'",
            "'''a'b''' == \"a'b\"",
            "size('é') == 1", "size(b'\\xc3\\xa9') == 2", "[1, 2].size() == 2", "size({'a': 1}) == 1",
            "1 in [1, 2]", "!(3 in [1, 2])", "'a' in {'a': 1}", "1 in {1u: 2}", "1.0 in [1]",
            "{'a': 1}.a == 1", "{'a': 1}['a'] == 1", "[1, 2][1] == 2", "{1: 'x'}[1u] == 'x'", "has({'a': 1}.a)",
            "!has({'a': 1}.b)", "true ? true : 1/0 > 0", "type(1) == int", "type('a') == string",
            "type(type(1)) == type",
            "type(timestamp(0)) == google.protobuf.Timestamp", "dyn(1) == 1", "null == null", "1 != 'a'",
            "[1, 'a'] == [1.0, 'a']",
            "{'a': [1]} == {'a': [1u]}", "'abc'.contains('b')", "'abc'.startsWith('ab')", "'abc'.endsWith('bc')",
            "''.endsWith('')",
            "'abc'.matches('b')", "matches('abc', 'b')", "!'abc'.matches('x')",
            "int('12') == 12", "int(1.9) == 1", "int(5u) == 5", "uint(3) == 3u", "double('1.5') == 1.5",
            "string(1) == '1'",
            "string(true) == 'true'", "string(b'ab') == 'ab'", "bytes('é') == b'\\xc3\\xa9'", "bool('true')",
            "string(1.5) == '1.5'",
            "int(timestamp('1970-01-01T00:00:05Z')) == 5", "string(duration('90s')) == '90s'",
            "duration('1h30m') == duration('90m')",
            "duration('-1.5s') < duration('0')", "timestamp('2026-01-02T03:04:05.678Z').getFullYear() == 2026",
            "timestamp('2026-03-01T00:00:00Z').getMonth() == 2",
            "timestamp('2026-03-01T00:00:00Z').getDayOfYear() == 59",
            "timestamp('2026-11-22T00:00:00Z').getDayOfWeek() == 0",
            "timestamp('2026-11-22T00:00:00Z').getDate() == 22",
            "timestamp('2026-11-22T00:00:00Z').getDayOfMonth() == 21",
            "timestamp('2026-11-22T23:30:00Z').getHours('+01:00') == 0",
            "timestamp('2026-11-22T23:30:00Z').getMinutes('-00:15') == 15",
            "timestamp('2026-01-02T03:04:05.678Z').getMilliseconds() == 678",
            "duration('3661s').getHours() == 1", "duration('3661s').getMinutes() == 61",
            "duration('3661s').getSeconds() == 3661",
            "timestamp('2026-01-01T00:00:00Z') + duration('24h') == timestamp('2026-01-02T00:00:00Z')",
            "timestamp('2026-01-02T00:00:00Z') - timestamp('2026-01-01T00:00:00Z') == duration('86400s')",
            "'AbC'.lowerAscii() == 'abc'", "'aé'.upperAscii() == 'Aé'", "' a '.trim() == 'a'",
            "'a,b,c'.split(',') == ['a', 'b', 'c']",
            "'a,b,c'.split(',', 2) == ['a', 'b,c']", "'abc'.split('') == ['a', 'b', 'c']",
            "'hello'.substring(1, 3) == 'el'",
            "'hello'.substring(2) == 'llo'", "'hello'.indexOf('l') == 2", "'hello'.indexOf('l', 3) == 3",
            "'hello'.lastIndexOf('l') == 3",
            "'hello'.indexOf('x') == -1", "'aaa'.replace('a', 'b') == 'bbb'", "'aaa'.replace('a', 'b', 2) == 'bba'",
            "'ab'.replace('', '-') == '-a-b-'", "['a', 'b'].join('-') == 'a-b'", "'abc'.charAt(1) == 'b'",
            "'abc'.reverse() == 'cba'",
        ])
    func truths(_ text: String) throws {
        let outcome = try shown(text)
        #expect(outcome == "true", "\(text)")
    }

    @Test("the macros walk lists and the keys of maps, one inside another too")
    func macros() throws {
        for text in [
            "[1, 2, 3].all(x, x > 0)", "[1, 2, 3].exists(x, x == 2)", "[1, 2, 2].exists_one(x, x == 1)",
            "{'a': 1}.all(k, k == 'a')",
            "[1, 2, 3].filter(x, x > 1) == [2, 3]", "[1, 2].map(x, x * 2) == [2, 4]",
            "[1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
            "[[1], [2, 3]].exists(x, x.exists(y, y == 3))", "[1, 2].all(x, [3, 4].all(y, y > x))", "[].all(x, false)",
            "![].exists(x, true)",
            "[1, 2].map(x, [x]).map(x, x[0]) == [1, 2]", "[1, 2].exists(request, request == 2)",
        ] {
            let outcome = try shown(text)
            #expect(outcome == "true", "\(text)")
        }
        // An element that decides counts whatever the others are.
        #expect(try truth("[0, 2].exists(x, 4 / x == 2)") == true)
        #expect(try truth("[0, 2].all(x, 4 / x == 3)") == false)
        #expect(try truth("[0, 2].all(x, 4 / x == 2)") == nil)
    }

    @Test("&& and || absorb errors when the other side decides, and nothing else does")
    func absorption() throws {
        #expect(try truth("1/0 == 1 || true") == true)
        #expect(try truth("false && 1/0 == 1") == false)
        #expect(try truth("1/0 == 1 && false") == false)
        #expect(try truth("1/0 == 1 && true") == nil)
        #expect(try truth("1/0 == 1 || false") == nil)
        #expect(try truth("'a' || true") == true)
        #expect(try truth("'a' && true") == nil)
        #expect(try truth("1/0 == 1 ? true : true") == nil)
        #expect(try truth("!(1/0 == 1)") == nil)
    }

    @Test(
        "what does not fit is an error and never a trap",
        arguments: [
            "9223372036854775807 + 1", "-9223372036854775808 - 1", "9223372036854775807 * 2",
            "-9223372036854775808 / -1",
            "-9223372036854775808 % -1", "-(-9223372036854775808)", "0u - 1u", "18446744073709551615u + 1u", "1 / 0",
            "1u % 0u",
            "int(1e300)", "int(0.0/0.0)", "uint(-1)", "uint(-0.9e1)", "int(18446744073709551615u)", "int('x')",
            "int('9223372036854775808')",
            "timestamp(99999999999999)", "timestamp('9999-12-31T23:59:59Z') + duration('1s')",
            "timestamp('0001-01-01T00:00:00Z') - duration('1ns')", "duration('99999999999h')", "duration('1x')",
            "duration('')",
            "duration('1.')", "timestamp('yesterday')", "timestamp('2026-01-01T00:00:00Z').getHours('Europe/Berlin')",
            "timestamp('9999-12-31T23:59:59Z').getHours('+23:00')", "[1][1]", "[1][-1]", "[1][1.5]", "{'a': 1}['b']",
            "{'a': 1}.b",
            "{1: 1, 1u: 2}", "{1.5: 1}", "{[]: 1}", "1 + 1u", "1 + 1.0", "'a' + 1", "1 < 'a'", "!1", "-'a'", "[1] in 1",
            "'a'.b", "1[0]",
            "string(b'\\xff')", "bool('yes')", "'abc'.substring(2, 1)", "'abc'.substring(9)", "'abc'.charAt(9)",
            "'abc'.indexOf('a', -1)",
            "[1].join()", "nobody == 1", "request.nothing", "response.grpc_status == 0", "'a'.matches(1)",
        ])
    func errors(_ text: String) throws {
        if case .success(let value) = try evaluate(text) { Issue.record("\(text) is \(value.shown)") }
    }

    @Test("attributes are found by name, by index and through their roots, and absent ones are errors")
    func attributes() throws {
        for text in [
            "request.path == '/a/b?x=1'", "request['path'].startsWith('/a')", "request.headers['X-Team'] == 'blue'",
            "request.headers.`x-team` == 'blue'", "'x-team' in request.headers", "!('x-none' in request.headers)",
            "has(request.headers.foo) == false", "has(request.path)", "!has(request.referer)",
            "has(request.method) && request.method == 'GET'",
            "size(request.headers) == 2", "response.code >= 500 && response.code < 600", "connection.id == 7",
            "metadata.filter_metadata['com.example'].tier == 'gold'",
            "metadata.filter_metadata['com.example']['n'] == 3",
            "'com.example' in metadata.filter_metadata", "filter_state['k'] == b'v'", "has(metadata.filter_metadata)",
            "!has(xds.route_metadata.filter_metadata)", "filter_state.k == b'v'",
            "'path' in request", "request['pa' + 'th'] == request.path", "request.headers[':path'] == request.path",
        ] {
            let outcome = try shown(text)
            #expect(outcome == "true", "\(text)")
        }
        #expect(try shown("request.referer") == "error: there is no request.referer")
        #expect(try shown("request.headers['a']") == "error: there is no request.headers['a']")
        #expect(try shown("upstream_filter_state['k']") == "error: there is no upstream_filter_state['k']")
        #expect(try shown("metadata.typed") == "error: there is no metadata.typed")
        for attribute in CELAttribute.allCases {
            #expect(try shown(attribute.rawValue) != "error: \(attribute.rawValue) is unknown")
        }
        #expect(
            try CELProgram(CELExpression(parsing: "request.headers['X-A'] == request.useragent"), patterns: plain)
                .headerNames == ["x-a", "user-agent"])
    }

    @Test("no expression runs longer than its steps: what grows is paid for before it is made")
    func budget() throws {
        let ten = "[0,1,2,3,4,5,6,7,8,9]"
        let loops = "\(ten).all(a, \(ten).all(b, \(ten).all(c, \(ten).all(d, \(ten).all(e, \(ten).all(f, true))))))"
        #expect(throws: CELError.tooExpensive) { try evaluate(loops).get() }
        // Not absorbed: what costs too much is over.
        #expect(throws: CELError.tooExpensive) { try evaluate("\(loops) || true").get() }
        // Each level makes twice as much of the one inside it.
        func doubling(_ first: String) -> String { (0..<14).reduce(first) { text, _ in "[\(text)].map(x, x + x)[0]" } }
        let text = doubling("'" + String(repeating: "x", count: 128) + "'")
        #expect(throws: CELError.tooExpensive) { try evaluate(text).get() }
        let list = doubling("[" + Array(repeating: "1", count: 16).joined(separator: ",") + "]")
        #expect(throws: CELError.tooExpensive) { try evaluate(list).get() }
        #expect(throws: CELError.tooExpensive) { try evaluate("'abc'.matches(request.path)", steps: 100).get() }
        #expect(try evaluate("request.method == 'GET'", steps: 3).get().shown == "true")
    }

    @Test("values are printed as Envoy prints them")
    func printing() throws {
        for (text, printed) in [
            ("1", "1"), ("1u", "1"), ("1.0", "1"), ("1.5", "1.5"), ("true", "true"), ("'a'", "a"), ("b'a'", "a"),
            ("null", "NULL"),
            ("duration('1.5s')", "1.5s"), ("duration('3723s')", "1h2m3s"), ("duration('1500us')", "1.5ms"),
            ("duration('0')", "0"),
            ("duration('15us')", "15us"), ("duration('-90s')", "-1m30s"),
            ("timestamp('2026-01-02T03:04:05.5Z')", "2026-01-02T03:04:05.5+00:00"), ("[1]", "CelList value"),
            ("{1: 1}", "CelMap value"),
        ] { #expect(try evaluate(text).get().printed == printed, "\(text)") }
    }
}
