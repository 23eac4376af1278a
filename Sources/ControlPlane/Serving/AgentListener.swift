import IO
import Serialization
import Telemetry

/// Accepts the node agent on `agent.sock` and hands on what it says.
///
/// Root only, as the kernel tells.
///
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class AgentListener: ReadinessHandler, @unchecked Sendable {
    private let loop: EventLoop
    private let socket: Socket
    private let handler: (AgentMessage, Socket?, AgentConnection) -> Void
    private let onConnect: (AgentConnection) -> Void
    private let onEnd: (AgentConnection) -> Void
    private let log = Logger("agent")
    private var registration: Registration?
    private var connections: [ObjectIdentifier: AgentConnection] = [:]
    private var hasClosed = false

    /// Listens at `path`; the handler gets each message with its socket.
    ///
    /// - Parameters:
    ///   - onConnect: called with each new connection, before anything is read from it.
    ///   - onEnd: called when a connection has ended.
    init(
        path: String, on loop: EventLoop, onConnect: @escaping (AgentConnection) -> Void = { _ in },
        onEnd: @escaping (AgentConnection) -> Void = { _ in },
        _ handler: @escaping (AgentMessage, Socket?, AgentConnection) -> Void
    ) throws(SystemError) {
        self.loop = loop
        self.handler = handler
        self.onConnect = onConnect
        self.onEnd = onEnd
        socket = try Socket.listen(on: .unix(path))
        // Who may connect is decided by the peer's credentials; the mode keeps everybody else out already.
        try File.chmod(path, 0o600)
        registration = try loop.register(socket.fd, self)
    }

    func ready(_ readiness: Readiness) {
        while !hasClosed {
            do throws(SystemError) {
                guard let accepted = try socket.accept() else { return }
                let peer = try accepted.peerCredentials()
                guard peer.uid == 0 || peer.uid == Environment.userID else {
                    log.warning("somebody else than the node agent was refused", ["uid": "\(peer.uid)"])
                    continue
                }
                let connection = AgentConnection(accepted, self)
                connections[ObjectIdentifier(connection)] = connection
                try connection.start(on: loop)
                onConnect(connection)
            } catch {
                log.warning("accepting the node agent failed", ["error": error.description])
                // The edge does not come again for what waits already.
                loop.schedule(after: .milliseconds(100)) { [weak self] in self?.ready(.readable) }
                return
            }
        }
    }

    /// Ends listening.
    func close() {
        hasClosed = true
        registration?.cancel()
        socket.close()
        connections.values.forEach { $0.close() }
        connections = [:]
    }

    fileprivate func received(_ message: AgentMessage, _ socket: Socket?, _ connection: AgentConnection) {
        handler(message, socket, connection)
    }

    fileprivate func ended(_ connection: AgentConnection, _ reason: String) {
        if connection.isAgent { log.info("the connection with the node agent has ended", ["reason": reason]) }
        connections[ObjectIdentifier(connection)] = nil
        onEnd(connection)
    }
}

/// Who asks the authority for the pods of a node.
protocol AgentPeer: AnyObject {
    /// The node, as its certificate says; nil: the one of this machine.
    var node: String? { get }
    /// Sends one line.
    func send(_ json: JSON)
}

/// One connection of the agent, or of a command that root has typed.
///
/// `@unchecked Sendable`: belongs to the listener's loop (docs/threads.md).
final class AgentConnection: ReadinessHandler, AgentPeer, @unchecked Sendable {
    /// Bytes that may wait for a peer that does not read.
    private static let outputBytesMax = 4 << 20

    private let socket: Socket
    private unowned let owner: AgentListener
    private var registration: Registration?
    private var reader = AgentMessageReader()
    private var output: [UInt8] = []
    var node: String? { nil }
    /// Whether more than a command came over it.
    private(set) var isAgent = false

    init(_ socket: Socket, _ owner: AgentListener) {
        self.socket = socket
        self.owner = owner
    }

    func start(on loop: EventLoop) throws(SystemError) {
        registration = try loop.register(socket.fd, self)
    }

    func ready(_ readiness: Readiness) {
        flush()
        while registration != nil {
            do throws(SystemError) {
                guard let (bytes, descriptor) = try socket.receiveDescriptor(upTo: 4096) else { return }
                if bytes.isEmpty { return end("it has gone") }
                guard let received = reader.receive(bytes, descriptor: descriptor) else {
                    return end("it broke the protocol")
                }
                for entry in received {
                    if case .certificates = entry.message {} else { isAgent = true }
                    owner.received(entry.message, entry.descriptor.map { Socket(adopting: $0) }, self)
                }
            } catch {
                return end(error.description)
            }
        }
    }

    /// Sends one line.
    func send(_ json: JSON) {
        guard registration != nil else { return }
        output += json.bytes + [0x0A]
        flush()
        if output.count > Self.outputBytesMax { end("it does not read what it is told") }
    }

    private func flush() {
        while !output.isEmpty, registration != nil {
            switch output.withUnsafeBytes({ socket.write($0) }) {
            case .bytes(let count): output.removeFirst(min(count, output.count))
            case .wouldBlock: return
            case .end: return end("it has gone")
            case .failed(let error): return end(error.description)
            }
        }
    }

    private func end(_ reason: String) {
        guard registration != nil else { return }
        close()
        owner.ended(self, reason)
    }

    func close() {
        registration?.cancel()
        registration = nil
        for descriptor in reader.leftOver() { Socket(adopting: descriptor).close() }
        socket.close()
    }
}
