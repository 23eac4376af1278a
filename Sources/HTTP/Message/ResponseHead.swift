/// What a response says before its body: status and header fields.
public struct ResponseHead: Sendable {
    /// The header fields.
    public var headers = HeaderTable()
    /// The status code, 100 to 999.
    public var status: UInt16 = 200
    /// The minor version of HTTP/1 (0 or 1).
    public internal(set) var minorVersion: UInt8 = 1
    /// How the body ends.
    public var body = BodyFraming.none
    /// Whether the server will take another request on the connection.
    public internal(set) var isKeepAlive = true

    /// How the peer wrote it, where somebody wants that (`HTTP1Spelling.Rule`).
    public internal(set) var spelling: HTTP1Spelling?

    /// An empty 200, to be filled.
    public init() {}

    /// A response with a status and no fields.
    public init(status: UInt16) { self.status = status }

    /// Whether another response to the same request follows: 1xx except 101.
    public var isInterim: Bool { status < 200 && status != 101 }

    /// Forgets everything and keeps the memory.
    public mutating func removeAll() {
        headers.removeAll()
        status = 200
        minorVersion = 1
        body = .none
        isKeepAlive = true
        spelling = nil
    }

    /// The usual reason phrase of a status code; `Unknown` when there is none.
    public static func reason(_ status: UInt16) -> StaticString {
        switch status {
        case 100: "Continue"
        case 101: "Switching Protocols"
        case 103: "Early Hints"
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 203: "Non-Authoritative Information"
        case 204: "No Content"
        case 205: "Reset Content"
        case 206: "Partial Content"
        case 207: "Multi-Status"
        case 208: "Already Reported"
        case 226: "IM Used"
        case 300: "Multiple Choices"
        case 301: "Moved Permanently"
        case 302: "Found"
        case 303: "See Other"
        case 304: "Not Modified"
        case 305: "Use Proxy"
        case 307: "Temporary Redirect"
        case 308: "Permanent Redirect"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 402: "Payment Required"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 406: "Not Acceptable"
        case 407: "Proxy Authentication Required"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 410: "Gone"
        case 411: "Length Required"
        case 412: "Precondition Failed"
        case 413: "Payload Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 416: "Range Not Satisfiable"
        case 417: "Expectation Failed"
        case 421: "Misdirected Request"
        case 422: "Unprocessable Entity"
        case 423: "Locked"
        case 424: "Failed Dependency"
        case 425: "Too Early"
        case 426: "Upgrade Required"
        case 428: "Precondition Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        case 506: "Variant Also Negotiates"
        case 507: "Insufficient Storage"
        case 508: "Loop Detected"
        case 510: "Not Extended"
        case 511: "Network Authentication Required"
        // Envoy's words, where somebody maps failures to it.
        case 599: "Last Unassigned Server Error Code"
        default: "Unknown"
        }
    }
}
