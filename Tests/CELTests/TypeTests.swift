import Testing

@testable import CEL

@Suite("CEL: types of expressions before there are values")
struct TypeTests {
    private static let spec = CELType.object([
        "name": .string, "count": .int, "ratio": .double, "on": .bool, "start": .timestamp, "wait": .duration,
        "data": .bytes,
        "ports": .list(.int), "labels": .map(.string), "any": .dyn, "inner": .object(["deep": .string]),
        "items": .list(.object(["key": .string, "weight": .int])),
    ])

    private func type(_ text: String) throws -> CELType {
        try CELExpression(parsing: text).type(["self": Self.spec, "oldSelf": .optional(Self.spec)])
    }

    @Test(
        "what they are made of says what they are",
        arguments: [
            ("self.name", "string"), ("self.count + 1", "int"), ("self.ratio * 2.0", "double"),
            ("self.on && true", "bool"),
            ("self.name + 'x'", "string"), ("-self.count", "int"), ("!self.on", "bool"), ("self.ports[0]", "int"),
            ("self.labels['a']", "string"), ("self.labels.a", "string"), ("self.inner['deep']", "string"),
            ("self.ports.map(p, string(p))", "list(string)"), ("self.items.filter(i, i.weight > 1)", "list(object)"),
            ("self.items.all(i, i.key != '')", "bool"), ("self.labels.exists(k, k == 'a')", "bool"),
            ("self.items.exists_one(i, i.weight == 1)", "bool"), ("self.labels.all(k, v, k == v)", "bool"),
            ("self.ports.transformList(i, v, i + v)", "list(int)"), ("has(self.name)", "bool"),
            ("size(self.name)", "int"),
            ("self.start - duration('1h')", "timestamp"), ("self.start - self.start", "duration"),
            ("self.wait + self.wait", "duration"), ("self.wait + self.start", "timestamp"), ("self.any.x.y[3]", "dyn"),
            ("self.any + 1", "int"), ("self.any + self.wait", "dyn"), ("oldSelf.name", "optional_type(string)"),
            ("oldSelf.orValue(self).name", "string"), ("oldSelf.?inner.?deep.orValue('')", "string"),
            ("self.?name.hasValue()", "bool"), ("self.labels[?'a'].orValue('b')", "string"),
            ("self.?inner.optMap(i, i.deep)", "dyn"), ("self.on ? 1 : 2", "int"), ("self.on ? 1 : 'a'", "dyn"),
            ("[1, 'a']", "list(dyn)"), ("[]", "list(dyn)"), ("[?self.?count, 1]", "list(int)"),
            ("{'a': 1}", "map(string, int)"),
            ("{?'a': self.?name}", "map(string, string)"), ("self.name.split(',')", "list(string)"),
            ("self.name.find('a').size()", "int"), ("[[]] + [self.ports]", "list(list(int))"),
            ("self.ports.sum()", "dyn"),
            ("quantity('1').isLessThan(quantity('2'))", "bool"), ("sets.contains(self.ports, [1])", "bool"),
            ("self.name.indexOf('a')", "int"), ("type(self.name) == string", "bool"), ("null", "null"), ("1u", "uint"),
        ])
    func known(_ text: String, _ wanted: String) throws { #expect(try type(text).text == wanted, "\(text)") }

    @Test(
        "what may be is not refused",
        arguments: [
            "self.name == null", "self.inner == {'deep': 'a'}", "self.count < 1.5", "self.any == 1", "self.any < 'a'",
            "1 in self.any", "'a' in self.labels", "3 in self.ports", "self.items == []", "self.inner == self.inner",
            "oldSelf.hasValue() && oldSelf.value().name == self.name", "dyn(self.name) == 1", "[1, 'a'] == [1]",
            "self.any.startsWith('a')", "size(self.any) == 1", "self.any ? 1 : 2", "self.any.all(x, x)", "self.any[0]",
        ])
    func lenient(_ text: String) throws { _ = try type(text) }

    @Test(
        "what certainly has no value is refused in cel-go's words",
        arguments: [
            ("self.nam == 'a'", "undefined field 'nam'"), ("has(self.nam)", "undefined field 'nam'"),
            ("self.inner.deep.er", "type 'string' does not support field selection"),
            ("self.items.all(i, i.kee == '')", "undefined field 'kee'"),
            ("oldSelf.nam.hasValue()", "undefined field 'nam'"),
            ("self.?nam.hasValue()", "undefined field 'nam'"), ("self['nam']", "undefined field 'nam'"),
            ("self.count + 'a'", "found no matching overload for '_+_' applied to '(int, string)'"),
            ("self.count == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
            ("self.count == 1.0", "found no matching overload for '_==_' applied to '(int, double)'"),
            ("self.name < 1", "found no matching overload for '_<_' applied to '(string, int)'"),
            ("self.on && 1", "found no matching overload for '_&&_' applied to '(bool, int)'"),
            ("!self.name", "found no matching overload for '!_' applied to '(string)'"),
            ("-self.name", "found no matching overload for '-_' applied to '(string)'"),
            ("self.name ? 1 : 2", "found no matching overload for '_?_:_' applied to '(string, int, int)'"),
            ("'a' in self.ports", "found no matching overload for '@in' applied to '(string, list(int))'"),
            ("1 in self.labels", "found no matching overload for '@in' applied to '(int, map(string, string))'"),
            ("self.name in self.name", "found no matching overload for '@in' applied to '(string, string)'"),
            ("self.count[0]", "found no matching overload for '_[_]' applied to '(int, int)'"),
            ("self.start + self.start", "found no matching overload for '_+_' applied to '(timestamp, timestamp)'"),
            ("self.ratio % 2.0", "found no matching overload for '_%_' applied to '(double, double)'"),
            ("size(self.count)", "found no matching overload for 'size' applied to '(int)'"),
            ("self.count.startsWith('a')", "found no matching overload for 'startsWith' applied to 'int.(string)'"),
            ("self.name.contains(1)", "found no matching overload for 'contains' applied to 'string.(int)'"),
            ("self.count.indexOf('a')", "found no matching overload for 'indexOf' applied to 'int.(string)'"),
            (
                "self.name.all(c, true)",
                "expression of type 'string' cannot be range of a comprehension (must be list, map, or dynamic)"
            ),
            ("[?self.name]", "expected type 'optional_type(string)' but found 'string'"),
        ])
    func refused(_ text: String, _ words: String) throws {
        #expect(performing: { try type(text) }, throws: { "\($0)" == words })
    }
}
