import Testing

@testable import Compression

@Suite("Compression: gzip, brotli and zstd")
struct CompressionTests {
    static let text = Array(String(repeating: "the quick brown fox ", count: 4_000).utf8)

    static func encoders() throws -> [(any StreamEncoder, any StreamDecoder)] {
        [
            (try GzipEncoder(), try GzipDecoder()), (try BrotliEncoder(), try BrotliDecoder()),
            (try ZstdEncoder(), try ZstdDecoder()),
        ]
    }

    static func pack(_ encoder: any StreamEncoder, _ bytes: [UInt8], pieces: Int = 1) throws -> [UInt8] {
        var packed: [UInt8] = []
        let size = max(1, bytes.count / pieces)
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + size)
            try bytes[start..<end].withUnsafeBytes { try encoder.encode($0, isEnd: false, into: &packed) }
            start = end
        }
        try encoder.encode(UnsafeRawBufferPointer(start: nil, count: 0), isEnd: true, into: &packed)
        return packed
    }

    @Test("what is packed in pieces unpacks to the same in other pieces")
    func roundTrip() throws {
        for pieces in [1, 3, 100] {
            for (encoder, decoder) in try Self.encoders() {
                let packed = try Self.pack(encoder, Self.text, pieces: pieces)
                #expect(packed.count < Self.text.count / 4)
                var unpacked: [UInt8] = []
                for start in stride(from: 0, to: packed.count, by: 7) {
                    try packed[start..<min(start + 7, packed.count)].withUnsafeBytes {
                        try decoder.decodeAll($0, upTo: 1 << 20, into: &unpacked)
                    }
                }
                #expect(unpacked == Self.text)
                #expect(decoder.hasEnded || (decoder as? ZstdDecoder)?.isBetweenFrames == true)
            }
        }
    }

    @Test("each piece can be unpacked when it has been given out")
    func flush() throws {
        for (encoder, decoder) in try Self.encoders() {
            var (packed, unpacked): ([UInt8], [UInt8]) = ([], [])
            try Array("hello".utf8).withUnsafeBytes { try encoder.encode($0, isEnd: false, into: &packed) }
            try packed.withUnsafeBytes { try decoder.decodeAll($0, upTo: 100, into: &unpacked) }
            #expect(unpacked == Array("hello".utf8))
            #expect(!decoder.hasEnded && (decoder as? ZstdDecoder)?.isBetweenFrames != true)
        }
    }

    @Test("ATK-20 a bomb stops at the bound, with what was unpacked by then")
    func bomb() throws {
        let zeros = [UInt8](repeating: 0, count: 10_000_000)
        for (encoder, decoder) in try Self.encoders() {
            let packed = try Self.pack(encoder, zeros)
            var unpacked: [UInt8] = []
            #expect(throws: CompressionError.tooLarge) {
                try packed.withUnsafeBytes { try decoder.decodeAll($0, upTo: 100_000, into: &unpacked) }
            }
            #expect(unpacked.count == 100_000)
        }
    }

    @Test("exactly the bound is no bomb")
    func exact() throws {
        for (encoder, decoder) in try Self.encoders() {
            let packed = try Self.pack(encoder, Self.text)
            var unpacked: [UInt8] = []
            try packed.withUnsafeBytes { try decoder.decodeAll($0, upTo: Self.text.count, into: &unpacked) }
            #expect(unpacked == Self.text)
        }
    }

    @Test("damaged bytes are an error, never a crash")
    func damaged() throws {
        for seed in 0..<64 { try damage(seed) }
    }

    private func damage(_ seed: Int) throws {
        for (encoder, decoder) in try Self.encoders() {
            var packed = try Self.pack(encoder, Self.text, pieces: 5)
            for step in 0..<5 { packed[(seed * 31 + step * 97) % packed.count] ^= UInt8(truncatingIfNeeded: seed + 1) }
            var unpacked: [UInt8] = []
            do {
                try packed.withUnsafeBytes { try decoder.decodeAll($0, upTo: 1 << 20, into: &unpacked) }
            } catch {
                #expect([.damaged, .tooLarge, .dictionary].contains(error as? CompressionError))
            }
        }
    }

    @Test("zstd: frames follow one another, the checksum holds, and a window beyond 8 MiB is refused")
    func zstd() throws {
        var settings = ZstdSettings()
        settings.hasChecksum = true
        settings.strategy = 9
        settings.level = 1_000
        let one = try Self.pack(try ZstdEncoder(settings), Array("one ".utf8))
        let two = try Self.pack(try ZstdEncoder(), Array("two".utf8))
        var unpacked: [UInt8] = []
        try (one + two).withUnsafeBytes { try ZstdDecoder().decodeAll($0, upTo: 100, into: &unpacked) }
        #expect(String(decoding: unpacked, as: UTF8.self) == "one two")
        var damaged = one
        damaged[damaged.count - 1] ^= 1
        #expect(throws: CompressionError.checksum) {
            try damaged.withUnsafeBytes { try ZstdDecoder().decodeAll($0, upTo: 100, into: &unpacked) }
        }
        // A header that asks for 2^27 bytes, and one for 2^23 (RFC 8878 section 3.1.1.1.2), each with an empty last block.
        for (descriptor, isFine) in [(UInt8(17 << 3), false), (UInt8(13 << 3), true)] {
            let frame: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0, descriptor, 1, 0, 0]
            let decoder = try ZstdDecoder()
            let failure = frame.withUnsafeBytes { bytes -> CompressionError? in
                do throws(CompressionError) {
                    try decoder.decodeAll(bytes, upTo: 100, into: &unpacked)
                    return nil
                } catch { return error }
            }
            #expect(failure == (isFine ? nil : .damaged))
        }
    }

    @Test("members that follow one another are joined where that is asked for")
    func members() throws {
        let one = try Self.pack(try GzipEncoder(), Array("one ".utf8))
        let two = try Self.pack(try GzipEncoder(), Array("two".utf8))
        for (joins, expected) in [(true, "one two"), (false, "one ")] {
            let decoder = try GzipDecoder(joinsMembers: joins)
            var unpacked: [UInt8] = []
            try (one + two + [0, 0]).withUnsafeBytes { try decoder.decodeAll($0, upTo: 100, into: &unpacked) }
            #expect(String(decoding: unpacked, as: UTF8.self) == expected)
        }
    }
}
