import Etcd
import IO
import Testing

@testable import Store

@Suite("What servers on one etcd have in common beside the objects")
struct EtcdCommonTests {
    @Test(
        "the first server's offer is what all have, sealed with the key of the Secrets; without a key nothing is shared"
    )
    func common() async throws {
        try await Home.etcd.run { place in
            let key = place.directory + "/secrets.key"
            func open(_ key: String?) async throws -> EtcdStore {
                try #require(try await place.open(key: key) as? EtcdStore)
            }
            let first = try await open(key)
            let second = try await open(key)
            let revision = first.revision
            #expect(try await first.common("identity") == nil)
            let words = Array("the key of the first".utf8)
            #expect(try await first.common("identity", offering: words) == words)
            #expect(try await second.common("identity", offering: Array("of the second".utf8)) == words)
            #expect(try await second.common("identity") == words)
            // Nobody who reads etcd reads it, and under another name it is nothing.
            let answer = try await first.client.call(.txn, first.layout.take(first.layout.common("identity"), nil))
            let sealed = try #require(answer.found?.value)
            #expect(!sealed.contains(words) && sealed.count > words.count)
            #expect(throws: StoreError.self) { try first.layout.text.open(sealed, as: "mesh-authority") }
            // A step is taken by who knows the one before; the others are told that there is another.
            let (newer, late) = (Array("a newer one".utf8), Array("a late one".utf8))
            var heard: [String] = []
            first.onCommon = { heard.append($0) }
            #expect(try await second.replaceCommon("identity", words, with: newer) == newer)
            #expect(try await first.replaceCommon("identity", words, with: late) == newer)
            #expect(try await first.common("identity", offering: words) == newer)
            for _ in 0..<3000 where heard.isEmpty { await first.client.loop.sleep(for: .milliseconds(10)) }
            #expect(heard == ["identity"])
            // What somebody has taken away is there again.
            #expect(try await first.replaceCommon("other", words, with: late) == late)
            #expect(first.revision == revision, "nothing of it is a write")
            await first.close()
            await second.close()
        }
        try await Home.etcd.run { place in
            let open = try #require(try await place.open() as? EtcdStore)
            #expect(try await open.common("identity", offering: [1]) == nil)
            #expect(try await open.replaceCommon("identity", [1], with: [2]) == [2])
            let answer = try await open.client.call(.txn, open.layout.take(open.layout.common("identity"), nil))
            #expect(answer.found == nil)
            await open.close()
        }
    }
}
