/// The text of a list of many objects, of which equal parts lie in the same memory: their text is made once.
///
/// What is written between the objects is the caller's.
public struct JSONListWriter {
    private var writer = JSONWriter(inside: JSONRepeats())

    /// An empty text.
    public init() {}

    /// How many bytes there are.
    public var count: Int { writer.bytes.count }

    /// Makes room for so many bytes in all.
    public mutating func reserve(_ bytes: Int) { writer.bytes.reserveCapacity(bytes) }

    /// Some text as it is.
    public mutating func text(_ text: StaticString) {
        writer.bytes.append(
            contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// A value.
    public mutating func value(_ value: JSON) { writer.value(value) }

    /// An object as it would be with `object[outer][name] = value`, or `object[name] = value`; what is no object is written as it is.
    public mutating func value(_ object: JSON, setting name: String, of outer: String? = nil, to value: JSON) {
        guard case .object(let members) = object else { return writer.value(object) }
        writer.object(members, setting: name, of: outer, to: value)
    }

    /// The bytes.
    public consuming func finish() -> [UInt8] { writer.bytes }
}

/// The texts of objects and arrays that come again, by where they lie in memory.
///
/// A part is known by its storage, which it keeps alive, so that no other can lie there. The first time it is only noted, the second time its
/// text is kept, from then on it is copied.
struct JSONRepeats {
    /// Parts that are known at most; of two for one place the later is.
    private static let slots = 4096
    /// Bytes of kept texts at most.
    private static let bytesMax = 4 << 20

    private struct Entry {
        var part = JSON.null
        var place: UInt = 0
        /// Where its text is among the kept ones; empty when it came once.
        var range = 0..<0
    }

    enum Outcome {
        /// Its text is there now.
        case written
        /// It was not seen before.
        case first
        /// It was seen before: keep its text.
        case again
    }

    private var entries = [Entry](repeating: Entry(), count: slots)
    private var texts: [UInt8] = []

    /// Where a part lies; nil for what has no storage of its own.
    static func place(of value: JSON) -> UInt? {
        switch value {
        case .object(let members) where !members.isEmpty: address(members)
        case .array(let elements) where !elements.isEmpty: address(elements)
        default: nil
        }
    }

    /// Dictionaries and arrays are one reference to their storage.
    private static func address<Value>(_ value: Value) -> UInt? {
        MemoryLayout<Value>.size == MemoryLayout<UInt>.size ? unsafeBitCast(value, to: UInt.self) : nil
    }

    private static func slot(_ place: UInt) -> Int {
        Int(truncatingIfNeeded: (place >> 4) &* 0x9e37_79b9_7f4a_7c15 >> 40) & (slots - 1)
    }

    /// Writes the part when its text is kept.
    mutating func take(_ place: UInt, _ value: JSON, into bytes: inout [UInt8]) -> Outcome {
        let slot = Self.slot(place)
        guard entries[slot].place == place else {
            entries[slot] = Entry(part: value, place: place)
            return .first
        }
        let range = entries[slot].range
        guard !range.isEmpty else { return .again }
        bytes.append(contentsOf: texts[range])
        return .written
    }

    /// Keeps the text of a part.
    mutating func keep(_ place: UInt, _ value: JSON, _ text: ArraySlice<UInt8>) {
        guard texts.count + text.count <= Self.bytesMax else { return }
        let start = texts.count
        texts.append(contentsOf: text)
        entries[Self.slot(place)] = Entry(part: value, place: place, range: start..<texts.count)
    }
}
