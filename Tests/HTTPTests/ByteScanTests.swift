import Testing

@testable import HTTP

@Suite("Comparing bytes")
struct ByteScanTests {
    private func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        ByteScan.equal(left.span.bytes, right.span.bytes)
    }

    private func spellsTrailers(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return ByteScan.equalIgnoringCase(bytes.span.bytes, "trailers")
    }

    @Test("strings of every length are equal to themselves, and to none that differs in one byte")
    func lengths() {
        for count in 0...40 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) }
            let copy = bytes
            #expect(equal(bytes, copy))
            #expect(!equal(bytes, bytes + [1]))
            for position in 0..<count {
                var other = bytes
                other[position] ^= 0x20
                #expect(!equal(bytes, other), "byte \(position) of \(count)")
            }
        }
    }

    @Test("a word is found in either case, and nothing that is only as long")
    func words() {
        for (text, isEqual) in [
            ("trailers", true), ("TRAILERS", true), ("Trailers", true), ("trailerz", false), ("trailer", false),
            ("", false),
        ] {
            #expect(spellsTrailers(text) == isEqual, "\(text)")
        }
    }
}
