import HTTP
import Testing

@Suite("HTTP/1.1 parsers")
struct HTTP1ParserTests {
    static let pipeline = bytes(
        "\r\nGET /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\nX-Foo:  bar baz \t\r\nEmpty:\r\nCOOKIE: a=b; c=\u{e9}\r\n\r\n"
            + "POST http://Other.example/x HTTP/1.1\r\nHost: other.EXAMPLE\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\nhello"
            + "PUT /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\nTrailer: x-sum\r\n\r\n5;ext=\"1\"\r\nhello\r\n00a\r\n, world ok\r\n0\r\nX-Sum: 12\r\n\r\n"
            + "OPTIONS * HTTP/1.1\r\nHost:\r\nConnection: upgrade, x-thing\r\nUpgrade: websocket\r\nX-Thing: 1\r\n\r\n"
            + "PURGE http://h HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n"
            + "CONNECT db.local:5432 HTTP/1.1\r\nHost: db.local:5432\r\nConnection: close\r\n\r\n")

    static let expected = [
        Recorded(
            start: "GET [] [example.com:8080] /a?b=c",
            fields: ["x-foo: bar baz", "empty: ", "cookie: a=b; c=\u{e9}"], flags: "none keep"),
        Recorded(
            start: "POST [http] [Other.example] /x", fields: ["content-length: 5", "expect: 100-Continue"],
            body: "hello",
            flags: "length(5) keep expect"),
        Recorded(
            start: "PUT [] [h] /up", fields: ["transfer-encoding: Chunked", "trailer: x-sum"], body: "hello, world ok",
            trailers: ["x-sum: 12"], flags: "chunked keep"),
        Recorded(
            start: "OPTIONS [] [] *", fields: ["connection: upgrade, x-thing", "upgrade: websocket", "x-thing: 1"],
            flags: "none keep upgrade"),
        Recorded(start: "PURGE [http] [h] /", fields: ["connection: Keep-Alive"], flags: "none keep"),
        Recorded(start: "CONNECT [] [db.local:5432] ", fields: ["connection: close"], flags: "none"),
    ]

    @Test("pipelined requests of every kind parse the same in one piece and cut at any byte")
    func requestsCutAnywhere() throws {
        let bytes = Self.pipeline
        #expect(try parseRequests(bytes, cuts: []) == Self.expected)
        for cut in 0...bytes.count {
            let parsed = try parseRequests(bytes, cuts: [cut])
            if parsed != Self.expected {
                #expect(parsed == Self.expected, "cut at \(cut)")
                return
            }
        }
        #expect(try parseRequests(bytes, cuts: Array(1..<bytes.count)) == Self.expected, "one byte at a time")
    }

    static let responses = bytes(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
            + "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\nETag: x\r\n\r\n"
            + "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304\r\nContent-Length: 9\r\n\r\n"
            + "HTTP/1.1 503 \r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
            + "HTTP/1.0 200 OK\r\nServer: old\r\n\r\neverything\r\n\r\nuntil close")

    @Test("responses end as the request's method and the status say, cut at any byte")
    func responsesCutAnywhere() throws {
        let expected = [
            Recorded(start: "100", flags: "none keep"),
            Recorded(start: "103", fields: ["link: </s>"], flags: "none keep"),
            Recorded(start: "200", fields: ["content-length: 3"], body: "abc", flags: "length(3) keep"),
            Recorded(start: "200", fields: ["content-length: 3000", "etag: x"], flags: "none keep"),
            Recorded(start: "204", flags: "none keep"),
            Recorded(start: "304", fields: ["content-length: 9"], flags: "none keep"),
            Recorded(start: "503", fields: ["transfer-encoding: chunked"], body: "x", flags: "chunked keep"),
            Recorded(start: "200", fields: ["server: old"], body: "everything\r\n\r\nuntil close", flags: "untilClose"),
        ]
        let methods: [HTTPMethod] = [.post, .head, .delete, .get, .get, .get]
        let bytes = Self.responses
        #expect(try parseResponses(bytes, to: methods, cuts: []) == expected)
        for cut in 0...bytes.count {
            let parsed = try parseResponses(bytes, to: methods, cuts: [cut])
            if parsed != expected {
                #expect(parsed == expected, "cut at \(cut)")
                return
            }
        }
        #expect(try parseResponses(bytes, to: methods, cuts: Array(1..<bytes.count)) == expected, "one byte at a time")
    }

    @Test("a tunnel begins with 101, and with a 2xx to CONNECT only")
    func tunnels() throws {
        let upgraded = bytes("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw bytes")
        #expect(try parseResponses(upgraded, to: [.get], cuts: [])[0].body == "raw bytes")
        let connected = bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nraw bytes")
        #expect(try parseResponses(connected, to: [.connect], cuts: [])[0].body == "raw bytes")
        #expect(throws: HTTP1Error.unsolicited) { try parseResponses(connected, to: [.get], cuts: []) }
    }

    @Test("ATK-14 bytes behind an upgrade request are looked at only when told, as tunnel or as the next request")
    func upgradeHoldsBytes() throws {
        let input = bytes(
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
        )
        var parser = HTTP1RequestParser()
        var offset = 0
        #expect(try parser.next(input.span.bytes, &offset) == .head)
        #expect(try parser.next(input.span.bytes, &offset) == .end)
        #expect(parser.head.isUpgrade)
        var refused = parser
        var refusedOffset = offset
        #expect(try refused.next(input.span.bytes, &refusedOffset) == .head)
        #expect(refused.head.pathText == "/hidden")
        parser.switchToTunnel()
        #expect(try parser.next(input.span.bytes, &offset) == .body((input.count - 33)..<input.count))
        #expect(try parser.inputEnded() == .end)
    }

    @Test("a close in the middle of a message is an error, between messages it is not")
    func truncated() throws {
        let whole = bytes("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
        for count in 0...whole.count {
            let result = Result { () throws(HTTP1Error) in try parseRequests(Array(whole[..<count]), cuts: []) }
            switch result {
            case .success: #expect(count == 0 || count == whole.count, "\(count) bytes")
            case .failure(let error): #expect(error == .truncated, "\(count) bytes")
            }
        }
    }

    @Test("a parser that failed stays failed")
    func staysFailed() throws {
        var parser = HTTP1RequestParser()
        let wrong = bytes("GET / HTTP/1.1\nHost: h\n\n")
        var offset = 0
        #expect(throws: HTTP1Error.lineEnding) { try parser.next(wrong.span.bytes, &offset) }
        let right = bytes("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        offset = 0
        #expect(throws: HTTP1Error.lineEnding) { try parser.next(right.span.bytes, &offset) }
    }

    @Test("a large body behind a head is handed out as a range of the input, not copied")
    func bodyIsARange() throws {
        let head = bytes("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 16000\r\n\r\n")
        let input = head + [UInt8](repeating: 0x61, count: 16000)
        var parser = HTTP1RequestParser()
        var offset = 0
        #expect(try parser.next(input.span.bytes, &offset) == .head)
        #expect(offset == head.count)
        #expect(try parser.next(input.span.bytes, &offset) == .body(head.count..<input.count))
        #expect(try parser.next(input.span.bytes, &offset) == .end)
        #expect(parser.isBetweenRequests)
    }
}
