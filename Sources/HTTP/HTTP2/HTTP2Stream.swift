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
    /// Whether it ends because what came on it is malformed, and the code that the peer is told.
    public internal(set) var isRefusedByUs = false
    var refusalCode = HTTP2Code.noError
    /// Whether the peer has reset it.
    public internal(set) var isResetByPeer = false
    // The head being received.
    var headBytes = 0
    var fieldCount = 0
    var hasFinalHead = false
    var headFailure: UInt32 = 0
    var rules = HTTP2MessageRules()
    var hasHost = false
    /// The method of our request (client): its answer's length depends on it.
    var method = HTTPMethod.get
    /// Body bytes handed out and not reported as read.
    public internal(set) var unconsumedBytes = 0

    @exclusivity(unchecked) var queue: [UInt8] = []
    var queueOffset = 0
    var endsAfterQueue = false
    var ownTrailers: HeaderTable?
    var isDeferred = false
    /// Whether our head has gone to nghttp2.
    var hasResponded = false
    /// Whether it is us who end it early.
    var isEndedByUs = false

    /// Bytes of heads that nghttp2 has not sent yet: a block of the session's, so that nghttp2 need not copy names and values one by one; and how
    /// much of it is used.
    var held: UnsafeMutableRawPointer?
    var heldBytes = 0
    /// Heads and trailers that nghttp2 has and has not sent.
    var headsWaiting = 0

    init(slot: Int) { self.slot = slot }

    /// Bytes that wait for the peer's window.
    public var queuedBytes: Int { queue.count &- queueOffset }

    /// Makes it a new stream; the memory of heads and queue stays.
    func begin(id: Int32) {
        self.id = id
        isOpen = true
        headsWaiting = 0
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
        rules = HTTP2MessageRules()
        method = .get
        unconsumedBytes = 0
        endsAfterQueue = false
        isDeferred = false
        hasResponded = false
        isEndedByUs = false
        isRefusedByUs = false
        refusalCode = HTTP2Code.noError
        isResetByPeer = false
    }

    func end() {
        isOpen = false
        delegate = nil
        ownTrailers = nil
    }
}

/// Blocks of memory of one size that do not move, for the streams of one loop's sessions.
final class HTTP2Blocks {
    /// Larger heads are copied by nghttp2.
    static let byteCount = 1024
    private static let keptMax = 1024

    /// The first of the free blocks, each of which begins with the address of the next.
    @exclusivity(unchecked) private var free: UnsafeMutableRawPointer?
    @exclusivity(unchecked) private var freeCount = 0

    deinit {
        while let block = free {
            free = block.load(as: UnsafeMutableRawPointer?.self)
            block.deallocate()
        }
    }

    func take() -> UnsafeMutableRawPointer {
        guard let block = free else {
            return UnsafeMutableRawPointer.allocate(byteCount: Self.byteCount, alignment: 8)
        }
        free = block.load(as: UnsafeMutableRawPointer?.self)
        freeCount &-= 1
        return block
    }

    /// Takes a block back.
    ///
    /// It may be used again at once, though a frame that was never sent may still point to it: nghttp2 drops such a frame unread when the
    /// session ends or the frame's turn comes, and the block stays memory of the session's until then.
    func give(_ block: inout UnsafeMutableRawPointer?) {
        guard let given = block else { return }
        block = nil
        guard freeCount < Self.keptMax else { return given.deallocate() }
        given.storeBytes(of: free, as: UnsafeMutableRawPointer?.self)
        free = given
        freeCount &+= 1
    }
}
