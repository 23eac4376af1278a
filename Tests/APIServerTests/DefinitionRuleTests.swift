import APIServer
import KubernetesAPI
import Serialization
import Testing

@Suite("Rules in CEL of kinds that somebody has defined")
struct DefinitionRuleTests {
    private static func rule(_ text: String, _ message: String? = nil, _ more: [String: JSON] = [:]) -> JSON {
        var members = more
        members["rule"] = .string(text)
        members["message"] = message.map { .string($0) }
        return .object(members)
    }

    /// A definition whose `spec` has these properties and rules.
    private static func definition(_ properties: JSON, _ rules: [JSON] = [], root: [JSON] = []) -> JSON {
        let schema: JSON = [
            "type": "object", "x-kubernetes-validations": .array(root),
            "properties": [
                "spec": ["type": "object", "properties": properties, "x-kubernetes-validations": .array(rules)]
            ],
        ]
        return [
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": ["name": "crontabs.stable.example.com"],
            "spec": [
                "group": "stable.example.com", "scope": "Namespaced",
                "versions": [["name": "v1", "served": true, "storage": true, "schema": ["openAPIV3Schema": schema]]],
                "names": ["plural": "crontabs", "kind": "CronTab"],
            ],
        ]
    }

    private func defined(_ properties: JSON, _ rules: [JSON] = [], root: [JSON] = []) throws -> Fixture {
        let fixture = try Fixture()
        let made = try fixture.ask(
            "POST", DefinitionTests.definitions, Self.definition(properties, rules, root: root))
        #expect(made.status == 201 && made.warnings.isEmpty, "\(made.message) \(made.warnings)")
        return fixture
    }

    private func create(_ fixture: Fixture, _ spec: JSON, _ name: String = "a") throws -> (status: Int, message: String)
    {
        let answer = try fixture.ask("POST", DefinitionTests.crontabs, DefinitionTests.object(name, spec))
        return (answer.status, answer.message)
    }

    private static let numbers: JSON = ["type": "array", "items": ["type": "integer"]]
    private static let texts: JSON = ["type": "array", "items": ["type": "string"]]

