public import IO
public import TLS

/// A request to send.
public struct HTTPClientRequest: Sendable {
    /// The method; not `other`.
    public var method: HTTPMethod
    /// Path and query.
    public var path: String
    /// The fields; `Host` and the framing are added.
    public var headers: HeaderTable
    /// The body.
    public var body: [UInt8]

    /// A request without fields.
    public init(_ method: HTTPMethod = .get, _ path: String, body: [UInt8] = []) {
        self.method = method
        self.path = path
        self.body = body
        headers = HeaderTable()
    }
}

/// An HTTP/1.1 client for the control path: one server, connections kept and used again.
///
/// `@unchecked Sendable`: belongs to one loop; used from tasks on it (`Task(executorPreference: loop)`). Cancelling the task that waits for a response
/// ends its connection.
public final class HTTPClient: @unchecked Sendable {
    /// Idle connections kept.
    private static let idleMax = 8

    private let loop: EventLoop
    private let authority: String
    private let connect: @Sendable () async throws(HTTPError) -> any ByteStream
    private var idle: [HTTPClientConnection] = []
    private var isClosed = false
    /// How long a response's head may take; none by default, as a watch of a quiet collection is no error.
    public var headTimeout: Duration?

    /// A client of the server that `connect` reaches.
    ///
    /// - Parameter authority: what the `Host` field says.
    public init(
        authority: String, on loop: EventLoop,
        connect: @escaping @Sendable () async throws(HTTPError) -> any ByteStream
    ) {
        self.loop = loop
        self.authority = authority
        self.connect = connect
    }

    /// A client over plain sockets: TCP or unix.
    public convenience init(to address: SocketAddress, authority: String? = nil, on loop: EventLoop) {
        var name = authority
        if name == nil, case .ip = address { name = address.description }
        self.init(authority: name ?? "localhost", on: loop) { () throws(HTTPError) in
            do throws(SystemError) {
                return try await SocketStream.connect(to: address, on: loop)
            } catch {
                throw HTTPError.connection(error)
            }
        }
    }

    /// A client over TLS.
    ///
    /// - Parameter serverName: what the server's certificate must be good for.
    public convenience init(
        to address: SocketAddress, serverName: String, tls: TLSContext, on loop: EventLoop
    ) {
        self.init(authority: serverName, on: loop) { () throws(HTTPError) in
            let stream: SocketStream
            do throws(SystemError) {
                stream = try await SocketStream.connect(to: address, on: loop)
            } catch {
                throw HTTPError.connection(error)
            }
            do throws(TLSError) {
                return try await TLSStream.connect(stream, tls, serverName: serverName)
            } catch {
                throw HTTPError.tls(error)
            }
        }
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// A kept connection that the server has closed meanwhile is replaced once, when no byte of a response came and the method may be repeated.
    public func send(_ request: HTTPClientRequest) async throws(HTTPError) -> HTTPClientResponse {
        while let connection = idle.popLast() {
            guard connection.isReusable else { continue }
            do throws(HTTPError) {
                return try await send(request, on: connection)
            } catch {
                let mayRepeat = !connection.hasResponseBytes && HTTPClient.isRepeatable(request.method)
                if case .connection(let cause) = error, cause.errno == HTTPClient.cancelled { throw error }
                guard mayRepeat, !Task.isCancelled, !isClosed else { throw error }
            }
        }
        guard !isClosed else { throw .closed }
        return try await send(request, on: HTTPClientConnection(try await connect(), on: loop))
    }

    private static let cancelled: Int32 = 125  // ECANCELED

    /// Whether a request that may have reached the server can be sent again (RFC 9110 §9.2.2).
    private static func isRepeatable(_ method: HTTPMethod) -> Bool {
        switch method {
        case .get, .head, .options, .put, .delete, .trace: true
        case .post, .connect, .patch, .other: false
        }
    }

    private func send(
        _ request: HTTPClientRequest, on connection: HTTPClientConnection
    ) async throws(HTTPError) -> HTTPClientResponse {
        let loop = loop
        let timer = headTimeout.map { timeout in loop.schedule(after: timeout) { connection.close() } }
        defer { timer?.cancel() }
        let result = await withTaskCancellationHandler {
            do throws(HTTPError) {
                return Result<ResponseHead, HTTPError>.success(
                    try await connection.exchange(request, authority: authority))
            } catch {
                return .failure(error)
            }
        } onCancel: {
            loop.execute { connection.close() }
        }
        return HTTPClientResponse(try result.get(), connection, self, loop)
    }

    func giveBack(_ connection: HTTPClientConnection) {
        guard !isClosed, connection.isReusable, idle.count < HTTPClient.idleMax else { return connection.close() }
        idle.append(connection)
    }

    /// Ends the idle connections and takes no more requests.
    public func close() {
        isClosed = true
        for connection in idle { connection.close() }
        idle = []
    }
}

/// A response whose body is being read.
///
/// Read to the end it gives its connection back; dropped or closed earlier, it ends it. `@unchecked Sendable`: used on the client's loop only.
public final class HTTPClientResponse: @unchecked Sendable {
    /// Status and fields.
    public let head: ResponseHead
    private let loop: EventLoop
    private let client: HTTPClient
    private let connection: HTTPClientConnection
    private var isComplete = false

    init(_ head: ResponseHead, _ connection: HTTPClientConnection, _ client: HTTPClient, _ loop: EventLoop) {
        self.head = head
        self.connection = connection
        self.client = client
        self.loop = loop
    }

    deinit {
        let connection = connection
        if !isComplete { loop.execute { connection.close() } }
    }

    /// The status code.
    public var status: UInt16 { head.status }

    /// The next piece of the body as it arrives; nil at the end.
    public func next() async throws(HTTPError) -> [UInt8]? {
        guard !isComplete else { return nil }
        let (connection, loop) = (connection, loop)
        let result = await withTaskCancellationHandler {
            do throws(HTTPError) {
                return Result<[UInt8]?, HTTPError>.success(try await connection.nextPiece())
            } catch {
                return .failure(error)
            }
        } onCancel: {
            loop.execute { connection.close() }
        }
        guard let piece = try result.get() else {
            isComplete = true
            client.giveBack(connection)
            return nil
        }
        return piece
    }

    /// The whole body.
    public func collect(limit: Int = 64 * 1024 * 1024) async throws(HTTPError) -> [UInt8] {
        var all: [UInt8] = []
        while let piece = try await next() {
            all += piece
            if all.count > limit {
                close()
                throw .bodyTooLarge(limit: limit)
            }
        }
        return all
    }

    /// The connection itself after a 101, first what was read too much.
    public func upgradedStream() -> (rest: [UInt8], stream: any ByteStream) {
        isComplete = true
        return (connection.takeRest(), connection.stream)
    }

    /// Ends the response and its connection.
    public func close() {
        isComplete = true
        connection.close()
    }
}
