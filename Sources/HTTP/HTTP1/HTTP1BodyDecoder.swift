/// Finds the end of one message's body (RFC 9112 §6 and §7), without copying it.
struct HTTP1BodyDecoder {
    private enum State {
        case length(Int)
        case chunkSize(Int, digits: Int)
        case chunkExtension(Int)
        case chunkLineFeed(Int)
        case chunkData(Int)
        case chunkEndCR
        case chunkEndLF
        case trailers
        case untilClose
        case tunnel
        case end
    }

    enum Step {
        case needMore
        case body(Range<Int>)
        case end
    }

    private var state = State.end
    private var overhead = 0
    private var trailerScanner = HTTP1HeadScanner.trailers()

    init(_ framing: BodyFraming) {
        state =
            switch framing {
            case .none: .end
            case .length(let count): count == 0 ? .end : .length(count)
            case .chunked: .chunkSize(0, digits: 0)
            case .untilClose: .untilClose
            case .tunnel: .tunnel
            }
    }

    var isComplete: Bool { if case .end = state { true } else { false } }

    /// Whether the peer's close ends the message properly.
    var endsWithInput: Bool {
        switch state {
        case .untilClose, .tunnel, .end: true
        default: false
        }
    }

    mutating func next(
        _ input: RawSpan, _ offset: inout Int, trailers: inout HeaderTable, limits: HTTP1Limits
    ) throws(HTTP1Error) -> Step {
        while true {
            switch state {
            case .end: return .end
            case .untilClose, .tunnel:
                if offset >= input.byteCount { return .needMore }
                defer { offset = input.byteCount }
                return .body(offset..<input.byteCount)
            case .length(let left):
                let count = min(left, input.byteCount &- offset)
                if count <= 0 { return .needMore }
                state = count == left ? .end : .length(left &- count)
                defer { offset &+= count }
                return .body(offset..<(offset &+ count))
            case .chunkData(let left):
                let count = min(left, input.byteCount &- offset)
                if count <= 0 { return .needMore }
                state = count == left ? .chunkEndCR : .chunkData(left &- count)
                defer { offset &+= count }
                return .body(offset..<(offset &+ count))
            case .trailers:
                guard try trailerScanner.scan(input, &offset, into: &trailers, limits: limits) else { return .needMore }
                try HTTP1BodyDecoder.check(trailers)
                state = .end
            case .chunkSize, .chunkExtension, .chunkLineFeed, .chunkEndCR, .chunkEndLF:
                if offset >= input.byteCount { return .needMore }
                let byte = ByteScan.byte(input, offset)
                offset &+= 1
                try take(byte)
            }
        }
    }

    /// One byte of what stands between chunks.
    private mutating func take(_ byte: UInt8) throws(HTTP1Error) {
        switch state {
        case .chunkSize(let size, let digits):
            if let digit = ASCII.hexValue(byte) {
                // 15 digits cannot overflow a signed 64-bit number.
                if digits == 15 { throw .chunk }
                state = .chunkSize(size << 4 | Int(digit), digits: digits + 1)
            } else if digits == 0 {
                throw .chunk
            } else if byte == ASCII.carriageReturn {
                state = .chunkLineFeed(size)
            } else if byte == ASCII.semicolon {
                state = .chunkExtension(size)
            } else {
                throw .chunk
            }
        case .chunkExtension(let size):
            overhead &+= 1
            if overhead > HTTP1Limits.chunkOverheadBytes { throw .chunkOverhead(limit: HTTP1Limits.chunkOverheadBytes) }
            if byte == ASCII.carriageReturn {
                state = .chunkLineFeed(size)
            } else if byte == ASCII.lineFeed {
                throw .lineEnding
            } else if (byte < 0x20 && byte != ASCII.tab) || byte == 0x7F {
                throw .chunk
            }
        case .chunkLineFeed(let size):
            guard byte == ASCII.lineFeed else { throw .chunk }
            state = size == 0 ? .trailers : .chunkData(size)
        case .chunkEndCR:
            guard byte == ASCII.carriageReturn else { throw .chunk }
            state = .chunkEndLF
        case .chunkEndLF:
            guard byte == ASCII.lineFeed else { throw .chunk }
            state = .chunkSize(0, digits: 0)
        case .length, .chunkData, .trailers, .untilClose, .tunnel, .end:
            preconditionFailure("take(_:) is for the bytes between chunks")
        }
    }

    /// Trailers cannot change framing, routing or the connection (RFC 9110 §6.5.1).
    private static func check(_ trailers: borrowing HeaderTable) throws(HTTP1Error) {
        for index in 0..<trailers.count {
            switch trailers.id(at: index) {
            case .transferEncoding, .contentLength, .host, .connection, .upgrade, .te, .trailer, .expect,
                .keepAlive, .proxyConnection, .authorization, .setCookie, .contentEncoding, .contentType, .contentRange:
                throw .trailer
            default: continue
            }
        }
    }
}
