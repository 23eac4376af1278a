internal import HTTP

// What a client gets, and the log, for bytes that are no request: Envoy's texts.
extension HTTP1Error {
    /// The answer's body.
    var replyText: String {
        if self == .host { return "" }
        return switch status {
        case 431: "Request Header Fields Too Large"
        case 501: "Not Implemented"
        case 505: "HTTP Version Not Supported"
        case 414: "URI Too Long"
        default: "Bad Request"
        }
    }

    /// Envoy's `%RESPONSE_CODE_DETAILS%`.
    var details: String {
        switch self {
        case .transferEncoding: "http1.invalid_transfer_encoding"
        case .lengthAndEncoding: "http1.content_length_and_chunked_not_allowed"
        case .fieldValue: "http1.invalid_characters"
        case .headTooLarge, .targetTooLong: "http1.headers_too_large"
        case .tooManyFields: "http1.too_many_headers"
        case .asterisk: "http1.invalid_url"
        case .host: "missing_host_header"
        default: "http1.codec_error"
        }
    }
}
