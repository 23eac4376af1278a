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
        /// The answer to a request whose body is larger; its status is 413.
        public var tooLarge: @Sendable (_ limit: Int) -> HTTPResponse = { limit in
            HTTPResponse(status: 413, text: "request body exceeds \(limit) bytes\n")
        }
        /// From the connection, or the first byte of a later request, to the end of the head (ATK-10).
        public var headTimeout = Duration.seconds(10)
        /// Between requests.
        public var idleTimeout = Duration.seconds(90)
        /// How many connections there may be.
        ///
        /// Shared by all servers that have the same one; nil: 2,000 for the server alone.
        public var places: ConnectionPlaces?
        /// The answer to a request when there are too many connections; its status is 429.
        public var crowded: @Sendable () -> HTTPResponse = {
            HTTPResponse(status: 429, text: "too many connections: come again\n")
        }
        /// Bytes of an unread request body that are skipped to keep a connection.
        static let drainBytes = 64 * 1024

        /// The default limits.
        public init() {}
    }

    let loop: EventLoop
    let limits: Limits
    /// The places that connections take.
    public let places: ConnectionPlaces
    let log = Logger("http")
    private let handler: Handler
    private var connections: [ObjectIdentifier: HTTPServerConnection] = [:]
    private(set) var isShuttingDown = false

    /// A server whose connections live on a loop.
    public init(on loop: EventLoop, limits: Limits = Limits(), handler: @escaping Handler) {
        self.loop = loop
        self.limits = limits
        places = limits.places ?? ConnectionPlaces(max: 2000)
        self.handler = handler
    }

    /// How many connections there are.
    public var connectionCount: Int { connections.count }

    /// Serves one connection until it ends, and closes it.
    public func serve(_ stream: any ByteStream, peer: HTTPPeer = HTTPPeer()) async {
        guard !isShuttingDown else { return stream.close() }
        let place = places.enter(now: loop.now)
        defer { places.leave(place) }
        let handler: Handler
        switch place {
        case .served: handler = self.handler
        case .crowded: handler = { [places, crowded = limits.crowded] _ in Self.comeAgain(places, crowded()) }
        case .none: return stream.close()
        }
        let connection = HTTPServerConnection(self, stream, peer, hasPlace: place == .served, handler)
        connections[ObjectIdentifier(connection)] = connection
        await connection.run()
        connections[ObjectIdentifier(connection)] = nil
    }

    private static func comeAgain(_ places: ConnectionPlaces, _ answer: HTTPResponse) -> HTTPResponse {
        places.toldToComeAgain.add()
        var answer = answer
        answer.closesConnection = true
        if !answer.head.headers.contains(.retryAfter) { answer.head.headers.append(.retryAfter, number: 1) }
        return answer
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
                    // Who is not accepted yet costs us nothing.
                    if tls != nil { await places.beginHandshake() }
                    let socket: Socket
                    do throws(SystemError) { socket = try await listener.accept() } catch {
                        if tls != nil { places.endHandshake() }
                        throw error
                    }
                    let peer = HTTPPeer(of: socket)
                    let stream: SocketStream
                    do throws(SystemError) { stream = try SocketStream(socket, on: loop) } catch {
                        if tls != nil { places.endHandshake() }
                        throw error
                    }
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
            let secured: TLSStream
            do throws(TLSError) {
                secured = try await TLSStream.accept(stream, context)
                peer.certificate = try secured.peerCertificate
                timer.cancel()
                places.endHandshake()
            } catch {
                timer.cancel()
                places.endHandshake()
                throw error
            }
            await serve(secured, peer: peer)
        } catch {
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
