/// A byte stream that can be used without a task too: its owner is told when it is ready, and reads and writes what goes at once.
///
/// For connections of which there are thousands: a task that waits for each costs more than the bytes it carries. Whoever has taken a stream over
/// (`handOver`) uses the calls here, and not `read` and `write`. On the loop.
public protocol DirectStream: ByteStream {
    /// Has `handler` told from now on when there is something to read or room to write, and when the stream is closed.
    ///
    /// What was ready before is not told: ask for both at once.
    func handOver(to handler: any ReadinessHandler)

    /// Gives what has come to `body`, piece by piece, until there is no more now or `body` answers false.
    ///
    /// The pieces are in the loop's scratch memory, until `body` returns.
    func readReady(_ body: (UnsafeRawBufferPointer) -> Bool) throws(SystemError) -> ReadyEnd

    /// Writes bytes; what the socket does not take now is kept, and `isBlocked` until `writeKept` has written it.
    func writeReady(_ bytes: UnsafeRawBufferPointer) throws(SystemError)

    /// Goes on with what was kept; to be called when there is room to write.
    func writeKept() throws(SystemError)

    /// Whether something was kept: better produce no more.
    var isBlocked: Bool { get }
}

/// Why there is nothing more to read now.
public enum ReadyEnd: Sendable, Hashable {
    /// Nothing more has come.
    case empty
    /// The body wanted no more.
    case stopped
    /// The peer has ended its direction.
    case ended
}

/// Memory that the direct streams of one loop use in turn, each for the time of one call.
public final class StreamScratch {
    /// Bytes read from a socket at once: a TLS record with its header and tag.
    public static let wireBytes = 16 * 1024 + 512
    /// Bytes of a TLS record without them.
    public static let plainBytes = 16 * 1024
    /// Bytes written at once, in TLS records.
    public static let sealedBytes = 72 * 1024

    /// What comes from a socket.
    public let wire = UnsafeMutableRawBufferPointer.allocate(byteCount: StreamScratch.wireBytes, alignment: 16)
    /// What is decrypted of it.
    public let plain = UnsafeMutableRawBufferPointer.allocate(byteCount: StreamScratch.plainBytes, alignment: 16)
    /// What goes to a socket, encrypted.
    public let sealed = UnsafeMutableRawBufferPointer.allocate(byteCount: StreamScratch.sealedBytes, alignment: 16)

    init() {}

    deinit {
        wire.deallocate()
        plain.deallocate()
        sealed.deallocate()
    }
}
