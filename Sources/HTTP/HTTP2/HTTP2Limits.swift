/// Bounds on what one HTTP/2 connection may make us hold or do (attacks.md, budgets; names as in Envoy's `Http2ProtocolOptions`).
public struct HTTP2Limits: Sendable, Hashable {
    /// Streams that a peer may have open at once.
    public var concurrentStreams: UInt32 = 100
    /// Bytes in flight towards us on a stream.
    public var streamWindow: UInt32 = 256 * 1024
    /// Bytes in flight towards us on the connection.
    public var connectionWindow: UInt32 = 1024 * 1024
    /// HPACK's dynamic table, each way.
    public var headerTableBytes: UInt32 = 4096
    /// Largest frame taken.
    public var frameBytes: UInt32 = 16_384
    /// Decoded bytes of one head, 32 added for each field (ATK-03).
    public var headBytes = HTTP1Limits.headBytesDefault
    /// Fields of one head, cookie crumbs counted one by one.
    public var fields = HTTP1Limits.fieldsDefault
    /// Bytes queued for one stream that the peer does not read.
    public var queuedBytes = 64 * 1024 * 1024
    /// The largest queue of a stream whose memory the session keeps for the next body.
    public var queueKeptBytes = 16 * 1024

    /// Frames of whatever kind that wait for the peer to read (`max_outbound_frames`).
    public var outboundFrames = 10_000
    /// PING and SETTINGS acknowledgements that wait in the queue (`max_outbound_control_frames`, ATK-04).
    public var outboundControlFrames = 1000
    /// DATA, HEADERS and CONTINUATION without bytes and without an end, one after the other.
    public var emptyFrames = 1
    /// PRIORITY frames for each stream that was opened, and one more.
    public var priorityFrames = 100
    /// WINDOW_UPDATE frames for each DATA frame that we sent.
    public var windowUpdateFrames = 10
    /// Resets of unanswered requests at once (ATK-01).
    public var resetBurst = 200
    /// Resets a second that are always forgiven.
    public var resetRate = 20
    /// PING and SETTINGS at once; each DATA or HEADERS frame allows two more (gRPC measures paths by PING).
    public var controlBurst = 1000
    /// CONTINUATION frames of one head (ATK-02).
    public var continuations = 8

    /// Whether extended CONNECT is offered (server, RFC 8441).
    public var allowsConnect = false
    /// Whether a malformed message ends the whole connection; otherwise only its stream.
    public var malformedMessageEndsConnection = false
    /// What becomes of field names with an underscore (ATK-16).
    public var underscores = Underscores.allow

    /// What becomes of field names with an underscore.
    public enum Underscores: Sendable, Hashable {
        /// They pass.
        case allow
        /// Their message is refused.
        case reject
        /// They are left out.
        case drop
    }

    /// The default limits.
    public init() {}
}
