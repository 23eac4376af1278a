import IO
import Network
import Testing

@testable import Netlink

/// The kernel's own memory of connections, of a namespace that a test has made.
@Suite("Remembered connections", .serialized)
struct ConnectionTests {
    /// Has the kernel remember a connection that nobody has made.
    static func remember(
        _ from: IPAddress, _ to: IPAddress, transport: UInt8 = 17, from port: UInt16, to target: UInt16,
        answeredBy answerer: IPAddress? = nil
    ) throws {
        let channel = try NetlinkChannel(NetlinkChannel.netfilter)
        func tuple(_ type: Int, _ source: (IPAddress, UInt16), _ destination: (IPAddress, UInt16)) -> NetlinkMessage {
            var part = NetlinkMessage(type: 0, flags: 0)
            part.nested(type | 0x8000) { tuple in
                tuple.nested(1 | 0x8000) { ip in
                    ip.attribute(source.0.isV6 ? 3 : 1, source.0.bytes)
                    ip.attribute(source.0.isV6 ? 4 : 2, destination.0.bytes)
                }
                tuple.nested(2 | 0x8000) { proto in
                    proto.attribute(1, transport)
                    proto.attribute(2, bigEndian: source.1)
                    proto.attribute(3, bigEndian: destination.1)
                }
            }
            return part
        }
        let real = answerer ?? to
        var message = NetlinkMessage(type: 1 << 8, flags: NetlinkChannel.make)  // IPCTNL_MSG_CT_NEW
        message.append(UInt32(from.isV6 ? 10 : 2))
        for part in [tuple(1, (from, port), (to, target)), tuple(2, (real, target), (from, port))] {
            for byte in part.bytes.dropFirst(NetlinkMessage.headerLength) { message.append(byte) }
        }
        message.attribute(7, bigEndian: UInt32(600))  // CTA_TIMEOUT
        try channel.request(message, "remember a connection")
    }

    private static func address(_ number: Int, isV6: Bool) throws -> IPAddress {
        try ip(isV6 ? "fd00:244::\(String(number, radix: 16))" : "10.244.0.\(number)")
    }

    @Test("those of one address are asked of the kernel alone, both ends, both families, and forgotten; no others are")
    func one() throws {
        try nsTest { _ in
            let table = try ConnectionTable()
            for isV6 in [false, true] {
                for (number, transport) in [(5, 17), (5, 6), (6, 17), (6, 6)] as [(Int, UInt8)] {
                    let pod = try Self.address(number, isV6: isV6)
                    for client in 1...20 {
                        let other = try Self.address(100 + client, isV6: isV6)
                        try Self.remember(other, pod, transport: transport, from: 4000, to: 80)
                        try Self.remember(pod, other, transport: transport, from: 4000, to: 53)
                    }
                }
            }
            try requireEqual(try table.held(), 320, "connections")
            for isV6 in [false, true] {
                let pod = try Self.address(5, isV6: isV6)
                // What every kernel from 5.8 on describes: of IPv4 just these, of IPv6 what it can tell apart.
                for (search, count, more) in [
                    (.init(.answerer, pod), 40, 160), (.init(.client, pod), 40, 160),
                    (.init(.client, pod, transport: 17), 20, 160),
                    (.init(.answerer, pod, transport: 6, port: 80), 20, 40),
                    (.init(.answerer, pod, transport: 6, port: 81), 0, 0),
                    (.init(.client, pod, transport: 6, port: 53), 20, 40),
                ] as [(ConnectionTable.Search, Int, Int)] {
                    let channel = try NetlinkChannel(NetlinkChannel.netfilter)
                    let described = try channel.exchange(ConnectionTable.Question(search).message, "list connections")
                    try requireEqual(described.count, isV6 ? more : count, "described for \(search)")
                    try requireEqual(try table.list(search).count, count, "\(search)")
                }
                try requireEqual(
                    try table.forget(among: [.init(.answerer, pod, transport: 17)]) { $0.port == 80 }, 20, "forgotten")
                try requireEqual(try table.list(.init(.answerer, pod)).count, 20, "TCP stays")
            }
            // Several searches over few connections: the kernel is asked once, for all of them.
            let ends = try [5, 6].flatMap { try [Self.address($0, isV6: false), Self.address($0, isV6: true)] }
            let searches = Set(ends.map { ConnectionTable.Search(.client, $0) })
            let clients = Set(try [5].flatMap { try [Self.address($0, isV6: false), Self.address($0, isV6: true)] })
            try requireEqual(
                try table.forget(among: searches) { clients.contains($0.client) }, 80, "those that one began")
            try requireEqual(try table.held(), 200, "all others")
            try requireEqual(try table.forget(among: [], where: { _ in true }), 0, "nothing is looked for")
        }
    }

