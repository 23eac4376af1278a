import Glibc
import IO
import Serialization
import Testing

@testable import CNI

/// An IPAM configuration with a directory of its own.
private func ipam(_ directory: String, _ members: [String: JSON]) throws -> IPAMConfiguration {
    var value: JSON = ["type": "skein", "dataDir": .string(directory)]
    for (name, item) in members { value[name] = item }
    return try IPAMConfiguration(try JSONReader(value, path: "ipam"), network: "net")
}

private func owner(_ name: String) -> AttachmentOwner { AttachmentOwner(containerID: name, interface: "eth0") }

private func withDirectory(_ body: (String) throws -> Void) throws {
    let directory = "/tmp/skein-ipam-test-\(Environment.randomBytes(6).map { String($0, radix: 16) }.joined())"
    defer { try? File.removeTree(directory) }
    try body(directory)
}

extension AddressStore {
    fileprivate func give(
        _ name: String, _ ipam: IPAMConfiguration, wanted: [String] = [], seconds: UInt64 = 0
    ) throws -> [String] {
        let request = Request(
            owner: owner(name), exclusions: ipam.exclusions, reuseDelay: ipam.reuseDelay,
            now: MonotonicTime(nanoseconds: seconds * 1_000_000_000))
        return try allocate(request, sets: ipam.ranges, wanted: wanted.compactMap { IPAddress($0) }).map {
            "\($0.address)"
        }
    }
}

@Suite("CNI addresses")
struct AddressStoreTests {
    @Test("gives each address once, neither gateway nor exclusions, of every set one, and then says that none is left")
    func all() throws {
        try withDirectory { directory in
            let ipam = try ipam(
                directory,
                [
                    "ranges": [
                        [
                            ["subnet": "10.1.0.0/29"],
                            ["subnet": "10.2.0.0/24", "rangeStart": "10.2.0.8", "rangeEnd": "10.2.0.9"],
                        ],
                        [["subnet": "fd00::/64"]],
                    ], "exclude": ["10.1.0.4/31"],
                ])
            let store = try AddressStore(ipam, network: "net")
            var given: [String] = []
            for number in 0..<5 {
                let addresses = try store.give("c\(number)", ipam)
                #expect(addresses.count == 2)
                given.append(addresses[0])
            }
            #expect(given == ["10.1.0.2", "10.1.0.3", "10.1.0.6", "10.2.0.8", "10.2.0.9"])
            let error = #expect(throws: CNIError.self) { try store.give("one more", ipam) }
            #expect(error?.code == .tryAgainLater)
            // The address of the other set is not kept by a call that failed.
            #expect(try store.held(by: owner("one more")).isEmpty)
            #expect(try store.everythingHeld().count == 10)
        }
    }

    @Test("lets an address rest, but not from its last owner, and knows requests for certain ones")
    func rest() throws {
        try withDirectory { directory in
            let ipam = try ipam(directory, ["subnet": "10.1.0.0/29", "reuseDelay": 60])
            let store = try AddressStore(ipam, network: "net")
            for number in 0..<5 { _ = try store.give("c\(number)", ipam) }
            try store.release(owner("c1"), now: MonotonicTime(nanoseconds: 10_000_000_000))
            #expect(throws: CNIError.self) { try store.give("new", ipam, seconds: 69) }
            #expect(try store.give("c1", ipam, seconds: 11) == ["10.1.0.3"])
            try store.release(owner("c1"), now: MonotonicTime(nanoseconds: 10_000_000_000))
            #expect(try store.give("new", ipam, seconds: 70) == ["10.1.0.3"])
            let taken = #expect(throws: CNIError.self) { try store.give("other", ipam, wanted: ["10.1.0.4"]) }
            #expect(taken?.code == .tryAgainLater)
            let foreign = #expect(throws: CNIError.self) { try store.give("other", ipam, wanted: ["10.9.0.4"]) }
            #expect(foreign?.code == .invalidConfiguration)
            try store.release(owner("c2"))
            #expect(try store.give("other", ipam, wanted: ["10.1.0.4"]) == ["10.1.0.4"])
        }
    }

