public import IO
import Telemetry

/// Answers queries on sockets that others have bound: names of the cluster from a zone, all others through a forwarder.
///
/// The module's parts: `Messages` reads and writes DNS messages, `Zone` answers for the cluster, `Resolver` asks other
/// servers; the first two are pure.
///
/// Owned by its loop (hence unchecked): everything but `publish` and `stop` is to be called there.
public final class DNSServer: @unchecked Sendable {
    /// How many queries may wait for other servers; what comes on top is answered SERVFAIL at once.
    public static let pendingMax = 1024
    /// How many TCP connections are served at a time.
    public static let streamsMax = 64
    /// How long a TCP connection may take for one query, or between two.
    public static let streamTimeout = Duration.seconds(10)
    /// Wait after `accept` has failed.
    private static let acceptPause = Duration.milliseconds(100)
    /// The largest datagram that we send, whatever the client would take (dnsflagday.net 2020).
    static let datagramMax = 1232
    /// How many datagrams one socket handles before the loop's others have their turn.
    private static let datagramsPerTurn = 256

    /// What it has answered so far.
    public let counts = DNSCounts()
    private let loop: EventLoop
    private let forwarder: Forwarder?
    private var zone: Zone
    private var pending = 0
    private var streams = 0
    private var rotation = 0
    private var sources: [DatagramSource] = []
    private var listeners: [SocketListener] = []
    private var hasStopped = false

    /// A server on that loop that forwards what the zone does not know; without forwarder it refuses that.
    public init(on loop: EventLoop, zone: Zone = Zone(services: []), forwarder: Forwarder?) {
        self.loop = loop
        self.zone = zone
        self.forwarder = forwarder
    }

    /// Answers from this zone from now on; from any thread.
    public func publish(_ zone: Zone) { loop.execute { self.zone = zone } }

    /// Ends serving and closes the sockets; from any thread.
    public func stop() {
        loop.execute { [self] in
            hasStopped = true
            for source in sources { source.close() }
            for listener in listeners { listener.close() }
            sources = []
            listeners = []
        }
    }

    /// Serves a bound UDP socket, which the server takes over.
    public func serve(datagrams socket: Socket) throws(SystemError) {
        assert(loop.isOnLoop)
        sources.append(try DatagramSource(socket, self))
    }

    /// Serves a listening TCP socket, which the server takes over.
    public func serve(streams socket: Socket) throws(SystemError) {
        assert(loop.isOnLoop)
        let listener = try SocketListener(socket, on: loop)
        listeners.append(listener)
        Task(executorPreference: loop) { await self.accept(from: listener) }
    }
}

extension DNSServer {
    /// Answers one query; `reply` gets nothing when there is nothing to say (a response, or no header).
    func handle(_ bytes: [UInt8], limit: Int?, _ answer: @escaping ([UInt8]?) -> Void) {
        func reply(_ bytes: [UInt8]?) {
            if let bytes, bytes.count > 3 {
                counts.queries.add()
                // The code of an answer is in the low bits of its fourth byte.
                if bytes[3] & 0x0F == UInt8(ResponseCode.serverFailure.rawValue) { counts.failures.add() }
            }
            answer(bytes)
        }
        let query: DNSMessage
        do throws(DNSFormatError) {
            query = try DNSMessage(parsing: bytes)
        } catch {
            return reply(Self.formatError(bytes))
        }
        guard !query.isResponse else { return reply(nil) }  // Answering answers makes loops.
        let limit = limit ?? min(query.datagramSize ?? 512, Self.datagramMax)
        func finish(_ response: DNSMessage) {
            var response = response
            if query.datagramSize != nil {
                response.additionals.append(
                    Record(name: .root, ttl: 0, value: .other(.opt, []), recordClass: Forwarder.datagramSize))
            }
            reply(response.bytes(limit: limit))
        }
        guard query.opcode == 0 else { return finish(query.response(.notImplemented)) }
        guard query.questions.count == 1, let question = query.questions.first else {
            return finish(query.response(.formatError))
        }
        guard question.recordClass == Question.internet else { return finish(query.response(.refused)) }
        rotation &+= 1
        guard let answer = zone.answer(question, rotation: rotation) else {
            return forward(query, question, limit, reply)
        }
        var response = query.response(answer.code)
        response.isAuthoritative = true
        response.answers = answer.answers
        response.authorities = answer.authorities
        response.additionals = answer.additionals
        guard let target = answer.pending, question.type != .cname, question.type != .any else {
            return finish(response)
        }
        ask(Question(name: target, type: question.type), QueryOptions()) { result in
            if case .success(let bytes) = result, let more = try? DNSMessage(parsing: bytes) {
                response.answers += more.answers
                if more.answers.isEmpty { response.authorities = more.authorities }
                response.code = more.code
            } else {
                response.code = .serverFailure
            }
            finish(response)
        }
    }

