import Serialization
import Store
import Testing

@testable import Registry

@Suite("Registry: which checks are due")
struct CheckPlanTests {
    private struct Numbers: RandomNumberGenerator {
        /// Makes the smallest number of every range; zero itself would be drawn anew for ever.
        mutating func next() -> UInt64 { 1 << 40 }
    }

    private static func row(
        _ id: String, _ definition: CheckDefinition, criticalSince: Int64? = nil, service: String = "s"
    ) -> Row {
        var json: JSON = ["Node": "n", "CheckID": .string(id), "ServiceID": .string(service), "how": definition.json]
        if let criticalSince { json["criticalSince"] = .integer(criticalSince) }
        return Row(StoredObject(key: key(id), revision: 1, object: json))
    }

    private static func key(_ id: String) -> StoreKey { StoreKey(resource: "checks", namespace: "n", name: id) }

    private static func definition(_ kind: CheckDefinition.Kind, interval: Int64 = 10_000) -> CheckDefinition {
        var definition = CheckDefinition()
        definition.kind = kind
        definition.interval = interval
        return definition
    }

    @Test("a check is made at its interval from its end on, and not twice at once")
    func interval() {
        var (plan, numbers) = (CheckPlan(), Numbers())
        let tcp = Self.definition(.tcp("x:1"))
        plan.follow([Self.row("a", tcp)], now: 0, random: &numbers)
        #expect(plan.due(now: 0, runningMax: 9) == [.run(Self.key("a"), tcp)])
        #expect(plan.due(now: 60_000, runningMax: 9) == [])
        #expect(plan.finished(Self.key("a"), "passing", now: 5_000) == "passing")
        #expect(plan.next == 15_000)
        #expect(plan.due(now: 14_999, runningMax: 9) == [])
        #expect(plan.due(now: 15_000, runningMax: 9).count == 1)
    }

    @Test("no more checks run at once than may")
    func running() {
        var (plan, numbers) = (CheckPlan(), Numbers())
        plan.follow((0..<5).map { Self.row("\($0)", Self.definition(.tcp("x:1"))) }, now: 0, random: &numbers)
        #expect(plan.due(now: 0, runningMax: 2).count == 2)
        #expect(plan.due(now: 0, runningMax: 2).count == 0)
        _ = plan.finished(Self.key("0"), "passing", now: 1)
        #expect(plan.due(now: 1, runningMax: 2).count == 1)
        // One that goes while it runs gives its place back, and its outcome counts for nobody.
        plan.follow([], now: 2, random: &numbers)
        #expect(plan.running == 0)
        #expect(plan.finished(Self.key("1"), "passing", now: 3) == nil)
    }

    @Test("a program that is silent for longer than its TTL is critical once, until it reports again")
    func ttl() {
        var (plan, numbers) = (CheckPlan(), Numbers())
        let rows = [Self.row("a", Self.definition(.ttl(10_000)))]
        plan.follow(rows, now: 0, random: &numbers)
        plan.reported(Self.key("a"), now: 9_000)
        #expect(plan.due(now: 18_999, runningMax: 9) == [])
        #expect(plan.due(now: 19_000, runningMax: 9) == [.expire(Self.key("a"))])
        plan.follow(rows, now: 20_000, random: &numbers)
        #expect(plan.due(now: 90_000, runningMax: 9) == [])
        plan.reported(Self.key("a"), now: 90_000)
        #expect(plan.due(now: 100_000, runningMax: 9) == [.expire(Self.key("a"))])
    }

    @Test("an instance that was critical for too long is to be removed, a node's check removes nothing")
    func removal() {
        var (plan, numbers) = (CheckPlan(), Numbers())
        var definition = Self.definition(.ttl(10_000))
        definition.deregisterAfter = 60_000
        let rows = [
            Self.row("a", definition, criticalSince: 1_000),
            Self.row("b", definition, criticalSince: 1_000, service: ""),
            Self.row("c", definition),
        ]
        plan.follow(rows, now: 1_000, random: &numbers)
        for id in ["a", "b", "c"] { plan.reported(Self.key(id), now: 55_000) }
        #expect(plan.due(now: 60_999, runningMax: 9) == [])
        #expect(plan.due(now: 61_000, runningMax: 9) == [.remove(Self.key("a"))])
    }

    @Test("a state changes only after as many outcomes as are asked for")
    func thresholds() {
        var (plan, numbers) = (CheckPlan(), Numbers())
        var definition = Self.definition(.tcp("x:1"), interval: 1_000)
        definition.successesBeforePassing = 2
        definition.failuresBeforeWarning = 2
        definition.failuresBeforeCritical = 3
        plan.follow([Self.row("a", definition)], now: 0, random: &numbers)
        var (now, states): (Int64, [String?]) = (0, [])
        for outcome in ["passing", "passing", "critical", "critical", "critical", "passing", "critical"] {
            _ = plan.due(now: now, runningMax: 9)
            states.append(plan.finished(Self.key("a"), outcome, now: now))
            now += 1_000
        }
        #expect(states == [nil, "passing", nil, "warning", "critical", nil, nil])
    }

    @Test("what a check is comes back from the store as it was")
    func stored() throws {
        var fields = try Fields([
            "HTTP": "https://[::1]:8443/a?b", "Method": "post", "Header": ["X": ["1", "2"]], "Body": "hi",
            "TLSSkipVerify": true,
            "DisableRedirects": true, "Interval": "90s", "Timeout": "1s", "DeregisterCriticalServiceAfter": "1s",
            "SuccessBeforePassing": 2, "FailuresBeforeCritical": 3, "OutputMaxSize": 100,
        ])
        let definition = try CheckDefinition(&fields, allowsScripts: false, ofService: true)
        try fields.end()
        let again = CheckDefinition(stored: definition.json)
        #expect(again.kind == definition.kind)
        #expect(again.json == definition.json)
        #expect(again.deregisterAfter == 60_000)
        #expect(again.failuresBeforeWarning == 3)
        #expect(ProbeTarget(url: "https://[::1]:8443/a?b")?.host == "::1")
    }
}
