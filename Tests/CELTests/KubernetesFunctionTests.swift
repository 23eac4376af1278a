import Testing

@testable import CEL

/// Patterns that are looked for as they are, `^` at the beginning; an empty one is everywhere.
private struct Literal: CELPattern {
    let text: String
    func isFound(in text: String) -> Bool { range(in: Array(text.utf8), from: 0) != nil }
    func range(in bytes: [UInt8], from start: Int) -> Range<Int>? {
        let wanted = Array(text.utf8)
        if wanted.first == 0x5e {
            return start == 0 && bytes.starts(with: wanted.dropFirst()) ? 0..<(wanted.count - 1) : nil
        }
        guard start + wanted.count <= bytes.count else { return nil }
        for place in start...(bytes.count - wanted.count)
        where bytes[place..<(place + wanted.count)].elementsEqual(wanted) { return place..<(place + wanted.count) }
        return nil
    }
}

@Suite("CEL: functions of Kubernetes")
struct KubernetesFunctionTests {
    private func value(_ text: String, steps: Int = 100_000) throws -> Result<CELValue, CELError> {
        var steps = steps
        return try CELProgram(CELExpression(parsing: text), variables: ["self"]).evaluate(
            [.string("self")], patterns: { Literal(text: $0) }, steps: &steps)
    }

    @Test(
        "find, versions, quotes and loops with two variables mean what Kubernetes' libraries say",
        arguments: [
            "'abc 123 abc'.find('123') == '123'", "'abc'.find('x') == ''",
            "'a1a2a'.findAll('a') == ['a', 'a', 'a']", "'a1a2a'.findAll('a', 2).size() == 2",
            "'a1a2a'.findAll('a', -1).size() == 3", "'a1a2a'.findAll('a', 0) == []", "'aXa'.findAll('^a') == ['a']",
            "'abc'.findAll('x') == []", "'äb'.findAll('') == ['', '', '']",
            "semver('1.2.3').major() == 1 && semver('1.2.3').minor() == 2 && semver('1.2.3').patch() == 3",
            "semver('1.2.3').compareTo(semver('1.2.3')) == 0", "semver('1.2.3').compareTo(semver('2.0.0')) == -1",
            "semver('1.2.3').isGreaterThan(semver('0.1.2'))", "semver('1.0.0-alpha').isLessThan(semver('1.0.0'))",
            "semver('1.0.0-alpha.2').isLessThan(semver('1.0.0-alpha.10'))",
            "semver('1.0.0-1').isLessThan(semver('1.0.0-a'))", "semver('1.0.0-a').isLessThan(semver('1.0.0-a.1'))",
            "semver('1.0.0+a') == semver('1.0.0+b')", "semver('01.01.01', true) == semver('1.1.1')",
            "semver('v1.0', true) == semver('1.0.0')", "!isSemver('01.0.0')", "!isSemver('1.0')", "!isSemver('')",
            "!isSemver('1.0.0-01')", "!isSemver('1.0.0-')", "!isSemver('1.0.0+')", "!isSemver('1-a', true)",
            "isSemver('1.0.0-0a')", "!isSemver('v')", "!isSemver('v', true)",
            "strings.quote('a\\n\"b\"') == '\"a\\\\n\\\\\"b\\\\\"\"'",
            "[1, 2, 3].all(i, v, v == i + 1)", "!{'a': 1, 'b': 2}.all(k, v, v == 1)",
            "{'a': 1, 'b': 2}.exists(k, v, k == 'b' && v == 2)", "[5, 5].existsOne(i, v, i == 1 && v == 5)",
            "![5, 5].existsOne(i, v, v == 5)", "[1, 2].transformList(i, v, i * v) == [0, 2]",
            "[1, 2].transformList(i, v, i > 0, v) == [2]",
            "{'a': 1, 'b': 2}.transformMap(k, v, v + 1) == {'a': 2, 'b': 3}",
            "{'a': 1, 'b': 2}.transformMap(k, v, k != 'a', v) == {'b': 2}", "[7].transformMap(i, v, v) == {0: 7}",
            "{'a': 'x', 'b': 'y'}.transformMapEntry(k, v, {v: k}) == {'x': 'a', 'y': 'b'}",
            "{'a': 'x', 'b': 'y'}.transformMapEntry(k, v, k == 'b', {v: k}) == {'y': 'b'}",
            "[[1], [2]].all(i, v, v.all(j, w, w == i + 1 && j == 0))", "[1, 2].map(x, x > 1, x) == [2]",
        ])
    func truths(_ text: String) throws {
        guard case .success(.bool(true)) = try value(text) else {
            Issue.record("\(text): \(try value(text))")
            return
        }
    }

    @Test(
        "what cannot be has no value: two entries of one key, no version, a limit that is no number",
        arguments: [
            "{'a': 'x', 'b': 'x'}.transformMapEntry(k, v, {v: k}) == {}", "semver('200K').major() == 200",
            "'a'.findAll('a', '1') == []", "semver('1.0.0').isLessThan('1.0.0')",
            "[1].transformMapEntry(i, v, v) == {}",
        ])
    func errors(_ text: String) throws {
        guard case .failure = try value(text) else {
            Issue.record("\(text): \(try value(text))")
            return
        }
    }

    @Test("what they make is paid for: neither many matches nor large maps run away")
    func costs() throws {
        let long = String(repeating: "a", count: 8000)
        #expect(throws: CELError.tooExpensive) { try value("'\(long)'.findAll('').size() > 0").get() }
        let numbers = (0..<400).map(String.init).joined(separator: ",")
        #expect(throws: CELError.tooExpensive) {
            try value("[\(numbers)].transformMap(i, v, [\(numbers)].transformMap(j, w, w)).size() > 0").get()
        }
    }

    @Test(
        "elements and entries of literals that are optional are left out when they have no value",
        arguments: [
            "[?optional.of(1), 2, ?optional.none()] == [1, 2]", "[?optional.none()] == []", "[?{'a': 1}[?'a']] == [1]",
            "{?'a': optional.of(1), ?'b': optional.none(), 'c': 3} == {'a': 1, 'c': 3}",
            "{?'a': optional.none(), 'a': 2} == {'a': 2}", "[[?optional.none(),]] == [[]]",
        ])
    func optionalParts(_ text: String) throws { try truths(text) }

    @Test("as text an optional element is what it was read from")
    func optionalText() throws {
        let text = "[?a, b, {?\"k\": c, d: e}]"
        #expect(try CELExpression(parsing: text).text == text)
        // What is no optional value is none that could be left out.
        guard case .failure = try value("[?1] == [1]") else { return #expect(Bool(false), "1 is no optional") }
        for text in ["f(?a)", "[? ]", "{? : 1}", "[??a]"] {
            #expect(throws: CELSyntaxError.self, "\(text)") { try CELExpression(parsing: text) }
        }
    }

    @Test(
        "expressions about requests do not know them",
        arguments: ["'a'.find('a')", "[1].all(i, v, v == 1)", "semver('1.0.0')", "[?1]", "{?1: 2}"])
    func requests(_ text: String) throws {
        #expect(throws: CELSyntaxError.self) {
            try CELProgram(CELExpression(parsing: text), patterns: { Literal(text: $0) })
        }
    }

    @Test(
        "two names that are one, and names that are none, are refused",
        arguments: ["[1].all(i, i, true)", "[1].transformMap(1, v, v)"])
    func names(_ text: String) throws {
        #expect(throws: CELSyntaxError.self) { try CELExpression(parsing: text) }
    }
}
