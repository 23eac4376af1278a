/// One netlink request under construction: header, fixed part, attributes; all in the machine's byte order.
///
///     offset 0  length u32   4  type u16   6  flags u16   8  sequence u32   12  port u32   16  fixed part …
package struct NetlinkMessage: Sendable {
    package private(set) var bytes: [UInt8]

    package static let headerLength = 16

    /// A request of that type; NLM_F_* flags.
    package init(type: UInt16, flags: UInt16) {
        bytes = []
        bytes.reserveCapacity(256)
        append(UInt32(0))
        append(type)
        append(flags)
        append(UInt32(0))
        append(UInt32(0))
    }

    /// Adds a fixed-layout part; its size is a multiple of 4 in every message that we send.
    package mutating func append<Value: BitwiseCopyable>(_ value: Value) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    package mutating func attribute(_ type: Int, _ value: [UInt8]) {
        append(UInt16(truncatingIfNeeded: value.count + 4))
        append(UInt16(truncatingIfNeeded: type))
        bytes += value
        pad()
    }

    package mutating func attribute<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Int, _ value: Number) {
        attribute(type, withUnsafeBytes(of: value) { [UInt8]($0) })
    }

    /// A number in the network's byte order, as nf_tables wants them.
    package mutating func attribute<Number: FixedWidthInteger & BitwiseCopyable>(_ type: Int, bigEndian value: Number) {
        attribute(type, value.bigEndian)
    }

    /// An attribute without a value: its being there says it.
    package mutating func flag(_ type: Int) { attribute(type, []) }

    /// A text attribute carries its closing zero byte.
    package mutating func attribute(_ type: Int, _ text: String) { attribute(type, Array(text.utf8) + [0]) }

    package mutating func nested(_ type: Int, _ body: (inout NetlinkMessage) -> Void) {
        let start = bytes.count
        append(UInt16(0))
        append(UInt16(truncatingIfNeeded: type))
        body(&self)
        let length = UInt16(truncatingIfNeeded: bytes.count - start)
        withUnsafeBytes(of: length) { bytes.replaceSubrange(start..<start + 2, with: $0) }
        pad()
    }

    /// The message with its length and sequence number.
    package func finished(sequence: UInt32) -> [UInt8] {
        var result = bytes
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: bytes.count)) { result.replaceSubrange(0..<4, with: $0) }
        withUnsafeBytes(of: sequence) { result.replaceSubrange(8..<12, with: $0) }
        return result
    }

    private mutating func pad() { while bytes.count % 4 != 0 { bytes.append(0) } }
}

/// One message that came back: its fixed part and attributes.
package struct NetlinkReply: Sendable {
    package let type: UInt16
    package let flags: UInt16
    /// Everything after the header.
    package let payload: ArraySlice<UInt8>

    /// One message, without its header.
    package init(type: UInt16, flags: UInt16, payload: ArraySlice<UInt8>) {
        self.type = type
        self.flags = flags
        self.payload = payload
    }

    /// The attributes that begin `offset` bytes after the header.
    package func attributes(after offset: Int) -> [Int: ArraySlice<UInt8>] {
        NetlinkReply.attributes(payload.dropFirst(offset))
    }

    /// The values of a list whose entries all have one type; what is cut short ends it.
    package static func list(_ bytes: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        var result: [ArraySlice<UInt8>] = []
        var rest = bytes
        while rest.count >= 4 {
            let length = Int(rest.number(0, as: UInt16.self))
            guard length >= 4, length <= rest.count else { break }
            result.append(rest.dropFirst(4).prefix(length - 4))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return result
    }

    /// A type-length-value list; what is cut short ends it.
    package static func attributes(_ bytes: ArraySlice<UInt8>) -> [Int: ArraySlice<UInt8>] {
        var result: [Int: ArraySlice<UInt8>] = [:]
        var rest = bytes
        while rest.count >= 4 {
            let length = Int(rest.number(0, as: UInt16.self))
            guard length >= 4, length <= rest.count else { break }
            // The two highest bits say "nested" and "network byte order".
            let type = Int(rest.number(2, as: UInt16.self) & 0x3fff)
            result[type] = rest.dropFirst(4).prefix(length - 4)
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return result
    }
}

extension ArraySlice<UInt8> {
    /// The number at `offset` from the start, in the machine's byte order; 0 when the bytes are not there.
    package func number<Value: FixedWidthInteger>(_ offset: Int, as type: Value.Type) -> Value {
        let part = dropFirst(offset).prefix(MemoryLayout<Value>.size)
        guard part.count == MemoryLayout<Value>.size else { return 0 }
        return part.withUnsafeBytes { $0.loadUnaligned(as: Value.self) }
    }

    /// Text up to a zero byte.
    package var text: String { String(decoding: prefix { $0 != 0 }, as: UTF8.self) }
}
