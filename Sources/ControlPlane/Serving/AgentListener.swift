import IO
import Telemetry

/// Accepts the node agent on `agent.sock` and hands on what it says.
///
/// Root only, as the kernel tells.
///
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class AgentListener: ReadinessHandler, @unchecked Sendable {
    private let loop: EventLoop
    private let socket: Socket
    private let handler: (AgentMessage, Socket?) -> Void
    private let log = Logger("agent")
    private var registration: Registration?
    private var connections: [ObjectIdentifier: Connection] = [:]
    private var hasClosed = false

    /// Listens at `path`; the handler gets each message with its socket.
    init(path: String, on loop: EventLoop, _ handler: @escaping (AgentMessage, Socket?) -> Void) throws(SystemError) {
        self.loop = loop
        self.handler = handler
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
                let connection = Connection(accepted, self)
                connections[ObjectIdentifier(connection)] = connection
                try connection.start(on: loop)
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

    /// One connection of the agent.
    private final class Connection: ReadinessHandler {
        private let socket: Socket
        private unowned let owner: AgentListener
        private var registration: Registration?
        private var reader = AgentMessageReader()

        init(_ socket: Socket, _ owner: AgentListener) {
            self.socket = socket
            self.owner = owner
        }

        func start(on loop: EventLoop) throws(SystemError) {
            registration = try loop.register(socket.fd, self)
        }

        func ready(_ readiness: Readiness) {
            while true {
                do throws(SystemError) {
                    guard let (bytes, descriptor) = try socket.receiveDescriptor(upTo: 4096) else { return }
                    if bytes.isEmpty { return end("the node agent has gone") }
                    guard let received = reader.receive(bytes, descriptor: descriptor) else {
                        return end("the node agent broke the protocol")
                    }
                    for entry in received {
                        owner.handler(entry.message, entry.descriptor.map { Socket(adopting: $0) })
                    }
                } catch {
                    return end(error.description)
                }
            }
        }

        private func end(_ reason: String) {
            owner.log.info("the connection with the node agent has ended", ["reason": reason])
            close()
            owner.connections[ObjectIdentifier(self)] = nil
        }

        func close() {
            registration?.cancel()
            registration = nil
            for descriptor in reader.leftOver() { Socket(adopting: descriptor).close() }
            socket.close()
        }
    }
}
