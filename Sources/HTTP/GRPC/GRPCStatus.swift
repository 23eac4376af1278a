/// How a gRPC call ended.
public struct GRPCStatus: Error, Sendable, Hashable, CustomStringConvertible {
    /// The codes of gRPC's specification.
    public enum Code: Int, Sendable, Hashable {
        /// It succeeded.
        case ok = 0
        /// The caller ended it.
        case cancelled = 1
        /// Nobody knows; also any code outside this list.
        case unknown = 2
        /// The caller's argument is wrong in itself.
        case invalidArgument = 3
        /// It took too long.
        case deadlineExceeded = 4
        /// What was asked for does not exist.
        case notFound = 5
        /// What was to be made exists.
        case alreadyExists = 6
        /// The caller may not.
        case permissionDenied = 7
        /// Something has run out.
        case resourceExhausted = 8
        /// The state does not allow it.
        case failedPrecondition = 9
        /// It was aborted, often by a conflict.
        case aborted = 10
        /// Past the valid range.
        case outOfRange = 11
        /// The server does not know the method.
        case unimplemented = 12
        /// The server is broken.
        case `internal` = 13
        /// The server cannot be reached now.
        case unavailable = 14
        /// Data is lost.
        case dataLoss = 15
        /// Nobody knows who the caller is.
        case unauthenticated = 16
    }

    /// The code.
    public var code: Code
    /// Words for a human.
    public var message: String

    /// A status.
    public init(_ code: Code, _ message: String = "") {
        self.code = code
        self.message = message
    }

    /// Success.
    public static let ok = GRPCStatus(.ok)

    /// `unavailable: connection refused`.
    public var description: String { message.isEmpty ? "\(code)" : "\(code): \(message)" }

    /// The status in trailers (or in the head of an answer without a body).
    ///
    /// Without a `grpc-status` the HTTP status decides, as gRPC's specification maps it.
    public init(trailers: HeaderTable, httpStatus: UInt16) {
        guard let text = trailers[.grpcStatus] else {
            let code: Code =
                switch httpStatus {
                case 400: .internal
                case 401: .unauthenticated
                case 403: .permissionDenied
                case 404: .unimplemented
                case 429, 502, 503, 504: .unavailable
                default: .unknown
                }
            self.init(code, "no grpc-status; HTTP status \(httpStatus)")
            return
        }
        let code = Int(text).flatMap(Code.init) ?? .unknown
        self.init(code, trailers[.grpcMessage].map { PercentEncoding.decoded($0, plusIsSpace: false) } ?? "")
    }

    /// `grpc-status`, and `grpc-message` when there is one.
    func write(to table: inout HeaderTable) {
        table.append(.grpcStatus, number: code.rawValue)
        guard !message.isEmpty else { return }
        // Everything but printable ASCII, and the percent sign, is escaped: no message is refused by the table.
        var encoded: [UInt8] = []
        for byte in message.utf8 {
            if (0x20...0x7E).contains(byte), byte != 0x25 {
                encoded.append(byte)
            } else {
                encoded.append(0x25)
                for digit in [byte >> 4, byte & 15] { encoded.append(digit < 10 ? 0x30 + digit : 0x37 + digit) }
            }
        }
        try? table.append(.grpcMessage, encoded.span.bytes)
    }
}

/// Finds gRPC messages in the bytes of a body: one byte for compression, four for the length, then the message.
public struct GRPCMessageDecoder {
    private var buffer: [UInt8] = []
    private var offset = 0
    let limitBytes: Int

    /// Largest message taken: an xDS snapshot of a large mesh fits; a length made up by a peer does not make us allocate.
    public static let limitBytesDefault = 64 * 1024 * 1024

    /// A decoder that has seen nothing; longer messages than `limitBytes` are refused.
    public init(limitBytes: Int = limitBytesDefault) { self.limitBytes = limitBytes }

    /// Takes bytes of the body.
    public mutating func append(_ bytes: [UInt8]) {
        if offset == buffer.count {
            buffer = bytes
            offset = 0
        } else {
            if offset > buffer.count / 2 {
                buffer.removeFirst(offset)
                offset = 0
            }
            buffer += bytes
        }
    }

    /// Takes bytes of the body.
    public mutating func append(_ bytes: UnsafeRawBufferPointer) { append([UInt8](bytes)) }

    /// Where the first message in these bytes lies; nil when it is not all there.
    ///
    /// For bytes that need no buffer, since nothing was kept before them.
    func whole(_ bytes: UnsafeRawBufferPointer) throws(GRPCStatus) -> Range<Int>? {
        guard bytes.count >= 5 else { return nil }
        guard bytes[0] == 0 else {
            throw GRPCStatus(bytes[0] == 1 ? .unimplemented : .internal, "compressed messages are not taken")
        }
        var length = 0
        for position in 1...4 { length = length << 8 | Int(bytes[position]) }
        guard length <= limitBytes else {
            throw GRPCStatus(.resourceExhausted, "a message of \(length) bytes exceeds \(limitBytes)")
        }
        return bytes.count - 5 >= length ? 5..<(5 + length) : nil
    }

    /// Whether a message has begun and not ended.
    public var isInsideMessage: Bool { offset < buffer.count }

    /// The next whole message; nil until more bytes have come.
    public mutating func next() throws(GRPCStatus) -> [UInt8]? {
        guard buffer.count - offset >= 5 else { return nil }
        guard buffer[offset] == 0 else {
            throw GRPCStatus(buffer[offset] == 1 ? .unimplemented : .internal, "compressed messages are not taken")
        }
        var length = 0
        for position in 1...4 { length = length << 8 | Int(buffer[offset + position]) }
        guard length <= limitBytes else {
            throw GRPCStatus(.resourceExhausted, "a message of \(length) bytes exceeds \(limitBytes)")
        }
        guard buffer.count - offset - 5 >= length else { return nil }
        let start = offset + 5
        offset = start + length
        // What is empty is given back: a long first request must not stay for as long as its stream.
        defer {
            if offset == buffer.count {
                buffer = []
                offset = 0
            }
        }
        return Array(buffer[start..<offset])
    }

    /// A message as it stands in a body.
    public static func frame(_ message: [UInt8]) -> [UInt8] {
        var frame: [UInt8] = []
        frame.reserveCapacity(message.count + headBytes)
        withUnsafeBytes(of: head(message.count)) { frame.append(contentsOf: $0.prefix(headBytes)) }
        return frame + message
    }

    /// Bytes before each message.
    static let headBytes = 5

    /// What stands before a message of so many bytes: the first five bytes in memory.
    static func head(_ count: Int) -> UInt64 {
        // No compression, then the length, the highest byte first; little-endian memory.
        (UInt64(UInt32(clamping: count).byteSwapped) << 8).littleEndian
    }
}
