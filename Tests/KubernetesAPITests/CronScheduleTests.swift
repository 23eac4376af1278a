import KubernetesAPI
import Serialization
import Testing

@Suite("When a CronJob runs")
struct CronScheduleTests {
    private func times(_ text: String, after start: String, _ count: Int, in zone: TimeZoneRules = .utc) throws
        -> [String]
    {
        let schedule = try CronSchedule(text)
        var time = try #require(Timestamp(start)).seconds
        var found: [String] = []
        for _ in 0..<count {
            guard let next = schedule.next(after: time, in: zone) else { break }
            found.append(Timestamp(seconds: next).secondsText)
            time = next
        }
        return found
    }

    @Test(
        "the next times of a schedule",
        arguments: [
            ("*/20 * * * *", ["2026-01-31T23:20:00Z", "2026-01-31T23:40:00Z", "2026-02-01T00:00:00Z"]),
            ("5 4 * * *", ["2026-02-01T04:05:00Z", "2026-02-02T04:05:00Z", "2026-02-03T04:05:00Z"]),
            ("0 0 29 2 *", ["2028-02-29T00:00:00Z"]),
            ("0 0 30 2 *", []),
            ("@monthly", ["2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"]),
            ("@every 90m", ["2026-02-01T00:30:00Z", "2026-02-01T02:00:00Z", "2026-02-01T03:30:00Z"]),
            // Either day will do: the 13th, or a Friday.
            ("0 12 13 * FRI", ["2026-02-06T12:00:00Z", "2026-02-13T12:00:00Z", "2026-02-20T12:00:00Z"]),
            ("0 12 ? mar-apr sun", ["2026-03-01T12:00:00Z", "2026-03-08T12:00:00Z", "2026-03-15T12:00:00Z"]),
            ("10-30/10,45 8 1 * *", ["2026-02-01T08:10:00Z", "2026-02-01T08:20:00Z", "2026-02-01T08:30:00Z"]),
        ])
    func next(_ text: String, _ expected: [String]) throws {
        #expect(try times(text, after: "2026-01-31T23:00:00Z", max(1, expected.count)) == expected)
    }

    @Test(
        "what is no schedule is refused in the words of Kubernetes",
        arguments: [
            ("", "empty spec string"), ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"), ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("@often", "unrecognized descriptor: @often"),
        ])
    func refused(_ text: String, _ message: String) {
        #expect(throws: CronSchedule.Problem(message: message)) { try CronSchedule(text) }
    }

    /// Two changes by table, and the rule for what follows, as a file has them.
    private static func zone() -> [UInt8] {
        func bytes(_ value: Int64, _ count: Int) -> [UInt8] {
            (0..<count).reversed().map { UInt8(truncatingIfNeeded: value >> (Int64($0) * 8)) }
        }
        func header(_ times: Int64, _ types: Int64, _ characters: Int64) -> [UInt8] {
            Array("TZif2".utf8) + [UInt8](repeating: 0, count: 15)
                + [0, 0, 0, times, types, characters].flatMap { bytes($0, 4) }
        }
        let kinds = bytes(3600, 4) + [0, 0] + bytes(7200, 4) + [1, 4]
        let names = Array("CET\0CEST\0".utf8)
        // 2025-03-30T01:00Z to summer, 2025-10-26T01:00Z back.
        return header(0, 1, 4) + bytes(3600, 4) + [0, 0] + Array("CET\0".utf8)
            + header(2, 2, 9) + bytes(1_743_296_400, 8) + bytes(1_761_440_400, 8) + [1, 0] + kinds + names
            + Array("\nCET-1CEST,M3.5.0,M10.5.0/3\n".utf8)
    }

    @Test(
        "a zone's clock counts, also after its table has ended; an hour that is left out has no times, one that comes twice has two"
    )
    func zones() throws {
        let rules = try #require(TimeZoneRules(file: Self.zone()))
        #expect(rules.offset(at: 1_743_296_399) == 3600 && rules.offset(at: 1_743_296_400) == 7200)
        #expect(rules.offset(at: 1_761_440_400) == 3600)
        // 2026 is the rule's.
        #expect(
            try times("30 8 * * *", after: "2026-03-28T00:00:00Z", 2, in: rules) == [
                "2026-03-28T07:30:00Z", "2026-03-29T06:30:00Z",
            ])
        #expect(
            try times("30 2 * * *", after: "2026-03-28T12:00:00Z", 1, in: rules) == ["2026-03-30T00:30:00Z"])
        #expect(
            try times("30 2 25 10 *", after: "2026-10-24T12:00:00Z", 2, in: rules) == [
                "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z",
            ])
    }

    @Test("what is no file of a zone, and what leads out of their folder, is none")
    func noZones() {
        let file = Self.zone()
        for count in [0, 4, 43, 44, 60, file.count / 2] {
            #expect(TimeZoneRules(file: Array(file.prefix(count))) == nil)
        }
        for name in ["../etc/passwd", "/etc/passwd", "", "a//b", "Europe/.x", "a b"] {
            #expect(!TimeZoneRules.isName(name))
        }
        #expect(TimeZoneRules.isName("America/Argentina/Buenos_Aires") && TimeZoneRules.isName("Etc/GMT+1"))
    }
}
