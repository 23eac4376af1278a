import HTTP

/// A session with everything that its delegates hear.
private final class Listening: HTTP2SessionDelegate, HTTP2StreamDelegate {
    let session: HTTP2Session
    private(set) var log: [String] = []
    private(set) var bodies: [Int32: [UInt8]] = [:]
    private(set) var ended: Set<Int32> = []
    private(set) var failure: HTTP2Error?
    private(set) var headBytes = 0
    private let isServer: Bool

    init(_ role: HTTP2Session.Role) throws {
        var limits = HTTP2Limits()
        limits.allowsConnect = true
        isServer = role == .server
        session = try HTTP2Session(role, limits: limits)
        session.delegate = self
        if role == .client {
            for path in ["/a", "/b"] {
                var head = RequestHead()
                try head.setPath(Array(path.utf8).span.bytes)
                try head.setAuthority(Array("h".utf8).span.bytes)
                head.setMethod(path == "/a" ? .get : .head)
                _ = try session.request(head, isEnd: true, delegate: self)
            }
            var output: [UInt8] = []
            try session.takeOutput(into: &output)
        }
    }

    func receive(_ bytes: [UInt8], cuts: [Int]) {
        var low = 0
        do throws(HTTP2Error) {
            for high in cuts + [bytes.count] {
                let piece = Array(bytes[low..<high])
                low = high
                try session.receive(piece.span.bytes)
            }
        } catch { failure = error }
    }

    private func add(_ text: String) { log.append(text) }

    private func fields(_ table: HeaderTable) -> String {
        headBytes = max(
            headBytes, (0..<table.count).reduce(0) { $0 + table.name(at: $1).byteCount + table.value(at: $1).byteCount }
        )
        return (0..<table.count).map { "\(table.nameText(at: $0)): \(table.valueText(at: $0))" }.joined(separator: ", ")
    }

    func streamBegan(_ stream: HTTP2Stream) { stream.delegate = self }
    func goAway(lastStream: Int32, code: UInt32) { add("goaway \(lastStream) \(code)") }
    func head(_ stream: HTTP2Stream, isEnd: Bool) {
        if isServer {
            add(
                "\(stream.id) \(stream.request.pathText) \(stream.request.authorityText) \(fields(stream.request.headers)) \(isEnd)"
            )
        } else {
            add("\(stream.id) \(stream.response.status) \(fields(stream.response.headers)) \(isEnd)")
        }
    }
    func data(_ stream: HTTP2Stream, _ bytes: UnsafeRawBufferPointer) { bodies[stream.id, default: []] += bytes }
    func end(_ stream: HTTP2Stream) {
        ended.insert(stream.id)
        add("\(stream.id) end \(fields(stream.trailers))")
    }
    func drained(_ stream: HTTP2Stream) {}
    func closed(_ stream: HTTP2Stream, code: UInt32) { add("\(stream.id) closed \(code)") }

    /// Whether the bodies are those of another: how far one came that is longer than it may be depends on how its bytes came.
    func hasBodies(of other: Listening) -> Bool {
        Set(bodies.keys).union(other.bodies.keys).allSatisfy { id in
            let (mine, others) = (bodies[id] ?? [], other.bodies[id] ?? [])
            return ended.contains(id) ? mine == others : mine.starts(with: others) || others.starts(with: mine)
        }
    }
}

extension FuzzTarget {
    private static let http2Words = [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\u{0}\u{0}\u{0}\u{4}\u{0}\u{0}\u{0}\u{0}\u{0}",
        "\u{0}\u{0}\u{0}\u{4}\u{1}\u{0}\u{0}\u{0}\u{0}",
        "\u{0}\u{0}\u{8}\u{6}\u{0}\u{0}\u{0}\u{0}\u{0}12345678",
        "\u{0}\u{0}\u{4}\u{3}\u{0}\u{0}\u{0}\u{0}\u{1}\u{0}\u{0}\u{0}\u{8}",
        "\u{0}\u{0}\u{4}\u{8}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{1}\u{0}",
        "\u{0}\u{0}\u{0}\u{0}\u{1}\u{0}\u{0}\u{0}\u{1}",
        "\u{0}\u{0}\u{5}\u{2}\u{0}\u{0}\u{0}\u{0}\u{1}\u{0}\u{0}\u{0}\u{0}\u{10}",
        "\u{0}\u{0}\u{1}\u{9}\u{4}\u{0}\u{0}\u{0}\u{1}a", "\u{0}\u{0}\u{1}\u{9}\u{0}\u{0}\u{0}\u{0}\u{1}a",
        ":path", ":method", ":authority", "content-length", "transfer-encoding", "cookie", "host", "connection",
    ]

    static let http2Server = FuzzTarget("http2-server", words: http2Words) { try session(.server, $0) }
    static let http2Client = FuzzTarget("http2-client", words: http2Words) { try session(.client, $0) }

    private static func session(_ role: HTTP2Session.Role, _ input: [UInt8]) throws {
        let whole = try Listening(role)
        whole.receive(input, cuts: [])
        var random = FuzzRandom(of: input)
        let cut = try Listening(role)
        cut.receive(input, cuts: random.cuts(of: input.count))
        func text(_ failure: HTTP2Error?) -> String { failure.map { "\($0)" } ?? "no error" }
        // nghttp2 counts each piece of the head of a CONTINUATION frame as one of its eight such frames.
        if !text(cut.failure).contains("Too many CONTINUATION") {
            try holds(whole.log == cut.log, "cut into pieces it says something else: \(whole.log) and \(cut.log)")
            try holds(cut.hasBodies(of: whole), "cut into pieces bodies are others: \(whole.bodies) and \(cut.bodies)")
            try holds(
                whole.failure?.code == cut.failure?.code,
                "in one piece \(text(whole.failure)), in several \(text(cut.failure))")
        }
        try holds(whole.headBytes <= HTTP1Limits.headBytesDefault, "a head of \(whole.headBytes) bytes")
        try holds(whole.session.streamCount <= 100, "\(whole.session.streamCount) streams")
        var output: [UInt8] = []
        try? whole.session.takeOutput(into: &output)
        // SETTINGS and the windows at the beginning, then an answer that is no larger than a few times its cause.
        try holds(output.count <= 200 + 8 * input.count, "\(output.count) bytes in answer to \(input.count)")
        whole.session.abandonStreams(code: 8)
        cut.session.abandonStreams(code: 8)
    }
}
