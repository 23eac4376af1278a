internal import Glibc
package import IO
internal import Synchronization

/// A netlink socket on nothing but system calls, for programs that live for a few milliseconds.
///
/// It speaks for the network namespace in which it was opened, whatever thread uses it; one thread at a time. Nothing here
/// waits for longer than `patience`.
package final class NetlinkChannel: Sendable {
    /// The family of rtnetlink.
    package static let route: Int32 = 0
    /// The family of nf_tables.
    package static let netfilter: Int32 = 12

    /// NLM_F_REQUEST | NLM_F_ACK.
    package static let change: UInt16 = 0x5
    /// … | NLM_F_CREATE | NLM_F_EXCL.
    package static let make: UInt16 = 0x605
    /// … | NLM_F_CREATE | NLM_F_REPLACE.
    package static let replace: UInt16 = 0x505
    /// NLM_F_REQUEST | NLM_F_DUMP.
    package static let dump: UInt16 = 0x301

    /// Longest wait for an answer of the kernel, in seconds; it answers within the call.
    private static let patience = 10
    /// Bytes of one datagram: the kernel fills dumps in pieces of 32 KiB.
    private static let bufferSize = 1 << 16

    package let descriptor: Int32
    private let sequence = Atomic<UInt32>(1)

    /// Opens it in the namespace of the calling thread, listening to those multicast groups (1 to 32).
    package init(_ family: Int32 = NetlinkChannel.route, groups: [Int32] = []) throws(SystemError) {
        let fd = socket(16, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), family)  // AF_NETLINK
        guard fd >= 0 else { throw SystemError.last("open netlink") }
        descriptor = fd
        let level: Int32 = 270  // SOL_NETLINK
        var one: Int32 = 1
        // NETLINK_CAP_ACK, NETLINK_EXT_ACK: no copies of our requests in errors, but texts.
        for option in [10, 11] as [Int32] { setsockopt(fd, level, option, &one, 4) }
        if !groups.isEmpty {
            // sockaddr_nl: family, port, groups. A socket without a port hears nothing of what the kernel says by itself.
            let mask = groups.reduce(0 as UInt32) { $0 | 1 << UInt32($1 - 1) }
            let address: [UInt32] = [16, 0, mask]
            let result = address.withUnsafeBytes { bytes in
                bytes.withMemoryRebound(to: sockaddr.self) { bind(fd, $0.baseAddress, socklen_t(bytes.count)) }
            }
            guard result == 0 else { throw SystemError.last("listen to netlink") }
        }
        var limit = timeval(tv_sec: NetlinkChannel.patience, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// The next number for a request.
    package func nextSequence() -> UInt32 { sequence.add(1, ordering: .relaxed).newValue }

    /// Sends a request and waits for its acknowledgement.
    package func request(_ message: NetlinkMessage, _ operation: @autoclosure () -> String) throws(SystemError) {
        _ = try exchange(message, operation())
    }

    /// Sends a request and returns what comes back before its acknowledgement or the end of the dump.
    package func exchange(
        _ message: NetlinkMessage, _ operation: @autoclosure () -> String
    ) throws(SystemError) -> [NetlinkReply] {
        let number = nextSequence()
        try send(message.finished(sequence: number), operation())
        var replies: [NetlinkReply] = []
        while true {
            for reply in try receive(operation()) where reply.sequence == number {
                switch reply.message.type {
                case 3: return replies  // NLMSG_DONE
                case 2:  // NLMSG_ERROR
                    if let error = NetlinkChannel.error(reply.message, operation()) { throw error }
                    return replies
                default: replies.append(reply.message)
                }
            }
        }
    }

    /// Sends nf_tables messages as one transaction: all of it happens or nothing.
    ///
    /// Each message has a name for errors; the first that the kernel refuses is thrown, with its place.
    package func transaction(_ messages: [(NetlinkMessage, String)]) throws(NetlinkRefusal) {
        func marker(_ type: UInt16) -> NetlinkMessage {
            var message = NetlinkMessage(type: type, flags: 1)
            // nfgenmsg: family 0, version 0, resource NFNL_SUBSYS_NFTABLES (10) in network order.
            message.append(UInt32(bigEndian: 10))
            return message
        }
        var bytes = marker(16).finished(sequence: nextSequence())  // NFNL_MSG_BATCH_BEGIN
        let first = nextSequence()
        var number = first
        for (message, _) in messages {
            bytes += message.finished(sequence: number)
            number = nextSequence()
        }
        bytes += marker(17).finished(sequence: number)  // NFNL_MSG_BATCH_END
        do throws(SystemError) {
            try send(bytes, "change rules")
            var answered = 0
            while answered < messages.count {
                for reply in try receive("change rules") where reply.message.type == 2 {
                    // An earlier transaction that was refused may have more errors than the one that was read.
                    guard reply.sequence &+ 1 >= first, reply.sequence <= number else { continue }
                    let index = Int(reply.sequence) - Int(first)
                    let name = messages.indices.contains(index) ? messages[index].1 : "transaction"
                    if let error = NetlinkChannel.error(reply.message, "nftables: \(name)") {
                        throw error
                    }
                    answered += 1
                }
            }
        } catch {
            throw NetlinkRefusal(error: error)
        }
    }

    /// Sends bytes as they are.
    package func send(_ bytes: [UInt8], _ operation: @autoclosure () -> String) throws(SystemError) {
        while Glibc.send(descriptor, bytes, bytes.count, 0) < 0 {
            guard errno == EINTR else { throw SystemError.last(operation()) }
        }
    }

    /// The messages of the next datagram.
    package func receive(
        _ operation: @autoclosure () -> String
    ) throws(SystemError) -> [(sequence: UInt32, message: NetlinkReply)] {
        var failure: SystemError?
        let bytes = [UInt8](unsafeUninitializedCapacity: NetlinkChannel.bufferSize) { buffer, initialized in
            while true {
                let count = recv(descriptor, buffer.baseAddress, NetlinkChannel.bufferSize, 0)
                if count < 0, errno == EINTR { continue }
                if count < 0 { failure = .last(operation()) } else { initialized = count }
                return
            }
        }
        if let failure { throw failure }
        return NetlinkChannel.messages(in: bytes[...])
    }

    /// The messages in a datagram; one that is cut short ends it.
    package static func messages(in bytes: ArraySlice<UInt8>) -> [(sequence: UInt32, message: NetlinkReply)] {
        var rest = bytes
        var result: [(sequence: UInt32, message: NetlinkReply)] = []
        while rest.count >= NetlinkMessage.headerLength {
            let length = Int(rest.number(0, as: UInt32.self))
            guard length >= NetlinkMessage.headerLength, length <= rest.count else { break }
            let message = rest.prefix(length)
            rest = rest.dropFirst((length + 3) & ~3)
            let reply = NetlinkReply(
                type: message.number(4, as: UInt16.self), flags: message.number(6, as: UInt16.self),
                payload: message.dropFirst(NetlinkMessage.headerLength))
            result.append((message.number(8, as: UInt32.self), reply))
        }
        return result
    }

    /// What an NLMSG_ERROR says; nil is the acknowledgement of success.
    package static func error(_ reply: NetlinkReply, _ operation: String) -> SystemError? {
        let number = reply.payload.number(0, as: Int32.self)
        guard number != 0 else { return nil }
        // NLM_F_ACK_TLVS: after the error number and the header of our request, a text.
        let words = reply.flags & 0x200 == 0 ? nil : reply.attributes(after: 20)[1]?.text
        return SystemError(number == .min ? EIO : -number, operation + (words.map { " (\($0))" } ?? ""))
    }
}

/// Why a transaction of rules did not happen.
package struct NetlinkRefusal: Error, Sendable {
    /// The kernel's reason, with the name of the message.
    package var error: SystemError
}
