public import EnvoyAPI

/// HTTP/2 settings of one side of the proxy: of a connection manager, or of a cluster (`Http2ProtocolOptions`).
///
/// What the message leaves out has the hardened value (attacks.md, budgets).
public struct HTTP2Options: Sendable, Hashable {
    /// Bytes of HPACK's dynamic table; nil is 4096.
    public var hpackTableBytes: UInt32?
    /// Streams at once on one connection; nil leaves it to the codec.
    public var concurrentStreamsMax: UInt32?
    /// Initial window of a stream.
    public var streamWindowBytes: UInt32 = 256 << 10
    /// Window of a connection.
    public var connectionWindowBytes: UInt32 = 1 << 20
    /// Extended CONNECT is offered.
    public var allowsConnect = false
    /// Frames that may wait for a peer that does not read.
    public var outboundFramesMax: UInt32 = 10_000
    /// Acknowledgements and pings that may wait.
    public var outboundControlFramesMax: UInt32 = 1000
    /// Frames without bytes one after the other.
    public var emptyFramesMax: UInt32 = 1
    /// PRIORITY frames per stream.
    public var priorityFramesPerStream: UInt32 = 100
    /// WINDOW_UPDATE frames per DATA frame that we sent.
    public var windowUpdatesPerData: UInt32 = 10
    /// Whether a malformed message ends its stream only; nil leaves it to the connection manager.
    public var endsStreamOnInvalidMessage: Bool?
    /// Time between PINGs; nil sends none.
    public var pingInterval: Duration?
    /// How long an answer to a PING may take.
    public var pingTimeout: Duration?
    /// Share of the interval that is added at random, in percent.
    public var pingJitterPercent: Double = 15

    /// The defaults.
    public init() {}

    /// Takes what a message says.
    public init(compiling message: Http2ProtocolOptions, at path: String) throws(ConfigurationError) {
        try self.init(message, FieldPath(path))
    }

    init(_ message: Http2ProtocolOptions, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles:
                "hpack_table_size max_concurrent_streams initial_stream_window_size initial_connection_window_size allow_connect max_outbound_frames max_outbound_control_frames max_consecutive_inbound_frames_with_empty_payload max_inbound_priority_frames_per_stream max_inbound_window_update_frames_per_data_frame_sent stream_error_on_invalid_http_messaging override_stream_error_on_invalid_http_message connection_keepalive"
        )
        hpackTableBytes = message.hpackTableSize
        if let streams = message.maxConcurrentStreams {
            guard streams > 0 else { throw (path / "max_concurrent_streams").error("must be above 0") }
            concurrentStreamsMax = streams
        }
        func window(_ value: UInt32, _ field: String) throws(ConfigurationError) -> UInt32 {
            guard (65_535...2_147_483_647).contains(value) else {
                throw (path / field).error("\(value) is not in 65535...2147483647")
            }
            return value
        }
        if let bytes = message.initialStreamWindowSize {
            streamWindowBytes = try window(bytes, "initial_stream_window_size")
        }
        if let bytes = message.initialConnectionWindowSize {
            connectionWindowBytes = try window(bytes, "initial_connection_window_size")
        }
        func positive(_ value: UInt32?, _ field: String) throws(ConfigurationError) -> UInt32? {
            if value == 0 { throw (path / field).error("must be above 0") }
            return value
        }
        allowsConnect = message.allowConnect
        if let most = try positive(message.maxOutboundFrames, "max_outbound_frames") { outboundFramesMax = most }
        if let most = try positive(message.maxOutboundControlFrames, "max_outbound_control_frames") {
            outboundControlFramesMax = most
        }
        if let most = message.maxConsecutiveInboundFramesWithEmptyPayload { emptyFramesMax = most }
        if let most = message.maxInboundPriorityFramesPerStream { priorityFramesPerStream = most }
        if let most = try positive(
            message.maxInboundWindowUpdateFramesPerDataFrameSent,
            "max_inbound_window_update_frames_per_data_frame_sent")
        {
            windowUpdatesPerData = most
        }
        if message.streamErrorOnInvalidHttpMessaging { endsStreamOnInvalidMessage = true }
        if let override = message.overrideStreamErrorOnInvalidHttpMessage { endsStreamOnInvalidMessage = override }
        if let settings = message.connectionKeepalive { try takeKeepAlive(settings, path / "connection_keepalive") }
    }

    private mutating func takeKeepAlive(
        _ settings: KeepaliveSettings, _ path: FieldPath
    ) throws(ConfigurationError) {
        try FieldCheck.check(settings, path, handles: "interval timeout interval_jitter")
        if let interval = settings.interval {
            pingInterval = try .checkedLimit(interval, default: nil, path / "interval")
        }
        if let jitter = settings.intervalJitter {
            guard (0...100).contains(jitter.value) else {
                throw (path / "interval_jitter").error("\(jitter.value) is not in 0...100")
            }
            pingJitterPercent = jitter.value
        }
        guard let timeout = settings.timeout, timeout > .zero else {
            throw (path / "timeout").error("must be there and above 0")
        }
        pingTimeout = timeout
    }
}
