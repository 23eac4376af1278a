import HTTP
import IO
import Serialization
import Testing
import Upstream

@testable import Proxy

/// What formats write in place, against plain code that does the same a byte at a time.
@Suite("Lines of formats")
struct FormatLineTests {
    private static let rounds = 4000

    private func bytes(_ write: (inout FormatLine) -> Void) -> [UInt8] {
        // No room at first: everything that is written makes it grow.
        var line = FormatLine(capacity: 0)
        write(&line)
        return line.bytes
    }

    /// Bytes among which those that are escaped are frequent.
    private func value(_ random: inout SplitMix64) -> [UInt8] {
        let special: [UInt8] = [
            0x00, 0x09, 0x0A, 0x0D, 0x1F, 0x20, 0x21, 0x22, 0x23, 0x5B, 0x5C, 0x5D, 0x7E, 0x7F, 0x80, 0xFF,
        ]
        let isPlain = random.next() % 3 == 0
        return (0..<random.next() % 40).map { _ in
            if isPlain || random.next() % 8 > 0 { return UInt8(0x61 + random.next() % 26) }
            return special[Int(random.next() % UInt64(special.count))]
        }
    }

    /// The rule a byte at a time: quotes and backslashes, control characters as `\x0a`.
    private func escaped(_ value: [UInt8]) -> [UInt8] {
        value.flatMap { byte -> [UInt8] in
            switch byte {
            case 0x22, 0x5C: return [0x5C, byte]
            case 0..<0x20, 0x7F:
                let digits = String(byte, radix: 16)
                return Array("\\x\(digits.count < 2 ? "0" : "")\(digits)".utf8)
            default: return [byte]
            }
        }
    }

    @Test(
        "ATK-19 what is looked at eight bytes at a time is escaped as what is looked at one by one, for every byte and place"
    )
    func escapes() {
        for byte in UInt8.min...UInt8.max {
            for place in 0..<17 {
                var value = [UInt8](repeating: UInt8(ascii: "x"), count: 17)
                value[place] = byte
                for length in [place + 1, 17] {
                    let part = Array(value.prefix(length))
                    let found = bytes { line in
                        line.append("before\"")
                        line.append(part)
                        LogEscape.text(&line, from: 7)
                    }
                    #expect(found == Array("before\"".utf8) + escaped(part), "byte \(byte) at \(place) of \(length)")
                }
            }
        }
        var random = SplitMix64(seed: 19)
        for _ in 0..<Self.rounds {
            let (before, value) = (value(&random), value(&random))
            let text = bytes { line in
                line.append(before)
                line.append(value)
                LogEscape.text(&line, from: before.count)
            }
            #expect(text == before + escaped(value))
            let json = bytes { line in
                line.append(before)
                line.append(value)
                LogEscape.json(&line, from: before.count)
            }
            let quoted = JSON.quoted(String(decoding: value, as: UTF8.self)).utf8
            #expect(json == before + Array(quoted.dropFirst().dropLast()))
        }
    }

