import EnvoyAPI
import Serialization
import Testing

@testable import ControlPlane

@Suite("Limits of the whole mesh, counted by several control planes")
struct RateLimitSharingTests {
    private static let rules: JSON = [
        "domain": "shop",
        "descriptors": [
            ["key": "user", "rate_limit": ["unit": "minute", "requests_per_unit": 10]],
            ["key": "path", "rate_limit": ["unit": "second", "requests_per_unit": 1]],
        ],
    ]

    private func counter() throws -> RateLimitCounter {
        var counter = RateLimitCounter()
        counter.rules = ["shop": try RateLimitRules(Self.rules)]
        counter.isShared = true
        return counter
    }

    private func ask(
        _ counter: inout RateLimitCounter, _ key: String, _ value: String, at now: Int64, hits: UInt32 = 1
    ) throws -> RateLimitResponse.DescriptorStatus {
        var entry = RateLimitDescriptor.Entry()
        entry.key = key
        entry.value = value
        var descriptor = RateLimitDescriptor()
        descriptor.entries = [entry]
        var request = RateLimitRequest()
        request.domain = "shop"
        request.hitsAddend = hits
        request.descriptors = [descriptor]
        return try #require(counter.answer(request, now: now)?.statuses.first)
    }

    @Test("What the others have let through counts here, for the same value and the same window only")
    func sums() throws {
        var (a, b) = (try counter(), try counter())
        for _ in 0..<6 { _ = try ask(&a, "user", "ann", at: 60) }
        b.others.take(["a": a.report(now: 60)], now: 60)
        #expect(try ask(&b, "user", "ann", at: 61).limitRemaining == 3)
        #expect(try ask(&b, "user", "bob", at: 61).limitRemaining == 9)
        for _ in 0..<3 { #expect(try ask(&b, "user", "ann", at: 62).code == .ok) }
        #expect(try ask(&b, "user", "ann", at: 63).code == .overLimit)
        // The first hears of it likewise.
        a.others.take(["b": b.report(now: 63)], now: 63)
        #expect(try ask(&a, "user", "ann", at: 64).code == .overLimit)
        // The next minute is another window.
        #expect(try ask(&b, "user", "ann", at: 120).limitRemaining == 9)
    }

    @Test("Between two reports each lets through at most what is left of the limit; after them all refuse")
    func bound() throws {
        var servers = [try counter(), try counter(), try counter()]
        var passed = 0
        for second in 0..<30 {
            for index in servers.indices {
                for _ in 0..<4 where try ask(&servers[index], "user", "ann", at: Int64(second)).code == .ok {
                    passed += 1
                }
            }
            var reports: [String: [UInt8]] = [:]
            for index in servers.indices { reports["\(index)"] = servers[index].report(now: Int64(second)) }
            for index in servers.indices {
                servers[index].others.take(reports.filter { $0.key != "\(index)" }, now: Int64(second))
            }
        }
        // 12 in the first round, when nobody had heard of another.
        #expect(passed == 12)
    }

    @Test("What is beyond the limit is no news, so that an attack writes nothing")
    func quiet() throws {
        var counter = try counter()
        _ = try ask(&counter, "user", "ann", at: 0, hits: 50)
        let told = counter.report(now: 0)
        for _ in 0..<1_000 { _ = try ask(&counter, "user", "ann", at: 1) }
        #expect(counter.report(now: 1) == told)
        #expect(RateLimitShares(told)?.counts.values.map { $0 } == [11])
    }

    @Test("A server that has gone counts until its windows end, and once when it is back")
    func departed() throws {
        var (a, b) = (try counter(), try counter())
        for _ in 0..<9 { _ = try ask(&a, "user", "ann", at: 0) }
        let told = a.report(now: 0)
        b.others.take(["a": told], now: 0)
        b.others.take([:], now: 1)
        #expect(try ask(&b, "user", "ann", at: 2).limitRemaining == 0)
        b.others.take(["a": told], now: 3)
        #expect(try ask(&b, "user", "ann", at: 3, hits: 1).code == .overLimit)
        let slot = try #require(RateLimitShares(told)?.counts.keys.first)
        #expect(b.others.count(slot) == 9)
        b.others.take([:], now: 60)
        #expect(b.others.count(slot) == 0)
    }

    @Test("Of too many windows those are told that have used up most, and how many are not told is counted")
    func tooMany() throws {
        var counter = try counter()
        for number in 0..<RateLimitShares.windowsMax + 5 { _ = try ask(&counter, "user", "\(number)", at: 0) }
        _ = try ask(&counter, "user", "busy", at: 0, hits: 9)
        let shares = try #require(RateLimitShares(counter.report(now: 0)))
        #expect(shares.counts.count == RateLimitShares.windowsMax)
        #expect(shares.counts.values.contains(9))
        #expect(counter.untold == 6)
        // Windows that have ended make room.
        _ = try ask(&counter, "path", "/", at: 61)
        #expect(RateLimitShares(counter.report(now: 61))?.counts.count == 1)
        #expect(counter.untold == 0)
    }

    @Test(
        "Words of a server that are in no known form are counted, and what it said before stands",
        arguments: [[], [2], [1, 0], [UInt8](repeating: 1, count: 1 + 32 * (RateLimitShares.windowsMax + 1))])
    func unreadable(bytes: [UInt8]) throws {
        var (a, b) = (try counter(), try counter())
        _ = try ask(&a, "user", "ann", at: 0, hits: 4)
        b.others.take(["a": a.report(now: 0)], now: 0)
        b.others.take(["a": bytes], now: 0)
        #expect(b.others.unreadable == 1)
        #expect(try ask(&b, "user", "ann", at: 1).limitRemaining == 5)
    }

    @Test("No value of a request is told, and rows of any bytes are read without a fault")
    func rows() throws {
        var counter = try counter()
        _ = try ask(&counter, "user", "ann@example.org", at: 0)
        let told = counter.report(now: 0)
        #expect(told.count == 33)
        #expect(!String(decoding: told, as: UTF8.self).contains("ann"))
        let odd = try #require(RateLimitShares([1] + [UInt8](repeating: 0xff, count: 64)))
        #expect(odd.counts.keys.map(\.end) == [4_294_967_294])
        let far = try #require(
            RateLimitShares([1] + [UInt8](repeating: 0, count: 16) + [0x7f] + [UInt8](repeating: 0xff, count: 15)))
        #expect(far.counts.keys.map(\.end) == [.max])
    }
}
