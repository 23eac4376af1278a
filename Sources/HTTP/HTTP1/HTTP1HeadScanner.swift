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

    private let names = HeaderNames.shared
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
            let before = table.bytes.byteCount
            let room = limits.headBytes - before
            if room <= 0 {
                throw phase == .startLine
                    ? .targetTooLong(limit: limits.headBytes) : .headTooLarge(limit: limits.headBytes)
            }
            let step = min(input.byteCount &- offset, HTTP1HeadScanner.stepBytes, room)
            let memory = table.own(room: step)
            memory.pointee.append(input.extracting(offset..<(offset &+ step)))
            if try scanStored(memory, limits: limits) {
                offset &+= position &- before
                memory.pointee.truncateBytes(to: position)
                return true
            }
            offset &+= step
        }
        return false
    }

    /// Looks at the stored bytes that were not looked at yet; true at the end of the head, `position` behind it.
    private mutating func scanStored(
        _ table: UnsafeMutablePointer<HeaderMemory>, limits: HTTP1Limits
    ) throws(HTTP1Error) -> Bool {
        // The bytes stay where they are while fields are added.
        let memory = UnsafeMutableBufferPointer(start: table.pointee.bytes, count: table.pointee.byteCount)
        var bytes = memory.mutableSpan
        let end = bytes.count
        while position < end {
            switch phase {
            case .startLine:
                if position == lineStart, bytes[position] < ASCII.space, bytes[position] != ASCII.carriageReturn,
                    bytes[position] != ASCII.lineFeed
                {
                    throw .startLine
                }
                guard try findLineEnd(bytes.bytes, end, or: .fieldValue) else { return false }
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
                switch bytes[position] {
                case ASCII.carriageReturn:
                    if position &+ 1 == end { return false }
                    guard bytes[position &+ 1] == ASCII.lineFeed else { throw .lineEnding }
                    position &+= 2
                    return true
                case ASCII.lineFeed: throw .lineEnding
                case ASCII.space, ASCII.tab: throw .folding
                default: phase = .name
                }

            case .name:
                guard try scanName(&bytes, end) else { return false }
                phase = .blank

            case .blank:
                while position < end, ASCII.isBlank(bytes[position]) { position &+= 1 }
                if position < end {
                    valueStart = position
                    phase = .value
                }

            case .value:
                let raw = bytes.bytes
                guard try findLineEnd(raw, end, or: .fieldValue) else { return false }
                let value = ByteScan.trimmed(raw, valueStart..<position)
                if table.pointee.fieldCount >= limits.fields { throw .tooManyFields(limit: limits.fields) }
                let nameEnd = name.range.upperBound
                let isLine =
                    value.lowerBound == nameEnd &+ 2 && value.upperBound == position
                    && ByteScan.byte(raw, nameEnd &+ 1) == ASCII.space
                let field = HeaderTable.Field(
                    name: name, value: HeaderTable.Run(start: UInt32(value.lowerBound), count: UInt32(value.count)),
                    id: names.id(of: raw.extracting(name.range)), isLine: isLine)
                table.pointee.add(field)
                position &+= 2
                lineStart = position
                phase = .fieldStart
            }
        }
        return false
    }

    /// Moves to the CR of the CR LF that ends the line; false when it has not arrived.
    @inline(__always)
    private mutating func findLineEnd(_ bytes: RawSpan, _ end: Int, or error: HTTP1Error) throws(HTTP1Error) -> Bool {
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
    @inline(__always)
    private mutating func scanName(_ bytes: inout MutableSpan<UInt8>, _ end: Int) throws(HTTP1Error) -> Bool {
        while position < end {
            if end &- position >= 8, scanLetters(&bytes) { continue }
            let byte = bytes[position]
            if ASCII.isToken(byte) {
                bytes[position] = ASCII.lowercase(byte)
                position &+= 1
                continue
            }
            guard byte == ASCII.colon, position > lineStart else {
                let isControl =
                    byte < ASCII.space && byte != ASCII.tab && byte != ASCII.carriageReturn && byte != ASCII.lineFeed
                throw isControl ? .fieldValue : .fieldName
            }
            name = HeaderTable.Run(start: UInt32(lineStart), count: UInt32(position &- lineStart))
            position &+= 1
            return true
        }
        return false
    }

    /// Lowers the letters and passes the hyphens at the front of the next eight bytes; whether all eight were such.
    @inline(__always)
    private mutating func scanLetters(_ bytes: inout MutableSpan<UInt8>) -> Bool {
        let word = bytes.bytes.unsafeLoadUnaligned(fromByteOffset: position, as: UInt64.self).littleEndian
        // Sums of seven-bit values stay inside their byte; bytes from 0x80 on are no letters and are masked out.
        let seven = word & ~ByteScan.highs
        let folded = seven | 0x2020_2020_2020_2020
        let letters = (folded &+ 0x1F1F_1F1F_1F1F_1F1F) & ~(folded &+ 0x0505_0505_0505_0505) & ~word & ByteScan.highs
        let hyphens = ~((seven ^ 0x2D2D_2D2D_2D2D_2D2D) &+ 0x7F7F_7F7F_7F7F_7F7F) & ~word & ByteScan.highs
        let others = ~(letters | hyphens) & ByteScan.highs
        // Only the bytes in front of the first other one belong to the name for certain.
        let mask = others == 0 ? UInt64.max : (others & (0 &- others)) &- 1
        let lowered = word | ((letters & mask) >> 2)
        var raw = bytes.mutableBytes
        raw.storeBytes(of: lowered.littleEndian, toByteOffset: position, as: UInt64.self)
        position &+= others == 0 ? 8 : others.trailingZeroBitCount >> 3
        return others == 0
    }
}