    @Test("honours the files of host-local, and takes them back")
    func foreign() throws {
        try withDirectory { directory in
            try File.makeDirectory("\(directory)/net")
            try File.write("\(directory)/net/10.1.0.2", Array("old\r\neth0".utf8))
            let ipam = try ipam(directory, ["subnet": "10.1.0.0/29"])
            let store = try AddressStore(ipam, network: "net")
            #expect(try store.give("new", ipam) == ["10.1.0.3"])
            #expect(try store.release(owner("old")).map(\.description) == ["10.1.0.2"])
            #expect(try store.give("next", ipam) == ["10.1.0.4"])
            #expect(try store.give("asked", ipam, wanted: ["10.1.0.2"]) == ["10.1.0.2"])
        }
    }

    @Test("ATK-41 a reboot gives all addresses back, whatever was lost or damaged by it")
    func reboot() throws {
        try withDirectory { directory in
            let ipam = try ipam(directory, ["subnet": "10.1.0.0/24"])
            for boot in ["one", "two"] {
                let store = try AddressStore(ipam, network: "net", boot: boot)
                #expect(try store.everythingHeld().isEmpty)
                #expect(try store.give("c", ipam) == ["10.1.0.2"])
                #expect(try store.give("d", ipam) == ["10.1.0.3"])
            }
            // A machine's crash: a file of zeros, half a file, noise.
            let path = "\(directory)/net/skein-10.1.0.0-24"
            for bytes in [[UInt8](repeating: 0, count: 4096), [1, 2, 3], Array("noise".utf8)] {
                try File.write(path, bytes)
                let store = try AddressStore(ipam, network: "net", boot: "three")
                #expect(try store.give("c", ipam) == ["10.1.0.2"])
                #expect(try store.everythingHeld().count == 1)
            }
        }
    }

    @Test("65,000 addresses take at most 4 MiB, and each is found, given back and given again")
    func many() throws {
        try withDirectory { directory in
            let ipam = try ipam(directory, ["subnet": "10.1.0.0/16"])
            let store = try AddressStore(ipam, network: "net")
            var seen: Set<String> = []
            for number in 0..<65_000 { seen.formUnion(try store.give("container-\(number)", ipam)) }
            #expect(seen.count == 65_000)
            var status = stat()
            #expect(stat("\(directory)/net/skein-10.1.0.0-16", &status) == 0)
            #expect(Int(status.st_blocks) * 512 <= 4 << 20)
            for number in stride(from: 0, to: 65_000, by: 997) {
                #expect(try store.release(owner("container-\(number)")).count == 1)
                #expect(try store.held(by: owner("container-\(number)")).isEmpty)
                #expect(try store.held(by: owner("container-\(number + 1)")).count == 1)
            }
        }
    }

    @Test("holds its invariants under a random load")
    func random() throws {
        try withDirectory { directory in
            var generator = SystemRandomNumberGenerator()
            let ipam = try ipam(directory, ["subnet": "10.1.0.0/26"])
            var held: [String: String] = [:]
            for step in 0..<5_000 as Range<UInt64> {
                let store = try AddressStore(ipam, network: "net")
                let name = "c\(Int.random(in: 0..<90, using: &generator))"
                if Bool.random(using: &generator) {
                    if let address = try? store.give(name, ipam, seconds: step).first {
                        #expect(held[name] == nil || held[name] == address)
                        held[name] = address
                    } else {
                        #expect(held.count == 61)
                    }
                } else {
                    let released = try store.release(owner(name), now: MonotonicTime(nanoseconds: step * 1_000_000_000))
                    #expect(released.first?.description == held.removeValue(forKey: name))
                }
                #expect(Set(held.values).count == held.count)
            }
            let store = try AddressStore(ipam, network: "net")
            #expect(try store.everythingHeld().count == held.count)
        }
    }
}
