import IO
import Testing

@testable import Proxy

@Suite("PROXY protocol")
struct ProxyHeaderTests {
    static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10]

    static func v2(_ command: UInt8 = 0x21, _ family: UInt8 = 0x11, _ rest: [UInt8]) -> [UInt8] {
        signature + [command, family, UInt8(rest.count >> 8), UInt8(rest.count & 255)] + rest
    }

    static let addresses4: [UInt8] = [10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, 80]

    private func parse(_ bytes: [UInt8]) -> ProxyHeaderParser.Verdict {
        bytes.withUnsafeBytes { ProxyHeaderParser.parse($0) }
    }

    private func parse(_ text: String) -> ProxyHeaderParser.Verdict { parse(Array(text.utf8)) }

    @Test("version 1")
    func version1() {
        let line = "PROXY TCP4 10.0.0.1 10.0.0.2 12345 80\r\n"
        let header = ProxyHeader(
            version: 1, source: SocketAddress("10.0.0.1:12345"), destination: SocketAddress("10.0.0.2:80"))
        #expect(parse(line + "GET /") == .header(header, bytes: line.utf8.count))
        for count in 1..<line.utf8.count { #expect(parse(Array(line.utf8.prefix(count))) == .undecided) }
        #expect(parse("PROXY UNKNOWN\r\n") == .header(ProxyHeader(version: 1), bytes: 15))
        #expect(
            parse("PROXY TCP6 ::1 fd00::2 1 2\r\n")
                == .header(
                    ProxyHeader(
                        version: 1, source: SocketAddress("[::1]:1"), destination: SocketAddress("[fd00::2]:2")),
                    bytes: 28))
    }

    @Test("ATK-15 a line that is no header, or too long, is refused")
    func version1Bad() {
        for line in [
            "PROXY TCP4 10.0.0.1 10.0.0.2 12345\r\n", "PROXY TCP4 10.0.0.1 ::1 1 2\r\n",
            "PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n", "PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n",
            "PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n", "PROXY TCP4 10.0.0.1 10.0.0.2 +1 2\r\n",
            "PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n", "PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n",
            "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n", "PROXY TCP4 fe80::1%eth0 10.0.0.2 1 2\r\n",
            "PROXY " + String(repeating: "x", count: 200),
        ] { #expect(parse(line) == .malformed(version: 1), "\(line)") }
        #expect(parse("GET / HTTP/1.1\r\n") == .absent)
        #expect(parse("PROXYTCP4") == .absent)
    }

    @Test("version 2, with TLVs")
    func version2() {
        let bytes = Self.v2(0x21, 0x11, Self.addresses4 + [0xEA, 0, 3, 1, 2, 3, 0x04, 0, 0])
        let header = ProxyHeader(
            version: 2, source: SocketAddress("10.0.0.1:12345"), destination: SocketAddress("10.0.0.2:80"),
            tlvs: [.init(type: 0xEA, value: [1, 2, 3]), .init(type: 4, value: [])])
        #expect(parse(bytes + [1, 2, 3]) == .header(header, bytes: bytes.count))
        for count in 1..<bytes.count { #expect(parse(Array(bytes.prefix(count))) == .undecided) }
        #expect(parse(Self.v2(0x20, 0, [9, 9])) == .header(ProxyHeader(version: 2), bytes: 18))
        #expect(parse(Self.v2(0x21, 0, [])) == .header(ProxyHeader(version: 2), bytes: 16))
    }

    @Test("ATK-46 an IPv4 address in IPv6 form is the IPv4 address")
    func mapped() {
        let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1]
        guard case .header(let header, _) = parse(Self.v2(0x21, 0x21, mapped + mapped + [0, 1, 0, 2])) else {
            Issue.record("no header")
            return
        }
        #expect(header.source == SocketAddress("10.0.0.1:1"))
    }

    @Test("ATK-15 lengths that do not fit are refused")
    func version2Bad() {
        for bytes in [
            Self.v2(0x11, 0x11, Self.addresses4), Self.v2(0x22, 0x11, Self.addresses4),
            Self.v2(0x21, 0x31, [UInt8](repeating: 0, count: 216)), Self.v2(0x21, 0x11, [1, 2]),
            Self.v2(0x21, 0x11, Self.addresses4 + [1, 0, 9, 1]), Self.v2(0x21, 0x11, Self.addresses4 + [1]),
            Self.v2(0x21, 0x21, Self.addresses4),
        ] { #expect(parse(bytes) == .malformed(version: 2)) }
    }

    @Test("random bytes never trap")
    func random() {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var state = seed
        func next() -> UInt8 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 40)
        }
        for _ in 0..<5000 {
            let tail = (0..<Int(next() % 60)).map { _ in next() }
            _ = parse(tail)
            _ = parse(Self.signature + tail)
            _ = parse(Self.signature + [0x21, 0x11, 0, UInt8(tail.count)] + tail)
            _ = parse(Array("PROXY TCP4 ".utf8) + tail + [13, 10])
        }
    }
}
