import IO
import Telemetry
import Testing

@testable import Store

@Suite("What servers on one etcd tell of themselves")
struct EtcdReportsTests {
    /// Touched on one loop.
    private final class Words: @unchecked Sendable { var text = "" }

    @Test(
        "a server hears what others say, also what they said before it came, and no more of one that has gone; nothing of it is a write; topics stay apart"
    )
    func reports() async throws {
        try await Home.etcd.run { place in
            func open() async throws -> EtcdStore { try #require(try await place.open() as? EtcdStore) }
            func heard(_ store: EtcdStore, _ topic: ReportTopic = .proxies) -> [String] {
                (store.reports[topic]?.others ?? [:]).values.map { String(decoding: $0, as: UTF8.self) }.sorted()
            }
            func until(_ isDone: () -> Bool) async throws {
                let deadline = place.loop.now + .seconds(30)
                while !isDone(), place.loop.now < deadline { await place.loop.sleep(for: .milliseconds(5)) }
                try #require(isDone())
            }
            let (first, second, third) = (try await open(), try await open(), try await open())
            let revision = first.revision
            let words = Words()
            words.text = "first"
            first.report(.proxies, { Array(words.text.utf8) }, changed: { _ in })
            let limits = Words()
            second.report(.proxies, { Array("second".utf8) }, changed: { _ in })
            first.report(.limits, { Array("12 of 20".utf8) }, changed: { _ in })
            second.report(.limits, { [] }) {
                limits.text = $0.values.map { String(decoding: $0, as: UTF8.self) }.joined()
            }
            try await until { heard(first) == ["second"] && heard(second) == ["first"] }
            try await until { limits.text == "12 of 20" }
            third.report(.proxies, { [] }, changed: { _ in })
            try await until { heard(third) == ["first", "second"] }
            words.text = "first, again"
            try await until { heard(second) == ["", "first, again"] }
            // What is too long is counted, and the words before it stand.
            words.text = String(repeating: "x", count: EtcdReports.bytesMax + 1)
            try await until { (first.reports[.proxies]?.dropped.value ?? 0) > 0 }
            #expect(heard(second) == ["", "first, again"])
            await first.close()
            try await until { heard(second) == [""] && heard(third) == ["second"] && limits.text.isEmpty }
            #expect(second.revision == revision && third.revision == revision)
            await second.close()
            await third.close()
        }
    }
}
