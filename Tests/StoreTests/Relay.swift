import IO
import Testing

/// A cable between a client and a server on loopback that can be cut, in both directions or in one.
///
/// `@unchecked Sendable`: used on one loop.
final class Relay: @unchecked Sendable {
    let port: UInt16
    private let target: SocketAddress
    private let namespace: NetworkNamespace?
    private let loop: EventLoop
    private let listener: SocketListener
    private var pairs: [(client: SocketStream, server: SocketStream)] = []
    private var isCut = false
    /// Whether what the server says is thrown away, while it goes on hearing the client.
    var swallowsAnswers = false

    /// Connections to the target begin in `namespace`, or in that of the tests.
    init(to target: SocketAddress, from namespace: NetworkNamespace? = nil, on loop: EventLoop) throws {
        self.target = target
        self.namespace = namespace
        self.loop = loop
        let socket = try Socket.listen(on: .ip(.v4(0x7f00_0001), port: 0))
        guard case .ip(_, let port)? = socket.localAddress else { throw Missing(what: "a port") }
        self.port = port
        listener = try SocketListener(socket, on: loop)
        Task(executorPreference: loop) { await self.accept() }
    }

    var url: String { "http://127.0.0.1:\(port)" }

    /// Ends all connections, and new ones at once.
    func cut() {
        isCut = true
        for pair in pairs {
            pair.client.close()
            pair.server.close()
        }
        pairs = []
    }

    func heal() {
        isCut = false
        swallowsAnswers = false
    }

    func close() {
        listener.close()
        cut()
    }

    private func accept() async {
        while let socket = try? await listener.accept() {
            guard !isCut, let client = try? SocketStream(socket, on: loop),
                let server = try? await SocketStream.connect(to: target, from: namespace, on: loop), !isCut
            else {
                socket.close()
                continue
            }
            pairs.append((client, server))
            Task(executorPreference: loop) { await self.carry(client, server, isAnswer: false) }
            Task(executorPreference: loop) { await self.carry(server, client, isAnswer: true) }
        }
    }

    private func carry(_ from: SocketStream, _ to: SocketStream, isAnswer: Bool) async {
        while let bytes = try? await from.read(upTo: 65_536), !bytes.isEmpty {
            if isAnswer, swallowsAnswers { continue }
            guard (try? await to.write(bytes)) != nil else { break }
        }
        from.close()
        to.close()
    }
}

extension SocketStream {
    /// Connects from inside of a namespace, within a second; the loop stays outside.
    ///
    /// A loop's thread inside would do harm: the runtime's threads that it starts would be inside, too, and with them
    /// whatever other tests do on those.
    static func connect(
        to address: SocketAddress, from namespace: NetworkNamespace?, on loop: EventLoop
    ) async throws(SystemError) -> SocketStream {
        guard let namespace else { return try await connect(to: address, on: loop) }
        let descriptor = try namespace.run { () throws(SystemError) in try Socket.connect(to: address).release() }
        let stream = try SocketStream(Socket(adopting: descriptor), on: loop)
        let deadline = loop.schedule(after: .seconds(1)) { stream.close() }
        defer { deadline.cancel() }
        if let error = await stream.connected() {
            stream.close()
            throw error
        }
        return stream
    }
}
