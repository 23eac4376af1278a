public import IO
public import TLS

/// Why an HTTP exchange on the control path failed.
public enum HTTPError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The peer sent something that is no HTTP/1 we accept.
    case malformed(HTTP1Error)
    /// The connection broke, or could not be made.
    case connection(SystemError)
    /// The TLS handshake failed.
    case tls(TLSError)
    /// The peer went away, or we closed the connection.
    case closed
    /// A body exceeds what we take, in bytes.
    case bodyTooLarge(limit: Int)
    /// HTTP/2 failed.
    case http2(HTTP2Error)
    /// A field to send has a forbidden character.
    case field(HTTPFieldError)

    /// What went wrong.
    public var description: String {
        switch self {
        case .malformed(let error): error.description
        case .connection(let error): error.description
        case .tls(let error): error.description
        case .closed: "HTTP: the connection was closed"
        case .bodyTooLarge(let limit): "HTTP: body exceeds \(limit) bytes"
        case .http2(let error): error.description
        case .field(let error): error.description
        }
    }
}
