/// The proxy's own bounds, where a configuration leaves them out.
enum Limits {
    /// The least room a read gets; less would cut a usual head in two.
    static let readMinimumBytes = 2048

    /// From this size on a body piece is written straight from the buffer it was read into.
    ///
    /// Half a block: below it one copy is cheaper than a second system call.
    static let directWriteBytes = 8192

    /// Bytes waiting in one direction of one stream before we stop reading the other side (Envoy's default is 1 MiB;
    /// 64 KiB fills a 10 ms path at 50 Mbit/s and keeps 10,000 slow readers below 640 MiB).
    static let bufferBytes = 65_536

    /// Body that a filter may keep of one message (Envoy: `per_connection_buffer_limit_bytes`, 1 MiB); beyond it 413 or 500.
    static let filterBufferBytes = 1_048_576

    /// Request body kept for a retry (Envoy: the connection's buffer limit).
    static let retryBufferBytes = 65_536

    /// Reads of one connection before the others get their turn.
    static let readsPerTurn = 16

    /// Bytes a client may send ahead while its request is being answered: pipelined requests.
    static let pipelineBytes = 16_384

    /// How long a closed connection still swallows bytes, so that the peer reads our last answer (RFC 9112 §9.6).
    static let lingerDuration: Duration = .seconds(1)

    /// File descriptors below which a proxy under load runs out: 8,000 requests at work.
    static let descriptorsWanted: UInt64 = 16_384

    /// Wait after `accept` failed for want of descriptors.
    static let acceptPause: Duration = .milliseconds(100)

    /// Bounds that one histogram may be given.
    static let histogramBuckets = 256
    /// How long a TLS handshake may take where a filter chain says nothing.
    static let handshakeTimeout: Duration = .seconds(10)

    /// Verified leaves that one TLS context remembers: some 2 KiB each.
    static let verifiedLeaves = 10_000

    /// How often files of certificates and keys are looked at.
    static let fileCheckInterval: Duration = .seconds(1)
}
