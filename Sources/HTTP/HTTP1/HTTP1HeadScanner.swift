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
    /// Where the colon of the current line stands.
    private var nameEnd = 0
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
        // The bytes stay where they are while fields are added. Plain memory: each position below is compared with `end` before its byte
        // is read.
        let bytes = table.pointee.bytes
        let end = table.pointee.byteCount
        // Kept in registers for the length of the call.
        var (position, phase, lineStart, nameEnd, valueStart) = (
            self.position, self.phase, self.lineStart, self.nameEnd, self.valueStart
        )
        defer {
            (self.position, self.phase, self.lineStart, self.nameEnd, self.valueStart) = (
                position, phase, lineStart, nameEnd, valueStart
            )
        }
        while position < end {
            switch phase {
            case .startLine:
                if position == lineStart, bytes[position] < ASCII.space, bytes[position] != ASCII.carriageReturn,
                    bytes[position] != ASCII.lineFeed
                {
                    throw .startLine
                }
                guard try HTTP1HeadScanner.findLineEnd(bytes, &position, end) else { return false }
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
                let byte = bytes[position]
                if byte == ASCII.carriageReturn {
                    if position &+ 1 == end { return false }
                    guard bytes[position &+ 1] == ASCII.lineFeed else { throw .lineEnding }
                    position &+= 2
                    return true
                }
                if byte == ASCII.lineFeed { throw .lineEnding }
                if ASCII.isBlank(byte) { throw .folding }
                phase = .name
                fallthrough

            case .name:
                guard try HTTP1HeadScanner.scanName(bytes, &position, end, from: lineStart) else { return false }
                nameEnd = position
                position &+= 1
                phase = .blank
                fallthrough

            case .blank:
                while position < end, ASCII.isBlank(bytes[position]) { position &+= 1 }
                if position == end { return false }
                valueStart = position
                phase = .value
                fallthrough

            case .value:
                guard try HTTP1HeadScanner.findLineEnd(bytes, &position, end) else { return false }
                var valueEnd = position
                while valueEnd > valueStart, ASCII.isBlank(bytes[valueEnd &- 1]) { valueEnd &-= 1 }
                if table.pointee.fieldCount >= limits.fields { throw .tooManyFields(limit: limits.fields) }
                let nameCount = nameEnd &- lineStart
                let isLine = valueEnd == position && valueStart == nameEnd &+ 2 && bytes[nameEnd &+ 1] == ASCII.space
                let name = UnsafeRawBufferPointer(start: bytes + lineStart, count: nameCount)
                table.pointee.add(
                    HeaderTable.Field(
                        name: HeaderTable.Run(start: UInt32(lineStart), count: UInt32(nameCount)),
                        value: HeaderTable.Run(start: UInt32(valueStart), count: UInt32(valueEnd &- valueStart)),
                        id: names.id(of: name.bytes), isLine: isLine))
                position &+= 2
                lineStart = position
                phase = .fieldStart
            }
        }
        return false
    }

    /// Moves to the CR of the CR LF that ends the line; false when it has not arrived.
    @inline(__always)
    private static func findLineEnd(
        _ bytes: UnsafePointer<UInt8>, _ position: inout Int, _ end: Int
    ) throws(HTTP1Error) -> Bool {
        position = ByteScan.firstControl(in: bytes, from: position, to: end)
        guard position < end else { return false }
        switch bytes[position] {
        case ASCII.carriageReturn:
            if position &+ 1 == end { return false }
            guard bytes[position &+ 1] == ASCII.lineFeed else { throw .lineEnding }
            return true
        case ASCII.lineFeed: throw .lineEnding
        default: throw .fieldValue
        }
    }

    /// Checks and lowers a field name up to its colon; false when the colon has not arrived.
    @inline(__always)
    private static func scanName(
        _ bytes: UnsafeMutablePointer<UInt8>, _ position: inout Int, _ end: Int, from lineStart: Int
    ) throws(HTTP1Error) -> Bool {
        while position < end {
            if end &- position >= 8, scanLetters(bytes + position, &position) { continue }
            // There is a byte: `scanLetters` answers false in front of one that it does not know.
            let byte = bytes[position]
            if byte == ASCII.colon, position > lineStart { return true }
            guard ASCII.isToken(byte) else {
                let isControl =
                    byte < ASCII.space && byte != ASCII.tab && byte != ASCII.carriageReturn && byte != ASCII.lineFeed
                throw isControl ? .fieldValue : .fieldName
            }
            bytes[position] = ASCII.lowercase(byte)
            position &+= 1
        }
        return false
    }

    /// Lowers the letters and passes the hyphens at the front of the eight bytes that are there; whether all eight were such.
    @inline(__always)
    private static func scanLetters(_ bytes: UnsafeMutablePointer<UInt8>, _ position: inout Int) -> Bool {
        let memory = UnsafeMutableRawPointer(bytes)
        let word = memory.loadUnaligned(as: UInt64.self).littleEndian
        // Sums of seven-bit values stay inside their byte; bytes from 0x80 on are no letters and are masked out.
        let seven = word & ~ByteScan.highs
        let folded = seven | 0x2020_2020_2020_2020
        let letters = (folded &+ 0x1F1F_1F1F_1F1F_1F1F) & ~(folded &+ 0x0505_0505_0505_0505) & ~word & ByteScan.highs
        let hyphens = ~((seven ^ 0x2D2D_2D2D_2D2D_2D2D) &+ 0x7F7F_7F7F_7F7F_7F7F) & ~word & ByteScan.highs
        let others = ~(letters | hyphens) & ByteScan.highs
        // Only the bytes in front of the first other one belong to the name for certain.
        let mask = others == 0 ? UInt64.max : (others & (0 &- others)) &- 1
        let lowered = word | ((letters & mask) >> 2)
        // Not written where nothing changes: who reads the name next would wait for the write.
        if lowered != word { memory.storeBytes(of: lowered.littleEndian, as: UInt64.self) }
        position &+= others == 0 ? 8 : others.trailingZeroBitCount >> 3
        return others == 0
    }
}