    private func forward(
        _ query: DNSMessage, _ question: Question, _ limit: Int, _ reply: @escaping ([UInt8]?) -> Void
    ) {
        guard forwarder != nil, query.wantsRecursion else { return reply(query.response(.refused).bytes(limit: limit)) }
        ask(question, QueryOptions(query)) { result in
            guard case .success(var bytes) = result, bytes.count >= 12 else {
                return reply(query.response(.serverFailure).bytes(limit: limit))
            }
            guard bytes.count <= limit else {
                var response = query.response(.success)
                response.isTruncated = true
                return reply(response.bytes(limit: limit))
            }
            bytes[0] = UInt8(query.id >> 8)
            bytes[1] = UInt8(query.id & 0xFF)
            // The name in the letters of this client: the answer may have been made for another one.
            bytes.replaceSubrange(12..<(12 + question.name.wire.count), with: question.name.wire)
            reply(bytes)
        }
    }

    private func ask(
        _ question: Question, _ options: QueryOptions, _ completion: @escaping (Result<[UInt8], LookupFailure>) -> Void
    ) {
        guard let forwarder, pending < Self.pendingMax else { return completion(.failure(.tooBusy)) }
        pending += 1
        forwarder.ask(question, options) { [self] result in
            pending -= 1
            completion(result)
        }
    }

    /// The answer to bytes that have the header of a query and are none.
    private static func formatError(_ bytes: [UInt8]) -> [UInt8]? {
        guard let id = DNSMessage.id(of: bytes), bytes[2] & 0x80 == 0 else { return nil }
        var response = DNSMessage()
        response.id = id
        response.isResponse = true
        response.opcode = bytes[2] >> 3 & 0xF
        response.code = .formatError
        return response.bytes()
    }
}

// TCP.
extension DNSServer {
    private func accept(from listener: SocketListener) async {
        while !hasStopped {
            let socket: Socket
            do throws(SystemError) { socket = try await listener.accept() } catch {
                guard !hasStopped else { return }
                await loop.sleep(for: Self.acceptPause)
                continue
            }
            // Without room the connection is closed: the client asks again.
            guard streams < Self.streamsMax, let stream = try? SocketStream(socket, on: loop) else { continue }
            streams += 1
            Task(executorPreference: loop) {
                await self.serve(stream)
                stream.close()
                self.streams -= 1
            }
        }
    }

    private func serve(_ stream: SocketStream) async {
        while !hasStopped {
            let timer = loop.schedule(after: Self.streamTimeout) { stream.close() }
            defer { timer.cancel() }
            guard let query = await readFramed(stream) else { return }
            let answer = await withCheckedContinuation { continuation in
                handle(query, limit: 65_535) { continuation.resume(returning: $0) }
            }
            guard let answer else { return }
            let framed = [UInt8(answer.count >> 8), UInt8(answer.count & 0xFF)] + answer
            guard (try? await stream.write(framed)) != nil else { return }
        }
    }
}

// UDP.
extension DNSServer {
    fileprivate final class DatagramSource: ReadinessHandler {
        private let socket: Socket
        private unowned let server: DNSServer
        private var registration: Registration?

        init(_ socket: Socket, _ server: DNSServer) throws(SystemError) {
            self.socket = socket
            self.server = server
            registration = try server.loop.register(socket.fd, self)
        }

        func ready(_ readiness: Readiness) {
            var buffer = [UInt8](repeating: 0, count: 4096)  // No query is larger; what is cut off is no message.
            for _ in 0..<DNSServer.datagramsPerTurn {
                guard registration != nil else { return }
                let result = buffer.withUnsafeMutableBytes { space in
                    Result { () throws(SystemError) in try socket.receive(into: space) }
                }
                // An error is of one datagram (its sender is unreachable); others may wait behind it.
                guard case .success(let next) = result else { continue }
                guard let received = next else { return }
                guard let client = received.from else { continue }
                server.handle(Array(buffer[..<received.count]), limit: nil) { [self] answer in
                    guard let answer, registration != nil else { return }
                    // A client that cannot be reached, or a full buffer: it will ask again.
                    answer.withUnsafeBytes { bytes in _ = try? socket.send(bytes, to: client) }
                }
            }
            // More may wait, and the edge does not come again.
            _ = server.loop.schedule(after: .zero) { [self] in ready(.readable) }
        }

        func close() {
            registration?.cancel()
            registration = nil
            socket.close()
        }
    }
}
