internal import CNetlink
internal import Glibc
internal import IO
internal import Netlink
internal import Synchronization

/// A netlink socket of the network namespace in which it was opened; any thread may use it.
final class NetlinkSocket: Sendable {
    /// The libnl socket, freed with its owner.
    private struct Handle: ~Copyable {
        let socket: OpaquePointer
        var sequence: UInt32 = 1
        deinit { nl_socket_free(socket) }
    }

    private let handle: Mutex<Handle>

    init(protocol number: Int32 = NETLINK_ROUTE) throws(NetworkError) {
        guard let socket = nl_socket_alloc() else { throw .system(SystemError(ENOMEM, "open netlink")) }
        let result = nl_connect(socket, number)
        guard result == 0 else {
            nl_socket_free(socket)
            throw .system(SystemError(errno == 0 ? EPERM : errno, "open netlink"))
        }
        var one: Int32 = 1
        // Texts with errors, and no copies of our requests in them.
        for option in [NETLINK_EXT_ACK, NETLINK_CAP_ACK] {
            setsockopt(nl_socket_get_fd(socket), SOL_NETLINK, option, &one, socklen_t(MemoryLayout<Int32>.size))
        }
        nl_socket_set_buffer_size(socket, 1 << 20, 1 << 16)
        handle = Mutex(Handle(socket: socket))
    }

    /// Sends a request and waits for its acknowledgement.
    func request(_ message: NetlinkMessage, _ operation: String) throws(NetworkError) {
        _ = try exchange(message, operation)
    }

    /// Sends a request and returns what comes back.
    func exchange(
        _ message: NetlinkMessage, _ operation: String
    ) throws(NetworkError) -> [NetlinkReply] {
        let outcome = handle.withLock { (handle) -> Result<[NetlinkReply], SystemError> in
            handle.sequence &+= 1
            var bytes = message.finished(sequence: handle.sequence)
            let sent = nl_sendto(handle.socket, &bytes, bytes.count)
            guard sent >= 0 else { return .failure(.last(operation)) }
            return NetlinkSocket.receive(handle.socket, handle.sequence, operation)
        }
        do throws(SystemError) { return try outcome.get() } catch { throw .system(error) }
    }

    private static func receive(
        _ socket: OpaquePointer, _ sequence: UInt32, _ operation: String
    ) -> Result<[NetlinkReply], SystemError> {
        var replies: [NetlinkReply] = []
        while true {
            var sender = sockaddr_nl()
            var buffer: UnsafeMutablePointer<UInt8>?
            let count = nl_recv(socket, &sender, &buffer, nil)
            defer { free(buffer) }
            guard count > 0, let buffer else {
                return .failure(SystemError(errno == 0 ? EIO : errno, operation))
            }
            var rest = ArraySlice(UnsafeBufferPointer(start: buffer, count: Int(count)))
            while rest.count >= NetlinkMessage.headerLength {
                let length = Int(rest.number(0, as: UInt32.self))
                guard length >= NetlinkMessage.headerLength, length <= rest.count else { break }
                let message = rest.prefix(length)
                rest = rest.dropFirst((length + 3) & ~3)
                guard message.number(8, as: UInt32.self) == sequence else { continue }
                let reply = NetlinkReply(
                    type: message.number(4, as: UInt16.self), flags: message.number(6, as: UInt16.self),
                    payload: message.dropFirst(NetlinkMessage.headerLength))
                switch Int32(reply.type) {
                case NLMSG_DONE: return .success(replies)
                case NLMSG_ERROR:
                    let error = reply.payload.number(0, as: Int32.self)
                    guard error != 0 else { return .success(replies) }
                    // NLM_F_ACK_TLVS: after the error number and the header of our request, a text.
                    let words = reply.flags & 0x200 == 0 ? nil : reply.attributes(after: 20)[1]?.text
                    return .failure(SystemError(-error, operation + (words.map { " (\($0))" } ?? "")))
                default: replies.append(reply)
                }
            }
        }
    }
}
