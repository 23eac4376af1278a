public import IO
public import TLS
internal import Telemetry

/// An HTTP/1.1 server for the control path: a task for each connection, requests answered one after the other.
///
/// `@unchecked Sendable`: belongs to one loop; all but `init` is called from tasks on it.
public final class HTTPServer: @unchecked Sendable {
    /// Answers one request.
    ///
    /// Its task is cancelled when the client goes away.
    public typealias Handler = @Sendable (HTTPRequest) async -> HTTPResponse

    /// Bounds on what clients may make us hold.
    public struct Limits: Sendable {
        /// Bytes of a head and number of its fields.
        public var head = HTTP1Limits()
        /// Bytes of a request's body; Kubernetes' own limit.
        public var bodyBytes = 3 * 1024 * 1024
        /// From the connection, or the first byte of a later request, to the end of the head (ATK-10).
        public var headTimeout = Duration.seconds(10)
        /// Between requests.
        public var idleTimeout = Duration.seconds(90)
        /// Connections at once; more are closed on arrival.
        public var connections = 2000
        /// Bytes of an unread request body that are skipped to keep a connection.
        static let drainBytes = 64 * 1024

        /// The default limits.
        public init() {}
    }

    let loop: EventLoop
    let limits: Limits
    let log = Logger("http")
    private let handler: Handler
    private var connections: [ObjectIdentifier: HTTPServerConnection] = [:]
    private(set) var isShuttingDown = false

    /// A server whose connections live on a loop.
    public init(on loop: EventLoop, limits: Limits = Limits(), handler: @escaping Handler) {
        self.loop = loop
        self.limits = limits
        self.handler = handler
    }

    /// How many connections there are.
    public var connectionCount: Int { connections.count }

    /// Serves one connection until it ends, and closes it.
    public func serve(_ stream: any ByteStream, peer: HTTPPeer = HTTPPeer()) async {
        guard !isShuttingDown, connections.count < limits.connections else {
            stream.close()
            return
        }
        let connection = HTTPServerConnection(self, stream, peer, handler)
        connections[ObjectIdentifier(connection)] = connection
        await connection.run()
        connections[ObjectIdentifier(connection)] = nil
    }

    /// Accepts and serves connections until the listener is closed or the server shuts down.
    ///
    /// - Parameter tls: asked for the context of each connection, so that certificates can be replaced; nil for plain HTTP.
    public func run(
        _ listener: SocketListener, tls: (@Sendable () -> TLSContext)? = nil
    ) async {
        await withDiscardingTaskGroup { group in
            while !isShuttingDown {
                do throws(SystemError) {
                    let socket = try await listener.accept()
                    let peer = HTTPPeer(of: socket)
                    let stream = try SocketStream(socket, on: loop)
                    group.addTask {
                        if let tls {
                            await self.secure(stream, peer, tls())
                        } else {
                            await self.serve(stream, peer: peer)
                        }
                    }
                } catch {
                    if error.errno == HTTPServer.cancelled { return }
                    log.warning("accepting a connection failed", ["error": error.description])
                    await loop.sleep(for: .milliseconds(50))  // What fails at once again must not keep the loop busy.
                }
            }
        }
    }

    private func secure(_ stream: SocketStream, _ peer: HTTPPeer, _ context: TLSContext) async {
        let timer = loop.schedule(after: limits.headTimeout) { stream.close() }
        var peer = peer
        do throws(TLSError) {
            let secured = try await TLSStream.accept(stream, context)
            timer.cancel()
            peer.certificate = try secured.peerCertificate
            await serve(secured, peer: peer)
        } catch {
            timer.cancel()
            stream.close()
            log.debug(
                "a TLS client was refused", ["peer": "\(peer.address, default: "-")", "error": error.description])
        }
    }

    private static let cancelled: Int32 = 125  // ECANCELED

    /// Takes no more requests: idle connections end at once, busy ones after their answer, all of them after the grace period.
    public func shutdown(grace: Duration) async {
        isShuttingDown = true
        for connection in connections.values { connection.shutDownIfIdle() }
        let deadline = loop.now + grace
        while !connections.isEmpty, loop.now < deadline {
            await loop.sleep(for: .milliseconds(20))
        }
        for connection in connections.values { connection.abort() }
    }
}
