import IO
import Testing

@testable import DNS

func name(_ text: String) -> Name { Name(text) ?? .root }

@Suite("DNS messages")
struct MessageTests {
    /// A query for the A records of web.default, with EDNS.
    static let query: [UInt8] =
        [0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]  // id, RD, one question, one additional record
        + [3, 0x77, 0x65, 0x62, 7, 0x64, 0x65, 0x66, 0x61, 0x75, 0x6C, 0x74, 0]  // web.default.
        + [0, 1, 0, 1]  // A, IN
        + [0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0]  // root, OPT, 1232 bytes, no flags, no options

    @Test("a query is read and written byte by byte")
    func query() throws {
        let message = try DNSMessage(parsing: Self.query)
        #expect(message.id == 0x1234)
        #expect(message.questions == [Question(name: name("web.default"), type: .a)])
        #expect(message.datagramSize == 1232)
        #expect(message.wantsRecursion && !message.isResponse)
        #expect(message.bytes() == Self.query)
    }

    @Test("names are written once and pointed to afterwards")
    func compression() throws {
        var message = DNSMessage(id: 1, question: Question(name: name("a.example.org"), type: .a))
        message.isResponse = true
        message.answers = [
            Record(name: name("a.example.org"), ttl: 60, value: .cname(name("b.example.org"))),
            Record(name: name("B.example.ORG"), ttl: 60, value: .address(.v4(0x0102_0304))),
        ]
        let bytes = message.bytes()
        #expect(
            bytes[31...].elementsEqual(
                [0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, 0x62, 0xC0, 14]  // a.example.org CNAME b + .example.org
                    + [0xC0, 43, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]))  // b.example.org A 1.2.3.4
        #expect(try DNSMessage(parsing: bytes) == message)
    }

    @Test("every kind of record survives writing and reading")
    func roundTrip() throws {
        var message = DNSMessage(id: 7, question: Question(name: name("x"), type: .any))
        let values: [Record.Value] = [
            .address(.v4(1)), .address(.v6(high: 1, low: 2)), .cname(name("c.x")), .ptr(name("p.x")), .ns(name("n.x")),
            .srv(priority: 1, weight: 2, port: 3, target: name("s.x")), .txt([[1, 2], []]),
            .soa(
                server: name("m.x"), mailbox: name("r.x"), serial: 1, refresh: 2, retry: 3, expire: 4, minimum: 5),
            .other(RecordType(rawValue: 65), [1, 2, 3]),
        ]
        message.answers = values.map { Record(name: name("x"), ttl: 9, value: $0) }
        #expect(try DNSMessage(parsing: message.bytes()) == message)
    }

    @Test("what does not fit is left out, with the truncation bit")
    func truncation() throws {
        var message = DNSMessage(id: 1, question: Question(name: name("x"), type: .a))
        message.answers = (0..<100).map { Record(name: name("x"), ttl: 1, value: .address(.v4($0))) }
        let bytes = message.bytes(limit: 512)
        let read = try DNSMessage(parsing: bytes)
        #expect(bytes.count <= 512)
        #expect(read.isTruncated)
        #expect(read.answers == Array(message.answers.prefix(read.answers.count)))
        #expect(read.answers.count == 30)
    }

    @Test("ATK-43 a pointer to itself, forwards, in a circle or into the header is refused")
    func loops() {
        let header: [UInt8] = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        for bytes: [UInt8] in [
            [0xC0, 12], [0xC0, 14, 0], [0xC0, 0], [1, 0x61, 0xC0, 12], [0xC0, 11], [0x40, 0], [0x80], [0xC0],
        ] {
            #expect(throws: DNSFormatError.self) { try DNSMessage(parsing: header + bytes + [0, 1, 0, 1]) }
        }
    }

    @Test("ATK-43 a long chain of pointers is refused")
    func chains() {
        // A question whose name leads through 200 pointers, each to the one before it.
        var bytes: [UInt8] = [0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0] + [0, 0, 16, 0, 1]
        bytes += [0, 0, 16, 0, 1, 0, 0, 0, 0, 0x01, 0x92, 200, 0]
        for index in 0..<200 {
            let target = index == 0 ? bytes.count - 1 : bytes.count - 2
            bytes += [0xC0 | UInt8(target >> 8), UInt8(target & 0xFF)]
        }
        #expect(throws: DNSFormatError.self) { try DNSMessage(parsing: bytes) }
    }

    @Test("ATK-43 every shorter piece of a message is refused, and so is a longer one")
    func pieces() {
        for count in 0..<Self.query.count {
            #expect(throws: DNSFormatError.self) { try DNSMessage(parsing: Array(Self.query[..<count])) }
        }
        #expect(throws: DNSFormatError.self) { try DNSMessage(parsing: Self.query + [0]) }
    }

    @Test("ATK-43 no bytes make the reader trap, and what it reads it can write")
    func noise() throws {
        let seed = UInt64.random(in: 1...UInt64.max)
        print("seed \(seed)")
        var state = seed
        func next() -> UInt64 {
            state ^= state >> 12
            state ^= state << 25
            state ^= state >> 27
            return state &* 2_685_821_657_736_338_717
        }
        for _ in 0..<5000 {
            var bytes = Self.query
            for _ in 0..<(next() % 6) { bytes[Int(next() % UInt64(bytes.count))] = UInt8(next() % 256) }
            if let message = try? DNSMessage(parsing: bytes) {
                #expect(try DNSMessage(parsing: message.bytes()) == message, "seed \(seed)")
            }
        }
    }

    @Test("names differ by more than the case of letters")
    func names() {
        #expect(name("WEB.Default.svc") == name("web.default.SVC."))
        #expect(name("web") != name("web.web"))
        #expect(Name(String(repeating: "a", count: 63)) != nil)
        #expect(Name(String(repeating: "a", count: 64)) == nil)
        #expect(Name(String(repeating: "a.", count: 126) + "a") != nil)
        #expect(Name(String(repeating: "a.", count: 127) + "a") == nil)
        #expect(Name("a..b") == nil && Name(".a") == nil)
        #expect(name("a.b.c").isWithin(name("B.c")) && !name("ab.c").isWithin(name("b.c")) && name("b").isWithin(.root))
    }
}
