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
        withUnsafeTemporaryAllocation(byteCount: sizeBound(head), alignment: 1) { room in
            let count = write(head, connection: connection, into: room)
            buffer.append(contentsOf: UnsafeRawBufferPointer(rebasing: room[..<count]))
        }
    }

    /// Room that a written request head needs at most.
    public static func sizeBound(_ head: borrowing RequestHead) -> Int { sizeBound(head.headers) }

    /// Writes a request head into room of at least `sizeBound`; how many bytes it took.
    ///
    /// The framing comes from `head.body`.
    public static func write(
        _ head: borrowing RequestHead, connection: Connection = .keepAlive, into room: UnsafeMutableRawBufferPointer
    ) -> Int {
        var cursor = HeadCursor(room)
        cursor.put(head.methodName)
        cursor.put(" ")
        if head.method == .connect { cursor.put(head.authority) } else { cursor.put(head.path) }
        cursor.put(" HTTP/1.1\r\nhost: ")
        cursor.put(head.authority)
        cursor.put("\r\n")
        putFields(head.headers, connection, &cursor)
        switch head.body {
        case .length(let count): putLength(count, &cursor)
        case .chunked: cursor.put("transfer-encoding: chunked\r\n")
        case .none:
            // A method that may have a body says that this request has none (RFC 9110 §8.6).
            switch head.method {
            case .get, .head, .delete, .trace, .connect: break
            case .post, .put, .patch, .options, .other: putLength(0, &cursor)
            }
        case .untilClose, .tunnel: break
        }
        cursor.put("\r\n")
        return cursor.count
    }

    /// Appends a response head.
    ///
    /// The framing comes from `head.body`. In an answer to HEAD, or a 304, the table's own `Content-Length` is kept: it describes the body that GET would have.
    public static func append(
        _ head: borrowing ResponseHead, answering method: HTTPMethod = .get, connection: Connection = .keepAlive,
        to buffer: inout [UInt8]
    ) {
        withUnsafeTemporaryAllocation(byteCount: sizeBound(head), alignment: 1) { room in
            let count = write(head, answering: method, connection: connection, into: room)
            buffer.append(contentsOf: UnsafeRawBufferPointer(rebasing: room[..<count]))
        }
    }

    /// Room that a written response head needs at most.
    public static func sizeBound(_ head: borrowing ResponseHead) -> Int {
        sizeBound(head.headers) + (head.spelling?.reason.count ?? 0)
    }

    /// Writes a response head into room of at least `sizeBound`; how many bytes it took (see `append`).
    public static func write(
        _ head: borrowing ResponseHead, answering method: HTTPMethod = .get, connection: Connection = .keepAlive,
        into room: UnsafeMutableRawBufferPointer
    ) -> Int {
        var cursor = HeadCursor(room)
        if head.status == 200, head.spelling == nil {
            cursor.put("HTTP/1.1 200 OK\r\n")
        } else {
            cursor.put("HTTP/1.1 ")
            cursor.put(decimal: Int(head.status))
            cursor.put(" ")
            if let reason = head.spelling?.reason, !reason.isEmpty {
                reason.withUnsafeBytes { cursor.put($0.bytes) }
            } else {
                cursor.put(ResponseHead.reason(head.status))
            }
            cursor.put("\r\n")
        }
        putFields(head.headers, connection, &cursor)
        let isDescription = method == .head || head.status == 304
        if isDescription, let length = head.headers.index(of: .contentLength) {
            cursor.put("content-length: ")
            cursor.put(head.headers.value(at: length))
            cursor.put("\r\n")
        } else if head.status >= 200, head.status != 204 {
            switch head.body {
            case .length(let count): putLength(count, &cursor)
            case .chunked: cursor.put("transfer-encoding: chunked\r\n")
            case .none: if !isDescription { putLength(0, &cursor) }
            case .untilClose, .tunnel: break
            }
        }
        cursor.put("\r\n")
        return cursor.count
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
        for index in 0..<trailers.count {
            let field = trailers.fields[index]
            buffer.append(span: trailers.span(field.name))
            buffer.append(": ")
            buffer.append(span: trailers.span(field.value))
            buffer.append("\r\n")
        }
        buffer.append("\r\n")
    }

    /// Appends the end of a chunked body without trailers.
    public static func appendLastChunk(to buffer: inout [UInt8]) { buffer.append("0\r\n\r\n") }

    /// Writes the field names of a written head the way their sender did, or else with capitals where that is asked for.
    @inline(__always)
    public static func spell(
        _ head: UnsafeMutableRawBufferPointer, as spelling: HTTP1Spelling?, capitalizes: Bool
    ) {
        if let spelling { spelling.apply(to: head) } else if capitalizes { capitalizeNames(head) }
    }

    /// Writes the field names of a written head with capitals: `Content-Type` (Envoy's `proper_case_words`).
    public static func capitalizeNames(_ head: UnsafeMutableRawBufferPointer) {
        eachName(of: head) { capitalize($0) }
    }

    /// Writes a field name with a capital at the front of each word: at its front, and behind whatever is neither letter nor digit.
    static func capitalize(_ name: UnsafeMutableRawBufferPointer) {
        var isWordStart = true
        for index in name.indices {
            let byte = name[index]
            if isWordStart, byte &- 97 < 26 { name[index] = byte &- 32 }
            isWordStart = !((byte | 0x20) &- 97 < 26 || byte &- 0x30 < 10)
        }
    }

    /// Calls with each field name of a written head.
    static func eachName(of head: UnsafeMutableRawBufferPointer, _ body: (UnsafeMutableRawBufferPointer) -> Void) {
        var start: Int?
        for index in head.indices {
            switch head[index] {
            case ASCII.lineFeed: start = index &+ 1
            case ASCII.colon:
                if let first = start { body(UnsafeMutableRawBufferPointer(rebasing: head[first..<index])) }
                start = nil
            default: continue
            }
        }
    }

    /// Every stored byte at most twice (an authority stands in the start line and as `host`), separators, framing.
    private static func sizeBound(_ table: borrowing HeaderTable) -> Int {
        table.bytes.byteCount * 2 + table.fields.count * 4 + 256
    }

    private static func putLength(_ count: Int, _ cursor: inout HeadCursor) {
        cursor.put("content-length: ")
        cursor.put(decimal: count)
        cursor.put("\r\n")
    }

    private static func putFields(
        _ table: borrowing HeaderTable, _ connection: Connection, _ cursor: inout HeadCursor
    ) {
        // Lines that lie one behind the other in the table are copied together.
        var pending = 0..<0
        let bytes = table.bytes
        let fields = table.fields
        for index in 0..<fields.count {
            let field = fields[index]
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
                    cursor.put(bytes.extracting(pending))
                    pending = line
                }
                continue
            }
            cursor.put(bytes.extracting(pending))
            pending = 0..<0
            cursor.put(table.span(field.name))
            cursor.put(": ")
            cursor.put(table.span(field.value))
            cursor.put("\r\n")
        }
        cursor.put(bytes.extracting(pending))
        switch connection {
        case .keepAlive: break
        case .announcedKeepAlive: cursor.put("connection: keep-alive\r\n")
        case .close: cursor.put("connection: close\r\n")
        case .upgrade: cursor.put("connection: upgrade\r\n")
        }
    }
}

/// A position in room that a head is written into.
private struct HeadCursor {
    private let room: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    init(_ room: UnsafeMutableRawBufferPointer) { self.room = room }

    @inline(__always)
    private mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let from = bytes.baseAddress, let to = room.baseAddress, bytes.count > 0 else { return }
        precondition(bytes.count <= room.count &- count, "a head larger than its bound")
        (to + count).copyMemory(from: from, byteCount: bytes.count)
        count &+= bytes.count
    }

    mutating func put(_ span: RawSpan) { span.withUnsafeBytes { put($0) } }

    @inline(__always)
    mutating func put(_ text: StaticString) {
        put(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// A number that is not negative.
    mutating func put(decimal number: Int) {
        var rest = UInt64(clamping: number)
        let end = count &+ ASCII.digitCount(rest)
        precondition(end <= room.count, "a head larger than its bound")
        var position = end
        repeat {
            position &-= 1
            room[position] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while position > count
        count = end
    }
}
