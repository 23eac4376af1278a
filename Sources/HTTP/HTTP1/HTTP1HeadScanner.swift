/// Reads lines of a head (or of trailers) into a header table, however the bytes are cut.
///
/// Bytes are first copied into the table's storage, then looked at once each: a peer that sends one byte at a time costs no more scanning than
/// one that sends all.
struct HTTP1HeadScanner {
    private enum Phase {
        /// The request or status line.
        case startLine
        /// The first byte of a field line, or of the line that ends the head.
        case fieldStart
        case name
        /// The blanks before a value.
        case blank
        case value
    }

    private var phase: Phase
    /// The next byte of the storage to look at.
    private var position = 0
    /// Where the current line starts.
    private var lineStart = 0
    private var name = HeaderTable.Run.empty
    private var valueStart = 0
    /// Empty lines skipped before a start line.
    private var skippedLine = false
    /// The start line, without its end, once it is complete.
    private(set) var startLine = HeaderTable.Run.empty

    /// Bytes copied before they are looked at: a head that is followed by a large body does not drag the body along.
    private static let stepBytes = 2048

    private init(phase: Phase, position: Int) {
        self.phase = phase
        self.position = position
        self.lineStart = position
    }

    static func head() -> HTTP1HeadScanner { HTTP1HeadScanner(phase: .startLine, position: 0) }
    static func trailers() -> HTTP1HeadScanner { HTTP1HeadScanner(phase: .fieldStart, position: 0) }

    /// Whether not one byte has arrived.
    var isUntouched: Bool { position == 0 && !skippedLine }

    /// Takes bytes up to the end of the head; true when it is complete.
    mutating func scan(
        _ input: RawSpan, _ offset: inout Int, into table: inout HeaderTable, limits: HTTP1Limits
    ) throws(HTTP1Error) -> Bool {
        while offset < input.byteCount {
            let before = table.bytes.count
            let room = limits.headBytes - before
            if room <= 0 {
                throw phase == .startLine
                    ? .targetTooLong(limit: limits.headBytes) : .headTooLarge(limit: limits.headBytes)
            }
            let step = min(input.byteCount &- offset, HTTP1HeadScanner.stepBytes, room)
            table.bytes.append(span: input.extracting(offset..<(offset &+ step)))
            if try scanStored(&table, limits: limits) {
                offset &+= position &- before
                table.bytes.removeLast(table.bytes.count &- position)
                return true
            }
            offset &+= step
        }
        return false
    }

    /// Looks at the stored bytes that were not looked at yet; true at the end of the head, `position` behind it.
    private mutating func scanStored(_ table: inout HeaderTable, limits: HTTP1Limits) throws(HTTP1Error) -> Bool {
        let end = table.bytes.count
        while position < end {
            switch phase {
            case .startLine:
                guard try findLineEnd(table, end, or: .startLine) else { return false }
                let count = position &- lineStart
                position &+= 2
                if count == 0 {
                    // One empty line before a request is forgiven (RFC 9112 §2.2).
                    if skippedLine { throw .startLine }
                    skippedLine = true
                    lineStart = position
                    continue
                }
                startLine = HeaderTable.Run(start: UInt32(lineStart), count: UInt32(count))
                lineStart = position
                phase = .fieldStart

            case .fieldStart:
                switch table.bytes[position] {
                case ASCII.carriageReturn:
                    if position &+ 1 == end { return false }
                    guard table.bytes[position &+ 1] == ASCII.lineFeed else { throw .lineEnding }
                    position &+= 2
                    return true
                case ASCII.lineFeed: throw .lineEnding
                case ASCII.space, ASCII.tab: throw .folding
                default: phase = .name
                }

            case .name:
                guard try scanName(&table, end) else { return false }
                phase = .blank

            case .blank:
                while position < end, ASCII.isBlank(table.bytes[position]) { position &+= 1 }
                if position < end {
                    valueStart = position
                    phase = .value
                }

            case .value:
                guard try findLineEnd(table, end, or: .fieldValue) else { return false }
                let value = ByteScan.trimmed(table.bytes.span.bytes, valueStart..<position)
                if table.fields.count >= limits.fields { throw .tooManyFields(limit: limits.fields) }
                table.fields.append(
                    HeaderTable.Field(
                        name: name,
                        value: HeaderTable.Run(start: UInt32(value.lowerBound), count: UInt32(value.count)),
                        id: HeaderID.of(lowercased: table.span(name))))
                position &+= 2
                lineStart = position
                phase = .fieldStart
            }
        }
        return false
    }

    /// Moves to the CR of the CR LF that ends the line; false when it has not arrived.
    private mutating func findLineEnd(
        _ table: HeaderTable, _ end: Int, or error: HTTP1Error
    ) throws(HTTP1Error) -> Bool {
        let bytes = table.bytes.span.bytes
        position = ByteScan.firstControl(in: bytes, from: position, to: end)
        guard position < end else { return false }
        switch ByteScan.byte(bytes, position) {
        case ASCII.carriageReturn:
            if position &+ 1 == end { return false }
            guard ByteScan.byte(bytes, position &+ 1) == ASCII.lineFeed else { throw .lineEnding }
            return true
        case ASCII.lineFeed: throw .lineEnding
        default: throw error
        }
    }

    /// Checks and lowers a field name up to its colon; false when the colon has not arrived.
    private mutating func scanName(_ table: inout HeaderTable, _ end: Int) throws(HTTP1Error) -> Bool {
        var bytes = table.bytes.mutableSpan
        while position < end {
            let byte = bytes[position]
            if ASCII.isToken(byte) {
                bytes[position] = ASCII.lowercase(byte)
                position &+= 1
                continue
            }
            guard byte == ASCII.colon, position > lineStart else { throw .fieldName }
            name = HeaderTable.Run(start: UInt32(lineStart), count: UInt32(position &- lineStart))
            position &+= 1
            return true
        }
        return false
    }
}
