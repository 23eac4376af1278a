import Glibc
import Mesh
import Testing

@Suite("Codes of the analysis and their pages")
struct AnalysisPageTests {
    @Test(
        "a code is found in the example of its page, where the page says, and not in the mended one",
        arguments: DiagnosticCode.allCases)
    func cases(code: DiagnosticCode) throws {
        let page = try AnalysisPage(code)
        #expect(page.examples.count == 2, "\(code.page) needs an example and the mended example")
        guard let example = page.examples.first, let mended = page.examples.last else { return }
        let found = try Repository.findings(example)
        #expect(
            found.contains { $0.code == code && $0.field == page.field },
            "\(code.id) at \(page.field): \(found.map(\.description))")
        #expect(
            found.allSatisfy { $0.code == code || $0.severity == .info },
            "other findings: \(found.filter { $0.code != code })")
        let left = try Repository.findings(mended)
        #expect(left.isEmpty, "the mended example has \(left)")
    }

    @Test("a page has the title, severity and advice of its code", arguments: DiagnosticCode.allCases)
    func words(code: DiagnosticCode) throws {
        let text = try AnalysisPage(code).text
        #expect(text.hasPrefix("# \(code.id): \(code.title)\n\n**\(code.severity.rawValue)** · "))
        let istio = code.istioCodes.map { "`\($0)`" }.joined(separator: ", ")
        #expect(istio.isEmpty ? !text.contains("IST0") : text.contains(" · Istio's \(istio)\n"))
        #expect(text.contains(code.advice.prefix(1).uppercased() + code.advice.dropFirst() + "."))
    }

    @Test("every code is known once, and every page is a code's")
    func complete() throws {
        let codes = DiagnosticCode.allCases
        #expect(codes.count >= 50)
        #expect(codes.allSatisfy { !$0.advice.isEmpty }, "a code without a line in the tables")
        #expect(Set(codes.map(\.title)).count == codes.count)
        let pages = try Repository.names("docs/analysis").filter { $0.hasPrefix("SKN") }
        #expect(pages == codes.map { "\($0.id).md" }.sorted())
    }

    @Test("the shop that the examples stand beside has no finding of its own")
    func shop() throws {
        let found = try Repository.findings(Repository.read("docs/analysis/shop.yaml"), beside: "")
        #expect(found.isEmpty, "\(found)")
    }

    /// A run with SKEIN_UPDATE_GOLDEN=1 writes it anew.
    @Test("the index lists all codes")
    func index() throws {
        let path = "docs/analysis/README.md"
        let text = try Repository.read(path)
        let mark = "| code | severity | what | Istio |\n| --- | --- | --- | --- |\n"
        let head = text.range(of: mark).map { String(text[..<$0.lowerBound]) } ?? text
        let rows = DiagnosticCode.allCases.map {
            "| [\($0.id)](\($0.id).md) | \($0.severity.rawValue) | \($0.title) | \($0.istioCodes.joined(separator: ", ")) |\n"
        }
        let wanted = head + mark + rows.joined()
        if getenv("SKEIN_UPDATE_GOLDEN") != nil { try Repository.write(path, wanted) }
        #expect(try Repository.read(path) == wanted, "SKEIN_UPDATE_GOLDEN=1 writes the index anew")
    }
}

extension String {
    /// Where a text first is.
    fileprivate func range(of text: String) -> Range<Index>? {
        indices.lazy.filter { self[$0...].hasPrefix(text) }.first.map { $0..<index($0, offsetBy: text.count) }
    }
}
