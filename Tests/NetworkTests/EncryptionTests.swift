import IO
import Netlink
import Testing

@testable import Network

@Suite("WireGuard between nodes")
struct EncryptionTests {
    private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }
    private func block(_ text: String) throws -> Prefix { try #require(Prefix(text)) }
    private func key(_ byte: UInt8) throws -> WireGuardKey {
        try #require(WireGuardKey([UInt8](repeating: byte, count: 32)))
    }

    private func node(
        _ name: String, _ place: String, _ blocks: [String], _ encryption: PeerEncryption?
    ) throws -> PeerNode {
        PeerNode(
            name: name, addresses: [try address(place)], blocks: try blocks.map(block), driver: .hostGateway,
            encryption: encryption)
    }

    private func paths(_ others: [PeerNode], isEncrypted: Bool = true) throws -> NodePaths {
        let encryption = NodeEncryption(privateKey: try key(100), publicKey: try key(101))
        return NodePaths(
            from: NodeNetworking(
                name: "a", addresses: [try address("192.0.2.1")], driver: .hostGateway,
                encryption: isEncrypted ? encryption : nil), blocks: [try block("10.244.0.0/24")], to: others)
    }

    @Test("a node with a key is reached by WireGuard alone, with its blocks as what is behind it")
    func peer() throws {
        let paths = try paths([
            try node(
                "b", "192.0.2.2", ["10.244.1.0/24", "fd00:244:0:1::/64"], PeerEncryption(key: try key(2), port: 51821))
        ])
        #expect(paths.problems == [])
        #expect(paths.routes == [try block("10.244.1.0/24"): .encrypted, try block("fd00:244:0:1::/64"): .encrypted])
        #expect(
            paths.peers == [
                try key(2): WireGuardPeer(
                    endpoint: try address("192.0.2.2"), port: 51821,
                    allowed: [try block("10.244.1.0/24"), try block("fd00:244:0:1::/64")])
            ])
        #expect(!paths.needsOverlay && paths.tunnelEnds.isEmpty && paths.neighbours.isEmpty)
    }

    @Test("a node without a key, with a damaged one, with ours or with another's is not reached at all")
    func closed() throws {
        let good = PeerEncryption(key: try key(2), port: 51820)
        let paths = try paths([
            try node("b", "192.0.2.2", ["10.244.1.0/24"], good),
            try node("c", "192.0.2.3", ["10.244.2.0/24"], nil),
            try node("d", "192.0.2.4", ["10.244.3.0/24"], PeerEncryption(key: nil, port: 51820)),
            try node("e", "192.0.2.5", ["10.244.4.0/24"], PeerEncryption(key: try key(3), port: 0)),
            try node("f", "192.0.2.6", ["10.244.5.0/24"], PeerEncryption(key: try key(101), port: 51820)),
            try node("g", "192.0.2.7", ["10.244.6.0/24"], good),
            try node("h", "2001:db8::8", ["10.244.7.0/24"], PeerEncryption(key: try key(8), port: 51820)),
        ])
        #expect(paths.routes == [try block("10.244.1.0/24"): .encrypted])
        #expect(Array(paths.peers.keys) == [try key(2)])
        let words = [
            "published no WireGuard key", "key or port that is none", "key or port that is none", "key of another node",
            "key of another node", "no address of the family",
        ]
        #expect(paths.problems.count == words.count)
        for (problem, word) in zip(paths.problems, words) { #expect(problem.contains(word), "\(problem)") }
    }

    @Test("a node that encrypts nothing sends nothing to one that does")
    func otherSide() throws {
        let paths = try paths(
            [try node("b", "192.0.2.2", ["10.244.1.0/24"], PeerEncryption(key: try key(2), port: 51820))],
            isEncrypted: false)
        #expect(paths.routes.isEmpty && paths.forwarding.isEmpty)
        #expect(paths.problems.count == 1 && paths.problems[0].contains("this one does not"))
    }

    @Test("a peer comes before the route to it, and goes after it; a new address or key changes that peer alone")
    func steps() throws {
        let before = try paths([
            try node("b", "192.0.2.2", ["10.244.1.0/24"], PeerEncryption(key: try key(2), port: 51820)),
            try node("c", "192.0.2.3", ["10.244.2.0/24"], PeerEncryption(key: try key(3), port: 51820)),
        ])
        let moved = try paths([
            try node("b", "192.0.2.22", ["10.244.1.0/24"], PeerEncryption(key: try key(2), port: 51820)),
            try node("c", "192.0.2.3", ["10.244.2.0/24"], PeerEncryption(key: try key(33), port: 51820)),
        ])
        func peer(_ place: String, _ range: String) throws -> WireGuardPeer {
            WireGuardPeer(endpoint: try address(place), port: 51820, allowed: [try block(range)])
        }
        let first = NodePaths.steps(from: NodePaths(), to: before)
        #expect(first.count == 4)
        #expect(
            Set(first.prefix(2)) == [
                .setPeer(try key(2), try peer("192.0.2.2", "10.244.1.0/24")),
                .setPeer(try key(3), try peer("192.0.2.3", "10.244.2.0/24")),
            ])
        let change = NodePaths.steps(from: before, to: moved)
        #expect(
            Set(change) == [
                .setPeer(try key(2), try peer("192.0.2.22", "10.244.1.0/24")),
                .setPeer(try key(33), try peer("192.0.2.3", "10.244.2.0/24")), .removePeer(try key(3)),
            ])
        #expect(change.last == .removePeer(try key(3)))
        let end = NodePaths.steps(from: before, to: NodePaths())
        #expect(end.prefix(2).allSatisfy { if case .removeRoute = $0 { true } else { false } })
        #expect(NodePaths.steps(from: before, to: before).isEmpty)
    }

    @Test("a peer that has not shaken hands for three minutes is told of, one that was told just now is not")
    func silent() throws {
        let peer = WireGuardPeer(endpoint: try address("192.0.2.2"), port: 51820)
        let told = [
            try key(1): ToldPeer(peer: peer, since: MonotonicTime(nanoseconds: 0)),
            try key(2): ToldPeer(peer: peer, since: MonotonicTime(nanoseconds: 0)),
            try key(3): ToldPeer(peer: peer, since: MonotonicTime(nanoseconds: 995_000_000_000)),
        ]
        var device = WireGuardDevice()
        device.handshakes = [try key(1): 5000, try key(2): 4700]
        #expect(
            EncryptedLink.silent(device, told: told, now: MonotonicTime(nanoseconds: 1_000_000_000_000), wall: 5010)
                == [try key(2)])
    }

    @Test("N-14 a pod's packet leaves room for WireGuard: 60 bytes over IPv4, 80 over IPv6")
    func room() throws {
        let encryption = NodeEncryption(privateKey: try key(1), publicKey: try key(2))
        for (place, bytes) in [("192.0.2.1", 60), ("2001:db8::1", 80)] {
            for driver in NodeDriver.allCases {
                let own = NodeNetworking(
                    name: "a", addresses: [try address(place)], driver: driver, encryption: encryption)
                #expect(own.overhead == bytes)
            }
        }
    }

    @Test("a private key is shown nowhere by accident, and only 32 bytes are a key")
    func keys() throws {
        let text = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
        #expect(try key(1).text == text)
        #expect(try WireGuardKey(text: text) == key(1))
        for wrong in ["", "AQEB", String(text.dropLast()), text + "=", String(repeating: "!", count: 44)] {
            #expect(WireGuardKey(text: wrong) == nil)
        }
    }

    // MARK: The messages

    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test("messages of generic netlink and WireGuard are what the kernel's headers say, byte for byte")
    func encoding() throws {
        #expect(
            hexadecimal(WireGuardMessage.family("wireguard").finished(sequence: 7))
                == "24000000" + "1000" + "0500" + "07000000" + "00000000" + "03010000" + "0e000200"
                + "776972656775617264000000")
        #expect(
            hexadecimal(WireGuardMessage.setDevice(30, 9, key: try key(1), port: 51820).finished(sequence: 1))
                == "48000000" + "1e00" + "0500" + "01000000" + "00000000" + "01010000" + "08000100" + "09000000"
                + "24000300" + String(repeating: "01", count: 32) + "06000600" + "6cca0000")
        let peer = WireGuardPeer(
            endpoint: try address("192.0.2.2"), port: 51820, allowed: [try block("10.244.1.0/24")])
        #expect(
            hexadecimal(WireGuardMessage.setPeer(30, 9, try key(2), peer).finished(sequence: 1))
                == "8c000000" + "1e00" + "0500" + "01000000" + "00000000" + "01010000" + "08000100" + "09000000"
                // WGDEVICE_A_PEERS, the first of them, its key and flags.
                + "70000880" + "6c000080" + "24000100" + String(repeating: "02", count: 32) + "08000300" + "02000000"
                // sockaddr_in: AF_INET, 51820 and the address in network order, eight bytes of nothing; the keepalive.
                + "14000400" + "0200ca6c" + "c0000202" + "0000000000000000" + "06000500" + "19000000"
                // WGPEER_A_ALLOWEDIPS: family, address, length.
                + "20000980" + "1c000080" + "06000100" + "02000000" + "08000200" + "0af40100" + "05000300" + "18000000")
        #expect(
            hexadecimal(WireGuardMessage.removePeer(30, 9, try key(2)).finished(sequence: 1))
                == "50000000" + "1e00" + "0500" + "01000000" + "00000000" + "01010000" + "08000100" + "09000000"
                + "34000880" + "30000080" + "24000100" + String(repeating: "02", count: 32) + "08000300" + "01000000")
        #expect(
            hexadecimal(WireGuardMessage.bytes(of: try address("2001:db8::2"), 51820))
                == "0a00ca6c" + "00000000" + "20010db8000000000000000000000002" + "00000000")
        #expect(
            hexadecimal(WireGuardMessage.getDevice(30, 9).finished(sequence: 1))
                == "1c000000" + "1e00" + "0503" + "01000000" + "00000000" + "00010000" + "08000100" + "09000000")
    }

    @Test("what the kernel lists is read, also when a peer goes on in the next message or is cut short")
    func decoding() throws {
        func answer(_ peers: (inout NetlinkMessage) -> Void) -> NetlinkReply {
            var message = NetlinkMessage(type: 30, flags: 0)
            message.append(UInt32(0))
            message.attribute(3, [UInt8](repeating: 9, count: 32))
            message.attribute(6, UInt16(51820))
            message.nested(8 | 0x8000, peers)
            return NetlinkReply(type: 30, flags: 0, payload: message.bytes.dropFirst(16))
        }
        func range(_ list: inout NetlinkMessage, _ text: String) throws {
            let prefix = try block(text)
            list.nested(0) {
                $0.attribute(1, UInt16(prefix.address.isV6 ? 10 : 2))
                $0.attribute(2, prefix.address.bytes)
                $0.attribute(3, UInt8(prefix.length))
            }
        }
        let ranges = ["10.244.1.0/24", "fd00:244:0:1::/64"]
        let replies = ranges.map { text in
            answer { peers in
                peers.nested(0) { one in
                    one.attribute(1, [UInt8](repeating: 2, count: 32))
                    if text == ranges[0] {
                        one.attribute(4, WireGuardMessage.bytes(of: .v4(0xc000_0202), 51820))
                        one.attribute(5, UInt16(25))
                        one.attribute(6, [UInt8](repeating: 0, count: 16).enumerated().map { $0.offset == 0 ? 77 : 0 })
                    }
                    one.nested(9) { list in try? range(&list, text) }
                }
                peers.nested(0) { $0.attribute(1, [1, 2, 3]) }
            }
        }
        let device = WireGuardMessage.device(in: replies)
        #expect(device.privateKey == (try key(9)) && device.port == 51820)
        #expect(device.handshakes == [try key(2): 77])
        #expect(
            device.peers == [
                try key(2): WireGuardPeer(
                    endpoint: try address("192.0.2.2"), port: 51820, allowed: Set(try ranges.map(block)))
            ])
        // Nothing that the kernel could send may end us.
        let bytes = Array(replies[0].payload)
        for length in bytes.indices {
            _ = WireGuardMessage.device(in: [NetlinkReply(type: 30, flags: 0, payload: bytes[..<length])])
        }
    }
}
