/// Who owns an HTTP/2 connection: hears what concerns the connection as a whole.
///
/// All calls come from inside `HTTP2Session.receive` or `produce`. A delegate may submit anything there, but must not call
/// `receive` or `produce` of the same session: it sends when the call has returned.
public protocol HTTP2SessionDelegate: AnyObject {
    /// The peer begins a stream (server); the delegate sets `stream.delegate`, or the stream is refused.
    func streamBegan(_ stream: HTTP2Stream)
    /// A request whose head is malformed or too large was reset; nobody was told of it before (server).
    func streamRefused(_ stream: HTTP2Stream, _ reason: HTTP2Refusal)
    /// The peer takes no new streams and will answer none above `lastStream`.
    func goAway(lastStream: Int32, code: UInt32)
    /// The peer's settings came.
    func settingsReceived()
    /// Our PING was answered.
    func pong()
    /// A head begins to be received: the delegate may give `stream.request` (server) or `stream.response` (client) memory.
    func willReceive(_ stream: HTTP2Stream)
    /// Something to be counted happened.
    func count(_ counter: HTTP2Counter)
}

/// Why a request's head was refused.
public enum HTTP2Refusal: Sendable, Hashable {
    /// A field is malformed, or stands where it must not.
    case field
    /// The fields make no request together.
    case message
    /// There are too many fields, or they are too long.
    case size
}

extension HTTP2SessionDelegate {
    /// Nothing to do.
    public func streamRefused(_ stream: HTTP2Stream, _ reason: HTTP2Refusal) {}
    /// Nothing to do.
    public func goAway(lastStream: Int32, code: UInt32) {}
    /// Nothing to do.
    public func settingsReceived() {}
    /// Nothing to do.
    public func pong() {}
    /// Nothing to give.
    public func willReceive(_ stream: HTTP2Stream) {}
    /// Nothing to count.
    public func count(_ counter: HTTP2Counter) {}
}

/// Who owns a stream.
public protocol HTTP2StreamDelegate: AnyObject {
    /// A head came: in `stream.request` (server) or `stream.response` (client, also interim ones); `isEnd`: nothing follows.
    func head(_ stream: HTTP2Stream, isEnd: Bool)
    /// Bytes of the body came, valid during the call.
    ///
    /// Say `consumed` when somebody has taken them: only then the peer may send more.
    func data(_ stream: HTTP2Stream, _ bytes: UnsafeRawBufferPointer)
    /// The peer has ended its direction; its trailers are in `stream.trailers`.
    ///
    /// Not called after a head with `isEnd`.
    func end(_ stream: HTTP2Stream)
    /// All that was queued is in the output.
    func drained(_ stream: HTTP2Stream)
    /// The stream is gone, and the object no longer the delegate's; 0 when it ended properly.
    func closed(_ stream: HTTP2Stream, code: UInt32)
}

/// Where a session's bytes for the peer go.
public protocol HTTP2Output: AnyObject {
    /// Takes bytes for the peer, in order.
    func append(_ bytes: UnsafeRawBufferPointer)
}
