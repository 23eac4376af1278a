import IO

/// What came back for a query.
enum Reply {
    /// The answer.
    case answer(DNSMessage, [UInt8])
    /// An answer with the question in other letters: a server that does not keep them, or somebody who guesses.
    case otherLetters
    /// The server said that nobody listens there.
    case unreachable
}

/// One query in a datagram, and the wait for its answer; from a socket of its own, and so from a random port.
final class Exchange: ReadinessHandler {
    private let socket: Socket
    private let question: Question
    private let id: UInt16
    private let completion: (Reply) -> Void
    private var registration: Registration?

    /// - Parameter question: As it was sent, in these very letters.
    init(
        _ server: SocketAddress, _ question: Question, _ id: UInt16, on loop: EventLoop,
        _ completion: @escaping (Reply) -> Void
    ) throws(SystemError) {
        // Connected: the kernel drops what comes from elsewhere, and tells at once that nobody listens.
        socket = try Socket.datagram(connectedTo: server)
        self.question = question
        self.id = id
        self.completion = completion
        registration = try loop.register(socket.fd, self)
    }

    func send(_ query: [UInt8]) throws(SystemError) {
        let result = query.withUnsafeBytes { bytes in
            Result { () throws(SystemError) in try socket.sendDatagram(bytes) }
        }
        try result.get()
    }

    func ready(_ readiness: Readiness) {
        // We say that we take 1,232 bytes; what is longer is as good as truncated.
        var buffer = [UInt8](repeating: 0, count: 4096)
        while registration != nil {
            let result = buffer.withUnsafeMutableBytes { space in
                Result { () throws(SystemError) in try socket.receiveDatagram(into: space) }
            }
            guard case .success(let next) = result else { return completion(.unreachable) }
            guard let received = next else { return }
            guard received.count <= buffer.count else {
                // By TCP it comes whole.
                if DNSMessage.id(of: buffer) == id { return completion(.otherLetters) }
                continue
            }
            // What answers something else is somebody's guess: wait on.
            if let reply = Self.check(Array(buffer[..<received.count]), id, question) { return completion(reply) }
        }
    }

    func close() {
        registration?.cancel()
        registration = nil
        socket.close()
    }

    /// The message, if it answers that query.
    static func check(_ bytes: [UInt8], _ id: UInt16, _ question: Question) -> Reply? {
        guard DNSMessage.id(of: bytes) == id, let message = try? DNSMessage(parsing: bytes) else { return nil }
        guard message.isResponse, message.opcode == 0 else { return nil }
        // A server that does not understand the query may leave the question out.
        if message.questions.isEmpty, message.code == .formatError || message.code == .notImplemented {
            return .answer(message, bytes)
        }
        guard message.questions == [question] else { return nil }
        guard message.questions.first?.name.wire == question.name.wire else { return .otherLetters }
        return .answer(message, bytes)
    }
}
