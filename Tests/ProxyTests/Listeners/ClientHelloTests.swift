import Testing

@testable import Proxy

/// ClientHellos built by hand.
enum HelloBytes {
    static func vector8(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count)] + bytes }

    static func vector16(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count >> 8), UInt8(bytes.count & 255)] + bytes }

    static func extension_(_ type: Int, _ content: [UInt8]) -> [UInt8] {
        [UInt8(type >> 8), UInt8(type & 255)] + vector16(content)
    }

    static func serverName(_ name: String) -> [UInt8] {
        extension_(0, vector16([0] + vector16(Array(name.utf8))))
    }

    static func protocols(_ names: [[UInt8]]) -> [UInt8] { extension_(16, vector16(names.flatMap { vector8($0) })) }

    static func message(_ extensions: [UInt8], ciphers: Int = 2) -> [UInt8] {
        let body =
            [3, 3] + [UInt8](repeating: 7, count: 32) + vector8([1, 2])
            + vector16([UInt8](repeating: 0x13, count: ciphers))
            + vector8([0]) + vector16(extensions)
        return [1, UInt8(body.count >> 16), UInt8(body.count >> 8 & 255), UInt8(body.count & 255)] + body
    }

    /// Cut into records of at most `size` bytes.
    static func records(_ message: [UInt8], size: Int = 16_384) -> [UInt8] {
        var result: [UInt8] = []
        var rest = message[...]
        while !rest.isEmpty {
            result += [22, 3, 1] + vector16(Array(rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        return result
    }

    static let usual = records(
        message(
            extension_(0x1A1A, []) + serverName("WWW.Example.com")
                + protocols([[0x4A, 0x4A], Array("h2".utf8), Array("http/1.1".utf8)])))
}

@Suite("ClientHello")
struct ClientHelloTests {
    private func parse(_ bytes: [UInt8], limit: Int = ClientHelloParser.standardLimit) -> ClientHelloParser.Verdict {
        var parser = ClientHelloParser(limit: limit)
        return bytes.withUnsafeBytes { parser.parse($0) }
    }

    private func hello(_ verdict: ClientHelloParser.Verdict) -> ClientHello? {
        if case .hello(let hello) = verdict { hello } else { nil }
    }

    @Test("name and protocols, in lower case and without GREASE")
    func usual() {
        let found = hello(parse(HelloBytes.usual))
        #expect(found?.serverName == "www.example.com")
        #expect(found?.applicationProtocols == ["h2", "http/1.1"])
    }

    @Test("ATK-27 cut at every byte, and into records of every size, it says the same")
    func fragments() {
        let whole = parse(HelloBytes.usual)
        for cut in 1..<HelloBytes.usual.count {
            var parser = ClientHelloParser()
            let first = Array(HelloBytes.usual[..<cut]).withUnsafeBytes { parser.parse($0) }
            #expect(first == .undecided, "cut at \(cut)")
            #expect(HelloBytes.usual.withUnsafeBytes { parser.parse($0) } == whole)
        }
        var parser = ClientHelloParser()
        for count in 1...HelloBytes.usual.count {
            let verdict = Array(HelloBytes.usual[..<count]).withUnsafeBytes { parser.parse($0) }
            #expect(verdict == (count == HelloBytes.usual.count ? whole : .undecided))
        }
        let message = HelloBytes.message(HelloBytes.serverName("a.b"))
        for size in 1...message.count {
            #expect(hello(parse(HelloBytes.records(message, size: size)))?.serverName == "a.b")
        }
    }

    @Test("ATK-27 what begins like TLS and is none is malformed, anything else is not TLS")
    func odd() {
        #expect(parse(Array("GET / HTTP/1.1\r\n".utf8)) == .notTLS)
        #expect(parse([22, 2, 0, 0, 1]) == .notTLS)
        #expect(parse([22]) == .undecided)
        #expect(parse([22, 3, 1, 0, 0]) == .malformed)
        #expect(parse([22, 3, 1, 0x40, 1]) == .malformed)
        #expect(parse([22, 3, 1, 0, 1, 2]) == .malformed)
        #expect(parse([22, 3, 1, 0, 1, 1, 23, 3, 3]) == .malformed)
        let twice = HelloBytes.serverName("a") + HelloBytes.serverName("b")
        #expect(parse(HelloBytes.records(HelloBytes.message(twice))) == .malformed)
        #expect(parse(HelloBytes.records(HelloBytes.message(HelloBytes.serverName("a\0b")))) == .malformed)
        #expect(parse(HelloBytes.records(HelloBytes.message(HelloBytes.extension_(0, [0, 9, 0])))) == .malformed)
    }

    @Test("64 KiB are taken, one byte more is too large")
    func large() {
        let padding = { (count: Int) in HelloBytes.extension_(21, [UInt8](repeating: 0, count: count)) }
        let overhead = HelloBytes.message(padding(0)).count
        let fits = HelloBytes.message(padding(40_000))
        #expect(hello(parse(HelloBytes.records(fits))) != nil)
        #expect(parse(HelloBytes.records(fits), limit: 40_000 + overhead) == parse(HelloBytes.records(fits)))
        #expect(parse(HelloBytes.records(fits), limit: 40_000 + overhead - 1) == .tooLarge)
        // The length decides: nobody waits for the bytes.
        #expect(parse([22, 3, 1, 0, 4, 1, 1, 0, 0]) == .tooLarge)
    }

    @Test("random bytes and random damage never trap")
    func random() {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var state = seed
        func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 33
        }
        for _ in 0..<3000 {
            var bytes = HelloBytes.usual
            for _ in 0..<(1 + next() % 4) {
                bytes[Int(next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: next())
            }
            _ = parse(Array(bytes.prefix(Int(next() % UInt64(bytes.count + 1)))))
            _ = parse((0..<Int(next() % 80)).map { _ in UInt8(truncatingIfNeeded: next()) })
            _ = parse([22, 3, 1, 0, 60, 1, 0, 0, 56] + (0..<60).map { _ in UInt8(truncatingIfNeeded: next()) })
        }
    }
}
