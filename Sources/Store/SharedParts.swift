public import Serialization

/// Equal parts of objects in memory once.
///
/// The pods of a Deployment have one specification, and all objects of a client the same `managedFields`: kept apart they are most of
/// what a server's memory holds. A table of a fixed size knows the parts that were seen last; a part that was forgotten meanwhile is kept
/// twice, nothing worse. Values are not changed by this, only where they lie.
public struct SharedParts: Sendable {
    /// How many parts are known at most.
    static let slots = 4096
    /// Parts with more text than this are not looked for: what the table keeps alive is bounded by both.
    static let bytesMax = 2048
    /// Texts up to this length lie in the value itself.
    private static let smallText = 15

    private var known: [(hash: UInt64, part: JSON)] = []

    /// Knows nothing yet.
    public init() {}

    /// What a part is known by.
    private struct Mark {
        var hash: UInt64
        var bytes: Int
    }

    /// The same object, of parts that are shared with others.
    ///
    /// What all objects have for themselves is not looked for: the object and its `metadata` as wholes.
    public mutating func share(_ object: JSON) -> JSON {
        guard case .object(let members) = object else { return object }
        var shared: [String: JSON] = [:]
        shared.reserveCapacity(members.count)
        for (name, member) in members {
            guard name == "metadata", case .object(let fields) = member else {
                shared[name] = part(member).part
                continue
            }
            shared[name] = .object(fields.mapValues { part($0).part })
        }
        return .object(shared)
    }

    private mutating func part(_ value: JSON) -> (part: JSON, mark: Mark) {
        switch value {
        case .null: return (value, Mark(hash: 1, bytes: 4))
        case .bool(let flag): return (value, Mark(hash: flag ? 2 : 3, bytes: 4))
        case .integer(let number):
            return (value, Mark(hash: Self.mixed(UInt64(bitPattern: number), 4), bytes: 8))
        case .number(let number): return (value, Mark(hash: Self.mixed(number.bitPattern, 5), bytes: 8))
        case .string(let text):
            let count = text.utf8.count
            let mark = Mark(hash: Self.hash(text), bytes: count)
            return (count <= Self.smallText ? value : known(value, mark), mark)
        case .array(let elements):
            var mark = Mark(hash: 6, bytes: 2)
            let shared = elements.map { element in
                let (part, inner) = part(element)
                mark.hash = Self.mixed(mark.hash, inner.hash)
                mark.bytes &+= inner.bytes
                return part
            }
            return (elements.isEmpty ? value : known(.array(shared), mark), mark)
        case .object(let members):
            var mark = Mark(hash: 7, bytes: 2)
            var shared = members
            for index in shared.values.indices {
                let member = shared[index]
                let (part, inner) = part(member.value)
                shared.values[index] = part
                // Members have no order: a sum has none either.
                mark.hash &+= Self.mixed(Self.hash(member.key), inner.hash)
                mark.bytes &+= inner.bytes &+ member.key.utf8.count
            }
            return (members.isEmpty ? value : known(.object(shared), mark), mark)
        }
    }

    /// The known part that is equal, or this one, which is known from now on.
    private mutating func known(_ part: JSON, _ mark: Mark) -> JSON {
        guard mark.bytes <= Self.bytesMax else { return part }
        if known.isEmpty { known = Array(repeating: (0, .null), count: Self.slots) }
        let slot = Int(truncatingIfNeeded: mark.hash >> 32) & (Self.slots - 1)
        // Inner parts that are shared make this comparison short.
        if known[slot].hash == mark.hash, known[slot].part == part { return known[slot].part }
        known[slot] = (mark.hash, part)
        return part
    }

    private static func mixed(_ first: UInt64, _ second: UInt64) -> UInt64 {
        let product = (first ^ 0x9e37_79b9_7f4a_7c15).multipliedFullWidth(by: second ^ 0xd6e8_feb8_6659_fd93)
        return product.high ^ product.low
    }

    /// Not for keys of tables that others fill: a collision costs a part that is kept twice.
    private static func hash(_ text: String) -> UInt64 {
        var text = text
        return text.withUTF8 { bytes in
            var hash: UInt64 = 0x517c_c1b7_2722_0a95 &+ UInt64(bytes.count)
            var index = 0
            let raw = UnsafeRawBufferPointer(bytes)
            while index &+ 8 <= raw.count {
                hash = mixed(hash, raw.loadUnaligned(fromByteOffset: index, as: UInt64.self))
                index &+= 8
            }
            var rest: UInt64 = 0
            while index < raw.count {
                rest = rest << 8 | UInt64(raw[index])
                index &+= 1
            }
            return mixed(hash, rest)
        }
    }
}