    /// A rule, a value that breaks it, and one that does not; as JSON.
    private static let cases: [(String, String, String)] = [
        ("self.least <= self.most", #"{"least": 3, "most": 2}"#, #"{"least": 2, "most": 3}"#),
        ("has(self.least) != has(self.most)", #"{"least": 3, "most": 2}"#, #"{"least": 2}"#),
        ("self.ports.all(p, p > 0 && p < 100)", #"{"ports": [1, 100]}"#, #"{"ports": [1, 99]}"#),
        ("self.ports.isSorted() && self.ports.sum() < 10", #"{"ports": [2, 1]}"#, #"{"ports": [1, 2]}"#),
        ("self.ports.max() - self.ports.min() < 5", #"{"ports": [9, 1]}"#, #"{"ports": [1, 4]}"#),
        ("self.ports.indexOf(7) == 1", #"{"ports": [7]}"#, #"{"ports": [1, 7]}"#),
        ("self.names.exists_one(n, n == 'a')", #"{"names": ["a", "a"]}"#, #"{"names": ["a", "b"]}"#),
        ("self.ratio < 3.5", #"{"ratio": 4}"#, #"{"ratio": 3}"#),
        (
            "self.__namespace__.size() > 1 && self.x__dash__y", #"{"namespace": "n", "x-y": true}"#,
            #"{"namespace": "nn", "x-y": true}"#
        ),
        ("self.image.matches('registry')", #"{"image": "other"}"#, #"{"image": "the registry's"}"#),
        (
            "self.labels.all(k, k.size() < 3 && self.labels[k] != '')", #"{"labels": {"a": ""}}"#,
            #"{"labels": {"a": "b"}}"#
        ),
        (
            "self.start < timestamp('2026-01-01T00:00:00Z')", #"{"start": "2026-01-02T00:00:00Z"}"#,
            #"{"start": "2025-01-02T00:00:00Z"}"#
        ),
        ("self.wait <= duration('1h')", #"{"wait": "61m"}"#, #"{"wait": "1h"}"#),
        ("type(self.port) == int ? self.port > 0 : self.port == 'http'", #"{"port": "ftp"}"#, #"{"port": 1}"#),
    ]

    @Test(
        "a value that breaks a rule is refused with the rule's message, where it stands",
        arguments: cases)
    func refused(rule: String, bad: String, good: String) throws {
        let properties: JSON = [
            "least": ["type": "integer"], "most": ["type": "integer"], "ports": Self.numbers, "names": Self.texts,
            "ratio": ["type": "number"], "namespace": ["type": "string"], "x-y": ["type": "boolean"],
            "image": ["type": "string"], "labels": ["type": "object", "additionalProperties": ["type": "string"]],
            "start": ["type": "string", "format": "date-time"], "wait": ["type": "string", "format": "duration"],
            "port": ["x-kubernetes-int-or-string": true],
        ]
        let fixture = try defined(properties, [Self.rule(rule, "it must be so")])
        let refusal = try create(fixture, JSON.parse(Array(bad.utf8)))
        #expect(refusal.status == 422)
        #expect(refusal.message.contains("spec: Invalid value: \"object\": it must be so"), "\(refusal.message)")
        let made = try create(fixture, JSON.parse(Array(good.utf8)))
        #expect(made.status == 201, "\(made.message)")
    }

    @Test("a rule says what is wrong in words of its own making, where it points, and why")
    func words() throws {
        let fixture = try defined(
            ["names": Self.texts],
            [
                Self.rule(
                    "self.names.size() < 2", "never shown",
                    [
                        "messageExpression": "'at most 1 name, not ' + string(self.names.size())",
                        "fieldPath": ".names", "reason": "FieldValueForbidden",
                    ]),
                Self.rule("!self.names.exists(n, n == 'b')", nil, ["messageExpression": "self.names[9]"]),
            ], root: [Self.rule("self.metadata.name != 'b'")])
        let refusal = try create(fixture, ["names": ["a", "b"]], "b")
        #expect(refusal.message.contains("<nil>: Invalid value: \"object\": failed rule: self.metadata.name != 'b'"))
        #expect(refusal.message.contains("spec.names: Forbidden: at most 1 name, not 2"))
        #expect(
            refusal.message.contains("spec: Invalid value: \"object\": failed rule: !self.names.exists(n, n == 'b')"))
        // What a rule asks for and is not there is the object's fault, too.
        let missing = try create(fixture, [:])
        #expect(missing.status == 422 && missing.message.contains("there is no names, evaluating rule: "))
    }

    @Test("a rule about what was there before counts where something was: in members, maps, and lists with keys")
    func transitions() throws {
        let same = Self.rule("self == oldSelf", "it does not change")
        let fixture = try defined([
            "mode": ["type": "string", "x-kubernetes-validations": [same]],
            "labels": [
                "type": "object", "additionalProperties": ["type": "string", "x-kubernetes-validations": [same]],
            ],
            "steps": [
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": [
                    "type": "object", "required": ["name"],
                    "properties": [
                        "name": ["type": "string"], "run": ["type": "string", "x-kubernetes-validations": [same]],
                    ],
                ],
            ],
            "atoms": ["type": "array", "items": ["type": "string", "x-kubernetes-validations": [same]]],
        ])
        let spec: JSON = [
            "mode": "x", "labels": ["a": "1"], "steps": [["name": "one", "run": "r"]], "atoms": ["a"],
        ]
        #expect(try create(fixture, spec).status == 201)
        func change(_ patch: JSON) throws -> (status: Int, message: String) {
            let answer = try fixture.ask(
                "PATCH", DefinitionTests.crontabs + "/a", ["spec": patch], type: "application/merge-patch+json")
            return (answer.status, answer.message)
        }
        for (patch, place) in [
            (["mode": "y"] as JSON, "spec.mode"), (["labels": ["a": "2"]], "spec.labels[a]"),
            (["steps": [["name": "two", "run": "r"], ["name": "one", "run": "s"]]], "spec.steps[1].run"),
        ] {
            let answer = try change(patch)
            #expect(answer.status == 422)
            #expect(
                answer.message.contains(place + ": Invalid value: \"string\": it does not change"), "\(answer.message)")
        }
        #expect(
            try change([
                "labels": ["b": "2"], "steps": [["name": "two", "run": "x"], ["name": "one", "run": "r"]],
                "atoms": ["b"],
            ]).status == 200)
    }

    @Test("what stood there before the rule may stay as it is, and not become another that breaks it")
    func ratcheting() throws {
        let properties: JSON = [
            "least": ["type": "integer"], "other": ["type": "object", "properties": ["most": ["type": "integer"]]],
        ]
        let fixture = try defined(properties)
        #expect(try create(fixture, ["least": 1, "other": ["most": 0]]).status == 201)
        var ruled = properties
        ruled["other"]?["x-kubernetes-validations"] = [Self.rule("self.most > 0")]
        let path = DefinitionTests.definitions + "/crontabs.stable.example.com"
        let changed = try fixture.ask(
            "PATCH", path, ["spec": Self.definition(ruled)["spec"] ?? .null], type: "application/merge-patch+json")
        #expect(changed.status == 200, "\(changed.message)")
        func patch(_ spec: JSON) throws -> Int {
            try fixture.ask(
                "PATCH", DefinitionTests.crontabs + "/a", ["spec": spec], type: "application/merge-patch+json"
            ).status
        }
        #expect(try patch(["least": 2]) == 200)
        #expect(try patch(["other": ["most": -1]]) == 422)
        #expect(try patch(["other": ["most": 1]]) == 200)
    }

    @Test(
        "a definition with a rule that certainly has no truth is refused, as with Kubernetes",
        arguments: [
            ("self.leest < 3", "undefined field 'leest'"), ("self.least", "cel expression must evaluate to a bool"),
            ("self.least == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
            ("self.free.x == 1", "undefined field 'x'"), ("self.hidden == 1", "undefined field 'hidden'"),
            ("self.metadata.name == ''", "undefined field 'metadata'"),
        ])
    func illTyped(rule: String, words: String) throws {
        let properties: JSON = [
            "least": ["type": "integer"], "free": ["type": "object", "x-kubernetes-preserve-unknown-fields": true],
            "hidden": ["x-kubernetes-preserve-unknown-fields": true],
        ]
        let fixture = try Fixture()
        let refusal = try fixture.ask(
            "POST", DefinitionTests.definitions, Self.definition(properties, [Self.rule(rule)]))
        #expect(refusal.status == 422)
        #expect(
            refusal.message.contains("x-kubernetes-validations[0].rule: Invalid value: ")
                && refusal.message.contains("compilation failed: \(words)"), "\(refusal.message)")
        let text = try fixture.ask(
            "POST", DefinitionTests.definitions,
            Self.definition(properties, [Self.rule("self.least > 0", nil, ["messageExpression": "self.least"])]))
        #expect(text.status == 422 && text.message.contains("messageExpression must evaluate to a string"))
    }

    @Test("a rule that cannot be evaluated here is told of when the kind is defined, and kept")
    func unread() throws {
        let fixture = try Fixture()
        let made = try fixture.ask(
            "POST", DefinitionTests.definitions,
            Self.definition(
                ["cpu": ["type": "string"]],
                [
                    Self.rule("math.greatest(1, 2) == 2"), Self.rule("[?self.?cpu].size() > 0"),
                    Self.rule("self.cpu != ''"),
                ]))
        #expect(made.status == 201, "\(made.message)")
        #expect(made.warnings.count == 1)
        #expect(
            made.warnings.first?.hasPrefix(
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]: is kept, and not evaluated by this server: "
            ) == true)
        #expect(try create(fixture, ["cpu": ""]).status == 422)
        #expect(try create(fixture, ["cpu": "0"]).status == 201)
    }

    /// A rule of Kubernetes' libraries, a text that breaks it, and one that does not.
    private static let libraries: [(String, String, String)] = [
        ("semver(self.a).isLessThan(semver('1.10.0')) && semver(self.a).minor() == 9", "1.10.0", "1.9.3"),
        ("isSemver(self.a)", "v1.0.0", "1.0.0-rc.1+build.5"), ("isSemver(self.a, true)", "1.x", "v1"),
        ("self.a.split('').all(i, c, i > 2 || c == 'a')", "aab", "aaaz"),
        ("self.a.split(',').transformList(i, c, i > 0, c + string(i)) == ['b1', 'c2']", "a,b", "a,b,c"),
        (#"strings.quote(self.a) == '"a"'"#, "b", "a"),
        ("quantity(self.a).isLessThan(quantity('1.5Gi'))", "2Gi", "1Gi"),
        ("quantity(self.a).add(quantity('500m')).sub(1).compareTo(quantity('0')) == 0", "1", "500m"),
        ("quantity(self.a).isInteger() && quantity(self.a).asInteger() == 2048", "1.5", "2Ki"),
        ("quantity(self.a).sign() == -1 && quantity(self.a).asApproximateFloat() < -1.4", "1", "-1500m"),
        ("quantity(self.a) == quantity('1000m')", "2", "1e0"), ("isQuantity(self.a)", "1Xi", "0.1u"),
        ("isIP(self.a) && ip(self.a).family() == 6", "10.0.0.1", "::1"),
        ("isIP(self.a)", "10.0.0.01", "10.0.0.1"), ("isIP(self.a)", "::ffff:1.2.3.4", "fe80::1"),
        ("ip.isCanonical(self.a)", "2001:db8:0:0::1", "2001:db8::1"),
        ("ip(self.a).isGlobalUnicast() && !ip(self.a).isLoopback()", "127.0.0.1", "10.1.2.3"),
        ("ip(self.a).isLinkLocalUnicast() || ip(self.a).isUnspecified()", "1.2.3.4", "169.254.1.1"),
        ("cidr('10.0.0.0/8').containsIP(self.a)", "11.0.0.1", "10.255.0.1"),
        ("cidr('10.0.0.0/8').containsCIDR(cidr(self.a))", "10.0.0.0/7", "10.2.0.0/16"),
        (
            "isCIDR(self.a) && cidr(self.a).masked() == cidr(self.a) && cidr(self.a).prefixLength() > 8", "10.1.1.1/16",
            "10.1.0.0/16"
        ),
        ("string(cidr(self.a).ip()) == '2001:db8::'", "::/0", "2001:db8:0::/32"),
        (
            "isURL(self.a) && url(self.a).getScheme() == 'https' && url(self.a).getPort() == '8443'", "https://a/",
            "https://a:8443/b"
        ),
        (
            "url(self.a).getHostname() == '::1' && url(self.a).getHost() == '[::1]:80'", "http://[::2]:80/",
            "http://[::1]:80/"
        ),
        (
            "url(self.a).getEscapedPath() == '/a%20b' && url(self.a).getQuery()['q'] == ['1', '2 3']", "/a?q=1",
            "/a%20b?q=1&q=2+3"
        ),
        ("self.?b.orValue('x') == 'x' && self.?a.hasValue() && self.a == '1'", "2", "1"),
        ("self.?c.?d.optMap(v, v + '!').orValue('none') == 'none' && self.a == '1'", "2", "1"),
        ("self.?c.d.orValue(self.a) == '1'", "2", "1"),
        ("optional.ofNonZeroValue(self.a).or(optional.of('z')).value() != 'z'", "z", "1"),
        ("{'k': self.a}[?'k'].value() == '1' && !['a'][?1].hasValue()", "2", "1"),
        (
            "optional.of(self.a).optFlatMap(v, v == '1' ? optional.none() : optional.of(v)) != optional.none()", "1",
            "2"
        ),
        ("!format.dns1123Label().validate(self.a).hasValue()", "A", "a-1"),
        ("format.named('qualifiedName').value().validate(self.a) == optional.none()", "a/b/c", "example.com/a"),
        ("'%s-%d-%.2f-%x'.format([self.a, 3, 1.5, 255]) == 'v-3-1.50-ff'", "w", "v"),
        ("sets.contains(['1', '2'], [self.a]) && !sets.intersects([self.a], ['2'])", "2", "1"),
    ]

    @Test(
        "Kubernetes' libraries: optional values, amounts, addresses, ranges, places, formats, sets",
        arguments: libraries)
    func library(rule: String, bad: String, good: String) throws {
        let object: JSON = ["type": "object", "properties": ["d": ["type": "string"]]]
        let fixture = try defined(
            ["a": ["type": "string"], "b": ["type": "string"], "c": object], [Self.rule(rule, "it must be so")])
        let refusal = try create(fixture, ["a": .string(bad)])
        #expect(refusal.status == 422 && refusal.message.contains("it must be so"), "\(refusal.message)")
        let made = try create(fixture, ["a": .string(good)])
        #expect(made.status == 201, "\(made.message)")
    }

    @Test(
        "texts that are none of their kind are errors and no traps",
        arguments: [
            "", "-", ".", "1..2", "99999999999999999999999999999999999999Ei", "1e99", "::1::", ":::",
            "1:2:3:4:5:6:7:8:9", "10.0.0.0/33",
            "::/129", "/", "http://", "http://[", "http://a:b/", "%", "256.1.1.1", "+1:2::", "%zz?%", "\u{0}",
        ])
    func rubbish(text: String) throws {
        for rule in [
            "quantity(self.a).sign() > 5", "ip(self.a).family() == 5", "cidr(self.a).prefixLength() > 500",
            "url(self.a).getQuery().size() > 99", "self.a.format([1, 2]) == 'nothing'",
            "format.uuid().validate(self.a).hasValue() && false",
            "format.datetime().validate(self.a).hasValue() && false",
        ] {
            let fixture = try defined(["a": ["type": "string"]], [Self.rule(rule)])
            #expect(try create(fixture, ["a": .string(text)]).status == 422)
        }
    }

    @Test("optionalOldSelf: a rule about what was there before counts for new objects, too")
    func optionalOld() throws {
        let fixture = try defined(
            ["least": ["type": "integer"]],
            [Self.rule("oldSelf.hasValue() || self.least == 1", "begins with 1", ["optionalOldSelf": true])])
        #expect(try create(fixture, ["least": 2]).status == 422)
        #expect(try create(fixture, ["least": 1]).status == 201)
        let changed = try fixture.ask(
            "PATCH", DefinitionTests.crontabs + "/a", ["spec": ["least": 5]], type: "application/merge-patch+json")
        #expect(changed.status == 200, "\(changed.message)")
    }

    @Test(
        "a rule that is none, or names what nobody knows, makes its definition refused; one that is stored already does not"
    )
    func refused() throws {
        for (rule, words) in [
            ("self.cpu ==", "compilation failed"), ("other > 1", "other is unknown"),
            ("self.cpu.frob()", "no function"),
        ] {
            let fixture = try Fixture()
            let definition = Self.definition(["cpu": ["type": "string"]], [Self.rule(rule)])
            let refused = try fixture.ask("POST", DefinitionTests.definitions, definition)
            #expect(refused.status == 422, "\(refused.message)")
            #expect(
                refused.message.contains(
                    "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: "
                        + "Invalid value: \"\(rule)\": compilation failed: "), "\(refused.message)")
            #expect(refused.message.contains(words), "\(refused.message)")
            let good = Self.definition(["cpu": ["type": "string"]], [Self.rule("self.cpu != ''")])
            #expect(try fixture.ask("POST", DefinitionTests.definitions, good).status == 201)
            let changed = try fixture.ask(
                "PATCH", DefinitionTests.definitions + "/crontabs.stable.example.com",
                ["spec": definition["spec"] ?? .null],
                type: "application/merge-patch+json")
            #expect(changed.status == 422, "\(changed.message)")
        }
    }

    @Test("rules that cost too much end, and refuse the object")
    func expensive() throws {
        let fixture = try defined(
            ["names": Self.texts],
            [Self.rule("self.names.all(a, self.names.all(b, self.names.all(c, a + b + c != 'x')))")])
        let refusal = try create(fixture, ["names": .array(Array(repeating: "abc", count: 200))])
        #expect(refusal.status == 422)
        #expect(refusal.message.contains("the rules of an object cost too much"), "\(refusal.message)")
        #expect(try create(fixture, ["names": ["abc"]]).status == 201)
    }
}
