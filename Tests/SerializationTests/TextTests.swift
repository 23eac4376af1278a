import Serialization
import Testing

@Suite("Texts of small values")
struct TextTests {
    @Test("base64 has the vectors of RFC 4648")
    func base64() {
        let vectors = [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ]
        for (plain, encoded) in vectors {
            #expect(Base64.encode(plain.utf8) == encoded)
            #expect(Base64.decode(encoded) == Array(plain.utf8))
            #expect(Base64.decode(Base64.encodeURL(plain.utf8)) == Array(plain.utf8))
        }
        #expect(Base64.encodeURL([0xFB, 0xFF]) == "-_8")
        for wrong in ["Z", "Zg=", "Z===", "Zh==", "Zm 9v", "Zm9v\n", "=", "===="] {
            #expect(Base64.decode(wrong) == nil, "\(wrong)")
        }
    }

    @Test(
        "times are read and written",
        arguments: [
            ("1970-01-01T00:00:00Z", 0, 0, "1970-01-01T00:00:00Z"),
            ("2000-02-29T23:59:59.25Z", 951_868_799, 250_000_000, "2000-02-29T23:59:59.250Z"),
            ("2026-11-21T02:00:00+02:00", 1_795_219_200, 0, "2026-11-21T00:00:00Z"),
            ("1969-12-31t23:59:59.000001z", -1, 1_000, "1969-12-31T23:59:59.000001Z"),
            ("0001-01-01T00:00:00Z", -62_135_596_800, 0, "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999999Z", 253_402_300_799, 999_999_999, "9999-12-31T23:59:59.999999999Z"),
        ])
    func times(text: String, seconds: Int64, nanoseconds: Int32, written: String) throws {
        let time = try #require(Timestamp(text))
        #expect(time.seconds == seconds)
        #expect(time.nanoseconds == nanoseconds)
        #expect(time.description == written)
    }

    @Test(
        "what is no time is refused",
        arguments: [
            "", "2026", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00+1:00", "2026-01-01T00:00:00Zx", "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+01:00", "١٩٧٠-01-01T00:00:00Z",
        ])
    func noTimes(text: String) { #expect(Timestamp(text) == nil) }

    @Test("every day of 800 years has one number")
    func days() throws {
        var time = try #require(Timestamp("1600-01-01T00:00:00Z"))
        var last = time.civil
        for _ in 0..<292_194 {
            time = time + .seconds(86_400)
            let civil = time.civil
            #expect(Timestamp(time.description) == time)
            let isNext =
                civil.day == last.day + 1 || (civil.day == 1 && civil.month == last.month + 1)
                || (civil.day == 1 && civil.month == 1 && civil.year == last.year + 1)
            if !isNext { Issue.record("\(last) is followed by \(civil)") }
            last = civil
        }
        #expect(time.secondsText == "2400-01-01T00:00:00Z")
    }

    @Test("Kubernetes' two forms of a time")
    func kubernetesTimes() {
        let time = Timestamp(seconds: 1, nanoseconds: 2_345_000)
        #expect(time.secondsText == "1970-01-01T00:00:01Z")
        #expect(time.microsecondsText == "1970-01-01T00:00:01.002345Z")
        #expect(Timestamp(seconds: 5) - Timestamp(seconds: 3, nanoseconds: 500_000_000) == .milliseconds(1500))
        #expect(Timestamp(seconds: 5) + .milliseconds(-1) == Timestamp(seconds: 4, nanoseconds: 999_000_000))
    }

    @Test("a UUID has version 4 and the variant of RFC 9562")
    func uuid() {
        #expect(UUIDText.version4(Array(repeating: 0xFF, count: 16)) == "ffffffff-ffff-4fff-bfff-ffffffffffff")
        #expect(UUIDText.version4([]) == "00000000-0000-4000-8000-000000000000")
    }
}
