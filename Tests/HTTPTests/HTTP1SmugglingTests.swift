import HTTP
import Testing

@Suite("HTTP/1.1 refuses what two parsers could read in two ways")
struct HTTP1SmugglingTests {
    static let head = "POST / HTTP/1.1\r\nHost: h\r\n"
    static let requests: [(String, HTTP1Error)] = [
        // Two framings.
        (head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", .lengthAndEncoding),
        (head + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", .lengthAndEncoding),
        (head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", .contentLength),
        (head + "Content-Length: 5, 5\r\n\r\nhello", .contentLength),
        (head + "Content-Length: +5\r\n\r\nhello", .contentLength),
        (head + "Content-Length: -5\r\n\r\nhello", .contentLength),
        (head + "Content-Length: 0x5\r\n\r\nhello", .contentLength),
        (head + "Content-Length: 5 5\r\n\r\nhello", .contentLength),
        (head + "Content-Length:\r\n\r\n", .contentLength),
        (head + "Content-Length: 9223372036854775808\r\n\r\n", .contentLength),
        (head + "Content-Length: 99999999999999999999\r\n\r\n", .contentLength),
        // Transfer codings other than one chunked.
        (head + "Transfer-Encoding: identity\r\n\r\n", .transferEncoding),
        (head + "Transfer-Encoding: gzip, chunked\r\n\r\n", .transferEncoding),
        (head + "Transfer-Encoding: chunked, identity\r\n\r\n", .transferEncoding),
        (head + "Transfer-Encoding: chunked, chunked\r\n\r\n", .transferEncoding),
        (head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncoding),
        (head + "Transfer-Encoding: xchunked\r\n\r\n", .transferEncoding),
        (head + "Transfer-Encoding: \"chunked\"\r\n\r\n", .transferEncoding),
        (head + "Transfer-Encoding:\r\n\r\n", .transferEncoding),
        ("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncoding),
        (head + "Transfer-Encoding : chunked\r\n\r\n", .fieldName),
        (head + "Transfer-Encoding\t: chunked\r\n\r\n", .fieldName),
        (head + " Transfer-Encoding: chunked\r\n\r\n", .folding),
        (head + "X: y\r\n Transfer-Encoding: chunked\r\n\r\n", .folding),
        (head + "X: y\r\n\tz\r\n\r\n", .folding),
        (head + "Transfer-Encoding: \u{b}chunked\r\n\r\n", .fieldValue),
        (head + "Transfer-Encoding: chunked\u{0}\r\n\r\n", .fieldValue),
        (head + "X\u{0}Y: z\r\n\r\n", .fieldValue),
        (head + "X\rTransfer-Encoding: chunked\r\n\r\n", .fieldName),
        (head + "X: y\rTransfer-Encoding: chunked\r\n\r\n", .lineEnding),
        (head + "X: y\nTransfer-Encoding: chunked\r\n\r\n", .lineEnding),
        (head + "X: y\r\r\n\r\n", .lineEnding),
        (head + ": nameless\r\n\r\n", .fieldName),
        (head + "no colon\r\n\r\n", .fieldName),
        (head + "nocolon\r\n\r\n", .fieldName),
        (head + "X: y\r\n\n", .lineEnding),
        (head + "X: y\r\n\rX", .lineEnding),
        (head + "X: \u{7f}\r\n\r\n", .fieldValue),
        (head + "Bücher: y\r\n\r\n", .fieldName),
        // Start lines.
        ("GET / HTTP/1.1\nHost: h\r\n\r\n", .lineEnding),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", .startLine),
        ("GET /  HTTP/1.1\r\nHost: h\r\n\r\n", .startLine),
        ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", .startLine),
        ("GET /\r\nHost: h\r\n\r\n", .version),
        ("GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", .startLine),
        (" GET / HTTP/1.1\r\nHost: h\r\n\r\n", .startLine),
        ("G(T / HTTP/1.1\r\nHost: h\r\n\r\n", .startLine),
        ("GET / http/1.1\r\nHost: h\r\n\r\n", .startLine),
        ("GET / HTTP/1.10\r\nHost: h\r\n\r\n", .startLine),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", .version),
        ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", .version),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .startLine),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", .startLine),
        ("GET x HTTP/1.1\r\nHost: h\r\n\r\n", .target),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", .asterisk),
        ("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", .target),
        ("GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n", .target),
        ("GET http://u@h/x HTTP/1.1\r\nHost: h\r\n\r\n", .target),
        ("GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n", .target),
        ("GET /\u{1} HTTP/1.1\r\nHost: h\r\n\r\n", .fieldValue),
        // One authority (ATK-18).
        ("GET / HTTP/1.1\r\n\r\n", .host),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", .host),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", .host),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .host),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", .host),
        ("GET / HTTP/1.1\r\nHost: u@b\r\n\r\n", .host),
        ("GET hTtP://a/ HTTP/1.1\r\nHost: b\r\n\r\n", .host),
        ("CONNECT a:1 HTTP/1.1\r\nHost: b:1\r\n\r\n", .host),
        ("CONNECT /x HTTP/1.1\r\nHost: b:1\r\n\r\n", .target),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 4\r\n\r\nGET ", .contentLength),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", .transferEncoding),
        // Chunks.
        (chunked + "5 \r\nhello\r\n0\r\n\r\n", .chunk),
        (chunked + " 5\r\nhello\r\n0\r\n\r\n", .chunk),
        (chunked + "0x5\r\nhello\r\n0\r\n\r\n", .chunk),
        (chunked + "+5\r\nhello\r\n0\r\n\r\n", .chunk),
        (chunked + "-1\r\nhello\r\n0\r\n\r\n", .chunk),
        (chunked + "\r\nhello\r\n0\r\n\r\n", .chunk),
        (chunked + "5\nhello\r\n0\r\n\r\n", .chunk),
        (chunked + "5\rXhello\r\n0\r\n\r\n", .chunk),
        (chunked + "5\r\nhelloX\r\n0\r\n\r\n", .chunk),
        (chunked + "5\r\nhello\n0\r\n\r\n", .chunk),
        (chunked + "5\r\nhello\rX0\r\n\r\n", .chunk),
        (chunked + "5;a\nb\r\nhello\r\n0\r\n\r\n", .lineEnding),
        (chunked + "5;a\u{0}b\r\nhello\r\n0\r\n\r\n", .chunk),
        (chunked + "10000000000000005\r\nhello\r\n0\r\n\r\n", .chunk),
        (chunked + "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", .chunk),
        (chunked + "0\r\nContent-Length: 3\r\n\r\n", .trailer),
        (chunked + "0\r\nTransfer-Encoding: chunked\r\n\r\n", .trailer),
        (chunked + "0\r\nHost: evil\r\n\r\n", .trailer),
        (chunked + "0\r\n X: y\r\n\r\n", .folding),
        (chunked + "0\r\nX : y\r\n\r\n", .fieldName),
        (chunked + "0\r\nX: y\n\r\n", .lineEnding),
    ]
    static let chunked = head + "Transfer-Encoding: chunked\r\n\r\n"