    @Test("numbers, addresses and moments are written as their plain texts say")
    func values() throws {
        var random = SplitMix64(seed: 7)
        var kept = FormatLine(capacity: 64)
        let clock = try TimeFormat("%Y-%m-%dT%H:%M:%S.%3fZ")
        let short = try TimeFormat("")
        for round in 0..<Self.rounds {
            let number = Int(truncatingIfNeeded: random.next() >> (1 + random.next() % 63))
            let width = Int(random.next() % 25)
            let digits = String(number)
            let zeros = String(repeating: "0", count: max(0, min(width, 20) - digits.utf8.count))
            #expect(bytes { $0.append(padded: number, width) } == Array((zeros + digits).utf8))
            let port = UInt16(truncatingIfNeeded: random.next())
            let isV6 = random.next() % 2 == 0
            let ip =
                isV6
                ? IPAddress.v6(
                    high: random.next() & random.next() & 0xFFFF_0000_00FF_FFFF,
                    low: random.next() & random.next() & 0xFF)
                : IPAddress.v4(UInt32(truncatingIfNeeded: random.next()) >> (random.next() % 20))
            #expect(bytes { $0.append(ip) } == Array("\(ip)".utf8))
            var appended: [UInt8] = []
            SocketAddress.ip(ip, port: port).append(to: &appended)
            #expect(bytes { $0.append(SocketAddress.ip(ip, port: port)) } == appended)
            #expect(appended == Array((isV6 ? "[\(ip)]:\(port)" : "\(ip):\(port)").utf8))
            // The same second again and again, and others between.
            let second =
                Int64(1_795_239_167) + (round % 3 == 0 ? Int64(random.next() % 100_000_000) : Int64(round / 100))
            let moment = (seconds: second, nanoseconds: Int32(random.next() % 1_000_000_000))
            kept.cut(to: 0)
            short.append(moment, to: &kept)
            #expect(kept.bytes == bytes { clock.append(moment, to: &$0) })
        }
        let path = "/run/" + String(repeating: "x", count: 90)
        #expect(bytes { $0.append(SocketAddress.unix(path)) } == Array(path.utf8))
        #expect(bytes { $0.append(padded: -5, 1) } == Array("0".utf8))
        #expect(bytes { $0.append(padded: .max, 1) } == Array("\(Int.max)".utf8))
    }

    @Test("a line of many operators is what each of them says alone, with its literals, lengths and dashes")
    func lines() throws {
        let operators = [
            "%START_TIME%", "%START_TIME(%s.%3f)%", "%REQ(:METHOD)%", "%REQ(X-A?:PATH)%", "%REQ(x-a):3%",
            "%REQ(:SCHEME)%",
            "%REQ(x-none?x-a)%", "%PROTOCOL%", "%RESPONSE_CODE%", "%RESPONSE_FLAGS%", "%BYTES_SENT%", "%DURATION%",
            "%RESP(X-B)%", "%RESP(content-type?x-b):2%", "%RESP(x-none)%", "%TRAILER(x-t)%", "%UPSTREAM_HOST%",
            "%UPSTREAM_CLUSTER%", "%ROUTE_NAME%", "%CONNECTION_ID%", "%PATH(NQ)%", "%QUERY_PARAM(x)%",
            "%REQ(:AUTHORITY)%",
            "%DOWNSTREAM_REMOTE_ADDRESS%", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "%DYNAMIC_METADATA(n:k)%",
        ]
        var random = SplitMix64(seed: 3)
        for round in 0..<500 {
            var context = FakeContext()
            context.set("x-a", String(decoding: value(&random).filter { $0 >= 0x20 && $0 < 0x7F }, as: UTF8.self))
            try? context.response.append(
                "x-b", String(decoding: value(&random).filter { $0 >= 0x20 && $0 < 0x7F }, as: UTF8.self))
            try? context.trailers.append("x-t", "\"t\\")
            if round % 5 == 0 { context.info.startedWall = nil }
            let moment = FormatMoment(now: context.info.started + .milliseconds(9))
            var format = ""
            var expected: [UInt8] = []
            let omits = random.next() % 2 == 0
            for _ in 0..<random.next() % 12 {
                let literal = String(repeating: "l\"", count: Int(random.next() % 14))
                let one = operators[Int(random.next() % UInt64(operators.count))]
                format += literal + one
                expected += literal.utf8
                guard
                    case .command(let operation, let lengthMax)? = try SubstitutionFormat.pieces(Array(one.utf8), "f")
                        .first
                else { continue }
                var alone = bytes { line in
                    if !operation.append(context, moment, to: &line) { line.append(omits ? "" : "-") }
                }
                if let lengthMax { alone = Array(alone.prefix(lengthMax)) }
                expected += operation.isStructure ? alone : escaped(alone)
            }
            var found: [UInt8] = []
            try SubstitutionFormat(text: format, path: "f", omitsEmptyValues: omits).append(context, moment, to: &found)
            #expect(found == expected, "\(format)")
        }
    }

    @Test("taking bytes away keeps the others")
    func removing() {
        let text = bytes { line in
            line.append("0123456789")
            line.remove(2..<5)
            line.remove(0..<1)
            line.cut(to: 5)
            line.cut(to: 50)
        }
        #expect(text == Array("15678".utf8))
    }
}
