internal import IO
internal import Serialization

/// Taking over from a running process: what both sides must agree on.
///
/// The process with `--restart-epoch N` listens on a unix socket whose name has its user, base id and epoch; the one with
/// N+1 asks there, in lock step, for the listening sockets, and says when it is live. Sockets are passed as descriptors:
/// what waits in their queues waits for whoever accepts, so no connection is lost.
enum HotRestart {
    /// What `/hot_restart_version` answers.
    static let version = "skein.1"
    /// How long an answer of the other process is waited for.
    static let timeoutMilliseconds: Int32 = 5000
    /// A message is one line of fields separated by tabs.
    static let messageBytes = 4096

    static func address(_ options: Options, epoch: UInt32) -> SocketAddress {
        .unix("/tmp/skein-proxy-restart-\(Environment.userID)-\(options.baseID).\(epoch)")
    }

    static func line(_ fields: String...) -> [UInt8] { Array((fields.joined(separator: "\t") + "\n").utf8) }

    /// A line is far smaller than a socket's buffer, and nothing else waits there.
    static func send(_ line: [UInt8], to socket: Socket) { _ = line.withUnsafeBytes { socket.write($0) } }

    static func fields(_ bytes: [UInt8]) -> [String] {
        var text = String(decoding: bytes, as: UTF8.self)[...]
        if text.hasSuffix("\n") { text = text.dropLast() }
        return text.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    }
}

/// The listening sockets of the process before.
///
/// Used on the control loop's thread alone.
final class InheritedSockets {
    /// By address as text and by the number of the loop.
    private var sockets: [String: [Int: Int32]] = [:]
    private(set) var admin: Int32?
    private let socket: Socket?

    /// None.
    init() { socket = nil }

    /// Asks the process of the epoch before.
    init(_ options: Options) throws(SystemError) {
        let socket = try Socket.connect(to: HotRestart.address(options, epoch: options.restartEpoch - 1))
        self.socket = socket
        HotRestart.send(HotRestart.line("sockets", HotRestart.version), to: socket)
        while let answer = try receive(socket) {
            let fields = HotRestart.fields(answer.bytes)
            switch fields.first {
            case "listener":
                if let fd = answer.descriptor, fields.count == 3, let index = Int(fields[2]) {
                    sockets[fields[1], default: [:]][index] = fd
                }
            case "admin": admin = answer.descriptor
            default: return
            }
            HotRestart.send(HotRestart.line("next"), to: socket)
        }
    }

    private func receive(_ socket: Socket) throws(SystemError) -> (bytes: [UInt8], descriptor: Int32?)? {
        guard socket.waitReadable(milliseconds: HotRestart.timeoutMilliseconds) else { return nil }
        guard let answer = try socket.receiveDescriptor(upTo: HotRestart.messageBytes), !answer.bytes.isEmpty else {
            return nil
        }
        return answer
    }

    /// The socket for an address and loop, once.
    func take(_ address: SocketAddress, worker: Int) -> Int32? {
        sockets["\(address)"]?.removeValue(forKey: worker)
    }

    func takeAdmin() -> Int32? {
        defer { admin = nil }
        return admin
    }

    /// We serve: the other process drains, and ends after that time at the latest.
    func finish(parentShutdownTime: Duration) {
        for fds in sockets.values { for fd in fds.values { Socket(adopting: fd).close() } }
        sockets = [:]
        if let fd = takeAdmin() { Socket(adopting: fd).close() }
        guard let socket else { return }
        HotRestart.send(HotRestart.line("drain", "\(parentShutdownTime.components.seconds)"), to: socket)
        socket.close()
    }
}
