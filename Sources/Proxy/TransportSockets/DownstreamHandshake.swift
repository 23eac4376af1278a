internal import IO
internal import TLS
internal import Telemetry

/// A downstream connection in the middle of its TLS handshake.
///
/// Lives from `accept` to the end of the handshake; then its chain's filters get the socket, the engine and what was read behind the handshake.
/// Nothing of the chain is touched for a peer that does not get so far.
final class DownstreamHandshake: SocketConnection {
    private static let log = Logger("tls")

    private let info: ConnectionInfo
    private let transport: DownstreamTransport
    private let metrics: TLSMetrics
    private let isDone: (Socket, ConnectionInfo, ByteBuffer, TLSTransport) -> Void
    private var timer: LoopTimer?

    /// Begins a handshake.
    ///
    /// - Parameters:
    ///   - input: bytes that were read already.
    ///   - isDone: gets the connection when the handshake is complete; else nobody does.
    static func begin(
        _ socket: Socket, info: ConnectionInfo, input: ByteBuffer?, transport: DownstreamTransport,
        metrics: TLSMetrics, worker: Worker,
        isDone: @escaping (Socket, ConnectionInfo, ByteBuffer, TLSTransport) -> Void
    ) {
        guard let context = transport.context.current else {
            // ATK-29: a chain without its secrets does not serve, and says nothing.
            metrics.count(.context_secrets_not_ready, row: worker.index)
            return socket.close()
        }
        socket.setNoDelay()
        do throws(TLSError) {
            let engine = try TLSEngine(context)
            let tls = TLSTransport(engine, pool: worker.blocks)
            if let input, !input.isEmpty { tls.wireInput.append(input.bytes) }
            let connection = DownstreamHandshake(
                socket, info: info, tls: tls, transport: transport, metrics: metrics, worker: worker, isDone: isDone)
            connection.start(within: transport.handshakeTimeout)
        } catch {
            metrics.count(.connection_error, row: worker.index)
            log.warning("\(error)")
            socket.close()
        }
    }

    private init(
        _ socket: Socket, info: ConnectionInfo, tls: TLSTransport, transport: DownstreamTransport,
        metrics: TLSMetrics, worker: Worker,
        isDone: @escaping (Socket, ConnectionInfo, ByteBuffer, TLSTransport) -> Void
    ) {
        self.info = info
        self.transport = transport
        self.metrics = metrics
        self.isDone = isDone
        super.init(socket, worker: worker, tls: tls)
    }

    private func start(within timeout: Duration) {
        do throws(SystemError) {
            try start()
        } catch {
            return close()
        }
        timer = worker.schedule(after: timeout) { [weak self] in
            guard let self, !self.isClosed else { return }
            self.metrics.count(.handshake_timeout, row: self.worker.index)
            self.metrics.count(.connection_error, row: self.worker.index)
            self.close()
        }
    }

    override func handleReady(_ readiness: Readiness) {
        guard !isClosed, let tls else { return }
        switch stepHandshake(tls) {
        case .pending: return
        case .failed(let error):
            metrics.failed(tls.engine, row: worker.index)
            Self.log.debug("\(info.remoteAddress): \(error)")
            close()
        case .done: finish(tls)
        }
    }

    private func finish(_ tls: TLSTransport) {
        timer?.cancel()
        metrics.finished(tls.engine, row: worker.index)
        var info = info
        info.tls = TLSFacts(tls.engine)
        switch tls.engine.applicationProtocol {
        case "h2": info.applicationProtocol = "h2"
        case "http/1.1": info.applicationProtocol = "http/1.1"
        case "http/1.0": info.applicationProtocol = "http/1.0"
        default: info.applicationProtocol = nil
        }
        guard let (socket, input) = surrender() else { return }
        isDone(socket, info, input, tls)
    }

    override func close() {
        timer?.cancel()
        super.close()
    }
}