    @Test("N-15 those of a port are found although the kernel cannot look by a port without a family")
    func port() throws {
        try nsTest { _ in
            let table = try ConnectionTable()
            for isV6 in [false, true] {
                for client in 1...5 {
                    let other = try Self.address(100 + client, isV6: isV6)
                    for target in [53, 80] as [UInt16] {
                        try Self.remember(other, try Self.address(1, isV6: isV6), from: 4000, to: target)
                    }
                }
            }
            try requireEqual(try table.list(.init(.client, nil, transport: 17, port: 53)).count, 10, "of both families")
            try requireEqual(
                try table.forget(among: [.init(.client, nil, transport: 17, port: 53)]) { _ in true }, 10, "forgotten")
            try requireEqual(try table.held(), 10, "of the other port")
        }
    }

    @Test("N-5 a changed policy ends what it denies now, whichever end it is known by, and nothing else")
    func policy() throws {
        try nsTest { host in
            let network = try host.setUp()
            let table = try ConnectionTable()
            func pod(_ number: Int) throws -> PolicySet.Pod {
                .init(
                    name: "shop/p\(number)",
                    addresses: [try Self.address(number, isV6: false), try Self.address(number, isV6: true)])
            }
            var set = PolicySet(pods: try [5, 6, 7, 8].map(pod))
            func policy(_ subject: Int, allows members: Set<Int>) -> PolicySet.Policy {
                let name = "NetworkPolicy shop/\(subject)"
                return .init(
                    provenance: name, subjects: [subject],
                    ingress: [.init(provenance: "\(name) spec.ingress[0]", selectsPods: true, members: members)])
            }
            set.policies = [policy(0, allows: [2, 3]), policy(1, allows: [2, 3])]
            try network.apply(policies: set)
            for isV6 in [false, true] {
                for (from, to) in [(7, 5), (8, 5), (7, 6), (8, 6), (5, 7)] {
                    let (from, to) = (try Self.address(from, isV6: isV6), try Self.address(to, isV6: isV6))
                    try Self.remember(from, to, transport: 6, from: 4000, to: 80)
                    // By an address of a service: who answers is the pod.
                    let service = try ip(isV6 ? "fd00:96::1" : "10.96.0.1")
                    try Self.remember(from, service, from: 4000 + UInt16(to.bytes.last ?? 0), to: 53, answeredBy: to)
                }
            }
            func left() throws -> Set<String> {
                // The machine itself may tell which groups it belongs to.
                Set(try table.list().filter { [6, 17].contains($0.transport) }.map { "\($0.client)>\($0.answerer)" })
            }
            let all: Set<String> = Set(
                [(7, 5), (8, 5), (7, 6), (8, 6), (5, 7)].flatMap { from, to in
                    ["10.244.0.\(from)>10.244.0.\(to)", "fd00:244::\(from)>fd00:244::\(to)"]
                })
            try requireEqual(try left(), all, "before")
            try require(try table.held() >= 20, "before")
            set.policies[0].ingress?[0].members = [3]
            try network.apply(policies: set)
            let once = all.subtracting(["10.244.0.7>10.244.0.5", "fd00:244::7>fd00:244::5"])
            try requireEqual(try left(), once, "a peer less")
            set.policies.append(policy(2, allows: []))
            try network.apply(policies: set)
            let twice = once.subtracting(["10.244.0.5>10.244.0.7", "fd00:244::5>fd00:244::7"])
            try requireEqual(try left(), twice, "a pod that is selected")
            set.policies[1].ingress?[0].members = [2, 3, 0]
            try network.apply(policies: set)
            try requireEqual(try left(), twice, "a peer more")
        }
    }
}
