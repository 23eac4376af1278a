/// Writes HTTP/1.1 messages.
///
/// Heads are written anew from their parts, never copied through: framing and connection fields come from the arguments, whatever the table holds.
public enum HTTP1Serializer {
    /// What a message says about its connection.
    public enum Connection: Sendable, Hashable {
        /// Nothing: HTTP/1.1 keeps it open.
        case keepAlive
        /// `Connection: keep-alive`, for an HTTP/1.0 client that asked for it.
        case announcedKeepAlive
        /// `Connection: close`.
        case close
        /// `Connection: upgrade` with the table's `Upgrade` field.
        case upgrade
    }

    /// Appends a request head.
    ///
    /// The framing comes from `head.body`.
    public static func append(
        _ head: borrowing RequestHead, connection: Connection = .keepAlive, to buffer: inout [UInt8]
    ) {
        reserve(head.headers, &buffer)
        buffer.append(span: head.methodName)
        buffer.append(ASCII.space)
        if head.method == .connect { buffer.append(span: head.authority) } else { buffer.append(span: head.path) }
        buffer.append(" HTTP/1.1\r\nhost: ")
        buffer.append(span: head.authority)
        buffer.append("\r\n")
        appendFields(head.headers, connection, to: &buffer)
        switch head.body {
        case .length(let count): appendLength(count, to: &buffer)
        case .chunked: buffer.append("transfer-encoding: chunked\r\n")
        case .none:
            // A method that usually has a body says that this one has none (RFC 9110 §8.6).
            if head.method == .post || head.method == .put || head.method == .patch { appendLength(0, to: &buffer) }
        case .untilClose, .tunnel: break
        }
        buffer.append("\r\n")
    }

    /// Appends a response head.
    ///
    /// The framing comes from `head.body`. In an answer to HEAD, or a 304, the table's own `Content-Length` is kept: it describes the body that GET would have.
    public static func append(
        _ head: borrowing ResponseHead, answering method: HTTPMethod = .get, connection: Connection = .keepAlive,
        to buffer: inout [UInt8]
    ) {
        reserve(head.headers, &buffer)
        buffer.append("HTTP/1.1 ")
        buffer.append(decimal: Int(head.status))
        buffer.append(ASCII.space)
        buffer.append(ResponseHead.reason(head.status))
        buffer.append("\r\n")
        appendFields(head.headers, connection, to: &buffer)
        let isDescription = method == .head || head.status == 304
        if isDescription, let length = head.headers.index(of: .contentLength) {
            buffer.append("content-length: ")
            buffer.append(span: head.headers.value(at: length))
            buffer.append("\r\n")
        } else if head.status >= 200, head.status != 204 {
            switch head.body {
            case .length(let count): appendLength(count, to: &buffer)
            case .chunked: buffer.append("transfer-encoding: chunked\r\n")
            case .none: if !isDescription { appendLength(0, to: &buffer) }
            case .untilClose, .tunnel: break
            }
        }
        buffer.append("\r\n")
    }

    /// Appends the line before a chunk's bytes; `appendChunkEnd` follows them.
    ///
    /// The size must not be zero.
    public static func appendChunkStart(size: Int, to buffer: inout [UInt8]) {
        precondition(size > 0, "a chunk of no bytes would end the body")
        buffer.append(hexadecimal: size)
        buffer.append("\r\n")
    }

    /// Appends the line end after a chunk's bytes.
    public static func appendChunkEnd(to buffer: inout [UInt8]) { buffer.append("\r\n") }

    /// Appends a whole chunk; nothing for no bytes.
    public static func appendChunk(_ bytes: RawSpan, to buffer: inout [UInt8]) {
        if bytes.byteCount == 0 { return }
        appendChunkStart(size: bytes.byteCount, to: &buffer)
        buffer.append(span: bytes)
        appendChunkEnd(to: &buffer)
    }

    /// Appends the end of a chunked body, with trailers if there are any.
    public static func appendLastChunk(trailers: borrowing HeaderTable, to buffer: inout [UInt8]) {
        buffer.append("0\r\n")
        for field in trailers.fields {
            buffer.append(span: trailers.span(field.name))
            buffer.append(": ")
            buffer.append(span: trailers.span(field.value))
            buffer.append("\r\n")
        }
        buffer.append("\r\n")
    }

    /// Appends the end of a chunked body without trailers.
    public static func appendLastChunk(to buffer: inout [UInt8]) { buffer.append("0\r\n\r\n") }

    /// Start line, framing and the separators that the stored bytes do not contain.
    private static func reserve(_ table: borrowing HeaderTable, _ buffer: inout [UInt8]) {
        let needed = buffer.count + table.bytes.count + table.fields.count * 4 + 128
        if buffer.capacity < needed { buffer.reserveCapacity(max(needed, buffer.capacity * 2)) }
    }

    private static func appendLength(_ count: Int, to buffer: inout [UInt8]) {
        buffer.append("content-length: ")
        buffer.append(decimal: count)
        buffer.append("\r\n")
    }

    private static func appendFields(
        _ table: borrowing HeaderTable, _ connection: Connection, to buffer: inout [UInt8]
    ) {
        // Lines that lie one behind the other in the table are copied together.
        var pending = 0..<0
        let bytes = table.bytes.span.bytes
        for field in table.fields {
            switch field.id {
            case .host, .connection, .contentLength, .transferEncoding, .keepAlive, .proxyConnection: continue
            case .upgrade where connection != .upgrade: continue
            default: break
            }
            if field.isLine {
                let line = field.name.range.lowerBound..<(field.value.range.upperBound &+ 2)
                if line.lowerBound == pending.upperBound {
                    pending = pending.lowerBound..<line.upperBound
                } else {
                    buffer.append(span: bytes.extracting(pending))
                    pending = line
                }
                continue
            }
            buffer.append(span: bytes.extracting(pending))
            pending = 0..<0
            buffer.append(span: table.span(field.name))
            buffer.append(": ")
            buffer.append(span: table.span(field.value))
            buffer.append("\r\n")
        }
        buffer.append(span: bytes.extracting(pending))
        switch connection {
        case .keepAlive: break
        case .announcedKeepAlive: buffer.append("connection: keep-alive\r\n")
        case .close: buffer.append("connection: close\r\n")
        case .upgrade: buffer.append("connection: upgrade\r\n")
        }
    }
}
