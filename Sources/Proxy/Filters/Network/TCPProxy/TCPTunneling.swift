internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// `tunneling_config`: connections travel inside HTTP requests, CONNECT or POST.
struct TCPTunneling: Sendable {
    /// What the request names; may have command operators.
    let hostname: SubstitutionFormat
    let usesPost: Bool
    let postPath: [UInt8]
    let headers: [Upstream.HeaderMutation]

    init(compiling message: TcpProxy.TunnelingConfig, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(
            message, reads: ["hostname", "use_post", "post_path", "headers_to_add"], at: path)
        guard !message.hostname.isEmpty else { throw ConfigurationError(at: path + ".hostname", "a name is needed") }
        hostname = try SubstitutionFormat(text: message.hostname, path: path + ".hostname")
        usesPost = message.usePost
        guard message.usePost || message.postPath.isEmpty else {
            throw ConfigurationError(at: path + ".post_path", "has a meaning only with use_post")
        }
        postPath = Array((message.postPath.isEmpty ? "/" : message.postPath).utf8)
        guard postPath.first == UInt8(ascii: "/") else {
            throw ConfigurationError(at: path + ".post_path", "begins with /")
        }
        headers = try Upstream.HeaderMutation.list(adding: message.headersToAdd, at: path + ".headers_to_add")
    }

    /// The request for a connection; nil when the connection gives no name that can stand in one.
    func request(_ session: TCPSession) -> RequestHead? {
        var host: [UInt8] = []
        hostname.append(session, FormatMoment(now: session.worker.loop.now), to: &host)
        guard !host.isEmpty else { return nil }
        var head = RequestHead()
        do throws(HTTPFieldError) {
            try head.setAuthority(host.span.bytes)
            if usesPost {
                try head.setPath(postPath.span.bytes)
                head.setMethod(.post)
                head.setScheme("http")
                head.body = .chunked
            } else {
                head.setMethod(.connect)
            }
        } catch {
            return nil
        }
        HeaderRewriter(context: session, worker: session.worker).apply(headers, to: &head.headers)
        return head
    }
}

/// One connection's request and its answer.
final class TCPTunnel: PoolClient, UpstreamClient {
    private weak var session: TCPSession?
    private let pool: HostPool
    private let head: RequestHead
    private let isConnect: Bool
    private var upstream: (any UpstreamStream)?
    /// The host has agreed: bytes may go both ways.
    private(set) var isOpen = false
    private var hasSentEnd = false
    private(set) var hasEnded = false
    private var isOver = false

    init(_ session: TCPSession, _ pool: HostPool, _ head: RequestHead) {
        self.session = session
        self.pool = pool
        self.head = head
        isConnect = head.method == .connect
    }

    func start() { pool.acquire(self, priority: .normal) }

    var localAddress: IO.SocketAddress? { upstream?.localAddress }

    // MARK: Pool

    func poolReady(_ stream: any UpstreamStream) {
        guard !isOver else { return stream.abandon() }
        upstream = stream
        pool.cluster.count(.upstream_rq_total)
        stream.begin(head, isUpgrade: isConnect, for: self)
    }

    func poolFailed(_ failure: PoolFailure) {
        guard !isOver else { return }
        isOver = true
        switch failure {
        case .overflow: session?.tunnelOverflowed()
        case .connectFailed(let error): session?.connectFailed(error.reason)
        case .connectTimedOut: session?.connectFailed("connection timeout")
        case .handshakeFailed(let reason): session?.connectFailed("TLS_error: \(reason)")
        }
    }

    // MARK: Request

    /// Whether the host must be waited for.
    var isBlocked: Bool { upstream?.requestIsBlocked ?? true }

    func send(_ bytes: UnsafeRawBufferPointer) { upstream?.sendBody(bytes) }

    func finish() {
        guard !hasSentEnd else { return }
        hasSentEnd = true
        if isConnect { upstream?.sendTunnelEnd() } else { upstream?.sendEnd(HeaderTable()) }
    }

    func close() {
        guard !isOver else { return }
        isOver = true
        session = nil
        if upstream == nil { pool.cancel(self) }
        upstream?.abandon()
        upstream = nil
    }

    func responseMayContinue() { upstream?.responseMayContinue() }

    // MARK: Response

    var responseIsPaused: Bool { session?.clientIsBlocked ?? false }

    func requestMayContinue() { session?.relay() }

    func responseInterim(_ head: borrowing ResponseHead) {}

    func responseHead(_ head: inout ResponseHead) {
        guard !isOver else { return }
        pool.cluster.metrics.countResponse(head.status, row: pool.cluster.worker.index)
        guard head.status / 100 == 2 else {
            let session = session
            close()
            session?.connectFailed("the host answered \(head.status)")
            return
        }
        isOpen = true
        session?.connected()
    }

    func responseBody(_ bytes: UnsafeRawBufferPointer) { session?.tunnelBytes(bytes) }

    func responseEnd(_ trailers: borrowing HeaderTable) {
        upstream = nil
        hasEnded = true
        guard !isOver else { return }
        guard isOpen else {
            isOver = true
            session?.connectFailed("the tunnel ended before it began")
            return
        }
        session?.tunnelEnded()
    }

    func upstreamFailed(_ failure: UpstreamFailure, onReusedConnection: Bool) {
        upstream = nil
        guard !isOver else { return }
        isOver = true
        if isOpen { session?.end(reset: true) } else { session?.connectFailed("connection termination") }
    }
}
