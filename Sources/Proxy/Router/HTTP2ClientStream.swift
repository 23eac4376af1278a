internal import HTTP
internal import IO

/// One request on an HTTP/2 connection to a host.
final class HTTP2ClientStream: UpstreamStream, HTTP2StreamDelegate {
    private let connection: HTTP2ClientConnection
    /// The stream as long as it is on the wire.
    ///
    /// Not counted: the session keeps all its stream objects until it ends, and `connection` holds the session.
    private var wire: Unmanaged<HTTP2Stream>?
    private var stream: HTTP2Stream? { wire?.takeUnretainedValue() }
    private var client: (any UpstreamClient)?
    private var requestHasEnded = false
    /// What was asked for by extended CONNECT; the answer 200 says that it is so now.
    private var upgrade: [UInt8]?
    /// The request is a tunnel's: CONNECT, plain or extended.
    private var isTunnel = false
    private var isReused = false
    private var responseHasBegun = false

    init(_ connection: HTTP2ClientConnection) { self.connection = connection }

    var httpVersion: HTTPVersion { .http2 }

    var localAddress: SocketAddress? { connection.localAddress }

    var tlsFacts: TLSFacts? { connection.tlsFacts }

    // MARK: Request out

    func begin(_ request: borrowing RequestHead, isUpgrade: Bool, for client: any UpstreamClient) {
        self.client = client
        isReused = connection.requestsServed > 0
        isTunnel = isUpgrade
        if isUpgrade, let index = request.headers.index(of: .upgrade) {
            upgrade = [UInt8](copying: request.headers.value(at: index))
            if connection.hasSettings, !connection.session.peerAllowsConnect {
                return fail(.protocolError("http2.extended_connect_not_allowed"))
            }
        }
        if case .none = request.body { requestHasEnded = !isUpgrade }
        if case .length(0) = request.body { requestHasEnded = !isUpgrade }
        do throws(HTTP2Error) {
            let stream = try connection.session.request(request, isEnd: requestHasEnded, delegate: self)
            wire = .passUnretained(stream)
            connection.requestBegan()
            if requestHasEnded { connection.frame() }
        } catch {
            // The connection takes no more requests, which it did not know a moment ago.
            connection.drain()
            fail(.refused)
        }
    }

    func sendBody(_ bytes: UnsafeRawBufferPointer) {
        guard let wire, !requestHasEnded, !bytes.isEmpty else { return }
        wire._withUnsafeGuaranteedRef { try? connection.session.send($0, bytes) }
        connection.worker.markDirtyForPass(connection)
    }

    func sendEnd(_ trailers: borrowing HeaderTable) {
        guard let wire, !requestHasEnded, !isTunnel else { return }
        requestHasEnded = true
        wire._withUnsafeGuaranteedRef {
            try? connection.session.end($0, trailers: trailers.isEmpty ? nil : copy trailers)
        }
        connection.worker.markDirtyForPass(connection)
        connection.frame()
    }

    func sendTunnelEnd() {
        guard let stream, !requestHasEnded else { return }
        requestHasEnded = true
        try? connection.session.end(stream)
        connection.worker.markDirtyForPass(connection)
    }

    var requestIsBlocked: Bool {
        (wire?._withUnsafeGuaranteedRef { $0.queuedBytes } ?? 0) >= connection.pool.cluster.rules.bufferBytes
    }

    func drained(_ stream: HTTP2Stream) { client?.requestMayContinue() }

    // MARK: Response in

    func head(_ stream: HTTP2Stream, isEnd: Bool) {
        guard let client else { return }
        if stream.response.isInterim { return client.responseInterim(stream.response) }
        responseHasBegun = true
        if let upgrade, stream.response.status == 200 {
            // What HTTP/2 calls success of an extended CONNECT is 101 to everybody else here (RFC 8441 §5).
            stream.response.status = 101
            stream.response.body = .tunnel
            try? stream.response.headers.append(.upgrade, upgrade.span.bytes)
        }
        if isTunnel, upgrade == nil, stream.response.status / 100 == 2 { stream.response.body = .tunnel }
        // The client takes the head with its memory.
        var head = ResponseHead()
        swap(&head, &stream.response)
        client.responseHead(&head)
        if isEnd { finish(HeaderTable()) }
    }

    func data(_ stream: HTTP2Stream, _ bytes: UnsafeRawBufferPointer) {
        guard let client else { return connection.session.consumed(stream, bytes.count) }
        client.responseBody(bytes)
        // What has no place to go stays with the host: its window does not grow.
        if !client.responseIsPaused { connection.session.consumed(stream, bytes.count) }
    }

    func end(_ stream: HTTP2Stream) { finish(stream.trailers) }

    private func finish(_ trailers: HeaderTable) {
        guard let client = client.take() else { return }
        if let stream, !requestHasEnded {
            // The host has answered without reading to the end: the rest is not sent (RFC 9113 §8.1).
            requestHasEnded = true
            connection.session.reset(stream, code: HTTP2Code.noError)
            connection.worker.markDirtyForPass(connection)
        }
        client.responseEnd(trailers)
    }

    func responseMayContinue() {
        guard let stream else { return }
        connection.session.consumedAll(stream)
        connection.worker.markDirtyForPass(connection)
    }

    func closed(_ stream: HTTP2Stream, code: UInt32) {
        wire = nil
        if let client {
            self.client = nil
            let failure: UpstreamFailure =
                if code == HTTP2Code.refusedStream && !responseHasBegun {
                    .refused
                } else if code == HTTP2Code.protocolError && stream.isRefusedByUs {
                    .protocolError("http2.invalid_response")
                } else {
                    .reset(code: code)
                }
            client.upstreamFailed(failure, onReusedConnection: false)
        }
        connection.streamClosed()
    }

    /// The connection ends below the stream.
    func fail(_ failure: UpstreamFailure) {
        guard let client else { return }
        self.client = nil
        client.upstreamFailed(failure, onReusedConnection: isReused && !responseHasBegun)
    }

    func abandon() {
        client = nil
        guard let stream else { return }
        connection.session.reset(stream, code: HTTP2Code.cancel)
        connection.worker.markDirtyForPass(connection)
    }
}
