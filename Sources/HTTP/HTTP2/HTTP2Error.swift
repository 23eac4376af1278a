/// A failure of an HTTP/2 connection or stream.
public struct HTTP2Error: Error, Sendable, Hashable, CustomStringConvertible {
    /// The error code of RFC 9113 §7.
    public var code: UInt32
    /// What went wrong.
    public var detail: String

    /// A failure with its code.
    public init(_ code: UInt32, _ detail: String) {
        self.code = code
        self.detail = detail
    }

    /// `HTTP/2: … (error 11)`.
    public var description: String { "HTTP/2: \(detail) (error \(code))" }
}

/// The error codes of RFC 9113 §7 that somebody here sends or understands.
public enum HTTP2Code {
    /// Not an error.
    public static let noError: UInt32 = 0
    /// The peer broke the protocol.
    public static let protocolError: UInt32 = 1
    /// We failed.
    public static let internalError: UInt32 = 2
    /// A frame came on a stream that has ended.
    public static let streamClosed: UInt32 = 5
    /// The stream was not processed at all: it may be tried again.
    public static let refusedStream: UInt32 = 7
    /// The stream is not needed any more.
    public static let cancel: UInt32 = 8
    /// The connection behind a CONNECT request broke.
    public static let connectError: UInt32 = 10
    /// The peer asks for too much.
    public static let enhanceYourCalm: UInt32 = 11
    /// The request is to be sent by HTTP/1.1.
    public static let http11Required: UInt32 = 13
}
