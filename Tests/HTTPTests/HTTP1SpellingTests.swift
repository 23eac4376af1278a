import HTTP
import Testing

@Suite("HTTP/1.1: how field names were written")
struct HTTP1SpellingTests {
    private func request(_ text: String, _ rule: HTTP1Spelling.Rule?, piece: Int = .max) throws -> RequestHead {
        var parser = HTTP1RequestParser(spelling: rule)
        let all = bytes(text)
        var low = 0
        while low < all.count {
            let part = Array(
                all[low..<min(all.count, low.addingReportingOverflow(piece).overflow ? all.count : low + piece)])
            low += part.count
            var offset = 0
            if case .head = try parser.next(part.span.bytes, &offset) { return parser.head }
        }
        throw HTTP1Error.truncated
    }

    private func response(_ text: String, _ rule: HTTP1Spelling.Rule?) throws -> ResponseHead {
        var parser = HTTP1ResponseParser(spelling: rule)
        parser.expectResponse(to: .get)
        let all = bytes(text)
        var offset = 0
        guard case .head = try parser.next(all.span.bytes, &offset) else { throw HTTP1Error.truncated }
        return parser.head
    }

    private func spelled(_ output: [UInt8], _ spelling: HTTP1Spelling?, capitalizes: Bool = false) -> String {
        var output = output
        output.withUnsafeMutableBytes { HTTP1Serializer.spell($0, as: spelling, capitalizes: capitalizes) }
        return String(decoding: output, as: UTF8.self)
    }

    private func written(_ head: RequestHead, capitalizes: Bool = false) -> String {
        var output: [UInt8] = []
        HTTP1Serializer.append(head, to: &output)
        return spelled(output, head.spelling, capitalizes: capitalizes)
    }

    private func written(_ head: ResponseHead) -> String {
        var output: [UInt8] = []
        HTTP1Serializer.append(head, to: &output)
        return spelled(output, head.spelling)
    }

    private let odd = "\r\nPOST /A:b HTTP/1.1\r\nHOST: h:80\r\nX-oDd: a: B\r\nx-ODD: 2\r\ncontent-LENGTH: 2\r\n\r\n"

    @Test("names are written as they came, the first of several counts, and names of ours stay in lower case")
    func preserved() throws {
        var head = try request(odd, HTTP1Spelling.Rule())
        try head.headers.append("x-ours", "1")
        #expect(
            written(head)
                == "POST /A:b HTTP/1.1\r\nHOST: h:80\r\nX-oDd: a: B\r\nX-oDd: 2\r\nx-ours: 1\r\ncontent-LENGTH: 2\r\n\r\n"
        )
    }

    @Test("names of ours are written with capitals where that is asked for, names that came in lower case are not")
    func others() throws {
        var head = try request("GET / HTTP/1.1\r\nhost: h\r\n\r\n", HTTP1Spelling.Rule(capitalizesOthers: true))
        try head.headers.append("x-ours", "1")
        #expect(written(head) == "GET / HTTP/1.1\r\nhost: h\r\nX-Ours: 1\r\n\r\n")
    }

    @Test("a head that comes in pieces of any size keeps its names", arguments: 1...40)
    func pieces(size: Int) throws {
        let head = try request(odd, HTTP1Spelling.Rule(), piece: size)
        #expect(
            written(head)
                == "POST /A:b HTTP/1.1\r\nHOST: h:80\r\nX-oDd: a: B\r\nX-oDd: 2\r\ncontent-LENGTH: 2\r\n\r\n")
    }

    @Test("where nobody asks for it nothing is kept, and capitals are for heads without a sender's own way")
    func notAsked() throws {
        let head = try request(odd, nil)
        #expect(head.spelling == nil)
        #expect(written(head, capitalizes: true).contains("\r\nHost: h:80\r\nX-Odd: a: B\r\n"))
        let kept = try request(odd, HTTP1Spelling.Rule())
        #expect(written(kept, capitalizes: true).contains("\r\nHOST: h:80\r\nX-oDd: a: B\r\n"))
    }

    @Test("a parser forgets how the message before was written")
    func next() throws {
        var parser = HTTP1RequestParser(spelling: HTTP1Spelling.Rule())
        let two = bytes("GET / HTTP/1.1\r\nHOST: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n")
        var offset = 0
        _ = try parser.next(two.span.bytes, &offset)
        _ = try parser.next(two.span.bytes, &offset)
        _ = try parser.next(two.span.bytes, &offset)
        #expect(written(parser.head) == "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n")
    }

    @Test(
        "a reason phrase is forwarded where that is asked for, and the usual one stands in for none",
        arguments: [
            ("200 Fine", true, "200 Fine"), ("200 Fine", false, "200 OK"), ("200 ", true, "200 OK"),
            ("200", true, "200 OK"),
            ("404 Gone Fishing: today", true, "404 Gone Fishing: today"), ("404 X", false, "404 Not Found"),
        ])
    func reason(line: String, forwards: Bool, expected: String) throws {
        let head = try response(
            "HTTP/1.1 \(line)\r\nX-Up: 1\r\nContent-Length: 0\r\n\r\n", HTTP1Spelling.Rule(forwardsReason: forwards))
        #expect(written(head) == "HTTP/1.1 \(expected)\r\nX-Up: 1\r\nContent-Length: 0\r\n\r\n")
    }

    @Test("a reason phrase as long as a head may be finds room")
    func longReason() throws {
        let phrase = String(repeating: "r", count: 50_000)
        let head = try response("HTTP/1.1 299 \(phrase)\r\n\r\n", HTTP1Spelling.Rule(forwardsReason: true))
        #expect(written(head).hasPrefix("HTTP/1.1 299 \(phrase)\r\n"))
    }

    @Test("ten thousand names are found again without looking each through all others")
    func many() throws {
        var limits = HTTP1Limits()
        (limits.fields, limits.headBytes) = (20_000, 1 << 20)
        var parser = HTTP1RequestParser(limits: limits, spelling: HTTP1Spelling.Rule())
        let lines = (0..<10_000).map { "X-Name-\($0): 1\r\n" }.joined()
        let all = bytes("GET / HTTP/1.1\r\nHost: h\r\n\(lines)\r\n")
        var offset = 0
        _ = try parser.next(all.span.bytes, &offset)
        #expect(written(parser.head) == "GET / HTTP/1.1\r\nHost: h\r\n\(lines)\r\n")
    }
}
