import IO

extension DNSMessage {
    /// The bytes of the message, at most `limit` of them (and never more than 65,535; 128 at least).
    ///
    /// What does not fit is left out: additional records silently, answers and authorities with the truncation bit.
    public func bytes(limit: Int = 65_535) -> [UInt8] {
        let limit = min(max(limit, 128), 65_535)
        var writer = Writer()
        writer.header(self)
        for question in questions { writer.question(question) }
        var counts: [UInt16] = [UInt16(clamping: questions.count), 0, 0, 0]
        var isFull = false
        // Without OPT the sender would not know that we understand EDNS: keep room for it.
        let options = additionals.filter { $0.type == .opt }
        let reserved = options.isEmpty ? 0 : 11
        for (section, records) in [answers, authorities].enumerated() {
            for record in records where !isFull {
                let mark = writer.bytes.count
                writer.record(record)
                if writer.bytes.count + reserved > limit || counts[section + 1] == .max {
                    writer.cut(mark)
                    isFull = true
                } else {
                    counts[section + 1] += 1
                }
            }
        }
        for record in options + additionals.filter({ $0.type != .opt }) {
            let mark = writer.bytes.count
            writer.record(record)
            if writer.bytes.count > limit || (isFull && record.type != .opt) || counts[3] == .max {
                writer.cut(mark)
            } else {
                counts[3] += 1
            }
        }
        if isFull { writer.bytes[2] |= 0x02 }
        for (index, count) in counts.enumerated() {
            writer.bytes[4 + 2 * index] = UInt8(count >> 8)
            writer.bytes[5 + 2 * index] = UInt8(count & 0xFF)
        }
        return writer.bytes
    }
}

extension Record {
    /// The record's bytes from its type on, with every name in it written out.
    var bytesWithoutName: [UInt8] {
        var writer = Writer()
        writer.points = false
        writer.record(Record(name: .root, ttl: ttl, value: value, recordClass: recordClass))
        return Array(writer.bytes.dropFirst())
    }
}

private struct Writer {
    /// Whether names may point to others.
    var points = true
    var bytes: [UInt8] = []
    /// Names that later ones may point to, and where they begin: so few that looking through them is quicker than a table.
    private var names: [(wire: ArraySlice<UInt8>, start: Int)] = []
    private static let namesMax = 64

    mutating func header(_ message: DNSMessage) {
        u16(message.id)
        var flags = UInt16(message.code.rawValue & 0xF) | UInt16(message.opcode & 0xF) << 11
        flags |= UInt16(message.securityBits & 0b11) << 4
        if message.isResponse { flags |= 0x8000 }
        if message.isAuthoritative { flags |= 0x0400 }
        if message.isTruncated { flags |= 0x0200 }
        if message.wantsRecursion { flags |= 0x0100 }
        if message.offersRecursion { flags |= 0x0080 }
        u16(flags)
        bytes += [UInt8](repeating: 0, count: 8)  // The four counts, known at the end.
    }

    mutating func question(_ question: Question) {
        name(question.name)
        u16(question.type.rawValue)
        u16(question.recordClass)
    }

    mutating func record(_ record: Record) {
        name(record.name)
        u16(record.type.rawValue)
        u16(record.recordClass)
        u32(record.ttl)
        let lengthAt = bytes.count
        u16(0)
        value(record.value)
        let length = UInt16(clamping: bytes.count - lengthAt - 2)
        bytes[lengthAt] = UInt8(length >> 8)
        bytes[lengthAt + 1] = UInt8(length & 0xFF)
    }

    /// Takes back everything from that byte on.
    mutating func cut(_ mark: Int) {
        bytes.removeSubrange(mark...)
        names.removeAll { $0.start >= mark }
    }

    private mutating func value(_ value: Record.Value) {
        switch value {
        case .address(let address): bytes += address.bytes
        case .cname(let name), .ptr(let name), .ns(let name): self.name(name)
        case .srv(let priority, let weight, let port, let target):
            u16(priority)
            u16(weight)
            u16(port)
            name(target, mayPoint: false)  // RFC 2782: not compressed.
        case .soa(let server, let mailbox, let serial, let refresh, let retry, let expire, let minimum):
            name(server)
            name(mailbox)
            for number in [serial, refresh, retry, expire, minimum] { u32(number) }
        case .txt(let texts):
            for text in texts {
                bytes.append(UInt8(clamping: text.count))
                bytes += text.prefix(255)
            }
        case .other(_, let raw): bytes += raw.prefix(65_535)
        }
    }

    private mutating func name(_ name: Name, mayPoint: Bool = true) {
        var rest = name.wire[...]
        while let first = rest.first {
            let known = names.first { Name.equal($0.wire, rest) }
            if mayPoint, points, let known {
                u16(0xC000 | UInt16(known.start))
                return
            }
            if known == nil, bytes.count < 0x4000, names.count < Self.namesMax { names.append((rest, bytes.count)) }
            bytes += rest.prefix(1 + Int(first))
            rest = rest.dropFirst(1 + Int(first))
        }
        bytes.append(0)
    }

    private mutating func u16(_ value: UInt16) { bytes += [UInt8(value >> 8), UInt8(value & 0xFF)] }

    private mutating func u32(_ value: UInt32) {
        u16(UInt16(value >> 16))
        u16(UInt16(value & 0xFFFF))
    }
}
