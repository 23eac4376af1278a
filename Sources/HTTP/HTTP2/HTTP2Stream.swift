/// One stream of an `HTTP2Session`: the message that comes and the bytes that go.
///
/// Valid until its delegate's `closed` returns; then the session uses the object, and the memory of its heads, for another stream.
/// So whoever keeps one lets go of it in `closed`.
public final class HTTP2Stream {
    /// The number on the wire.
    public internal(set) var id: Int32 = 0
    /// Who hears of it.
    public var delegate: (any HTTP2StreamDelegate)?
    // Heads and queue are not checked for exclusive access: nobody outside the loop's present call reaches them, and each check costs a call.

    /// The request's head (server); the delegate may swap it out.
    @exclusivity(unchecked) public var request = RequestHead()
    /// The response's head (client), interim ones included; the delegate may swap it out.
    @exclusivity(unchecked) public var response = ResponseHead()
    /// The trailers of the message that came; empty when there were none.
    @exclusivity(unchecked) public internal(set) var trailers = HeaderTable()
    /// Whether the peer has ended its direction.
    public internal(set) var isRemoteEnded = false
    /// Whether our end (END_STREAM) was sent.
    public internal(set) var isLocalEnded = false
    /// Whether the request was an extended CONNECT (RFC 8441), made into an upgrade.
    public internal(set) var isExtendedConnect = false

    /// Where the session keeps it.
    let slot: Int
    var isOpen = false
    /// Whether it ends because what came on it is malformed.
    public internal(set) var isRefusedByUs = false
    /// Whether the peer has reset it.
    public internal(set) var isResetByPeer = false
    // The head being received.
    var headBytes = 0
    var fieldCount = 0
    var hasFinalHead = false
    var headFailure: UInt32 = 0
    var hasHost = false
    /// The method of our request (client): its answer's length depends on it.
    var method = HTTPMethod.get
    /// Body bytes handed out and not reported as read.
    var unconsumedBytes = 0

    @exclusivity(unchecked) var queue: [UInt8] = []
    var queueOffset = 0
    var endsAfterQueue = false
    var ownTrailers: HeaderTable?
    var isDeferred = false
    /// Whether our head has gone to nghttp2.
    var hasResponded = false
    /// Whether it is us who end it early.
    var isEndedByUs = false

    /// Bytes of heads that nghttp2 has not sent yet: memory that does not move and lives as long as the session, so that nghttp2 need not
    /// copy names and values one by one.
    private var held: UnsafeMutableRawPointer?
    private var heldBytes = 0
    /// Larger heads are copied by nghttp2: what a large one needed would stay with the stream for good.
    private static let heldBytesMax = 1024

    /// Queues larger than this are not kept for the next stream.
    private static let queueKeptBytes = 16 * 1024

    init(slot: Int) { self.slot = slot }

    deinit { held?.deallocate() }

    /// A copy of bytes that stays until the stream is used again; nil when there is no room for it.
    func hold(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard bytes.count <= Self.heldBytesMax &- heldBytes, let start = bytes.baseAddress else { return nil }
        let memory = held ?? UnsafeMutableRawPointer.allocate(byteCount: Self.heldBytesMax, alignment: 16)
        held = memory
        let copy = memory + heldBytes
        copy.copyMemory(from: start, byteCount: bytes.count)
        heldBytes &+= bytes.count
        return UnsafeRawBufferPointer(start: copy, count: bytes.count)
    }

    /// Bytes that wait for the peer's window.
    public var queuedBytes: Int { queue.count &- queueOffset }

    /// Makes it a new stream; the memory of heads and queue stays.
    func begin(id: Int32) {
        self.id = id
        isOpen = true
        heldBytes = 0
        request.removeAll()
        response.removeAll()
        trailers.removeAll()
        isRemoteEnded = false
        isLocalEnded = false
        isExtendedConnect = false
        headBytes = 0
        fieldCount = 0
        hasFinalHead = false
        headFailure = 0
        hasHost = false
        method = .get
        unconsumedBytes = 0
        endsAfterQueue = false
        isDeferred = false
        hasResponded = false
        isEndedByUs = false
        isRefusedByUs = false
        isResetByPeer = false
    }

    func end() {
        isOpen = false
        delegate = nil
        ownTrailers = nil
        emptyQueue()
    }

    func emptyQueue() {
        if queue.capacity > Self.queueKeptBytes { queue = [] } else { queue.removeAll(keepingCapacity: true) }
        queueOffset = 0
    }
}
