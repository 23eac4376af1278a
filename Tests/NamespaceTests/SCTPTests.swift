import Glibc
import IO
import Testing

@testable import Network

/// SCTP in services and policies, by packets of raw sockets: the kernel need not have SCTP sockets for what passes through it.
@Suite("SCTP", .serialized)
struct SCTPTests {
    /// CRC32c, which SCTP has over its packets (RFC 9260 appendix A): connection tracking looks at it.
    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        var crc: UInt32 = ~0
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82f6_3b78 : crc >> 1 }
        }
        return ~crc
    }

    /// The first packet of an association.
    private static func beginning(from source: UInt16, to port: UInt16) -> [UInt8] {
        func number(_ value: UInt32) -> [UInt8] {
            (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * $0)) }
        }
        let ports = number(UInt32(source) << 16 | UInt32(port))
        // INIT, 20 bytes: its tag, a window, a stream each way, a first number.
        let chunk = [1, 0, 0, 20] + number(0x5ce1_0001) + number(65_536) + [0, 1, 0, 1] + number(7)
        let sum = checksum(ports + number(0) + number(0) + chunk)
        return ports + number(0) + number(sum.byteSwapped) + chunk
    }

    private static func socket(_ namespace: NetworkNamespace, isV6: Bool) throws -> Socket {
        let fd = try namespace.run { () throws(SystemError) in
            let fd = Glibc.socket(isV6 ? AF_INET6 : AF_INET, Int32(SOCK_RAW.rawValue), 132)
            guard fd >= 0 else { throw SystemError.last("make a raw socket") }
            return fd
        }
        return Socket(adopting: fd)
    }

    /// The ports of all packets that have come.
    private static func arrived(_ socket: Socket, isV6: Bool) throws -> [(source: UInt16, port: UInt16)] {
        var ports: [(UInt16, UInt16)] = []
        var buffer = [UInt8](repeating: 0, count: 2048)
        while let (count, _) = try buffer.withUnsafeMutableBytes({ try socket.receive(into: $0) }) {
            // IPv4 packets come with their header.
            let bytes = buffer.prefix(count).dropFirst(isV6 ? 0 : 20).prefix(4).map { UInt16($0) }
            guard bytes.count == 4 else { continue }
            ports.append((bytes[0] << 8 | bytes[1], bytes[2] << 8 | bytes[3]))
        }
        return ports
    }

    @Test(
        "SCTP is led to the endpoints of its service, and stopped by policies on its ports",
        arguments: [false, true])
    func services(isV6: Bool) throws {
        try nsTest { host in
            let network = try host.setUp()
            let (pod, peer) = (try attach(network, 5), try attach(network, 6))
            let target = try ip(isV6 ? "fd00:244::5" : "10.244.0.5")
            let service = try ip(isV6 ? "fd00:96::9" : "10.96.0.9")
            try network.apply(services: [
                ServicePort(
                    service: "d/signal", name: "sctp", addresses: [service], port: 2905, transport: .sctp,
                    endpoints: [.init(target, 8000)])
            ])
            func enforce(_ allowed: UInt16) throws {
                let rule = PolicySet.Rule(
                    provenance: "NetworkPolicy d/p spec.ingress[0]", isForEveryone: true,
                    ports: [.numbers(.sctp, allowed...allowed)])
                let pods = [
                    PolicySet.Pod(name: "d/pod", addresses: [target]),
                    PolicySet.Pod(name: "d/peer", addresses: [try ip(isV6 ? "fd00:244::6" : "10.244.0.6")]),
                ]
                var set = PolicySet(pods: pods)
                set.policies = [.init(provenance: "NetworkPolicy d/p", subjects: [0], ingress: [rule])]
                try network.apply(policies: set)
            }
            let receiver = try SCTPTests.socket(pod, isV6: isV6)
            let sender = try SCTPTests.socket(peer, isV6: isV6)
            func send(_ source: UInt16) throws {
                try SCTPTests.beginning(from: source, to: 2905).withUnsafeBytes {
                    try sender.send($0, to: .ip(service, port: 0))
                }
            }
            func wait(_ what: String, _ body: () throws -> Bool) throws {
                let deadline = MonotonicTime.now + .seconds(30)
                while try !body() {
                    try require(MonotonicTime.now < deadline, what)
                    usleep(20_000)
                }
            }
            try wait("led to the endpoint") {
                try send(1001)
                return try SCTPTests.arrived(receiver, isV6: isV6).contains { $0 == (1001, 8000) }
            }
            try enforce(9000)
            try wait("dropped by the policy") {
                try send(1002)
                return try PolicyFlow.read().contains {
                    $0.isDropped && $0.flow.hasSuffix(". 8000") && ($0.flow.contains("sctp") || $0.flow.contains("132"))
                }
            }
            try require(
                !SCTPTests.arrived(receiver, isV6: isV6).contains { $0.source == 1002 }, "it has come all the same")
            try enforce(8000)
            try wait("let through by the policy") {
                try send(1003)
                return try SCTPTests.arrived(receiver, isV6: isV6).contains { $0 == (1003, 8000) }
            }
        }
    }
}
