import Glibc
import IO
import Testing

@testable import Network

/// Pairs of keys that `openssl genpkey -algorithm X25519` has made: private, public.
private let pairs = [
    ("MOZi8RhWXZ65XLWg8VQg4SbGN5JljOilu3Om3y4N7lc=", "UP+FACnov+GqLYzaQFyppGqZdoxiPX8HDmfawblm5WI="),
    ("MPl+FCDFP9HQYXJV+M5IYS+L7Y0reNbsc/Mpn9wVvng=", "WCV08B5qxtb4uf3cat9Da2qs4UW+kRMbaUeO6fAebgs="),
    ("oOJea8IvSj3qbepzw4/2NWvThPPmU655DEIwcYilyVI=", "wvZ+U2J32s49jFg8vVDpOM+YCHZ3x4OhopSBqj+7GV4="),
    ("mGZY8SCj6PbVLNocfL8I99xyOqGoLDCSSFvYvOJPqnk=", "YJKSR32Ia+bj6J/BrL9XtcFIT15JdBela7PK548XeXc="),
]

private func encryption(_ number: Int) throws -> NodeEncryption {
    guard let own = WireGuardKey(text: pairs[number].0), let shown = WireGuardKey(text: pairs[number].1) else {
        throw Failed(description: "key \(number)")
    }
    return NodeEncryption(privateKey: own, publicKey: shown)
}

private func shown(_ number: Int) throws -> PeerEncryption {
    let own = try encryption(number)
    return PeerEncryption(key: own.publicKey, port: own.port)
}

/// Whether this kernel has no WireGuard: then a network that is to be encrypted is refused in those words, and none is made in the clear.
///
/// With a kernel that has it `make kernel-check` runs these tests.
private func isRefused() throws -> Bool {
    if (try? NodeEncryption.check()) != nil { return false }
    try labTest(1) { laboratory in
        var said = "nothing"
        do {
            let network = try laboratory.machines[0].setUp(.overlay, encryption: try encryption(0))
            try laboratory.machines[0].apply(network, [])
        } catch { said = "\(error)" }
        try requireEqual(said, "\(NodeEncryption.missing)", "what is said where WireGuard is missing")
        let left = try laboratory.machines[0].inside { () throws(NetworkError) in
            try RouteSocket().links().map(\.name).filter { $0.hasPrefix("skwg") || $0.hasPrefix("skvx") }
        }
        try requireEqual(left, [], "links")
    }
    return true
}

@Suite("Pods on several machines, encrypted")
struct NodeEncryptionTests {
    /// Counts what comes in by the machine's uplink: WireGuard, and what must not be there.
    private func count(_ machine: Laboratory.Machine) throws {
        try machine.inside { () throws(NetworkError) in
            try NFTables.run(
                """
                add table inet seen
                add chain inet seen in { type filter hook prerouting priority -400; }
                add rule inet seen in iifname eth0 udp dport 51820 counter comment "encrypted"
                add rule inet seen in iifname eth0 udp dport != 51820 counter comment "clear"
                add rule inet seen in iifname eth0 meta l4proto tcp counter comment "clear"
                add rule inet seen in iifname eth0 ip saddr 10.244.0.0/16 counter comment "clear"
                add rule inet seen in iifname eth0 ip6 saddr fd00:244::/48 counter comment "clear"

                """)
        }
    }

    private func seen(_ machine: Laboratory.Machine, _ word: String) throws -> Int {
        let text = try machine.inside { () throws(NetworkError) in
            try NFTables.output(of: "list chain inet seen in")
        }
        return text.split(separator: "\n").filter { $0.contains("\"\(word)\"") }.compactMap { line in
            line.split(separator: " ").drop { $0 != "packets" }.dropFirst().first.flatMap { Int($0) }
        }.reduce(0, +)
    }

