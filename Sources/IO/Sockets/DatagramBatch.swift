internal import CLinux
internal import Glibc

/// Datagrams that are received and answered many at a time: one system call for all of them.
///
/// Has memory of its own for `capacity` datagrams in and as many out. Belongs to one thread.
public final class DatagramBatch {
    /// How many datagrams are received at once.
    public static let capacity = 32
    /// Bytes of a datagram that are received; what is longer is cut off there.
    public static let receivedBytesMax = 2048
    /// Bytes of an answer.
    public static let sentBytesMax = 1280

    private let incoming: UnsafeMutableRawBufferPointer
    private let outgoing: UnsafeMutableRawBufferPointer
    private let lengths: UnsafeMutablePointer<UInt32>
    private let sentLengths: UnsafeMutablePointer<UInt32>
    private let sources: UnsafeMutablePointer<sockaddr_storage>
    private let targets: UnsafeMutablePointer<sockaddr_storage>
    /// How many were received last.
    public private(set) var count = 0
    /// How many answers wait for `flush`.
    public private(set) var answerCount = 0

    /// Nothing received yet.
    public init() {
        let capacity = Self.capacity
        incoming = .allocate(byteCount: capacity * Self.receivedBytesMax, alignment: 16)
        outgoing = .allocate(byteCount: capacity * Self.sentBytesMax, alignment: 16)
        lengths = .allocate(capacity: capacity)
        sentLengths = .allocate(capacity: capacity)
        sources = .allocate(capacity: capacity)
        targets = .allocate(capacity: capacity)
        lengths.initialize(repeating: 0, count: capacity)
        sentLengths.initialize(repeating: 0, count: capacity)
        sources.initialize(repeating: sockaddr_storage(), count: capacity)
        targets.initialize(repeating: sockaddr_storage(), count: capacity)
    }

    deinit {
        incoming.deallocate()
        outgoing.deallocate()
        lengths.deallocate()
        sentLengths.deallocate()
        sources.deallocate()
        targets.deallocate()
    }

    /// Receives what waits, at most `capacity` datagrams; none when nothing does.
    ///
    /// An error is of one datagram (its sender could not be reached); others may wait behind it.
    public func receive(from socket: Socket) throws(SystemError) {
        count = 0
        while true {
            let received = clinux_receive_batch(
                socket.fd, incoming.baseAddress, Self.receivedBytesMax, UInt32(Self.capacity), lengths, sources)
            if received >= 0 {
                count = min(Int(received), Self.capacity)
                return
            }
            switch -received {
            case EAGAIN: return
            case EINTR: continue
            case let code: throw SystemError(code, "receive")
            }
        }
    }

    /// The bytes of a received datagram, the first `receivedBytesMax` of them.
    public subscript(index: Int) -> UnsafeRawBufferPointer {
        precondition(index >= 0 && index < count)
        let start = index * Self.receivedBytesMax
        let length = min(Int(lengths[index]), Self.receivedBytesMax)
        return UnsafeRawBufferPointer(rebasing: incoming[start..<(start + length)])
    }

    /// Whether a received datagram was longer than what is here of it.
    public func isCut(_ index: Int) -> Bool { index < count && Int(lengths[index]) > Self.receivedBytesMax }

    /// Who sent a datagram.
    public func source(_ index: Int) -> SocketAddress? {
        precondition(index >= 0 && index < count)
        return SocketAddress(sources[index], length: socklen_t(MemoryLayout<sockaddr_storage>.size))
    }

    /// The address of who sent a datagram, IPv4 in its IPv6 form, host byte order: to be compared, without making anything.
    public func sourceKey(_ index: Int) -> (high: UInt64, low: UInt64) {
        precondition(index >= 0 && index < count)
        let bytes = UnsafeRawBufferPointer(start: sources + index, count: MemoryLayout<sockaddr_storage>.size)
        switch Int32(bytes.load(as: sa_family_t.self)) {
        case AF_INET:
            return (0, 0xFFFF << 32 | UInt64(UInt32(bigEndian: bytes.load(fromByteOffset: 4, as: UInt32.self))))
        case AF_INET6:
            return (
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
                UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
            )
        default: return (0, 0)
        }
    }

    /// Writes an answer to the sender of a datagram, to be sent by `flush`; false when `body` has written none.
    ///
    /// - Parameter body: Gets `sentBytesMax` bytes, and says how many of them it has written; nil: there is no answer.
    @discardableResult
    public func answer(_ index: Int, _ body: (UnsafeMutableRawBufferPointer) -> Int?) -> Bool {
        precondition(index >= 0 && index < count && answerCount < Self.capacity)
        let start = answerCount * Self.sentBytesMax
        let space = UnsafeMutableRawBufferPointer(rebasing: outgoing[start..<(start + Self.sentBytesMax)])
        guard let written = body(space) else { return false }
        sentLengths[answerCount] = UInt32(clamping: min(max(written, 0), Self.sentBytesMax))
        targets[answerCount] = sources[index]
        answerCount += 1
        return true
    }

    /// Sends the answers; how many of them the kernel had no room for, or could not deliver.
    public func flush(to socket: Socket) -> Int {
        var sent = 0
        var lost = 0
        while sent < answerCount {
            let taken = clinux_send_batch(
                socket.fd, outgoing.baseAddress?.advanced(by: sent * Self.sentBytesMax), Self.sentBytesMax,
                UInt32(answerCount - sent), sentLengths + sent, targets + sent)
            if taken > 0 {
                sent += Int(taken)
            } else if taken != -EINTR {
                // That one cannot be sent (nobody there, no room): its client asks again.
                sent += 1
                lost += 1
            }
        }
        answerCount = 0
        return lost
    }
}
