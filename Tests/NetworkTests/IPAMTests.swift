import IO
import Testing

@testable import Network

private func range(_ text: String) throws -> Prefix { try #require(Prefix(text)) }
private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }
private func time(_ seconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: seconds * 1_000_000_000) }

@Suite("Address pool")
struct AddressPoolTests {
    @Test("gives every address once, none that is excluded, then says that none is left")
    func all() throws {
        let gateway = try address("10.0.0.1")
        var pool = AddressPool(try range("10.0.0.0/28"), excluding: [gateway])
        var given: Set<IPAddress> = []
        for number in 0..<13 { given.insert(try pool.allocate(owner: "p\(number)", now: time(0))) }
        #expect(given.count == 13)
        #expect(given.min() == (try address("10.0.0.2")))
        #expect(given.max() == (try address("10.0.0.14")))
        let error = #expect(throws: NetworkError.self) { try pool.allocate(owner: "one more", now: time(0)) }
        #expect(error?.description == "no address is left in 10.0.0.0/28: 13 are taken")
        #expect(try pool.allocate(owner: "p3", now: time(0)) == pool.allocations["p3"])
    }

    @Test("lets an address rest before somebody else gets it, but not before its last owner does")
    func rest() throws {
        var pool = AddressPool(try range("10.0.0.0/30"), excluding: [], reuseDelay: .seconds(30))
        let first = try pool.allocate(owner: "a", now: time(0))
        _ = try pool.allocate(owner: "b", now: time(0))
        pool.release(owner: "a", now: time(10))
        let error = #expect(throws: NetworkError.self) { try pool.allocate(owner: "c", now: time(39)) }
        #expect(error?.description.contains("1 of them were given back and rest for 30.0 seconds") == true)
        #expect(try pool.allocate(owner: "a", now: time(11)) == first)
        pool.release(owner: "a", now: time(12))
        #expect(throws: NetworkError.self) { try pool.allocate(owner: "c", now: time(41)) }
        #expect(try pool.allocate(owner: "c", now: time(42)) == first)
        #expect(pool.owner(of: first) == "c")
    }

    @Test("holds its invariants under a random load")
    func random() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var generator = Generator(state: seed)
        var pool = AddressPool(try range("10.0.0.0/26"), excluding: [try address("10.0.0.1")], reuseDelay: .seconds(5))
        var held: [String: IPAddress] = [:]
        for step in 0..<20_000 as Range<UInt64> {
            let owner = "p\(UInt64.random(in: 0..<90, using: &generator))"
            if Bool.random(using: &generator) {
                if let address = try? pool.allocate(owner: owner, now: time(step)) {
                    #expect(held[owner] == nil || held[owner] == address)
                    held[owner] = address
                }
            } else {
                #expect(pool.release(owner: owner, now: time(step)) == held.removeValue(forKey: owner))
            }
            #expect(Set(held.values).count == held.count)
            #expect(pool.allocations == held)
        }
        // Nothing is lost: after the rest, all 61 can be given.
        for owner in held.keys { pool.release(owner: owner, now: time(20_000)) }
        for number in 0..<61 { _ = try pool.allocate(owner: "new\(number)", now: time(30_000)) }
    }

    @Test("counts on in an IPv6 block")
    func v6() throws {
        var pool = AddressPool(try range("fd00:244::/64"), excluding: [try address("fd00:244::1")])
        #expect(try pool.allocate(owner: "a", now: time(0)) == (try address("fd00:244::2")))
    }
}

@Suite("Address journal")
struct IPAMTests {
    private func withDirectory(_ body: (String) throws -> Void) throws {
        // In memory where there is such a place: these tests sync thousands of times.
        let parent = File.isDirectory("/dev/shm") ? "/dev/shm" : "/tmp"
        let directory = "\(parent)/skein-ipam-\(Environment.randomBytes(6).map { String($0, radix: 16) }.joined())"
        try File.makeDirectory(directory)
        defer { try? File.removeTree(directory) }
        try body(directory)
    }

    private func open(_ path: String, boot: String = "boot-1", range text: String = "10.0.0.0/27") throws -> IPAM {
        try IPAM(
            path: path, ranges: [try range(text), try range("fd00::/64")], excluded: [try address("10.0.0.1")],
            boot: boot)
    }

