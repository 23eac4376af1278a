internal import Glibc
internal import IO
internal import Serialization

/// A call that the node agent of this machine does in the plugin's place, over its unix socket.
///
/// The agent does what the plugin would have done, with the same files and in the same namespaces, and tells the mesh. Where it
/// does not run the plugin works alone; so it does when the agent says that the call is none of its own.
struct NodeCall {
    /// What came of asking.
    enum Outcome: Hashable {
        /// The agent has done it.
        case done(CNIPlugin.Answer)
        /// The plugin does it alone; why, when somebody should know.
        case alone(String?)
        /// The agent may have done part of it; why.
        case unknown(String)
    }

    /// Where the agent listens.
    static let socket = "/run/skein/kubelet.sock"
    /// How long its answer is awaited, in milliseconds; longer than it waits itself for a lock.
    static let patience: Int32 = 15_000
    /// Bytes of its answer, at most.
    static let answerMax = 4 << 20
    /// What the agent is told of the environment.
    static let variables = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH", "CNI_ARGS"]

    var socket = NodeCall.socket
    var patience = NodeCall.patience

    /// Asks the agent; blocks until it has answered, or for `patience`.
    func ask(_ input: [UInt8], _ variable: (String) -> String?) -> Outcome {
        let connection: Socket
        do throws(SystemError) {
            guard File.exists(socket) else { return .alone(nil) }
            connection = try Socket.connect(to: .unix(socket))
        } catch {
            // ENOENT: it has just ended, and cleanly.
            return .alone(error.errno == ENOENT ? nil : "the node agent at \(socket) does not answer (\(error.reason))")
        }
        var environment: [String: JSON] = [:]
        for name in NodeCall.variables { environment[name] = variable(name).map { .string($0) } }
        let body =
            (["environment": .object(environment), "input": .string(String(decoding: input, as: UTF8.self))] as JSON)
            .bytes
        let head = "POST /cni HTTP/1.1\r\nhost: node\r\ncontent-length: \(body.count)\r\nconnection: close\r\n\r\n"
        let deadline = MonotonicTime.now + .milliseconds(Int64(patience))
        do throws(SystemError) {
            try write(Array(head.utf8) + body, to: connection, deadline)
            return read(try readAll(connection, deadline))
        } catch {
            return .unknown("the node agent at \(socket) did not end its work (\(error.reason))")
        }
    }

    private func wait(_ connection: Socket, _ events: Int32, _ deadline: MonotonicTime) throws(SystemError) {
        var entry = pollfd(fd: connection.fd, events: Int16(events), revents: 0)
        while true {
            let left = Int32(clamping: max(0, (deadline - .now).components.seconds * 1000 + 1))
            let count = poll(&entry, 1, MonotonicTime.now < deadline ? left : 0)
            if count > 0 { return }
            guard count < 0, errno == EINTR else { throw SystemError(ETIMEDOUT, "ask the node agent") }
        }
    }

    private func write(
        _ bytes: [UInt8], to connection: Socket, _ deadline: MonotonicTime
    ) throws(SystemError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            switch rest.withUnsafeBytes({ connection.write($0) }) {
            case .bytes(let count): rest = rest.dropFirst(count)
            case .wouldBlock: try wait(connection, POLLOUT, deadline)
            case .end: throw SystemError(EPIPE, "ask the node agent")
            case .failed(let error): throw error
            }
        }
    }

    private func readAll(_ connection: Socket, _ deadline: MonotonicTime) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            switch buffer.withUnsafeMutableBytes({ connection.read(into: $0) }) {
            case .bytes(let count):
                bytes += buffer.prefix(count)
                guard bytes.count <= NodeCall.answerMax else { throw SystemError(EMSGSIZE, "ask the node agent") }
            case .wouldBlock: try wait(connection, POLLIN, deadline)
            case .end: return bytes
            case .failed(let error): throw error
            }
        }
    }

    /// The answer out of a response: a status line, fields, an empty line and an object.
    private func read(_ response: [UInt8]) -> Outcome {
        let text = String(decoding: response, as: UTF8.self)
        guard text.hasPrefix("HTTP/1.1 "), let status = Int(text.dropFirst(9).prefix(3)),
            let end = text.firstRange(of: "\r\n\r\n")?.upperBound
        else { return .unknown("the node agent at \(socket) ended before its answer") }
        let body = text[end...]
        guard status == 200 else {
            // It has looked at the call and not begun with it.
            return .alone("the node agent at \(socket) leaves it to the plugin: \(body.prefix(300).trimmed)")
        }
        guard let json = try? JSON.parse(Array(body.utf8)), let code = json["status"]?.int,
            let output = json["output"]?.string
        else { return .unknown("the node agent at \(socket) ended within its answer") }
        return .done(CNIPlugin.Answer(output: Array(output.utf8), status: Int32(clamping: code)))
    }
}

extension Substring {
    /// Without white space at its ends.
    fileprivate var trimmed: Substring {
        var text = drop(while: \.isWhitespace)
        while text.last?.isWhitespace == true { text = text.dropLast() }
        return text
    }
}
