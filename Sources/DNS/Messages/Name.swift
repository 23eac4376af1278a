/// A domain name: labels of any bytes, compared without regard to the case of ASCII letters.
public struct Name: Hashable, Sendable, CustomStringConvertible {
    /// The longest name, in bytes on the wire (RFC 1035 §3.1).
    public static let bytesMax = 255
    /// The longest label.
    public static let labelMax = 63

    /// The labels with their lengths, without the final empty one, in the letters in which they came.
    let wire: [UInt8]

    /// The root.
    public static let root = Name(wire: [])

    init(wire: [UInt8]) { self.wire = wire }

    /// The name of a text such as `web.default.svc.cluster.local`, with or without the final dot.
    ///
    /// Nil when a label is empty or too long, or the whole is too long. There are no escapes.
    public init?(_ text: some StringProtocol) {
        var bytes = Array(text.utf8)[...]
        if bytes.last == UInt8(ascii: ".") { bytes = bytes.dropLast() }
        var wire: [UInt8] = []
        if !bytes.isEmpty {
            for label in bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
                guard (1...Self.labelMax).contains(label.count) else { return nil }
                wire.append(UInt8(label.count))
                wire += label
            }
        }
        guard wire.count < Self.bytesMax else { return nil }
        self.wire = wire
    }

    /// A name in front of another; nil when it becomes too long.
    public init?(_ labels: some StringProtocol, under parent: Name) {
        guard let front = Name(labels), front.wire.count + parent.wire.count < Self.bytesMax else { return nil }
        wire = front.wire + parent.wire
    }

    /// The labels, front to back.
    public var labels: [ArraySlice<UInt8>] {
        var result: [ArraySlice<UInt8>] = []
        var index = 0
        while index < wire.count {
            let end = index + 1 + Int(wire[index])
            result.append(wire[(index + 1)..<end])
            index = end
        }
        return result
    }

    /// The name without its first label; nil for the root.
    public var parent: Name? {
        guard let first = wire.first else { return nil }
        return Name(wire: Array(wire[(1 + Int(first))...]))
    }

    /// Whether it is that name or below it.
    public func isWithin(_ other: Name) -> Bool {
        guard wire.count >= other.wire.count else { return false }
        var index = 0
        while wire.count - index > other.wire.count { index += 1 + Int(wire[index]) }
        return wire.count - index == other.wire.count && Self.equal(wire[index...], other.wire[...])
    }

    /// How many labels it has.
    public var labelCount: Int {
        var (count, index) = (0, 0)
        while index < wire.count {
            index += 1 + Int(wire[index])
            count += 1
        }
        return count
    }

    /// The last labels of the name, that many of them; the whole name when it has no more.
    public func suffix(_ count: Int) -> Name {
        var (rest, index) = (labelCount, 0)
        while rest > max(count, 0), index < wire.count {
            index += 1 + Int(wire[index])
            rest -= 1
        }
        return index == 0 ? self : Name(wire: Array(wire[min(index, wire.count)...]))
    }

    /// The name with each letter in the case that a bit says: what an answer repeats, and a forger has to guess.
    func mixed(using generator: inout some RandomNumberGenerator) -> Name {
        var bytes = wire
        var bits: UInt64 = 0
        for index in bytes.indices {
            if index % 64 == 0 { bits = generator.next() }
            let lower = bytes[index] | 0x20
            // Lengths of labels are below 64 and so no letters.
            if lower >= 0x61, lower <= 0x7A { bytes[index] = bits & 1 == 0 ? lower : lower & ~0x20 }
            bits >>= 1
        }
        return Name(wire: bytes)
    }

    /// The labels before another name; nil when it is not below it.
    func before(_ other: Name) -> Name? {
        guard wire.count > other.wire.count, !other.wire.isEmpty, isWithin(other) else { return nil }
        return Name(wire: Array(wire.dropLast(other.wire.count)))
    }

    /// The text without final dot; bytes that are no ordinary characters are written as `\DDD`.
    public var description: String {
        if wire.isEmpty { return "." }
        return labels.map { label in
            label.map { byte in
                if byte > 0x20, byte < 0x7F, byte != UInt8(ascii: "."), byte != UInt8(ascii: "\\") {
                    return String(UnicodeScalar(byte))
                }
                return "\\" + "\(1000 + Int(byte))".dropFirst()
            }.joined()
        }.joined(separator: ".")
    }

    /// Names are equal when they differ in the case of letters only.
    public static func == (left: Name, right: Name) -> Bool {
        equal(left.wire[...], right.wire[...])
    }

    /// Equal names have equal hashes.
    public func hash(into hasher: inout Hasher) {
        withUnsafeTemporaryAllocation(byteCount: max(wire.count, 1), alignment: 1) { space in
            for (index, byte) in wire.enumerated() { space[index] = Self.lower(byte) }
            hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: space[..<wire.count]))
        }
    }

    // Lengths are below 64 and so no letters: the whole of the wire form can be compared like this.
    static func equal(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Bool {
        left.count == right.count
            && left.withUnsafeBufferPointer { left in
                right.withUnsafeBufferPointer { right in
                    for index in left.indices where left[index] != right[index] {
                        guard lower(left[index]) == lower(right[index]) else { return false }
                    }
                    return true
                }
            }
    }

    static func lower(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte }
}
