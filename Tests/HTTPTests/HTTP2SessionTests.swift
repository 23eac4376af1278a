import HTTP
import IO
import Testing

@Suite("HTTP/2 session")
struct HTTP2SessionTests {
    @Test(
        "a request and its answer with trailers arrive as they were sent, cut at every size",
        arguments: [1, 3, 9, Int.max])
    func roundTrip(_ pieceBytes: Int) throws {
        let wire = try HTTP2Wire()
        for _ in 0..<3 {
            let stream = try wire.client.request(
                requestHead(fields: [("x-a", "1"), ("connection", "close"), ("te", "trailers")]), isEnd: false)
            try wire.client.session.send(stream, bytes("hello").span.bytes)
            try wire.client.session.end(stream)
            let asked = try wire.settle(pieceBytes: pieceBytes).server
            #expect(
                asked == ["request POST http h:1 /p [\"x-a: 1\", \"te: trailers\"] false", "data 5", "end []"])
            let answered = try #require(wire.server.streams.values.first)

            var early = ResponseHead(status: 103)
            try early.headers.append("link", "x")
            try wire.server.session.sendInterim(answered, early)
            var head = ResponseHead(status: 200)
            head.body = .chunked
            try head.headers.append("x-b", "2")
            try wire.server.session.respond(answered, head, isEnd: false)
            #expect(throws: HTTP2Error.self) { try wire.server.session.respond(answered, head, isEnd: false) }
            try wire.server.session.send(answered, bytes("world!").span.bytes)
            var trailers = HeaderTable()
            try trailers.append("x-sum", "3")
            try wire.server.session.end(answered, trailers: trailers)
            let events = try wire.settle(pieceBytes: pieceBytes)
            #expect(
                events.client == [
                    "response 103 [\"link: x\"] false", "response 200 [\"x-b: 2\"] false", "data 6",
                    "end [\"x-sum: 3\"]", "closed 0",
                ])
            #expect(wire.client.session.streamCount == 0 && wire.server.session.streamCount == 0)
        }
    }

    @Test("the peer may send only as much as was taken")
    func flowControl() throws {
        var limits = HTTP2Limits()
        limits.streamWindow = 65_535
        let wire = try HTTP2Wire(limits: limits)
        try wire.settle()
        let stream = try wire.client.request(requestHead(), isEnd: false)
        let body = [UInt8](repeating: 0x61, count: 1_000_000)
        try wire.client.session.send(stream, body.span.bytes)
        #expect(try wire.settle().server.last == "data 65535")
        let received = try #require(wire.server.streams.values.first)
        #expect(stream.queuedBytes == body.count - 65_535)
        #expect(try wire.settle().server.isEmpty)
        wire.server.session.consumed(received, 60_000)
        #expect(try wire.settle().server == ["data 60000"])
    }

    @Test("bytes of a stream that ended unread are given back to the connection")
    func connectionWindow() throws {
        var limits = HTTP2Limits()
        limits.connectionWindow = 65_535
        limits.streamWindow = 65_535
        let wire = try HTTP2Wire(limits: limits)
        for _ in 0..<10 {
            let stream = try wire.client.request(requestHead(), isEnd: false)
            try wire.client.session.send(stream, [UInt8](repeating: 0, count: 50_000).span.bytes)
            #expect(try wire.settle().server.last == "data 50000")
            let received = try #require(wire.server.streams.values.first)
            wire.server.session.reset(received, code: 8)
            try wire.settle()
        }
        #expect(wire.server.session.streamCount == 0)
    }

    @Test("output stops near the limit that was asked for and goes on from there")
    func outputLimit() throws {
        var limits = HTTP2Limits()
        limits.streamWindow = 1_000_000
        let wire = try HTTP2Wire(limits: limits)
        try wire.settle()
        let stream = try wire.client.request(requestHead(), isEnd: false)
        try wire.client.session.send(stream, [UInt8](repeating: 0, count: 400_000).span.bytes)
        try wire.client.session.end(stream)
        let first = try wire.client.output
        #expect(first.count < 100_000)
        try HTTP2Wire.feed(first, to: wire.server.session)
        #expect(try wire.settle().server.suffix(2) == ["data 400000", "end []"])
    }

    @Test("content-length of a message is the one its framing says")
    func lengths() throws {
        let wire = try HTTP2Wire()
        var head = try requestHead(fields: [("content-length", "9")])
        head.body = .length(3)
        let stream = try wire.client.request(head, isEnd: false)
        try wire.client.session.send(stream, bytes("abc").span.bytes)
        try wire.client.session.end(stream)
        #expect(
            try wire.settle().server == [
                "request POST http h:1 /p [\"content-length: 3\"] false", "data 3", "end []",
            ])
        #expect(wire.server.heads.last?.body == .length(3))
    }

    @Test("requests that a GOAWAY leaves unsent are closed as refused")
    func goAway() throws {
        let wire = try HTTP2Wire()
        try wire.settle()
        wire.server.session.goAway()
        try wire.settle()
        #expect(!wire.client.session.mayRequest)
        do {
            _ = try wire.client.request(requestHead(), isEnd: true)
            #expect(try wire.settle().client == ["closed 7"])
        } catch { /* Refused at once is as good. */  }
        #expect(wire.client.session.streamCount == 0)
    }

    @Test("a connection that was upgraded from HTTP/1.1 answers its first request on stream 1")
    func upgrade() throws {
        let server = try HTTP2Peer(.server)
        var head = try requestHead()
        head.setMethod(.get)
        let stream = try server.session.upgrade(settings: [0, 4, 0, 0, 255, 255], of: head)
        #expect(stream.id == 1)
        try server.session.respond(stream, ResponseHead(status: 204), isEnd: true)
        let output = try server.output
        #expect(output.count > 9)
        try HTTP2Wire.feed(bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + frame(4), to: server.session)
        #expect(server.session.streamCount == 0)
    }
}
