import HTTP
import Testing

@Suite("Header table and HTTP/1.1 serializer")
struct HTTP1SerializerTests {
    func parsed(_ request: String) throws -> RequestHead {
        var parser = HTTP1RequestParser()
        var offset = 0
        _ = try parser.next(bytes(request).span.bytes, &offset)
        return parser.head
    }

    func written(_ head: RequestHead, _ connection: HTTP1Serializer.Connection = .keepAlive) -> String {
        var output: [UInt8] = []
        HTTP1Serializer.append(head, connection: connection, to: &output)
        return String(decoding: output, as: UTF8.self)
    }

    @Test("P-1 hop-by-hop fields and those that Connection names are not forwarded")
    func hopByHop() throws {
        var head = try parsed(
            "GET /x HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Secret , host, te\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
                + "Proxy-Connection: a\r\nUpgrade: y\r\nX-Secret: 1\r\nx-SECRET: 2\r\nAccept: */*\r\n\r\n")
        head.headers.removeHopByHopFields()
        #expect(written(head) == "GET /x HTTP/1.1\r\nhost: h\r\nte: trailers\r\naccept: */*\r\n\r\n")
    }

    @Test("framing and connection fields come from the arguments, whatever the table holds")
    func framing() throws {
        var head = try parsed(
            "POST http://h:80/x HTTP/1.1\r\nHost: h:80\r\nContent-Length: 3\r\nConnection: close\r\n\r\n")
        #expect(written(head) == "POST /x HTTP/1.1\r\nhost: h:80\r\ncontent-length: 3\r\n\r\n")
        head.body = .chunked
        #expect(
            written(head, .close)
                == "POST /x HTTP/1.1\r\nhost: h:80\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
                || written(head, .close)
                    == "POST /x HTTP/1.1\r\nhost: h:80\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        head.body = .none
        #expect(written(head) == "POST /x HTTP/1.1\r\nhost: h:80\r\ncontent-length: 0\r\n\r\n")
    }

    @Test("a response to HEAD keeps the length of the body it does not have; 204 has none")
    func responses() {
        var head = ResponseHead(status: 200)
        head.headers.append(.contentLength, number: 42)
        func text(_ method: HTTPMethod) -> String {
            var output: [UInt8] = []
            HTTP1Serializer.append(head, answering: method, to: &output)
            return String(decoding: output, as: UTF8.self)
        }
        #expect(text(.head) == "HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n")
        #expect(text(.get) == "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        head.body = .chunked
        #expect(text(.get) == "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        head.status = 204
        #expect(text(.get) == "HTTP/1.1 204 No Content\r\n\r\n")
        head.status = 799
        head.body = .length(7)
        #expect(text(.get) == "HTTP/1.1 799 Unknown\r\ncontent-length: 7\r\n\r\n")
    }

    @Test("ATK-13 no field with a line end, NUL or malformed name gets into a table")
    func refusesInjection() {
        var table = HeaderTable()
        #expect(throws: HTTPFieldError.self) { try table.append("x", "a\r\nb: c") }
        #expect(throws: HTTPFieldError.self) { try table.append("x", "a\u{0}") }
        #expect(throws: HTTPFieldError.self) { try table.append("x y", "a") }
        #expect(throws: HTTPFieldError.self) { try table.append("", "a") }
        #expect(throws: HTTPFieldError.self) { try table.set(.location, "a\nb") }
        var head = RequestHead()
        #expect(throws: HTTPFieldError.self) { try head.setPath(bytes("/a b").span.bytes) }
        #expect(throws: HTTPFieldError.self) { try head.setAuthority(bytes("a\r\n").span.bytes) }
        #expect(table.isEmpty)
    }

    @Test("fields are found by id and by name in whatever case, changed and removed")
    func table() throws {
        var table = HeaderTable()
        try table.append("X-Request-ID", " abc ")
        try table.append("X-Custom", "1")
        try table.append("x-custom", "2")
        table.append(.server, constant: "skein")
        #expect(table.id(at: 0) == .xRequestId && table.id(at: 1) == .other)
        #expect(table[.xRequestId] == "abc" && table["x-REQUEST-id"] == "abc" && table["X-CUSTOM"] == "1")
        #expect(table.index(named: "x-custom", from: 2) == 2)
        try table.set("x-custom", "3")
        try table.set(.server, "other")
        #expect(fields(table) == ["x-request-id: abc", "x-custom: 3", "server: other"])
        table.remove(.xRequestId)
        table.remove(named: "X-Custom")
        #expect(fields(table) == ["server: other"])
    }

    @Test("P-2 ATK-12 fields are written anew: blanks are normal, removed and changed fields leave no trace")
    func rewritten() throws {
        var head = try parsed(
            "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB:2\r\nC:\t3\r\nD: 4 \t\r\nE:  5\r\nLONG-Name_with.odd~Chars: 6\r\nX: \r\nY:\r\nZ: 7\r\n\r\n"
        )
        #expect(
            written(head)
                == "GET / HTTP/1.1\r\nhost: h\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\n"
                + "long-name_with.odd~chars: 6\r\nx: \r\ny: \r\nz: 7\r\n\r\n")
        head.headers.remove(named: "E")
        try head.headers.set("A", "changed")
        try head.setPath(bytes("/new").span.bytes)
        try head.setAuthority(bytes("other:1").span.bytes)
        #expect(
            written(head)
                == "GET /new HTTP/1.1\r\nhost: other:1\r\nb: 2\r\nc: 3\r\nd: 4\r\n"
                + "long-name_with.odd~chars: 6\r\nx: \r\ny: \r\nz: 7\r\na: changed\r\n\r\n")
        #expect(try parseRequests(bytes(written(head)), cuts: [])[0].fields.count == 8)
    }

    @Test("every known name is found under its own id")
    func identifiers() throws {
        for id in HeaderID.allCases where id != .other {
            var table = HeaderTable()
            try table.append("\(id.name)", "v")
            #expect(table.id(at: 0) == id)
        }
    }

    @Test("chunks that were written parse back, of every size up to a few thousand")
    func chunks() throws {
        var output = bytes("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        var total = 0
        for size in [1, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 5000] {
            HTTP1Serializer.appendChunk([UInt8](repeating: 0x61, count: size).span.bytes, to: &output)
            total += size
        }
        HTTP1Serializer.appendChunk([UInt8]().span.bytes, to: &output)
        var trailers = HeaderTable()
        try trailers.append("x-sum", "1")
        HTTP1Serializer.appendLastChunk(trailers: trailers, to: &output)
        let message = try parseRequests(output, cuts: [])[0]
        #expect(message.body.utf8.count == total && message.trailers == ["x-sum: 1"])
    }
}
