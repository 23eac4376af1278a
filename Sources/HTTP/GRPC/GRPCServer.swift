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

    /// Connections are many, and nearly all messages small.
    private static let queueKeptBytes = 2048

    private let loop: EventLoop
    private let methods: [String: Method]
    private let limits: HTTP2Limits
    private let messageBytesMax: Int
    private let memory: HTTP2Memory
    private let log = Logger("grpc")
    private var connections: [ObjectIdentifier: HTTP2Connection] = [:]
    private var isShuttingDown = false

    /// A server of methods by their paths; a longer message than `messageBytesMax` ends its call.
    ///
    /// Its connections share their memory, with those of other servers of the loop that are given the same.
    public init(
        on loop: EventLoop, methods: [String: Method], limits: HTTP2Limits = HTTP2Limits(),
        messageBytesMax: Int = GRPCMessageDecoder.limitBytesDefault, memory: HTTP2Memory = HTTP2Memory()
    ) {
        self.memory = memory
        self.loop = loop
        self.methods = methods
        var limits = limits
        limits.queueKeptBytes = min(limits.queueKeptBytes, Self.queueKeptBytes)
        self.limits = limits
        self.messageBytesMax = messageBytesMax
    }

    /// How many connections there are.
    public var connectionCount: Int { connections.count }
    /// How many tasks serve calls.
    public private(set) var taskCount = 0

    /// Serves one connection until it ends, and closes it; returns when its calls have ended too.
    public func serve(_ stream: any DirectStream, peer: HTTPPeer = HTTPPeer()) async {
        guard let (connection, calls) = open(stream, peer) else { return }
        await withTaskCancellationHandler {
            await connection.run()
        } onCancel: {
            loop.execute { connection.abort() }
        }
        ended(connection, calls)
        for task in calls.tasks.values { await task.value }
    }

    /// The same without a task for as long as the connection lives: returns at once; `ended` is called on the loop when the connection has ended.
    public func take(
        _ stream: any DirectStream, peer: HTTPPeer = HTTPPeer(), ended: @escaping @Sendable () -> Void = {}
    ) {
        guard let (connection, calls) = open(stream, peer) else { return ended() }
        connection.start { [self] in
            // Not here: the connection is still at work.
            loop.execute {
                self.ended(connection, calls)
                ended()
            }
        }
    }

    private func ended(_ connection: HTTP2Connection, _ calls: Calls) {
        connections[ObjectIdentifier(connection)] = nil
        for task in calls.tasks.values { task.cancel() }
    }

    private func open(_ stream: any DirectStream, _ peer: HTTPPeer) -> (HTTP2Connection, Calls)? {
        guard !isShuttingDown else {
            stream.close()
            return nil
        }
        let connection: HTTP2Connection
        do throws(HTTP2Error) {
            connection = try HTTP2Connection(.server, stream, limits, memory: memory, on: loop)
        } catch {
            log.error("cannot serve a connection", ["error": error.description])
            stream.close()
            return nil
        }
        let calls = Calls()
        connection.onRequest = { [unowned self, unowned connection] stream in
            accept(stream, peer, connection, calls)
        }
        connections[ObjectIdentifier(connection)] = connection
        return (connection, calls)
    }

    /// The tasks of a connection's calls; touched on the loop only.
    private final class Calls: @unchecked Sendable {
        var tasks: [ObjectIdentifier: Task<Void, Never>] = [:]
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
        _ stream: HTTP2Stream, _ peer: HTTPPeer, _ connection: HTTP2Connection, _ calls: Calls
    ) -> any HTTP2StreamDelegate {
        let head = stream.request
        guard head.method == .post, GRPCRequest.isGRPC(head.headers) else {
            // gRPC's answer to something that is not gRPC.
            return answer(stream, ResponseHead(status: 415), connection)
        }
        guard let method = methods[head.pathText] else {
            var response = GRPCServer.head()
            GRPCStatus(.unimplemented, "no method \(head.pathText)").write(to: &response.headers)
            return answer(stream, response, connection)
        }
        do throws(HTTP2Error) {
            try connection.session.respond(stream, GRPCServer.head(), isEnd: false)
        } catch {
            connection.session.reset(stream, code: HTTP2Code.internalError)
            return RefusedCall(connection)
        }
        let call = GRPCStream(
            connection, stream, path: head.pathText, metadata: head.headers, peer: peer, isServer: true,
            messageBytesMax: messageBytesMax)
        // The call has the only one, and may let go of it.
        stream.request = RequestHead()
        connection.add(call)
        taskCount += 1
        let task = Task(executorPreference: loop) {
            await self.run(method, call)
            self.taskCount -= 1
            calls.tasks[ObjectIdentifier(call)] = nil
            // It would be kept alive for as long as the call goes on without it.
            call.onClose = nil
        }
        calls.tasks[ObjectIdentifier(call)] = task
        call.onClose = { task.cancel() }
        return call
    }

    private func answer(
        _ stream: HTTP2Stream, _ head: ResponseHead, _ connection: HTTP2Connection
    ) -> any HTTP2StreamDelegate {
        do throws(HTTP2Error) {
            try connection.session.respond(stream, head, isEnd: true)
        } catch {
            connection.session.reset(stream, code: HTTP2Code.internalError)
        }
        return RefusedCall(connection)
    }

    /// A call that was answered with its head: what still comes of it is read and dropped.
    private final class RefusedCall: HTTP2StreamDelegate {
        private unowned let connection: HTTP2Connection

        init(_ connection: HTTP2Connection) { self.connection = connection }

        func head(_ stream: HTTP2Stream, isEnd: Bool) {}
        func data(_ stream: HTTP2Stream, _ bytes: UnsafeRawBufferPointer) {
            connection.session.consumed(stream, bytes.count)
        }
        func end(_ stream: HTTP2Stream) {}
        func drained(_ stream: HTTP2Stream) {}
        func closed(_ stream: HTTP2Stream, code: UInt32) {}
    }

    private static func head() -> ResponseHead {
        var head = ResponseHead(status: 200)
        head.headers.append(.contentType, constant: "application/grpc")
        return head
    }

    private func run(_ method: Method, _ call: GRPCStream) async {
        var status = GRPCStatus.ok
        do throws(GRPCStatus) {
            try await method(call)
        } catch {
            status = error
        }
        if !call.goesOn || status != .ok { call.end(with: status) }
    }
}

/// A gRPC client for the control path: one connection, any number of calls.
///
/// `@unchecked Sendable`: belongs to one loop.
public final class GRPCClient: @unchecked Sendable {
    private let connection: HTTP2Connection
    private let authority: String

    /// Begins a connection on a stream, which it closes at its end.
    ///
    /// Connections of one loop may share their memory.
    public init(
        _ stream: any DirectStream, authority: String, on loop: EventLoop, limits: HTTP2Limits = HTTP2Limits(),
        memory: HTTP2Memory = HTTP2Memory()
    ) throws(HTTP2Error) {
        let connection = try HTTP2Connection(.client, stream, limits, memory: memory, on: loop)
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
            let call = GRPCStream(
                connection, nil, path: path, metadata: HeaderTable(), peer: HTTPPeer(), isServer: false)
            call.began(try connection.session.request(head, isEnd: false, delegate: call))
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
