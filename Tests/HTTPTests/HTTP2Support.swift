import HTTP

/// A session that writes down what its delegates hear.
final class HTTP2Peer: HTTP2SessionDelegate, HTTP2StreamDelegate {
    /// What happened, as short texts; pieces of one body put together.
    private var log: [(text: String, bytes: Int)] = []
    let session: HTTP2Session
    /// Streams that live, by id.
    private(set) var streams: [Int32: HTTP2Stream] = [:]
    var counters: [HTTP2Counter: Int] = [:]
    var heads: [RequestHead] = []
    var refuses = false

    init(_ role: HTTP2Session.Role, limits: HTTP2Limits = HTTP2Limits()) throws {
        session = try HTTP2Session(role, limits: limits)
        session.delegate = self
    }

    func request(_ head: RequestHead, isEnd: Bool) throws -> HTTP2Stream {
        let stream = try session.request(head, isEnd: isEnd, delegate: self)
        streams[stream.id] = stream
        return stream
    }

    /// What happened since the last call.
    func takeEvents() -> [String] {
        defer { log = [] }
        return log.map { $0.bytes > 0 ? "\($0.text) \($0.bytes)" : $0.text }
    }

    private func add(_ text: String, bytes: Int = 0) {
        if bytes > 0, let last = log.last, last.text == text {
            log[log.count - 1].bytes += bytes
        } else {
            log.append((text, bytes))
        }
    }

    func streamBegan(_ stream: HTTP2Stream) {
        guard !refuses else { return }
        stream.delegate = self
        streams[stream.id] = stream
    }

    func goAway(lastStream: Int32, code: UInt32) { add("goaway \(lastStream) \(code)") }
    func pong() { add("pong") }
    func count(_ counter: HTTP2Counter) { counters[counter, default: 0] += 1 }

    func head(_ stream: HTTP2Stream, isEnd: Bool) {
        if streams[stream.id] !== stream { add("stray head") }
        if stream.isClient {
            return add("response \(stream.response.status) \(fields(stream.response.headers)) \(isEnd)")
        }
        let head = stream.request
        heads.append(head)
        add(
            "request \(text(head.methodName)) \(text(head.scheme)) \(head.authorityText) \(head.pathText) \(fields(head.headers)) \(isEnd)"
        )
    }

    func data(_ stream: HTTP2Stream, _ bytes: UnsafeRawBufferPointer) { add("data", bytes: bytes.count) }
    func end(_ stream: HTTP2Stream) { add("end \(fields(stream.trailers))") }
    func drained(_ stream: HTTP2Stream) {}
    func closed(_ stream: HTTP2Stream, code: UInt32) {
        streams[stream.id] = nil
        add("closed \(code)")
    }

    var output: [UInt8] {
        get throws {
            var bytes: [UInt8] = []
            try session.takeOutput(into: &bytes)
            return bytes
        }
    }
}

extension HTTP2Stream {
    fileprivate var isClient: Bool { request.pathText.isEmpty && request.authorityText.isEmpty }
}

/// Two sessions and the wire between them.
struct HTTP2Wire {
    let client: HTTP2Peer
    let server: HTTP2Peer

    init(limits: HTTP2Limits = HTTP2Limits()) throws {
        client = try HTTP2Peer(.client, limits: limits)
        server = try HTTP2Peer(.server, limits: limits)
    }

    /// Carries bytes both ways until there are none, in pieces of so many bytes; gives both sides' events.
    @discardableResult
    func settle(pieceBytes: Int = .max) throws -> (client: [String], server: [String]) {
        while true {
            let (up, down) = (try client.output, try server.output)
            if up.isEmpty, down.isEmpty { return (client.takeEvents(), server.takeEvents()) }
            try HTTP2Wire.feed(up, to: server.session, pieceBytes)
            try HTTP2Wire.feed(down, to: client.session, pieceBytes)
        }
    }

    static func feed(_ bytes: [UInt8], to session: HTTP2Session, _ pieceBytes: Int = .max) throws {
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

/// A frame by hand.
func frame(_ type: UInt8, flags: UInt8 = 0, stream: UInt32 = 0, _ payload: [UInt8] = []) -> [UInt8] {
    let count = UInt32(payload.count)
    let head: [UInt8] = [
        UInt8(truncatingIfNeeded: count >> 16), UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count),
        type, flags, UInt8(truncatingIfNeeded: stream >> 24), UInt8(truncatingIfNeeded: stream >> 16),
        UInt8(truncatingIfNeeded: stream >> 8), UInt8(truncatingIfNeeded: stream),
    ]
    return head + payload
}

/// Fields as HPACK literals that no table keeps.
func hpack(_ fields: [(String, String)]) -> [UInt8] {
    var block: [UInt8] = []
    for (name, value) in fields {
        block.append(0)
        for text in [name, value] {
            block += length(text.utf8.count)
            block += Array(text.utf8)
        }
    }
    return block
}

private func length(_ count: Int) -> [UInt8] {
    guard count >= 127 else { return [UInt8(count)] }
    var rest = count - 127
    var bytes: [UInt8] = [127]
    while rest >= 128 {
        bytes.append(UInt8(rest & 127 | 128))
        rest >>= 7
    }
    return bytes + [UInt8(rest)]
}

let pseudo = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