    @Test(
        "N-14 pods reach each other by WireGuard alone, whole packets pass, and a moved, re-keyed or left node is followed"
    )
    func life() throws {
        if try isRefused() { return }
        try labTest(2) { laboratory in
            let (a, b) = (laboratory.machines[0], laboratory.machines[1])
            let one = try a.setUp(.hostGateway, encryption: try encryption(0))
            let two = try b.setUp(.overlay, encryption: try encryption(1))
            try requireEqual(one.mtu, Laboratory.linkMTU - 60, "bytes of a pod's packet")
            let (pod, other) = (try a.attach(one, 5), try b.attach(two, 5))
            let host = try TestHost()
            defer { host.end() }
            try host.serve("b", in: other, on: "10.244.2.5:80")
            try host.serve("b", in: other, on: "[fd00:244:0:2::5]:80")
            try count(a)
            try count(b)
            let answer = "b - 10.244.1.5"

            // Before anybody has told of the other: nothing goes out.
            try requireEqual(try ask("10.244.2.5:80", from: pod), "no route to host", "before a word")
            try requireEqual(
                try a.apply(one, [try b.peer(.overlay, encryption: try shown(1))]), [], "problems of the first")
            try b.apply(two, [try a.peer(.hostGateway, encryption: try shown(0))])
            for _ in 0..<2 {
                // The second time nothing is changed.
                try requireEqual(try ask("10.244.2.5:80", from: pod, timeoutMilliseconds: 30_000), answer, "by IPv4")
                try a.apply(one, [try b.peer(.overlay, encryption: try shown(1))])
            }
            try requireEqual(
                try ask("[fd00:244:0:2::5]:80", from: pod, timeoutMilliseconds: 30_000), "b - fd00:244:0:1::5",
                "by IPv6")
            let mebibyte = 1 << 20
            try requireEqual(
                try transfer(mebibyte, from: pod, to: other, address: "10.244.2.5:81"), mebibyte, "1 MiB")
            let packets = try seen(b, "encrypted")
            try require(packets > 700, "\(packets) packets of WireGuard")
            try requireEqual([try seen(a, "clear"), try seen(b, "clear")], [0, 0], "packets in the clear")

            // An agent that begins anew takes over what there is, and connections go on.
            let renewed = try a.setUp(.hostGateway, encryption: try encryption(0))
            try requireEqual(
                try ask("10.244.2.5:80", from: pod, timeoutMilliseconds: 30_000), answer,
                "between restart and the first word")
            try a.apply(renewed, [try b.peer(.overlay, encryption: try shown(1))])

            // The other has a new key: the old one is forgotten, and the new one is used.
            let rekeyed = try b.setUp(.overlay, encryption: try encryption(2))
            try b.apply(rekeyed, [try a.peer(.hostGateway, encryption: try shown(0))])
            try requireEqual(
                try ask("10.244.2.5:80", from: pod, timeoutMilliseconds: 1500) == answer, false, "with the old key")
            try a.apply(renewed, [try b.peer(.overlay, encryption: try shown(2))])
            try requireEqual(
                try ask("10.244.2.5:80", from: pod, timeoutMilliseconds: 30_000), answer, "with the new key")

            // It moves.
            try b.inside { () throws(NetworkError) in
                let routes = try RouteSocket()
                guard let device = try routes.link("eth0")?.index, let address = IPAddress("192.0.2.77") else { return }
                try routes.addAddress(address, length: 24, to: device)
            }
            let moved = try b.setUp(.overlay, address: "192.0.2.77", encryption: try encryption(2))
            try b.apply(moved, [try a.peer(.hostGateway, encryption: try shown(0))])
            try a.apply(renewed, [try b.peer(.overlay, address: "192.0.2.77", encryption: try shown(2))])
            try requireEqual(
                try ask("10.244.2.5:80", from: pod, timeoutMilliseconds: 30_000), answer, "at the new address")

            // It publishes no key any more: nothing goes to it, least of all in the clear.
            let problems = try a.apply(renewed, [try b.peer(.overlay, address: "192.0.2.77")])
            try require(problems.count == 1 && problems[0].contains("no WireGuard key"), "\(problems)")
            try requireEqual(try ask("10.244.2.5:80", from: pod), "no route to host", "to a node without a key")
            let ways = try a.inside { () throws(NetworkError) in try RouteSocket().routes() }
            let gone = try [range("10.244.2.0/24"), range("fd00:244:0:2::/64")]
            try require(!ways.contains { way in gone.contains { $0 == way.destination } }, "ways to it are left")
            try requireEqual([try seen(a, "clear"), try seen(b, "clear")], [0, 0], "packets in the clear at the end")

            // Nothing is encrypted any more: the link goes.
            let plain = try a.setUp(.hostGateway)
            try a.apply(plain, [])
            let left = try a.inside { () throws(NetworkError) in try RouteSocket().link("skwg7533")?.name }
            try requireEqual(left, nil, "the link")
        }
    }

    @Test(
        "a node that was not encrypted before closes its ways at once, and a stranger's key opens none"
    )
    func closed() throws {
        if try isRefused() { return }
        try labTest(3) { laboratory in
            let (a, b, stranger) = (laboratory.machines[0], laboratory.machines[1], laboratory.machines[2])
            let (one, two) = (try a.setUp(.overlay), try b.setUp(.overlay))
            try a.apply(one, [try b.peer(.overlay)])
            try b.apply(two, [try a.peer(.overlay)])
            let (pod, other) = (try a.attach(one, 5), try b.attach(two, 5))
            let host = try TestHost()
            defer { host.end() }
            try host.serve("b", in: other, on: "10.244.2.5:80")
            try requireEqual(try ask("10.244.2.5:80", from: pod), "b - 10.244.1.5", "by VXLAN")
            let encrypted = try a.setUp(.overlay, encryption: try encryption(0))
            try requireEqual(try ask("10.244.2.5:80", from: pod), "no route to host", "before the first word")
            try a.apply(encrypted, [try b.peer(.overlay, encryption: try shown(1))])
            let other2 = try b.setUp(.overlay, encryption: try encryption(1))
            try b.apply(other2, [try a.peer(.overlay, encryption: try shown(0))])
            try requireEqual(
                try ask("10.244.2.5:80", from: pod, timeoutMilliseconds: 30_000), "b - 10.244.1.5", "by WireGuard")

            // The stranger knows everybody's public key, and says that it is node 1.
            let evil = try stranger.setUp(.overlay, encryption: try encryption(3))
            try stranger.apply(evil, [try b.peer(.overlay, encryption: try shown(1))])
            let liar = try stranger.attach(evil, 5)
            try requireEqual(
                try ask("10.244.2.5:80", from: liar, timeoutMilliseconds: 1500), "timeout", "with a key of no node")
            // A node that is known speaks only for its own pods.
            let third = try stranger.peer(.overlay, encryption: try shown(3))
            try b.apply(other2, [try a.peer(.overlay, encryption: try shown(0)), third])
            try requireEqual(
                try ask("10.244.2.5:80", from: liar, timeoutMilliseconds: 30_000), "b - 10.244.3.5",
                "with the key of a node")
            try stranger.inside { () throws(NetworkError) in
                let routes = try RouteSocket()
                guard let device = try routes.link("skwg7533")?.index, let target = Prefix("10.244.2.0/24"),
                    let address = IPAddress("10.244.1.5")
                else { return }
                try routes.addAddress(address, length: 32, to: device)
                try routes.addRoute(to: target, source: address, device: device)
            }
            try requireEqual(
                try ask("10.244.2.5:80", from: stranger.namespace, timeoutMilliseconds: 1500), "timeout",
                "as another node's pod")
        }
    }
}
