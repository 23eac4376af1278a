import EnvoyAPI
import KubernetesAPI
import Serialization
import Testing

@testable import ControlPlane

@Suite("Limits of the whole mesh")
struct RateLimitTests {
    private let rules = """
        domain: shop
        descriptors:
          - key: path
            value: /login
            rate_limit: {unit: minute, requests_per_unit: 2, name: login}
            descriptors:
              - key: user
                rate_limit: {unit: second, requests_per_unit: 1}
              - key: user
                value: root
                rate_limit: {unlimited: true}
          - key: path
            value: /api/*
            rate_limit: {unit: hour, requests_per_unit: 3}
          - key: client
            rate_limit: {unit: minute, requests_per_unit: 1}
            shadow_mode: true
        """

    private func counter() throws -> RateLimitCounter {
        var counter = RateLimitCounter()
        counter.rules = ["shop": try RateLimitRules(try #require(YAML.parse(rules, file: "t").first?.json))]
        return counter
    }

    private func ask(
        _ counter: inout RateLimitCounter, _ entries: [(String, String)], at now: Int64, hits: UInt32 = 0,
        domain: String = "shop"
    ) -> RateLimitResponse? {
        var request = RateLimitRequest()
        request.domain = domain
        request.hitsAddend = hits
        var descriptor = RateLimitDescriptor()
        descriptor.entries = entries.map { key, value in
            var entry = RateLimitDescriptor.Entry()
            entry.key = key
            entry.value = value
            return entry
        }
        request.descriptors = [descriptor]
        return counter.answer(request, now: now)
    }

    @Test("A limit holds for its window and begins anew with the next one")
    func windows() throws {
        var counter = try counter()
        let now: Int64 = 1_800_000_030
        let answers = (0..<3).map { ask(&counter, [("path", "/login")], at: now + $0) }
        #expect(answers.map { $0?.overallCode } == [.ok, .ok, .overLimit])
        #expect(answers.map { $0?.statuses.first?.limitRemaining } == [1, 0, 0])
        #expect(answers[0]?.statuses.first?.durationUntilReset == .seconds(30))
        #expect(answers[0]?.statuses.first?.currentLimit?.name == "login")
        #expect(ask(&counter, [("path", "/login")], at: now + 30)?.overallCode == .ok)
        #expect(counter.refused == 1)
    }

    @Test("Nested descriptors have limits of their own, one for each value; unlimited is never refused")
    func nested() throws {
        var counter = try counter()
        let a = [("path", "/login"), ("user", "a")]
        #expect(ask(&counter, a, at: 0)?.overallCode == .ok)
        #expect(ask(&counter, a, at: 0)?.overallCode == .overLimit)
        #expect(ask(&counter, [("path", "/login"), ("user", "b")], at: 0)?.overallCode == .ok)
        for _ in 0..<9 {
            #expect(ask(&counter, [("path", "/login"), ("user", "root")], at: 0)?.overallCode == .ok)
        }
        #expect(ask(&counter, [("path", "/login"), ("user", "a"), ("x", "y")], at: 0)?.overallCode == .ok)
        #expect(ask(&counter, [("user", "a")], at: 0)?.statuses.first?.currentLimit == nil)
        #expect(ask(&counter, a, at: 0, domain: "other")?.overallCode == .ok)
    }

    @Test("What begins alike counts together; hits count as many as they are; shadow mode only counts")
    func others() throws {
        var counter = try counter()
        #expect(ask(&counter, [("path", "/api/a")], at: 0, hits: 2)?.overallCode == .ok)
        #expect(ask(&counter, [("path", "/api/b")], at: 0, hits: 2)?.overallCode == .overLimit)
        for _ in 0..<3 { #expect(ask(&counter, [("client", "1")], at: 0)?.overallCode == .ok) }
        #expect(ask(&counter, [("client", "1")], at: 0)?.statuses.first?.limitRemaining == 0)
    }

    @Test("Values that contain what stands between them do not count together")
    func separators() throws {
        var counter = RateLimitCounter()
        counter.rules = [
            "d": try RateLimitRules([
                "domain": "d",
                "descriptors": [
                    [
                        "key": "a",
                        "descriptors": [["key": "b", "rate_limit": ["unit": "day", "requests_per_unit": 1]]],
                    ]
                ],
            ])
        ]
        #expect(ask(&counter, [("a", "x_b_y"), ("b", "z")], at: 0, domain: "d")?.overallCode == .ok)
        #expect(ask(&counter, [("a", "x"), ("b", "y_b_z")], at: 0, domain: "d")?.overallCode == .ok)
        #expect(ask(&counter, [("a", "x"), ("b", "y_b_z")], at: 0, domain: "d")?.overallCode == .overLimit)
    }

    @Test(
        "What cannot be meant is refused with its path",
        arguments: [
            ("descriptors: []", "domain"), ("domain: d\nx: 1", "x"),
            ("domain: d\ndescriptors: [{value: a}]", "descriptors[0].key"),
            (
                "domain: d\ndescriptors: [{key: a, rate_limit: {unit: eon, requests_per_unit: 1}}]",
                "descriptors[0].rate_limit.unit"
            ),
            (
                "domain: d\ndescriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: -1}}]",
                "descriptors[0].rate_limit.requests_per_unit"
            ),
            ("domain: d\ndescriptors: [{key: a}, {key: a}]", "descriptors[1]"),
            (
                "domain: d\ndescriptors: [{key: a, rate_limit: {unit: day, requests_per_unit: 1, replaces: []}}]",
                "descriptors[0].rate_limit.replaces"
            ),
        ])
    func problems(text: String, path: String) throws {
        let json = try #require(YAML.parse(text, file: "t").first?.json)
        do {
            _ = try RateLimitRules(json)
            Issue.record("taken")
        } catch { #expect(error.path == path) }
    }

    @Test("A file that cannot be read leaves the last good one in force")
    func lastGood() throws {
        let service = RateLimitService(now: { 0 })
        func map(_ text: String) -> KubernetesObject {
            KubernetesObject(json: [
                "kind": "ConfigMap",
                "metadata": ["name": "r", "namespace": "n", "labels": ["skein.dev/ratelimit": "true"]],
                "data": ["rules.yaml": .string(text)],
            ])
        }
        #expect(service.update([map(rules)]).isEmpty)
        #expect(service.update([map("domain: [")]).map(\.path) == ["n/r/rules.yaml"])
        #expect(service.counter.rules["shop"] != nil)
        service.update([])
        #expect(service.counter.rules.isEmpty)
    }
}
