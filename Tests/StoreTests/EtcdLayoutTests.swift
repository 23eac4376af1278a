import Etcd
import Serialization
import Testing

@testable import Store

@Suite("What the keys and values in etcd mean")
struct EtcdLayoutTests {
    private let layout = EtcdLayout(prefix: "/skein/")

    private func event(_ name: String, _ revision: Revision, _ kind: StoreEvent.Kind = .added) -> StoreEvent {
        StoreEvent(
            kind: kind, object: StoredObject(key: pod(name), revision: revision, object: ["n": .string(name)]),
            previous: kind == .added ? nil : [:])
    }

    @Test(
        "a key is read as it was written, whatever its names are",
        arguments: [
            pod("a"), pod("a/b%2F", "%"), StoreKey(resource: "apps/deployments", namespace: "x", name: "y"),
            StoreKey(resource: "core/nodes", namespace: "", name: "n"),
            StoreKey(resource: "example.com/widgets", namespace: "n", name: "system:x"),
        ])
    func keys(_ key: StoreKey) { #expect(layout.key(layout.place(key)) == key) }

    @Test("a step compares the clock, writes each key once, and tells all changes in order")
    func step() throws {
        let events = [event("a", 5), event("b", 6), event("a", 7, .modified), event("c", 8), event("c", 9, .deleted)]
        let request = try layout.step(events, writer: "w", batch: 3, after: 41)
        #expect(request.compare == [layout.compare(Array("/skein/clock".utf8), modRevision: 41)])
        var keys: [String] = []
        var clock: EtcdLayout.Clock?
        for operation in request.success {
            switch operation.request {
            case .requestPut(let put):
                keys.append(String(decoding: put.key, as: UTF8.self))
                if put.key == layout.clock { clock = try layout.clock(put.value) }
            case .requestDeleteRange(let delete): keys.append("-" + String(decoding: delete.key, as: UTF8.self))
            default: Issue.record("an operation that a step does not have")
            }
        }
        let objects = "/skein/objects/core/pods/default/"
        #expect(keys == [objects + "b", objects + "a", "-" + objects + "c", "/skein/clock"])
        let found = try #require(clock)
        #expect(found.revision == 9 && found.writer == "w" && found.batch == 3)
        #expect(found.changes.map(\.revision) == [5, 6, 7, 8, 9])
        #expect(found.changes.map(\.kind) == [.added, .added, .modified, .added, .deleted])
        #expect(found.changes.map { $0.superseded != nil } == [true, false, false, true, false])
        let first = try #require(found.changes[0].superseded)
        #expect(try layout.object(first, at: pod("a")) == StoredObject(key: pod("a"), revision: 5, object: ["n": "a"]))
    }

    @Test("ATK-34 whatever stands in etcd, it is understood or refused with the place, and nothing traps")
    func garbage() throws {
        let request = try layout.step([event("a", 5), event("a", 6, .modified)], writer: "w", batch: 1, after: 1)
        var seeds: [[UInt8]] = [
            [], [0x70], Array("5\np{}".utf8), Array("-9223372036854775808\ns".utf8), [0x0a, 0x73, 1, 2],
        ]
        for operation in request.success {
            if case .requestPut(let put) = operation.request { seeds.append(put.value) }
        }
        var random = Dice(state: 7)
        for _ in 0..<4000 {
            var bytes = seeds[Int(random.next() % UInt64(seeds.count))]
            for _ in 0..<(random.next() % 4) where !bytes.isEmpty {
                let index = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 3 {
                case 0: bytes[index] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: index)
                default: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: index)
                }
            }
            do throws(StoreError) { _ = try layout.clock(bytes) } catch { #expect("\(error)".contains("etcd /skein")) }
            do throws(StoreError) { _ = try layout.object(bytes, at: pod("a")) } catch {
                #expect("\(error)".contains("etcd /skein"))
            }
            _ = layout.key(layout.objects + bytes)
            _ = try? EtcdWatchResponse(serialized: bytes)
        }
    }

    @Test("a clock of a newer layout is refused")
    func newer() {
        let text = #"{"layout":2,"revision":1,"writer":"w","batch":1,"changes":[]}"#
        #expect { try layout.clock(Array(text.utf8)) } throws: { "\($0)".contains("newer Skein") }
    }

    @Test(
        "the end of a prefix is the key behind all that begin with it",
        arguments: [
            ([0x61], [0x62]), ([0x61, 0xff], [0x62]), ([0xff], [0]),
        ] as [([UInt8], [UInt8])])
    func end(_ start: [UInt8], _ end: [UInt8]) { #expect(EtcdLayout.end(of: start) == end) }
}

/// The same numbers each time.
private struct Dice {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 33
    }
}
