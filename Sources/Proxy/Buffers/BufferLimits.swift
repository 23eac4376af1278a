/// How much of what passes a connection may wait in the proxy: `per_connection_buffer_limit_bytes` of a listener, or our own bounds.
///
/// All are soft, as Envoy's are: what is read already goes beyond them, one read at most.
struct BufferLimits: Sendable, Hashable {
    /// Bytes that wait in one direction of a connection before the other side is read no further.
    var wire = Limits.bufferBytes
    /// Body that filters keep of one message; beyond it 413 or 500.
    var held = Limits.filterBufferBytes
    /// The same on HTTP/2, where Envoy's bound is the stream's window and not the connection's.
    var heldOfStream = Limits.filterBufferBytes
    /// Request body kept for a retry; beyond it the request only passes through.
    var retry = Limits.retryBufferBytes
    /// The same on HTTP/2.
    var retryOfStream = Limits.retryBufferBytes

    init() {}

    /// - Parameters:
    ///   - configured: What the listener says; nil or 0 is nothing. Envoy takes 0 for no bound at all, which nothing here is without.
    ///   - usesEnvoyDefaults: What nobody says is Envoy's.
    init(listener configured: UInt32?, usesEnvoyDefaults: Bool) {
        if usesEnvoyDefaults {
            retry = Limits.filterBufferBytes
            retryOfStream = Limits.filterBufferBytes
        }
        guard let configured, configured > 0 else { return }
        let bytes = Int(clamping: configured)
        wire = bytes
        held = bytes
        retry = bytes
    }

    /// Bytes that wait for a host before the client is read no further: a cluster's `per_connection_buffer_limit_bytes`.
    static func wire(cluster configured: UInt32?) -> Int {
        guard let configured, configured > 0 else { return Limits.bufferBytes }
        return Int(clamping: configured)
    }

    /// Body that filters may keep of one message of a version.
    func held(_ version: HTTPVersion) -> Int { version == .http2 ? heldOfStream : held }

    /// Request body that may be kept for a retry of a message of a version.
    func retry(_ version: HTTPVersion) -> Int { version == .http2 ? retryOfStream : retry }
}
