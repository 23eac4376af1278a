import HTTP
import Testing

@Suite("HTTP/1.1 limits")
struct HTTP1LimitTests {
    static func request(bytes count: Int) -> [UInt8] {
        let start = "GET / HTTP/1.1\r\nHost: h\r\nX: "
        return bytes(start + String(repeating: "a", count: count - start.utf8.count - 4) + "\r\n\r\n")
    }

    @Test("a head of exactly the limit passes, one byte more is refused with 431")
    func headBytes() throws {
        let limit = HTTP1Limits.headBytesDefault
        #expect(try parseRequests(Self.request(bytes: limit), cuts: []).count == 1)
        let error = HTTP1Error.headTooLarge(limit: limit)
        #expect(throws: error) { try parseRequests(Self.request(bytes: limit + 1), cuts: []) }
        #expect(error.status == 431)
        let response = bytes("HTTP/1.1 200 OK\r\nX: " + String(repeating: "a", count: limit))
        #expect(throws: error) { try parseResponses(response, to: [.get], cuts: []) }
    }

    @Test("a request line beyond the limit is refused with 414")
    func requestLine() {
        let error = HTTP1Error.targetTooLong(limit: HTTP1Limits.headBytesDefault)
        let input = bytes("GET /" + String(repeating: "a", count: 70_000))
        #expect(throws: error) { try parseRequests(input, cuts: []) }
        #expect(error.status == 414)
    }

    @Test("as many fields as the limit pass, one more is refused")
    func fieldCount() throws {
        func request(_ fields: Int) -> [UInt8] {
            bytes("GET / HTTP/1.1\r\nHost: h\r\n" + String(repeating: "a:b\r\n", count: fields - 1) + "\r\n")
        }
        #expect(try parseRequests(request(100), cuts: []).count == 1)
        #expect(throws: HTTP1Error.tooManyFields(limit: 100)) { try parseRequests(request(101), cuts: []) }
    }

    @Test("trailers have the same limits as a head")
    func trailers() throws {
        let start = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        #expect(
            try parseRequests(bytes(start + String(repeating: "a:b\r\n", count: 100) + "\r\n"), cuts: []).count == 1)
        #expect(throws: HTTP1Error.tooManyFields(limit: 100)) {
            try parseRequests(bytes(start + String(repeating: "a:b\r\n", count: 101) + "\r\n"), cuts: [])
        }
        #expect(throws: HTTP1Error.headTooLarge(limit: HTTP1Limits.headBytesDefault)) {
            try parseRequests(bytes(start + "a:" + String(repeating: "b", count: 70_000)), cuts: [])
        }
    }

    @Test("ATK-09 chunk extensions are bounded over the whole body")
    func chunkExtensions() throws {
        let start = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        let chunk = "1;" + String(repeating: "x", count: 1023) + "\r\na\r\n"
        let limit = HTTP1Limits.chunkOverheadBytes
        #expect(
            try parseRequests(bytes(start + String(repeating: chunk, count: 16) + "0\r\n\r\n"), cuts: []).count == 1)
        #expect(throws: HTTP1Error.chunkOverhead(limit: limit)) {
            try parseRequests(bytes(start + String(repeating: chunk, count: 17)), cuts: [])
        }
    }

    @Test("ten interim responses pass")
    func interim() throws {
        let input = bytes(
            String(repeating: "HTTP/1.1 102 P\r\n\r\n", count: 10) + "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        #expect(try parseResponses(input, to: [.get], cuts: []).count == 11)
    }
}
