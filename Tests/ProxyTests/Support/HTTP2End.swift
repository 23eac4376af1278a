import HTTP
import IO

/// One end of an HTTP/2 connection as a script uses it.
///
/// `@unchecked Sendable`: used on the test's loop only.
final class HTTP2End: @unchecked Sendable, HTTP2SessionDelegate {
    struct Failed: Error { var text: String }

    let session: HTTP2Session
    let stream: SocketStream
    private let loop: EventLoop
    /// Takes requests (server).
    private let onRequest: (@Sendable (HTTP2Exchange) async throws -> Void)?
    private(set) var goAways: [UInt32] = []
    private(set) var isOver = false
    private var waiters: [() -> Void] = []
    private var isWriting = false
    private(set) var exchanges = 0

    init(
        _ role: HTTP2Session.Role, _ stream: SocketStream, on loop: EventLoop, limits: HTTP2Limits = HTTP2Limits(),
        onRequest: (@Sendable (HTTP2Exchange) async throws -> Void)? = nil
    ) throws {
        session = try HTTP2Session(role, limits: limits)
        self.stream = stream
        self.loop = loop
        self.onRequest = onRequest
        session.delegate = self
        Task(executorPreference: loop) { await self.read() }
        kick()
    }

    static func connect(
        to address: SocketAddress, on loop: EventLoop, limits: HTTP2Limits = HTTP2Limits()
    ) async throws -> HTTP2End {
        try HTTP2End(
            .client, try await SocketStream.connect(to: address, on: loop, timeout: .seconds(5)), on: loop,
            limits: limits)
    }

    /// Begins a request.
    func begin(
        _ method: String = "GET", _ path: String = "/", authority: String = "test", fields: [(String, String)] = [],
        upgrade: String? = nil, isEnd: Bool = true
    ) throws -> HTTP2Exchange {
        var head = RequestHead()
        try head.setMethod(token: Array(method.utf8).span.bytes)
        try head.setPath(Array(path.utf8).span.bytes)
        try head.setAuthority(Array(authority.utf8).span.bytes)
        for (name, value) in fields { try head.headers.append(name, value) }
        if !isEnd { head.body = .chunked }
        if let upgrade { head.makeUpgrade(upgrade) }
        let exchange = HTTP2Exchange(self)
        exchange.stream = try session.request(head, isEnd: isEnd, delegate: exchange)
        kick()
        return exchange
    }

    /// A whole exchange.
    func get(_ path: String = "/", _ fields: [(String, String)] = []) async throws -> HTTP2Exchange {
        let exchange = try begin("GET", path, fields: fields)
        try await exchange.finished()
        return exchange
    }

    private func read() async {
        while let bytes = try? await stream.read(upTo: 65_536), !bytes.isEmpty {
            do { try session.receive(bytes.span.bytes) } catch { break }
            kick()
            notify()
        }
        isOver = true
        session.abandonStreams(code: 8)
        notify()
        stream.close()
    }

    /// Sends what there is to send.
    func kick() {
        guard !isWriting else { return }
        isWriting = true
        Task(executorPreference: loop) {
            while true {
                var output: [UInt8] = []
                guard (try? self.session.takeOutput(into: &output)) != nil, !output.isEmpty,
                    (try? await self.stream.write(output)) != nil
                else { break }
            }
            self.isWriting = false
            if self.session.hasOutput, !self.isOver { self.kick() }
        }
    }

    func notify() {
        let waiting = waiters
        waiters = []
        for waiter in waiting { waiter() }
    }

    /// Waits until something is so.
    func wait(_ condition: @Sendable () -> Bool) async {
        while !condition() {
            await withCheckedContinuation { continuation in waiters.append { continuation.resume() } }
        }
    }

    func close() { stream.close() }

    func streamBegan(_ stream: HTTP2Stream) {
        guard let onRequest else { return }
        exchanges += 1
        let exchange = HTTP2Exchange(self)
        exchange.stream = stream
        stream.delegate = exchange
        Task(executorPreference: loop) { try? await onRequest(exchange) }
    }

    func goAway(lastStream: Int32, code: UInt32) { goAways.append(code) }
}

/// One request and its response on an `HTTP2End`.
final class HTTP2Exchange: @unchecked Sendable, HTTP2StreamDelegate {
    private unowned let end: HTTP2End
    fileprivate(set) var stream: HTTP2Stream?
    /// Whoever keeps the exchange keeps its end.
    private let kept: HTTP2End
    private(set) var request = RequestHead()
    private(set) var response = ResponseHead()
    private(set) var interims: [UInt16] = []
    private(set) var hasHead = false
    private(set) var body: [UInt8] = []
    private(set) var bodyBytes = 0
    private(set) var trailers = HeaderTable()
    private(set) var hasEnded = false
    private(set) var closedCode: UInt32?
    /// Whether what comes is taken at once; otherwise the window stays shut.
    var takes = true