    @Test("P-2 ATK-12 an ambiguous request is refused, in one piece and byte by byte", arguments: requests.indices)
    func refused(_ index: Int) {
        let (request, error) = Self.requests[index]
        let input = bytes(request)
        #expect(throws: error, "\(request.debugDescription)") { try parseRequests(input, cuts: []) }
        #expect(throws: error, "\(request.debugDescription)") { try parseRequests(input, cuts: Array(1..<input.count)) }
    }

    static let responses: [(String, HTTP1Error)] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", .lengthAndEncoding),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\n", .contentLength),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", .transferEncoding),
        ("HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncoding),
        ("HTTP/1.1 200 OK\nX: y\n\n", .lineEnding),
        ("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", .folding),
        ("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", .fieldName),
        ("HTTP/1.1 20 OK\r\n\r\n", .startLine),
        ("HTTP/1.1 099 OK\r\n\r\n", .startLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", .startLine),
        ("HTTP/1.1  200 OK\r\n\r\n", .startLine),
        ("HTTP/2 200 OK\r\n\r\n", .startLine),
        ("HTTP/2.0 200 OK\r\n\r\n", .version),
        ("ICY 200 OK\r\n\r\n", .startLine),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nextra", .unsolicited),
        (String(repeating: "HTTP/1.1 100 C\r\n\r\n", count: 11), .tooManyInterimResponses(limit: 10)),
    ]

    @Test("ATK-47 a garbled response is refused, in one piece and byte by byte", arguments: responses.indices)
    func refusedResponse(_ index: Int) {
        let (response, error) = Self.responses[index]
        let input = bytes(response)
        #expect(throws: error) { try parseResponses(input, to: [.get], cuts: []) }
        #expect(throws: error) { try parseResponses(input, to: [.get], cuts: Array(1..<input.count)) }
    }

    @Test("every byte value is accepted or refused in each place without a trap")
    func everyByteEverywhere() {
        let seeds = [
            "POST /a HTTP/1.1\r\nHost: h\r\nX-A: b\r\nContent-Length: 2\r\n\r\nab",
            Self.chunked + "2;x\r\nab\r\n0\r\nT: u\r\n\r\n",
        ]
        for seed in seeds {
            let original = bytes(seed)
            for position in original.indices {
                for value in UInt8.min...UInt8.max {
                    var changed = original
                    changed[position] = value
                    let one = Result { () throws(HTTP1Error) in try parseRequests(changed, cuts: []) }
                    let two = Result { () throws(HTTP1Error) in try parseRequests(changed, cuts: [position]) }
                    if one != two { Issue.record("cutting changed the outcome for byte \(value) at \(position)") }
                }
            }
        }
    }
}