    @Test("is the same after it is read again")
    func again() throws {
        try withDirectory { directory in
            let path = "\(directory)/addresses"
            let first = try open(path)
            let a = try first.allocate(owner: "a", now: time(1))
            _ = try first.allocate(owner: "b", now: time(1))
            try first.release(owner: "b", now: time(2))
            #expect(a == [try address("10.0.0.2"), try address("fd00::1")])
            let second = try open(path)
            #expect(second.allocations == ["a": a])
            #expect(try second.allocate(owner: "a", now: time(3)) == a)
            #expect(try second.allocate(owner: "c", now: time(3)) != a)
            #expect(try second.reconcile(keeping: ["c"], now: time(4)) == ["a"])
            #expect(Array(try open(path).allocations.keys) == ["c"])
        }
    }

    @Test("ATK-41 cut at every byte, nothing is given twice and nothing is lost")
    func cut() throws {
        try withDirectory { directory in
            let path = "\(directory)/addresses"
            let ipam = try open(path)
            // What was true, and the length of the file, after each answer.
            var answers: [(length: Int, held: [String: [IPAddress]])] = [(0, [:])]
            for step in 0..<40 as Range<UInt64> {
                let owner = "pod-\(step % 7)"
                if step % 3 == 2 {
                    try ipam.release(owner: owner, now: time(step))
                } else {
                    _ = try ipam.allocate(owner: owner, now: time(step))
                }
                answers.append((try File.read(path).count, ipam.allocations))
            }
            let whole = try File.read(path)
            let torn = "\(directory)/torn"
            for length in 0...whole.count {
                try File.write(torn, Array(whole.prefix(length)))
                let after = try open(torn)
                let sure = answers.last { $0.length <= length } ?? (0, [:])
                #expect(after.allocations == sure.held, "cut at \(length)")
                // Life goes on, also over the torn end, and another reader sees the same.
                let new = try after.allocate(owner: "new", now: time(100))
                #expect(!sure.held.values.contains { !Set($0).isDisjoint(with: new) })
                #expect(try open(torn).allocations == after.allocations, "cut at \(length), read again")
                if length % 16 == 0 {
                    try after.reconcile(keeping: [], now: time(100))
                    for number in 0..<29 { _ = try after.allocate(owner: "all-\(number)", now: time(1000)) }
                }
            }
        }
    }

    @Test("damage before good records is refused and names the line")
    func damage() throws {
        try withDirectory { directory in
            let path = "\(directory)/addresses"
            let ipam = try open(path)
            for owner in ["a", "b", "c"] { _ = try ipam.allocate(owner: owner, now: time(1)) }
            var bytes = try File.read(path)
            let header = try #require(bytes.firstIndex(of: 10))
            bytes[header + 5] ^= 1
            try File.write(path, bytes)
            let error = #expect(throws: NetworkError.self) { try open(path) }
            #expect(error?.description.hasPrefix("\(path): line 2 is damaged and good ones follow") == true)
            #expect(try File.read(path) == bytes)
        }
    }

    @Test("a reboot empties it; another range is refused while pods have addresses")
    func reboot() throws {
        try withDirectory { directory in
            let path = "\(directory)/addresses"
            _ = try open(path).allocate(owner: "a", now: time(1))
            let error = #expect(throws: NetworkError.self) { try open(path, range: "10.1.0.0/24") }
            #expect(error?.description.hasPrefix("1 pods still have addresses of 10.0.0.0/27") == true)
            #expect(try open(path, boot: "boot-2").allocations.isEmpty)
        }
    }

    @Test("is rewritten when most of it is history")
    func compaction() throws {
        try withDirectory { directory in
            let path = "\(directory)/addresses"
            let ipam = try open(path)
            _ = try ipam.allocate(owner: "stays", now: time(1))
            for step in 0..<400 as Range<UInt64> {
                _ = try ipam.allocate(owner: "pod", now: time(step))
                try ipam.release(owner: "pod", now: time(step))
            }
            let lines = try File.read(path).count { $0 == 10 }
            #expect(lines < 300)
            #expect(try open(path).allocations == ipam.allocations)
        }
    }

    @Test(
        "an owner that would break a line is refused",
        arguments: ["", "a b", "a\nb", String(repeating: "x", count: 254)])
    func owners(owner: String) throws {
        try withDirectory { directory in
            let ipam = try open("\(directory)/addresses")
            #expect(throws: NetworkError.self) { try ipam.allocate(owner: owner, now: time(1)) }
        }
    }
}

/// SplitMix64: a seeded source for random tests.
struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
