import Glibc
import Testing

@testable import Insight

@Suite("Shipped files")
struct ShippedRulesTests {
    @Test("contrib/prometheus/skein-rules.yaml is what is built in")
    func rules() throws {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let file = try #require(fopen("/\(root)/contrib/prometheus/skein-rules.yaml", "r"))
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = fread(&bytes, 1, bytes.count, file)
        #expect(String(decoding: bytes.prefix(count), as: UTF8.self) == DefaultRules.text)
    }
}
