internal import TLS

/// What is known of a connection's TLS: for headers, logs, metrics and policies.
///
/// Reads the engine when asked, so that a connection of which nobody asks anything pays nothing. `@unchecked Sendable`: touched on its
/// connection's loop alone, as everything that has a `ConnectionInfo`.
final class TLSFacts: @unchecked Sendable {
    private let engine: TLSEngine
    /// The certificate we presented and its authorities belong to this chain's context.
    let transport: DownstreamTransport?

    init(_ engine: TLSEngine, transport: DownstreamTransport? = nil) {
        self.engine = engine
        self.transport = transport
    }

    /// What the peer's certificate says; nil when it showed none.
    var peer: PeerFacts? { engine.peer }
    /// Whether the peer showed a certificate.
    var isMutual: Bool { engine.peer != nil }
    /// `TLSv1.3`.
    var version: String { engine.version }
    /// `TLS_AES_128_GCM_SHA256`.
    var cipher: String { engine.cipher }
    /// `X25519`.
    var group: String { engine.group }
    /// SNI.
    var serverName: String? { engine.serverName }
    /// ALPN's result.
    var applicationProtocol: String? { engine.applicationProtocol }
    /// In hexadecimal digits.
    var sessionID: String { engine.sessionID }
    /// Whether an earlier session was resumed.
    var isResumed: Bool { engine.isResumed }
}