    init(_ end: HTTP2End) {
        self.end = end
        kept = end
    }

    var status: Int { Int(response.status) }
    var text: String { String(decoding: body, as: UTF8.self) }
    var isReset: Bool { closedCode != nil && !hasEnded }

    func finished() async throws {
        await end.wait { self.hasEnded || self.closedCode != nil }
        if !hasEnded { throw HTTP2End.Failed(text: "the stream was reset: \(closedCode ?? 0)") }
    }

    func answered() async throws {
        await end.wait { self.hasHead || self.closedCode != nil }
        if !hasHead { throw HTTP2End.Failed(text: "the stream was reset: \(closedCode ?? 0)") }
    }

    func closed() async -> UInt32 {
        await end.wait { self.closedCode != nil }
        return closedCode ?? 0
    }

    func received(_ count: Int) async {
        await end.wait { self.bodyBytes >= count || self.closedCode != nil || self.hasEnded }
    }

    func received(text: String) async {
        await end.wait { self.text.hasSuffix(text) || self.closedCode != nil || self.hasEnded }
    }

    func respond(_ status: UInt16 = 200, _ fields: [(String, String)] = [], isEnd: Bool = false) throws {
        guard let stream else { return }
        var head = ResponseHead(status: status)
        head.body = isEnd ? .none : .chunked
        for (name, value) in fields { try head.headers.append(name, value) }
        try end.session.respond(stream, head, isEnd: isEnd)
        end.kick()
    }

    func interim(_ status: UInt16) throws {
        guard let stream else { return }
        try end.session.sendInterim(stream, ResponseHead(status: status))
        end.kick()
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        guard let stream else { throw HTTP2End.Failed(text: "the stream is gone") }
        try end.session.send(stream, bytes.span.bytes)
        end.kick()
    }

    func finish(trailers: [(String, String)] = []) throws {
        guard let stream else { return }
        var table = HeaderTable()
        for (name, value) in trailers { try table.append(name, value) }
        try end.session.end(stream, trailers: table)
        end.kick()
    }

    func reset(_ code: UInt32 = 8) {
        guard let stream else { return }
        end.session.reset(stream, code: code)
        end.kick()
    }

    var queuedBytes: Int { stream?.queuedBytes ?? 0 }

    func takeAll() {
        takes = true
        guard let stream else { return }
        end.session.consumedAll(stream)
        end.kick()
    }

    func head(_ stream: HTTP2Stream, isEnd: Bool) {
        self.stream = stream
        request = stream.request
        if stream.response.isInterim {
            interims.append(stream.response.status)
            return
        }
        response = stream.response
        hasHead = true
        hasEnded = isEnd
    }

    func data(_ stream: HTTP2Stream, _ bytes: UnsafeRawBufferPointer) {
        bodyBytes += bytes.count
        if body.count < 1 << 20 { body += [UInt8](bytes) }
        if takes { end.session.consumed(stream, bytes.count) }
    }

    func end(_ stream: HTTP2Stream) {
        trailers = stream.trailers
        hasEnded = true
    }

    func drained(_ stream: HTTP2Stream) {}

    func closed(_ stream: HTTP2Stream, code: UInt32) {
        self.stream = nil
        closedCode = code
    }
}

/// A server that speaks HTTP/2.
final class HTTP2Upstream: @unchecked Sendable {
    let port: UInt16
    private(set) var ends: [HTTP2End] = []

    init(
        on loop: EventLoop, limits: HTTP2Limits = HTTP2Limits(),
        _ serve: @escaping @Sendable (HTTP2Exchange) async throws -> Void
    ) async throws {
        let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
        port = socket.localAddress?.port ?? 0
        let listener = try SocketListener(socket, on: loop)
        Task(executorPreference: loop) {
            while let accepted = try? await listener.accept() {
                guard let stream = try? SocketStream(accepted, on: loop),
                    let end = try? HTTP2End(.server, stream, on: loop, limits: limits, onRequest: serve)
                else { continue }
                self.ends.append(end)
            }
        }
    }

    var connections: Int { ends.count }
}

extension Yaml {
    static let http2 = """
        typed_extension_protocol_options:
                  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                    explicit_http_config: { http2_protocol_options: { allow_connect: true } }
        """
}
