public import IO
internal import Telemetry

/// A gRPC server for the control path: HTTP/2 with prior knowledge, a task for each call.
///
///     let server = GRPCServer(on: loop, methods: ["/package.Service/Method": { call in
///         while let message = try await call.next() { try await call.send(message) }
///     }])
///     await server.serve(stream, peer: peer)
///
/// `@unchecked Sendable`: belongs to one loop.
public final class GRPCServer: @unchecked Sendable {
    /// Serves one call; returning ends it with success, throwing with that status.
    ///
    /// Its task is cancelled when the caller is gone.
    public typealias Method = @Sendable (GRPCStream) async throws(GRPCStatus) -> Void

    private let loop: EventLoop
    private let methods: [String: Method]
    private let limits: HTTP2Limits
    private let log = Logger("grpc")
    private var connections: [ObjectIdentifier: HTTP2Connection] = [:]
    private var isShuttingDown = false

    /// A server of methods by their paths.
    public init(on loop: EventLoop, methods: [String: Method], limits: HTTP2Limits = HTTP2Limits()) {
        self.loop = loop
        self.methods = methods
        self.limits = limits
    }

    /// How many connections there are.
    public var connectionCount: Int { connections.count }

    /// Serves one connection until it ends, and closes it; returns when its calls have ended too.
    public func serve(_ stream: any ByteStream, peer: HTTPPeer = HTTPPeer()) async {
        guard !isShuttingDown else { return stream.close() }
        let connection: HTTP2Connection
        do throws(HTTP2Error) {
            connection = try HTTP2Connection(.server, stream, limits, on: loop)
        } catch {
            log.error("cannot serve a connection", ["error": error.description])
            return stream.close()
        }
        let calls = Calls()
        connection.onRequest = { [unowned self, unowned connection] token, head, isEnd in
            accept(token, head, isEnd: isEnd, peer, connection, calls)
        }
        connections[ObjectIdentifier(connection)] = connection
        await withTaskCancellationHandler {
            await connection.run()
        } onCancel: {
            loop.execute { connection.abort() }
        }
        connections[ObjectIdentifier(connection)] = nil
        for task in calls.tasks.values { task.cancel() }
        for task in calls.tasks.values { await task.value }
    }

    /// The tasks of a connection's calls; touched on the loop only.
    private final class Calls: @unchecked Sendable {
        var tasks: [HTTP2StreamToken: Task<Void, Never>] = [:]
    }

    /// Takes no more calls and ends the connections: their peers get a GOAWAY, and are cut off after the grace period.
    public func shutdown(grace: Duration) async {
        isShuttingDown = true
        for connection in connections.values { connection.close() }
        let deadline = loop.now + grace
        while !connections.isEmpty, loop.now < deadline { await loop.sleep(for: .milliseconds(20)) }
        for connection in connections.values { connection.abort() }
    }

    private func accept(
        _ token: HTTP2StreamToken, _ head: RequestHead, isEnd: Bool, _ peer: HTTPPeer, _ connection: HTTP2Connection,
        _ calls: Calls
    ) {
        guard head.method == .post, GRPCRequest.isGRPC(head.headers) else {
            // gRPC's answer to something that is not gRPC.
            return answer(token, ResponseHead(status: 415), connection)
        }
        guard let method = methods[head.pathText] else {
            var response = GRPCServer.head()
            GRPCStatus(.unimplemented, "no method \(head.pathText)").write(to: &response.headers)
            return answer(token, response, connection)
        }
        let call = GRPCStream(
            connection, token, path: head.pathText, metadata: head.headers, peer: peer, isServer: true)
        do throws(HTTP2Error) {
            try connection.session.respond(token, GRPCServer.head(), isEnd: false)
        } catch {
            return connection.session.reset(token, code: HTTP2Code.internalError)
        }
        connection.add(call)
        if isEnd { call.ended(HeaderTable()) }
        let task = Task(executorPreference: loop) {
            await self.run(method, call, connection)
            calls.tasks[token] = nil
        }
        calls.tasks[token] = task
        call.onClose = { task.cancel() }
    }

    private func answer(_ token: HTTP2StreamToken, _ head: ResponseHead, _ connection: HTTP2Connection) {
        do throws(HTTP2Error) {
            try connection.session.respond(token, head, isEnd: true)
        } catch {
            connection.session.reset(token, code: HTTP2Code.internalError)
        }
    }

    private static func head() -> ResponseHead {
        var head = ResponseHead(status: 200)
        head.headers.append(.contentType, constant: "application/grpc")
        return head
    }

    private func run(_ method: Method, _ call: GRPCStream, _ connection: HTTP2Connection) async {
        var status = GRPCStatus.ok
        do throws(GRPCStatus) {
            try await method(call)
        } catch {
            status = error
        }
        guard !call.isClosed else { return }
        var trailers = HeaderTable()
        status.write(to: &trailers)
        // Fails only if the stream has ended meanwhile: then nobody waits for the status.
        try? connection.session.end(call.token, trailers: trailers)
        connection.outputReady()
    }
}

/// A gRPC client for the control path: one connection, any number of calls.
///
/// `@unchecked Sendable`: belongs to one loop.
public final class GRPCClient: @unchecked Sendable {
    private let connection: HTTP2Connection
    private let authority: String

    /// Begins a connection on a stream, which it closes at its end.
    public init(_ stream: any ByteStream, authority: String, on loop: EventLoop, limits: HTTP2Limits = HTTP2Limits())
        throws(HTTP2Error)
    {
        let connection = try HTTP2Connection(.client, stream, limits, on: loop)
        self.connection = connection
        self.authority = authority
        Task(executorPreference: loop) { await connection.run() }
    }

    /// Whether calls can be made.
    public var isOpen: Bool { connection.isOpen }

    /// Begins a call.
    public func call(_ path: String, metadata: HeaderTable = HeaderTable()) throws(GRPCStatus) -> GRPCStream {
        guard connection.isOpen else { throw GRPCStatus(.unavailable, "the connection has ended") }
        do throws(HTTP2Error) {
            let head = try GRPCRequest.head(path: path, authority: authority, metadata: metadata)
            let token = try connection.session.request(head, isEnd: false)
            let call = GRPCStream(
                connection, token, path: path, metadata: HeaderTable(), peer: HTTPPeer(), isServer: false)
            connection.add(call)
            connection.outputReady()
            return call
        } catch {
            throw GRPCStatus(.unavailable, error.description)
        }
    }

    /// Ends the connection.
    public func close() { connection.close() }
}
