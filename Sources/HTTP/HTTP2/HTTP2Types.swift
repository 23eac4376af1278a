/// A stream of an `HTTP2Session`: a slot and its generation, so that a late use of an ended stream finds nothing.
public struct HTTP2StreamToken: Sendable, Hashable {
    var slot: Int
    var generation: UInt32
}

/// A failure of an HTTP/2 connection or stream.
public struct HTTP2Error: Error, Sendable, Hashable, CustomStringConvertible {
    /// The error code of RFC 9113 §7.
    public var code: UInt32
    /// What went wrong.
    public var detail: String

    /// A failure with its code.
    public init(_ code: UInt32, _ detail: String) {
        self.code = code
        self.detail = detail
    }

    /// `HTTP/2: … (error 11)`.
    public var description: String { "HTTP/2: \(detail) (error \(code))" }
}

/// What happened on an HTTP/2 connection.
public enum HTTP2Event: Sendable {
    /// A request came (server).
    ///
    /// Body and end follow unless it has ended.
    case request(HTTP2StreamToken, RequestHead, isEnd: Bool)
    /// A response came (client), perhaps an interim one.
    case response(HTTP2StreamToken, ResponseHead, isEnd: Bool)
    /// Bytes of a body came.
    ///
    /// Say `consumed` when somebody has read them: only then the peer may send more.
    case data(HTTP2StreamToken, [UInt8])
    /// The peer ended its direction, with these trailers.
    case end(HTTP2StreamToken, trailers: HeaderTable)
    /// All that was queued for the stream is in the output.
    case drained(HTTP2StreamToken)
    /// The stream is gone; 0 when it ended properly.
    case closed(HTTP2StreamToken, code: UInt32)
    /// The peer takes no new streams and will answer no stream above `lastStream`.
    case goAway(lastStream: Int32, code: UInt32)
    /// Our PING was answered.
    case pong
}

/// Bounds on what one HTTP/2 connection may make us hold (attacks.md, budgets).
public struct HTTP2Limits: Sendable {
    /// Streams that a peer may have open at once.
    public var concurrentStreams: UInt32 = 100
    /// Bytes in flight towards us on a stream.
    public var streamWindow: UInt32 = 256 * 1024
    /// Bytes in flight towards us on the connection.
    public var connectionWindow: UInt32 = 1024 * 1024
    /// Decoded bytes of one head, 32 added for each field (ATK-03).
    public var headBytes = HTTP1Limits.headBytesDefault
    /// Fields of one head.
    public var fields = HTTP1Limits.fieldsDefault
    /// Bytes queued for one stream that the peer does not read.
    public var queuedBytes = 64 * 1024 * 1024
    /// Resets by the peer: so many at once, then so many a second (ATK-01).
    static let resetBurst: UInt64 = 200
    static let resetRate: UInt64 = 20
    /// CONTINUATION frames of one head (ATK-02).
    static let continuations = 8
    /// PING and SETTINGS to be acknowledged that may wait in the queue (ATK-04).
    static let acknowledgements = 100

    /// The default limits.
    public init() {}
}

/// Error codes of RFC 9113 §7 that we send.
enum HTTP2Code {
    static let noError: UInt32 = 0
    static let protocolError: UInt32 = 1
    static let internalError: UInt32 = 2
    static let refusedStream: UInt32 = 7
    static let cancel: UInt32 = 8
    static let enhanceYourCalm: UInt32 = 11
}

/// What a session knows of one stream.
final class HTTP2Stream {
    let token: HTTP2StreamToken
    let id: Int32

    /// The head or trailers being received.
    var request = RequestHead()
    var response = ResponseHead()
    var trailers = HeaderTable()
    var headBytes = 0
    var hasFinalHead = false
    var isRemoteEnded = false
    /// Body bytes handed out and not reported as read.
    var unconsumedBytes = 0

    var queue: [UInt8] = []
    var queueOffset = 0
    var endsAfterQueue = false
    var ownTrailers: HeaderTable?
    var isDeferred = false

    init(_ token: HTTP2StreamToken, id: Int32) {
        self.token = token
        self.id = id
    }

    var queuedBytes: Int { queue.count - queueOffset }
}
