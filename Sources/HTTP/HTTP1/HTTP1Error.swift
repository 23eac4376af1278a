/// Bytes from a peer that are no HTTP/1 message we accept.
///
/// The connection cannot go on.
public enum HTTP1Error: Error, Sendable, Hashable, CustomStringConvertible {
    /// The request or status line is malformed.
    case startLine
    /// The major version is not 1.
    case version
    /// A line ends with LF alone, or CR stands without LF (P-2).
    case lineEnding
    /// A header line starts with a blank: folding, forbidden since RFC 7230 (P-2).
    case folding
    /// A field name is empty, no token, or followed by a blank before the colon (P-2).
    case fieldName
    /// A field or the request line has NUL or another control byte.
    case fieldValue
    /// The request target has a forbidden byte or form.
    case target
    /// The request target is `*`, which is for OPTIONS.
    case asterisk
    /// `Host` is missing, repeated, or differs from the target's authority.
    case host
    /// `Content-Length` is no number, or two of them differ (P-2).
    case contentLength
    /// Both `Content-Length` and `Transfer-Encoding` (P-2).
    case lengthAndEncoding
    /// `Transfer-Encoding` is anything but one `chunked`, or stands where it must not.
    case transferEncoding
    /// A chunk's size line or end is malformed.
    case chunk
    /// A trailer field that may not be a trailer.
    case trailer
    /// The request line alone exceeds the head's limit in bytes.
    case targetTooLong(limit: Int)
    /// The head, or the trailers, exceed the limit in bytes.
    case headTooLarge(limit: Int)
    /// There are more fields than the limit.
    case tooManyFields(limit: Int)
    /// Chunk extensions and the like exceed the limit in bytes for one body.
    case chunkOverhead(limit: Int)
    /// More 1xx responses to one request than the limit.
    case tooManyInterimResponses(limit: Int)
    /// A response came that no request asked for.
    case unsolicited
    /// The peer closed in the middle of a message.
    case truncated

    /// The status that answers a request like this.
    public var status: UInt16 {
        switch self {
        case .version: 505
        case .transferEncoding: 501
        case .targetTooLong: 414
        case .headTooLarge, .tooManyFields: 431
        default: 400
        }
    }

    /// What is wrong.
    public var description: String {
        switch self {
        case .startLine: "HTTP/1: malformed request or status line"
        case .version: "HTTP/1: version is not HTTP/1.0 or HTTP/1.1"
        case .lineEnding: "HTTP/1: line does not end with CR LF"
        case .folding: "HTTP/1: header line starts with a blank (obsolete folding)"
        case .fieldName: "HTTP/1: malformed header field name, or a blank before the colon"
        case .fieldValue: "HTTP/1: control character in the request line or a header field"
        case .target: "HTTP/1: malformed request target"
        case .asterisk: "HTTP/1: the target * is for OPTIONS"
        case .host: "HTTP/1: Host is missing, repeated, or differs from the request target"
        case .contentLength: "HTTP/1: Content-Length is not one number"
        case .lengthAndEncoding: "HTTP/1: both Content-Length and Transfer-Encoding"
        case .transferEncoding: "HTTP/1: Transfer-Encoding is not just \"chunked\", or is not allowed here"
        case .chunk: "HTTP/1: malformed chunk"
        case .trailer: "HTTP/1: a field that must not stand in trailers"
        case .targetTooLong(let limit): "HTTP/1: request line longer than \(limit) bytes"
        case .headTooLarge(let limit): "HTTP/1: header fields exceed \(limit) bytes"
        case .tooManyFields(let limit): "HTTP/1: more than \(limit) header fields"
        case .chunkOverhead(let limit): "HTTP/1: chunk extensions exceed \(limit) bytes"
        case .tooManyInterimResponses(let limit): "HTTP/1: more than \(limit) interim responses"
        case .unsolicited: "HTTP/1: response without a request"
        case .truncated: "HTTP/1: connection closed in the middle of a message"
        }
    }
}

/// Bounds on what one message may make us hold.
public struct HTTP1Limits: Sendable, Hashable {
    /// Bytes of a head or of trailers: start line, names, values and separators.
    ///
    /// Envoy's `max_request_headers_kb`.
    public static let headBytesDefault = 60 * 1024
    /// Fields in a head or in trailers.
    ///
    /// Envoy's `max_headers_count`.
    public static let fieldsDefault = 100
    /// Bytes of chunk extensions in one body; nobody legitimate sends any.
    public static let chunkOverheadBytes = 16 * 1024
    /// 1xx responses to one request (ATK-47).
    public static let interimResponses = 10

    /// Bytes of a head or of trailers.
    public var headBytes = headBytesDefault
    /// Fields in a head or in trailers.
    public var fields = fieldsDefault

    /// The default limits.
    public init() {}
}

/// What a parser found at the front of its input.
public enum HTTP1Event: Sendable, Hashable {
    /// Nothing more in this input; call again with the next bytes.
    case needMore
    /// The head is complete: read it in the parser.
    case head
    /// Body bytes: this range of the input.
    case body(Range<Int>)
    /// The message is complete; trailers, if there were any, are in the parser.
    case end
}
