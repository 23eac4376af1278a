import KubernetesAPI
import Serialization
import Testing

@Suite("Selectors, quantities and names")
struct LabelSelectorTests {
    @Test(
        "a selector of the query syntax chooses labels",
        arguments: [
            ("", true), ("app=web", true), ("app==web", true), ("app!=web", false), ("app", true), ("!app", false),
            ("tier", false), ("!tier", true), ("app in (web, api)", true), ("app notin (web)", false),
            ("tier notin (a)", true), ("tier!=a", true), ("app=web,version=v1", true), ("app=web,version=v2", false),
            ("app in (a,b),version", false), ("weight>3", true), ("weight<3", false), ("example.com/x=", true),
        ])
    func query(text: String, expected: Bool) throws {
        let labels = ["app": "web", "version": "v1", "weight": "5", "example.com/x": ""]
        #expect(try LabelMatcher(parsing: text).matches(labels) == expected)
    }

    @Test(
        "a selector that cannot be read is refused", arguments: ["a in (b", "a)", "=b", "a b", "-a=b", "a=-", "a in b"])
    func broken(text: String) {
        #expect(throws: SelectorError.self) { try LabelMatcher(parsing: text) }
    }

    @Test("matchLabels and all matchExpressions must hold")
    func view() {
        let selector = LabelSelector(json: [
            "matchLabels": ["app": "web"],
            "matchExpressions": [
                ["key": "tier", "operator": "In", "values": ["a", "b"]], ["key": "old", "operator": "DoesNotExist"],
            ],
        ])
        #expect(selector.matcher.matches(["app": "web", "tier": "b"]))
        #expect(!selector.matcher.matches(["app": "web", "tier": "c"]))
        #expect(!selector.matcher.matches(["app": "web", "tier": "a", "old": ""]))
        #expect(LabelSelector(json: [:]).matcher.matches([:]))
    }

    @Test(
        "quantities are read in thousandths",
        arguments: [
            ("100m", 100), ("1", 1000), ("1.5", 1500), (".5", 500), ("50Mi", 52_428_800_000), ("1k", 1_000_000),
            ("2e3", 2_000_000),
            ("-1", -1000), ("0.0001", 1), ("1n", 1),
        ] as [(String, Int64)])
    func quantity(text: String, milli: Int64) {
        #expect(Quantity(text)?.milli == milli)
    }

    @Test("what is no quantity is refused", arguments: ["", "x", "1X", "1.2.3", "--1", "1 Mi", "1e99", "Mi"])
    func noQuantity(text: String) { #expect(Quantity(text) == nil) }

    @Test("a percentage is rounded as the caller wants")
    func percentage() {
        #expect(IntOrString.string("25%").scaled(of: 3, roundUp: true) == 1)
        #expect(IntOrString.string("25%").scaled(of: 3, roundUp: false) == 0)
        #expect(IntOrString.int(2).scaled(of: 3, roundUp: true) == 2)
        #expect(IntOrString.string("http").scaled(of: 3, roundUp: true) == nil)
    }

    @Test("names follow their rules")
    func names() {
        #expect(Names.dns1123LabelProblem("my-app") == nil)
        #expect(Names.dns1123LabelProblem("My") != nil)
        #expect(Names.dns1123LabelProblem(String(repeating: "a", count: 63)) == nil)
        #expect(Names.dns1123LabelProblem(String(repeating: "a", count: 64)) != nil)
        #expect(Names.dns1123SubdomainProblem("a.b-c.d") == nil)
        #expect(Names.dns1123SubdomainProblem("a..b") != nil)
        #expect(Names.dns1035LabelProblem("1a") != nil)
        #expect(Names.qualifiedNameProblem("example.com/My_Name.x") == nil)
        #expect(Names.qualifiedNameProblem("/x") != nil)
        #expect(Names.labelValueProblem("") == nil)
        #expect(Names.labelValueProblem("-x") != nil)
        #expect(Names.portNameProblem("http-web") == nil)
        #expect(Names.portNameProblem("8080") != nil)
        #expect(Names.portProblem(65535) == nil)
        #expect(Names.portProblem(65536) != nil)
    }
}
