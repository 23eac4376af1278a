import HTTP
import IO
import Testing

/// A server that has seen a client's preface.
func server(_ limits: HTTP2Limits = HTTP2Limits()) throws -> HTTP2Peer {
    let server = try HTTP2Peer(.server, limits: limits)
    try HTTP2Wire.feed(bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + frame(4), to: server.session)
    _ = try server.output
    return server
}

/// Heads that break a rule of RFC 9113 §8.
let malformedHeads: [[(String, String)]] = {
    let more: [[(String, String)]] = [
        [("x", "a\r\nb")], [("x", "a\0")], [("x", "a\n")], [("x", " a")], [("x y", "a")], [("x:", "a")], [("X", "a")],
        [("", "a")], [("x\r\ny", "a")], [("connection", "close")], [("transfer-encoding", "chunked")],
        [("keep-alive", "1")], [("proxy-connection", "1")], [("upgrade", "h2c")], [("te", "gzip")],
        [("content-length", "1")], [("content-length", "x")], [("content-length", "0"), ("content-length", "1")],
        [("host", "b")], [("host", "a"), ("host", "a")], [(":path", "/b")], [(":unknown", "1")], [(":status", "200")],
        [(":protocol", "websocket")],
    ]
    let whole: [[(String, String)]] = [
        [("x", "a")] + pseudo, [("a b", "")] + pseudo, [(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")],
        [(":method", "CONNECT")],
    ]
    var heads = more.map { pseudo + $0 } + whole
    for index in pseudo.indices where index < 3 {
        var head = pseudo
        head.remove(at: index)
        heads.append(head)
    }
    let changes: [(Int, String)] = [
        (0, "GE T"), (1, "ftp"), (2, ""), (2, "x"), (2, "/ HTTP/1.1\r\nx: y"), (3, "a@b"),
    ]
    for (index, value) in changes {
        var head = pseudo
        head[index].1 = value
        heads.append(head)
    }
    return heads
}()

@Suite("HTTP/2 under attack")
struct HTTP2AttackTests {
    @Test("ATK-01 a client that resets its requests in a loop is told to calm down")
    func rapidReset() throws {
        let server = try server()
        let sent = try floodUntilRefused(5000, server) { index in
            let id = UInt32(1 + 2 * index)
            return frame(1, flags: 4, stream: id, hpack(pseudo)) + frame(3, stream: id, [0, 0, 0, 8])
        }
        #expect((100...300).contains(sent))
        #expect(server.counters[.premature_resets_flood] == 1)
        #expect(try endsWithGoAway(server.output, code: 11))
        #expect(server.session.isFinished)
    }

    @Test("ATK-01 resets that we are provoked to send count like the client's own")
    func provokedReset() throws {
        let server = try server()
        let sent = try floodUntilRefused(5000, server) { index in
            let id = UInt32(1 + 2 * index)
            // A window of 2^31 or more is a stream error.
            return frame(1, flags: 4, stream: id, hpack(pseudo)) + frame(8, stream: id, [127, 255, 255, 255])
        }
        #expect((100...300).contains(sent))
    }

    @Test("ATK-01 a client that cancels now and then may go on for ever")
    func honestResets() throws {
        let server = try server()
        for index in 0..<2000 {
            let id = UInt32(1 + 2 * index)
            let now = MonotonicTime(nanoseconds: UInt64(index) * 100_000_000)
            let bytes = frame(1, flags: 4, stream: id, hpack(pseudo)) + frame(3, stream: id, [0, 0, 0, 8])
            try server.session.receive(bytes.span.bytes, at: now)
            _ = try server.output
        }
        #expect(server.counters[.premature_resets_flood] == nil)
    }

    @Test("ATK-02 a head that does not end is cut off while it comes")
    func continuations() throws {
        let server = try server()
        try HTTP2Wire.feed(frame(1, stream: 1, hpack(pseudo)), to: server.session)
        let sent = try floodUntilRefused(1000, server) { _ in frame(9, stream: 1, hpack([("x", "y")])) }
        #expect(sent <= 10)
        #expect(server.counters[.continuation_flood] == 1)
    }

    @Test("ATK-03 a head whose decoded size or number of fields exceeds the limits is refused, the connection goes on")
    func headLimits() throws {
        let wire = try HTTP2Wire()
        let many = (0..<101).map { ("x-\($0)", "v") }
        let large = [("x", String(repeating: "a", count: 30_000)), ("y", String(repeating: "a", count: 32_000))]
        for fields in [many, large] {
            _ = try wire.client.request(requestHead(fields: fields), isEnd: true)
            let events = try wire.settle()
            #expect(!events.server.contains { $0.hasPrefix("request") })
            #expect(events.client == ["closed 11"])
        }
        #expect(wire.server.counters[.header_overflow] == 2)
        _ = try wire.client.request(requestHead(fields: Array(many.prefix(100))), isEnd: true)
        #expect(try wire.settle().server.contains { $0.hasPrefix("request") })
    }

    @Test("ATK-03 a small block that decodes to very much ends the connection")
    func hpackBomb() throws {
        let server = try server()
        let value = String(repeating: "a", count: 3900)
        // One entry of the dynamic table, then 10,000 references to it.
        let entry = [0x40] + hpack([("x", value)]).dropFirst()
        try HTTP2Wire.feed(frame(1, flags: 5, stream: 1, hpack(pseudo) + entry), to: server.session)
        let bomb = hpack(pseudo) + [UInt8](repeating: 0xBE, count: 10_000)
        #expect(throws: HTTP2Error.self) {
            try HTTP2Wire.feed(frame(1, flags: 5, stream: 3, bomb), to: server.session)
        }
        #expect(try endsWithGoAway(server.output, code: 11))
    }

    @Test("ATK-03 cookie crumbs count as fields and bytes, and become one field")
    func cookies() throws {
        let server = try server()
        let crumbs = (0..<3).map { ("cookie", "c\($0)=1") }
        try HTTP2Wire.feed(frame(1, flags: 5, stream: 1, hpack(pseudo + crumbs)), to: server.session)
        #expect(server.takeEvents() == ["request POST http a / [\"cookie: c0=1; c1=1; c2=1\"] true"])
        let many = (0..<1000).map { _ in ("cookie", "a") }
        try HTTP2Wire.feed(frame(1, flags: 5, stream: 3, hpack(pseudo + many)), to: server.session)
        #expect(server.takeEvents().isEmpty)
        #expect(server.counters[.header_overflow] == 1)
    }

    @Test(
        "ATK-04 a flood of frames that carry nothing ends the connection",
        arguments: [
            ("ping", HTTP2Counter.inbound_control_frames_flood), ("settings", .inbound_control_frames_flood),
            ("priority", .inbound_priority_frames_flood), ("window", .inbound_window_update_frames_flood),
            ("data", .inbound_empty_frames_flood),
        ])
    func floods(_ kind: String, _ counter: HTTP2Counter) throws {
        let server = try server()
        try HTTP2Wire.feed(frame(1, flags: 4, stream: 1, hpack(pseudo)), to: server.session)
        let piece: [UInt8] =
            switch kind {
            case "ping": frame(6, [UInt8](repeating: 0, count: 8))
            case "settings": frame(4)
            case "priority": frame(2, stream: 1, [0, 0, 0, 0, 1])
            case "window": frame(8, stream: 1, [0, 0, 0, 1])
            default: frame(0, stream: 1)
            }
        let sent = try floodUntilRefused(100_000, server) { _ in piece }
        #expect(sent < 3000)
        #expect(server.counters[counter] == 1)
    }

    @Test("ATK-04 acknowledgements that nobody reads are bounded")
    func slowReader() throws {
        var limits = HTTP2Limits()
        limits.controlBurst = .max / 4
        let server = try server(limits)
        var sent = 0
        do {
            while sent < 100_000 {
                try server.session.receive(frame(6, [UInt8](repeating: 0, count: 8)).span.bytes)
                sent += 1
            }
        } catch {}
        #expect(sent < 1500)
        #expect(server.counters[.outbound_control_flood] == 1)
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
            try wire.settle()
            _ = try wire.client.request(requestHead(), isEnd: false)
            try wire.settle()
            for peer in [wire.client, wire.server] {
                for _ in 0..<6 {
                    let payload = (0..<Int(random() % 24)).map { _ in random() }
                    let piece = frame(random() % 11, flags: random(), stream: UInt32(random() % 6), payload)
                    do { try peer.session.receive(piece.span.bytes) } catch { break }
                    for stream in peer.streams.values {
                        if random() % 4 == 0 { peer.session.reset(stream, code: UInt32(random())) }
                        if random() % 4 == 0 { try? peer.session.send(stream, [1, 2, 3].span.bytes) }
                    }
                }
                _ = try? peer.output
                _ = peer.takeEvents()
            }
        }
    }

    // MARK: Messages

    @Test(
        "ATK-13 a malformed head is refused and its connection goes on",
        arguments: malformedHeads)
    func malformed(_ fields: [(String, String)]) throws {
        let server = try server()
        try HTTP2Wire.feed(frame(1, flags: 5, stream: 1, hpack(fields)), to: server.session)
        #expect(server.takeEvents().isEmpty)
        let reset = try server.output
        #expect(reset.count == 13 && reset[3] == 3, "\(reset)")
        try HTTP2Wire.feed(frame(1, flags: 5, stream: 3, hpack(pseudo)), to: server.session)
        #expect(server.takeEvents().count == 1)
        #expect(server.session.streamCount == 1)
    }

    @Test("ATK-13 a malformed head ends the connection where it is configured to")
    func malformedEndsConnection() throws {
        var limits = HTTP2Limits()
        limits.malformedMessageEndsConnection = true
        for fields in [pseudo + [("X", "a")], pseudo + [("host", "b")]] {
            let server = try server(limits)
            #expect(throws: HTTP2Error.self) {
                try HTTP2Wire.feed(frame(1, flags: 5, stream: 1, hpack(fields)), to: server.session)
            }
            #expect(try endsWithGoAway(server.output, code: 1))
        }
    }

    @Test("ATK-13 a body longer or shorter than its content-length is a stream error")
    func contentLength() throws {
        for body in [4, 6] {
            let server = try server()
            try HTTP2Wire.feed(
                frame(1, flags: 4, stream: 1, hpack(pseudo + [("content-length", "5")]))
                    + frame(0, flags: 1, stream: 1, [UInt8](repeating: 1, count: body)), to: server.session)
            let output = try server.output
            #expect(output.count == 13 && output[3] == 3)
            #expect(!server.takeEvents().contains { $0.hasPrefix("end") })
        }
    }

    @Test("ATK-16 names with an underscore pass, are dropped or refused")
    func underscores() throws {
        for (action, expected) in [
            (HTTP2Limits.Underscores.allow, ["request POST http a / [\"x_a: 1\"] true"]),
            (.drop, ["request POST http a / [] true"]), (.reject, []),
        ] {
            var limits = HTTP2Limits()
            limits.underscores = action
            let server = try server(limits)
            try HTTP2Wire.feed(frame(1, flags: 5, stream: 1, hpack(pseudo + [("x_a", "1")])), to: server.session)
            #expect(server.takeEvents() == expected)
        }
    }

    @Test("ATK-18 a host that is the authority is taken, and there is one authority")
    func host() throws {
        let server = try server()
        try HTTP2Wire.feed(frame(1, flags: 5, stream: 1, hpack(pseudo + [("host", "A")])), to: server.session)
        let onlyHost = Array(pseudo.dropLast()) + [("host", "h")]
        try HTTP2Wire.feed(frame(1, flags: 5, stream: 3, hpack(onlyHost)), to: server.session)
        #expect(server.takeEvents() == ["request POST http a / [] true", "request POST http h / [] true"])
    }

    @Test("P-4 extended CONNECT is an upgrade, where it is allowed")
    func extendedConnect() throws {
        var limits = HTTP2Limits()
        limits.allowsConnect = true
        let server = try server(limits)
        let fields =
            [(":method", "CONNECT"), (":protocol", "websocket")] + pseudo.dropFirst() + [
                ("sec-websocket-version", "13")
            ]
        try HTTP2Wire.feed(frame(1, flags: 4, stream: 1, hpack(fields)), to: server.session)
        #expect(
            server.takeEvents() == [
                "request GET http a / [\"upgrade: websocket\", \"sec-websocket-version: 13\"] false"
            ])
        #expect(server.heads.last?.isUpgrade == true)
    }

    // MARK: Tools

    /// Sends pieces, reading what comes back, until the session refuses; how many it took.
    private func floodUntilRefused(
        _ most: Int, _ server: HTTP2Peer, _ piece: (Int) -> [UInt8]
    ) throws -> Int {
        for index in 0..<most {
            do { try server.session.receive(piece(index).span.bytes) } catch { return index }
            _ = try server.output
        }
        return most
    }

    private func endsWithGoAway(_ output: [UInt8], code: UInt8) throws -> Bool {
        let goAway = try #require(output.count >= 17 ? Array(output.suffix(17)) : nil)
        return goAway[3] == 7 && goAway[16] == code
    }
}
