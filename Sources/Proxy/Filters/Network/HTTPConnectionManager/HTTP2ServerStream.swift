internal import HTTP
internal import IO

/// One request on a downstream HTTP/2 connection.
///
/// Two lives end independently: the stream on the wire (`closed`) and the exchange (`streamEnded`).
final class HTTP2ServerStream: DownstreamStream, HTTP2StreamDelegate {
    private let connection: HTTP2ServerConnection
    /// The stream as long as it is on the wire.
    ///
    /// Not counted: the session keeps all its stream objects until it ends, and `connection` holds the session.
    private var wire: Unmanaged<HTTP2Stream>?
    private var stream: HTTP2Stream? { wire?.takeUnretainedValue() }
    private(set) var exchange: HTTPStream?
    private var responseHasEnded = false
    /// The request is its head: CONNECT, plain or extended.
    private var opensTunnel = false
    private var hasToldEnd = false
    /// Bytes behind a CONNECT that nobody has agreed to yet (ATK-14); the stream's window bounds them.
    private var early: [UInt8] = []

    init(_ connection: HTTP2ServerConnection, _ stream: HTTP2Stream?) {
        self.connection = connection
        wire = stream.map { .passUnretained($0) }
    }

    var info: ConnectionInfo { connection.info }
    var worker: Worker { connection.worker }
    var manager: HTTPConnectionManager { connection.manager }
    var httpVersion: HTTPVersion { .http2 }

    // MARK: Request in

    func head(_ stream: HTTP2Stream, isEnd: Bool) {
        let exchange = HTTPStream(connection: self)
        self.exchange = exchange
        swap(&stream.request, &exchange.request)
        opensTunnel = exchange.requestOpensTunnel
        if exchange.request.method == .connect { exchange.request.body = .none }
        if exchange.request.expectsContinue, !manager.config.passesContinue {
            // We answer for the upstream: it gets the request with its body, without the expectation (RFC 9110 §10.1.1).
            exchange.request.headers.remove(.expect)
            if !isEnd {
                sendInterim(ResponseHead(status: 100))
                manager.countInterim(100)
            }
        }
        exchange.begin()
        // An upgrade's request is its head; what follows belongs to the tunnel.
        if isEnd || opensTunnel, !exchange.isFinished { exchange.requestEnd(HeaderTable()) }
        if !exchange.isFinished { armTimer() }
    }

    func data(_ stream: HTTP2Stream, _ bytes: UnsafeRawBufferPointer) {
        if opensTunnel, let exchange, !exchange.isTunnel { return early += bytes }
        exchange?.requestBody(bytes)
        // What has no place to go stays with the client: its window does not grow.
        if exchange?.requestIsPaused != true { connection.session.consumed(stream, bytes.count) }
    }

    func end(_ stream: HTTP2Stream) {
        if opensTunnel, let exchange, !exchange.isTunnel { return }
        hasToldEnd = true
        exchange?.requestEnd(stream.trailers)
        // The route's timeout begins now (T-2).
        if exchange?.isFinished == false { armTimer() }
    }

    func requestMayContinue() {
        guard let wire, opensTunnel || wire._withUnsafeGuaranteedRef({ $0.unconsumedBytes > 0 }) else { return }
        let stream = wire.takeUnretainedValue()
        if opensTunnel, let exchange, exchange.isTunnel {
            if !early.isEmpty {
                let bytes = early
                early = []
                bytes.withUnsafeBytes { exchange.requestBody($0) }
            }
            if stream.isRemoteEnded, !hasToldEnd {
                hasToldEnd = true
                exchange.requestEnd(HeaderTable())
            }
            if exchange.requestIsPaused { return }
        }
        connection.session.consumedAll(stream)
        worker.markDirtyForPass(connection)
    }

    func drained(_ stream: HTTP2Stream) { exchange?.responseMayContinue() }

    func closed(_ stream: HTTP2Stream, code: UInt32) {
        wire = nil
        // Without a reset of the client's it is us who end it: what came is no message.
        let isTheirs = stream.isResetByPeer || code == HTTP2Code.cancel
        exchange?.downstreamFailed(
            isTheirs ? .downstreamRemoteReset : .downstreamProtocolError,
            details: code == HTTP2Code.refusedStream ? "http2.remote_refuse" : "http2.remote_reset")
    }

    /// The connection ends below the stream.
    func fail(_ flag: ResponseFlags, _ details: String) { exchange?.downstreamFailed(flag, details: details) }

    // MARK: Response out

    var responseIsBlocked: Bool {
        (wire?._withUnsafeGuaranteedRef { $0.queuedBytes } ?? 0) >= manager.config.buffers.wire
    }

    func sendInterim(_ head: borrowing ResponseHead) {
        guard let stream else { return }
        try? connection.session.sendInterim(stream, head)
        worker.markDirtyForPass(connection)
    }

    func sendHead(_ response: inout ResponseHead, to request: AnsweredRequest) {
        guard let wire else { return }
        if response.status == 101 {
            // What HTTP/1.1 calls switching protocols is a 200 here (RFC 8441 §5).
            response.status = 200
            response.headers.remove(.upgrade)
            response.body = .tunnel
        }
        switch response.body {
        case .none, .length(0): responseHasEnded = true
        case .length, .chunked, .untilClose, .tunnel: responseHasEnded = request.method == .head
        }
        wire._withUnsafeGuaranteedRef { stream in
            do throws(HTTP2Error) {
                try connection.session.respond(stream, response, isEnd: responseHasEnded)
            } catch {
                connection.session.reset(stream, code: HTTP2Code.internalError)
            }
        }
        connection.markForPass()
    }

    func sendBody(_ bytes: UnsafeRawBufferPointer) {
        guard let wire, !responseHasEnded, !bytes.isEmpty else { return }
        wire._withUnsafeGuaranteedRef { try? connection.session.send($0, bytes) }
        connection.markForPass()
    }

    func sendEnd(_ trailers: borrowing HeaderTable) {
        guard let wire, !responseHasEnded else { return }
        responseHasEnded = true
        wire._withUnsafeGuaranteedRef {
            try? connection.session.end($0, trailers: trailers.isEmpty ? nil : copy trailers)
        }
        connection.markForPass()
    }

    func armTimer() {
        guard let exchange else { return }
        connection.armTimer(exchange.earliestDeadline)
    }

    func streamEnded(isReset: Bool) {
        exchange = nil
        if isReset, let stream { connection.session.reset(stream, code: HTTP2Code.internalError) }
        connection.streamEnded()
    }
}
