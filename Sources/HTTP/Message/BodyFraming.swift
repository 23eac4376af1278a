/// How the end of a message's body is known (RFC 9112 §6.3).
public enum BodyFraming: Sendable, Hashable {
    /// There is no body.
    case none
    /// So many bytes.
    case length(Int)
    /// Chunks, the last of size zero, then trailers.
    case chunked
    /// Everything until the peer closes: HTTP/1 responses without a length only.
    case untilClose
    /// No HTTP any more: after CONNECT's 2xx or 101.
    case tunnel
}
