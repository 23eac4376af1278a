import IO

extension DNSMessage {
    /// The message that these bytes are: all of them, strictly.
    public init(parsing bytes: [UInt8]) throws(DNSFormatError) {
        var reader = Reader(bytes: bytes)
        self = try reader.message()
    }

    /// The id in the header of bytes that need not be a whole message; nil when there is no header.
    static func id(of bytes: [UInt8]) -> UInt16? {
        bytes.count >= 12 ? UInt16(bytes[0]) << 8 | UInt16(bytes[1]) : nil
    }

    /// Where the TTLs of the records are, OPT excepted (there it is something else).
    static func ttlOffsets(_ bytes: [UInt8]) throws(DNSFormatError) -> [Int] {
        var reader = Reader(bytes: bytes)
        _ = try reader.message()
        return reader.ttlOffsets
    }
}

/// Reads a message.
///
/// Nothing in the bytes can make it read outside them, loop, or take more memory than they justify.
private struct Reader {
    let bytes: [UInt8]
    var ttlOffsets: [Int] = []
    private var index = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func message() throws(DNSFormatError) -> DNSMessage {
        var message = DNSMessage()
        message.id = try u16()
        let flags = try u16()
        message.isResponse = flags & 0x8000 != 0
        message.opcode = UInt8(flags >> 11 & 0xF)
        message.isAuthoritative = flags & 0x0400 != 0
        message.isTruncated = flags & 0x0200 != 0
        message.wantsRecursion = flags & 0x0100 != 0
        message.offersRecursion = flags & 0x0080 != 0
        message.securityBits = UInt8(flags >> 4 & 0b11)
        message.code = ResponseCode(rawValue: UInt8(flags & 0xF))
        let counts = (try u16(), try u16(), try u16(), try u16())
        for _ in 0..<counts.0 {
            let name = try name()
            message.questions.append(
                Question(name: name, type: RecordType(rawValue: try u16()), recordClass: try u16()))
        }
        message.answers = try records(counts.1)
        message.authorities = try records(counts.2)
        message.additionals = try records(counts.3)
        guard index == bytes.count else { throw failure("something follows the last record") }
        guard message.additionals.count(where: { $0.type == .opt }) <= 1 else { throw failure("two OPT records") }
        return message
    }

    private mutating func records(_ count: UInt16) throws(DNSFormatError) -> [Record] {
        var records: [Record] = []
        for _ in 0..<count { records.append(try record()) }
        return records
    }

    private mutating func record() throws(DNSFormatError) -> Record {
        let name = try name()
        let type = RecordType(rawValue: try u16())
        let recordClass = try u16()
        if type != .opt { ttlOffsets.append(index) }
        let ttl = try u32()
        let length = Int(try u16())
        let end = index + length
        guard end <= bytes.count else { throw failure("a record longer than the message") }
        let value = try value(type, end: end)
        guard index == end else { throw failure("a record that is not as long as it says") }
        return Record(name: name, ttl: ttl, value: value, recordClass: recordClass)
    }

    private mutating func value(_ type: RecordType, end: Int) throws(DNSFormatError) -> Record.Value {
        switch type {
        case .a:
            guard end - index == 4 else { throw failure("an A record of \(end - index) bytes") }
            return .address(.v4(try u32()))
        case .aaaa:
            guard end - index == 16 else { throw failure("an AAAA record of \(end - index) bytes") }
            let high = UInt64(try u32()) << 32 | UInt64(try u32())
            return .address(.v6(high: high, low: UInt64(try u32()) << 32 | UInt64(try u32())))
        case .cname: return .cname(try name())
        case .ptr: return .ptr(try name())
        case .ns: return .ns(try name())
        case .srv: return .srv(priority: try u16(), weight: try u16(), port: try u16(), target: try name())
        case .soa:
            return .soa(
                server: try name(), mailbox: try name(), serial: try u32(), refresh: try u32(), retry: try u32(),
                expire: try u32(), minimum: try u32())
        case .txt:
            var texts: [[UInt8]] = []
            while index < end {
                let length = Int(try u8())
                guard index + length <= end else { throw failure("a text longer than its record") }
                texts.append(Array(bytes[index..<(index + length)]))
                index += length
            }
            return .txt(texts)
        default:
            defer { index = end }
            return .other(type, Array(bytes[index..<end]))
        }
    }

    /// Reads a name.
    ///
    /// A pointer must point before the place where the name, or the part that led there, began: each
    /// jump goes backwards, so there are no loops.
    private mutating func name() throws(DNSFormatError) -> Name {
        var wire: [UInt8] = []
        var position = index
        var start = index
        var hasJumped = false
        var jumps = 0
        while true {
            guard position < bytes.count else { throw failure("the message ends inside a name") }
            let length = Int(bytes[position])
            switch length >> 6 {
            case 0b00:
                position += 1
                if length == 0 {
                    if !hasJumped { index = position }
                    return Name(wire: wire)
                }
                guard position + length <= bytes.count else { throw failure("the message ends inside a name") }
                guard wire.count + 1 + length < Name.bytesMax else { throw failure("a name of more than 255 bytes") }
                wire += bytes[(position - 1)..<(position + length)]
                position += length
            case 0b11:
                guard position + 1 < bytes.count else { throw failure("the message ends inside a name") }
                let target = (length & 0x3F) << 8 | Int(bytes[position + 1])
                guard target < start, target >= 12 else { throw failure("a pointer that does not point back") }
                // A name has at most 127 labels; a longer chain only costs time (a 64 KiB message of chains: a second).
                jumps += 1
                guard jumps < 128 else { throw failure("a name of more than 127 pointers") }
                if !hasJumped { index = position + 2 }
                hasJumped = true
                start = target
                position = target
            default: throw failure("a label of an unknown kind")
            }
        }
    }

    private mutating func u8() throws(DNSFormatError) -> UInt8 {
        guard index < bytes.count else { throw failure("the message ends too early") }
        index += 1
        return bytes[index - 1]
    }

    private mutating func u16() throws(DNSFormatError) -> UInt16 { UInt16(try u8()) << 8 | UInt16(try u8()) }

    private mutating func u32() throws(DNSFormatError) -> UInt32 { UInt32(try u16()) << 16 | UInt32(try u16()) }

    private func failure(_ problem: String) -> DNSFormatError {
        DNSFormatError(description: "\(problem) (at byte \(index))")
    }
}
