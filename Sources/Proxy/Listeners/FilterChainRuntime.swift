internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// A filter chain at work on one loop.
final class FilterChainRuntime {
    let config: FilterChainConfig
    private let http: HTTPConnectionManager?
    private let tcp: TCPProxy?
    private let simple: SimpleTerminal?
    /// The filters before the terminal one; none costs nothing.
    private let filters: [any NetworkFilter]
    /// Connections that one of the filters holds up.
    private var held: [ObjectIdentifier: NetworkConnection] = [:]
    private let tlsMetrics: TLSMetrics?
    private let worker: Worker

    init(_ config: FilterChainConfig, worker: Worker, listener: String = "") {
        self.config = config
        tlsMetrics = config.transport.map { _ in worker.metrics.tls("listener", listener) }
        self.worker = worker
        filters = config.filters.map { $0.make(worker) }
        switch config.terminal {
        case .http(let manager):
            http = HTTPConnectionManager(
                manager, metrics: worker.metrics.http(manager.statPrefix), worker: worker, listener: listener)
            tcp = nil
            simple = nil
        case .tcp(let proxy):
            tcp = TCPProxy(
                proxy, metrics: worker.metrics.tcp(proxy.statPrefix), worker: worker,
                standard: config.standard.map { StandardRecorder($0, worker: worker) })
            http = nil
            simple = nil
        case .echo:
            (http, tcp) = (nil, nil)
            simple = SimpleTerminal(worker: worker, response: nil, bufferBytes: config.buffers.wire)
        case .directResponse(let bytes):
            (http, tcp) = (nil, nil)
            simple = SimpleTerminal(worker: worker, response: bytes, bufferBytes: config.buffers.wire)
        }
    }

    func resolve() { http?.resolve() }

    /// Serves a connection, behind its TLS handshake where the chain has a transport socket.
    func serve(_ socket: Socket, _ info: ConnectionInfo, input: ByteBuffer?) {
        guard let transport = config.transport, let tlsMetrics else {
            return serve(socket, info, input: input, tls: nil)
        }
        DownstreamHandshake.begin(
            socket, info: info, input: input, transport: transport, metrics: tlsMetrics, worker: worker
        ) { [self] in serve($0, $1, input: $2, tls: $3) }
    }

    /// Serves a connection after its handshake: its network filters, then the filter that serves.
    func serve(_ socket: Socket, _ info: ConnectionInfo, input: ByteBuffer?, tls: TLSTransport?) {
        if filters.isEmpty { return serveTerminal(socket, info, input: input, tls: tls) }
        NetworkConnection(socket, info: info, input: input, tls: tls, filters: filters, chain: self).run()
    }

    /// A filter wants to think about a connection first.
    func hold(_ connection: NetworkConnection) { held[ObjectIdentifier(connection)] = connection }

    func release(_ connection: NetworkConnection) { held[ObjectIdentifier(connection)] = nil }

    /// Serves a connection that the filters let pass.
    func serveTerminal(_ socket: Socket, _ info: ConnectionInfo, input: ByteBuffer?, tls: TLSTransport?) {
        if let http {
            http.serve(socket, info, input: input, tls: tls)
        } else if let tcp {
            tcp.accept(socket, info: info, input: input, tls: tls)
        } else {
            simple?.accept(socket, input: input, tls: tls)
        }
    }

    /// A connection that a network filter refused: tcp_proxy logs it, as it would log any other.
    func refused(_ info: ConnectionInfo, details: String, flag: ResponseFlags) {
        tcp?.refused(info, details: details, flag: flag)
    }

    func drain() { http?.drain() }

    var httpConnections: [any DownstreamConnection] { Array(http?.connections.values ?? [:].values) }

    func closeIdle(for duration: Duration) { http?.closeIdle(for: duration) }

    var isEmpty: Bool { activeConnections == 0 }

    var activeConnections: Int {
        (http?.connections.count ?? 0) + (tcp?.sessions.count ?? 0) + (simple?.connections.count ?? 0) + held.count
    }

    /// Closes whatever is left.
    func closeAll() {
        for connection in Array(http?.connections.values ?? [:].values) { connection.cutOff() }
        for connection in Array(held.values) { connection.close() }
        simple?.closeAll()
        for session in Array(tcp?.sessions.values ?? [:].values) { session.end() }
    }
}
