import HTTP
import Testing

/// Two sessions and the wire between them.
struct HTTP2Wire {
    let client: HTTP2Session
    let server: HTTP2Session

    init(limits: HTTP2Limits = HTTP2Limits()) throws {
        client = try HTTP2Session(.client, limits: limits)
        server = try HTTP2Session(.server, limits: limits)
    }

    /// Carries bytes both ways until there are none, in pieces of so many bytes; gives both sides' events.
    func settle(pieceBytes: Int = .max) throws -> (client: [HTTP2Event], server: [HTTP2Event]) {
        var events: (client: [HTTP2Event], server: [HTTP2Event]) = ([], [])
        while true {
            var (up, down): ([UInt8], [UInt8]) = ([], [])
            try client.takeOutput(into: &up)
            try server.takeOutput(into: &down)
            events.client += client.takeEvents()
            events.server += server.takeEvents()
            if up.isEmpty, down.isEmpty { return events }
            try HTTP2Wire.feed(up, to: server, pieceBytes)
            try HTTP2Wire.feed(down, to: client, pieceBytes)
            events.client += client.takeEvents()
            events.server += server.takeEvents()
        }
    }

    static func feed(_ bytes: [UInt8], to session: HTTP2Session, _ pieceBytes: Int) throws {
        var low = 0
        while low < bytes.count {
            let high = min(bytes.count, pieceBytes == .max ? bytes.count : low + pieceBytes)
            try session.receive(Array(bytes[low..<high]).span.bytes)
            low = high
        }
    }
}

func requestHead(_ path: String = "/p", fields: [(String, String)] = []) throws -> RequestHead {
    var head = RequestHead()
    head.setMethod(.post)
    try head.setPath(bytes(path).span.bytes)
    try head.setAuthority(bytes("h:1").span.bytes)
    for (name, value) in fields { try head.headers.append(name, value) }
    return head
}

/// Events as short texts, pieces of one body put together.
func summaries(_ events: [HTTP2Event]) -> [String] {
    var result: [String] = []
    var body = 0
    for event in events {
        if case .data(_, let data) = event {
            if body > 0 { result.removeLast() }
            body += data.count
            result.append("data \(body)")
        } else {
            body = 0
            result.append(summary(event))
        }
    }
    return result
}

/// An event as a short text.
func summary(_ event: HTTP2Event) -> String {
    switch event {
    case .request(_, let head, let isEnd):
        "request \(text(head.methodName)) \(text(head.scheme)) \(head.authorityText) \(head.pathText) \(fields(head.headers)) \(isEnd)"
    case .response(_, let head, let isEnd): "response \(head.status) \(fields(head.headers)) \(isEnd)"
    case .data(_, let data): "data \(data.count)"
    case .end(_, let trailers): "end \(fields(trailers))"
    case .drained: "drained"
    case .closed(_, let code): "closed \(code)"
    case .goAway(let last, let code): "goaway \(last) \(code)"
    case .pong: "pong"
    }
}

@Suite("HTTP/2 session")
struct HTTP2SessionTests {
    @Test(
        "a request and its answer with trailers arrive as they were sent, cut at every size",
        arguments: [1, 3, 9, Int.max])
    func roundTrip(_ pieceBytes: Int) throws {
        let wire = try HTTP2Wire()
        let token = try wire.client.request(
            requestHead(fields: [("x-a", "1"), ("connection", "close"), ("te", "trailers")]), isEnd: false)
        try wire.client.send(token, bytes("hello").span.bytes)
        try wire.client.end(token)
        let asked = try wire.settle(pieceBytes: pieceBytes).server
        #expect(
            summaries(asked) == ["request POST http h:1 /p [\"x-a: 1\", \"te: trailers\"] false", "data 5", "end []"])
        guard case .request(let answered, _, _) = try #require(asked.first) else { return }

