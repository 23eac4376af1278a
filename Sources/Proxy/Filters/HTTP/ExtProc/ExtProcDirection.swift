internal import IO

/// One direction of one stream: what the processor has been asked, and what of it has not been answered.
final class ExtProcDirection {
    enum Expected: Equatable {
        case head
        /// So many bytes of the body; `isEnd`: the message ends with them.
        case body(Int, isEnd: Bool)
        case trailers
    }

    let flow: FilterDirection.Flow
    /// What is shown of it.
    var part = ExtProcPart(sendsHead: false, body: .none, sendsTrailers: false)
    /// What has been sent and not been answered, in its order.
    var expected: [Expected] = []
    var hasHead = false
    var isBodyless = false
    var hasEnded = false
    var hasTrailers = false
    /// The processor has put another body in the place of what comes.
    var dropsBody = false
    /// What was sent of the body is all of it.
    var isWhole = false
    /// The beginning of a body that is too large to be collected has been answered.
    var isPartDone = false
    /// `FULL_DUPLEX_STREAMED`: the processor has bytes of the body that are nowhere else.
    var isAway = false
    /// `FULL_DUPLEX_STREAMED`: the end of the body has been sent, or of what the processor wants of it.
    var endIsSent = false
    var hasSentAttributes = false
    var timer: LoopTimer?
    var timeoutIsOverridden = false

    init(_ flow: FilterDirection.Flow) { self.flow = flow }

    var collects: Bool { part.body == .buffered || part.body == .bufferedPartial }

    /// Whether what the processor sends takes the place of the body, piece by piece.
    var isDuplex: Bool { part.body == .fullDuplex }

    /// Whether there are trailers that the processor wants to see.
    var showsTrailers: Bool { hasTrailers && part.sendsTrailers }

    func stopTimer() {
        timer?.cancel()
        timer = nil
    }
}
