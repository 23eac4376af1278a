internal import HTTP

// What a client gets, and the log, for bytes that are no request: Envoy's texts.
extension HTTP1Error {
    /// The answer's body.
    var replyText: String {
        switch status {
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
        case .target: "http1.invalid_url"
        case .transferEncoding, .lengthAndEncoding: "http1.invalid_transfer_encoding"
        case .contentLength: "http1.content_length_not_allowed"
        case .fieldValue, .fieldName: "http1.invalid_characters"
        case .headTooLarge, .targetTooLong: "http1.headers_too_large"
        case .tooManyFields: "http1.too_many_headers"
        case .trailer: "http1.trailers_too_large"
        default: "http1.codec_error"
        }
    }
}