        var head = ResponseHead(status: 200)
        try head.headers.append("x-b", "2")
        try wire.server.respond(answered, head, isEnd: false)
        try wire.server.send(answered, bytes("world!").span.bytes)
        var trailers = HeaderTable()
        try trailers.append("x-sum", "3")
        try wire.server.end(answered, trailers: trailers)
        let events = try wire.settle(pieceBytes: pieceBytes)
        #expect(
            summaries(events.client) == [
                "response 200 [\"x-b: 2\"] false", "data 6", "end [\"x-sum: 3\"]", "closed 0",
            ])
        #expect(wire.client.streamCount == 0 && wire.server.streamCount == 0)
        // Tokens of ended streams find nothing.
        #expect(throws: HTTP2Error.self) { try wire.server.send(answered, bytes("late").span.bytes) }
        wire.server.reset(answered, code: 8)
        wire.server.consumed(answered, 5)
        #expect(try wire.settle().client.isEmpty)
    }

    @Test("the peer may send only as much as was read")
    func flowControl() throws {
        var limits = HTTP2Limits()
        limits.streamWindow = 65_535
        let wire = try HTTP2Wire(limits: limits)
        _ = try wire.settle()
        let token = try wire.client.request(requestHead(), isEnd: false)
        let body = [UInt8](repeating: 0x61, count: 1_000_000)
        try wire.client.send(token, body.span.bytes)
        func data(_ events: [HTTP2Event]) -> Int {
            events.reduce(0) { sum, event in
                if case .data(_, let data) = event { sum + data.count } else { sum }
            }
        }
        let first = try wire.settle().server
        #expect(data(first) == 65_535)
        guard case .request(let received, _, _) = try #require(first.first) else { return }
        #expect(wire.client.queuedBytes(token) == body.count - 65_535)
        #expect(try data(wire.settle().server) == 0)
        wire.server.consumed(received, 60_000)
        #expect(try data(wire.settle().server) == 60_000)
    }

    @Test("bytes of a stream that ended unread are given back to the connection")
    func connectionWindow() throws {
        var limits = HTTP2Limits()
        limits.connectionWindow = 65_535
        limits.streamWindow = 65_535
        let wire = try HTTP2Wire(limits: limits)
        for _ in 0..<10 {
            let token = try wire.client.request(requestHead(), isEnd: false)
            try wire.client.send(token, [UInt8](repeating: 0, count: 50_000).span.bytes)
            let events = try wire.settle().server
            #expect(events.contains { summary($0).hasPrefix("data") })
            guard case .request(let received, _, _) = try #require(events.first) else { return }
            wire.server.reset(received, code: 8)
            _ = try wire.settle()
        }
        #expect(wire.server.streamCount == 0)
    }

    @Test("ATK-03 a head whose decoded size or number of fields exceeds the limits is refused, the connection goes on")
    func headLimits() throws {
        let wire = try HTTP2Wire()
        let many = (0..<101).map { ("x-\($0)", "v") }
        let large = [("x", String(repeating: "a", count: 30_000)), ("y", String(repeating: "a", count: 32_000))]
        for fields in [many, large] {
            _ = try wire.client.request(requestHead(fields: fields), isEnd: true)
            let events = try wire.settle()
            #expect(!events.server.contains { summary($0).hasPrefix("request") })
            #expect(events.client.contains { summary($0).hasPrefix("closed") })
        }
        _ = try wire.client.request(requestHead(fields: Array(many.prefix(100))), isEnd: true)
        #expect(try wire.settle().server.contains { summary($0).hasPrefix("request") })
    }

    @Test("ATK-18 a host that differs from the authority is refused")
    func hostDiffers() throws {
        // Written by hand: our own client does not send Host.
        let wire = try HTTP2Wire()
        _ = try wire.settle()
        // Literal fields without indexing: static names 1 (:authority), 3 (POST), 4 (/), 6 (http), 38 (host).
        func block(_ host: String) -> [UInt8] {
            [0x83, 0x84, 0x86, 0x01, 0x01, 0x61, 0x0F, 0x17, UInt8(host.utf8.count)] + Array(host.utf8)
        }
        for (index, host) in ["a", "b"].enumerated() {
            let payload = block(host)
            let frame: [UInt8] = [0, 0, UInt8(payload.count), 1, 5, 0, 0, 0, UInt8(1 + 2 * index)]
            try wire.server.receive((frame + payload).span.bytes)
            let events = wire.server.takeEvents().map(summary)
            #expect(events == (host == "a" ? ["request POST http a / [] true"] : []))
        }
    }

    @Test("ATK-01 a client that resets its requests in a loop is told to go away")
    func rapidReset() throws {
        let wire = try HTTP2Wire()
        _ = try wire.settle()
        var sent = 0
        while sent < 5000, !wire.server.isFinished {
            let token = try wire.client.request(requestHead(), isEnd: false)
            _ = try wire.settle()
            wire.client.reset(token, code: 8)
            sent += 1
            if try wire.settle().client.contains(where: { summary($0).hasPrefix("goaway") }) { break }
        }
        #expect(sent < 1000)
    }

    @Test("ATK-04 pings are answered, and a flood of them ends the connection")
    func pings() throws {
        let wire = try HTTP2Wire()
        wire.client.ping()
        #expect(try wire.settle().client.map(summary) == ["pong"])
        let flood = (0..<2000).flatMap { _ -> [UInt8] in [0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
        #expect(throws: HTTP2Error.self) { try wire.server.receive(flood.span.bytes) }
    }

    @Test("ATK-06 random bytes after the preface never trap")
    func garbage() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var state = seed
        func random() -> UInt8 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 33)
        }
        for _ in 0..<2000 {
            let wire = try HTTP2Wire()
            _ = try wire.settle()
            _ = try wire.client.request(requestHead(), isEnd: false)
            _ = try wire.settle()
            for session in [wire.client, wire.server] {
                for _ in 0..<6 {
                    let count = Int(random() % 24)
                    let frame = [0, 0, UInt8(count), random() % 11, random(), 0, 0, 0, random() % 6]
                    let payload = (0..<count).map { _ in random() }
                    do { try session.receive((frame + payload).span.bytes) } catch { break }
                }
                var output: [UInt8] = []
                try? session.takeOutput(into: &output)
                _ = session.takeEvents()
            }
        }
    }

    @Test("requests that a GOAWAY leaves unsent are closed as refused")
    func goAway() throws {
        let wire = try HTTP2Wire()
        _ = try wire.settle()
        wire.server.goAway()
        _ = try wire.settle()
        do {
            _ = try wire.client.request(requestHead(), isEnd: true)
            let events = try wire.settle().client
            #expect(events.map(summary) == ["closed 7"])
        } catch { /* Refused at once is as good. */  }
        #expect(wire.client.streamCount == 0)
    }
}
