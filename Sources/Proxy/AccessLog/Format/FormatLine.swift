internal import HTTP
internal import IO

/// Bytes while a format is rendered: a line of a log, a header's value, a body.
///
/// An array asks at each byte whether somebody else holds it too. This is memory of one owner, so that a value is written where it will lie.
/// Not for sharing: one thread. It holds what is appended, however much that is: whoever appends keeps to `Limits.formatValueBytes`.
struct FormatLine: ~Copyable {
    /// Bytes that may be written behind the last one that counts: words are stored and looked at whole.
    static let slack = 24

    private var memory: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    /// How many bytes there are.
    private(set) var count = 0
    /// The second that was written last, for `append(iso:_:)`.
    private var second = Int64.min
    private var secondText = InlineArray<24, UInt8>(repeating: 0)

    /// An empty line with room for so many bytes.
    init(capacity: Int = 512) {
        self.capacity = max(capacity, 0)
        memory = .allocate(capacity: self.capacity + Self.slack)
    }

    deinit { memory.deallocate() }

    var isEmpty: Bool { count == 0 }

    /// A copy of what there is.
    var bytes: [UInt8] { [UInt8](UnsafeBufferPointer(start: memory, count: count)) }

    /// What there is, as text; what is no UTF-8 is replaced.
    var text: String { String(decoding: UnsafeBufferPointer(start: memory, count: count), as: UTF8.self) }

    /// Calls the body with what there is.
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        body(UnsafeRawBufferPointer(start: memory, count: count))
    }

    subscript(index: Int) -> UInt8 {
        get {
            precondition(index >= 0 && index < count)
            return memory[index]
        }
        set {
            precondition(index >= 0 && index < count)
            memory[index] = newValue
        }
    }

    /// The position of the first such byte at or after a position.
    func firstIndex(of byte: UInt8, from start: Int) -> Int? {
        var index = max(start, 0)
        while index < count {
            if memory[index] == byte { return index }
            index &+= 1
        }
        return nil
    }

    // MARK: Taking away

    /// Keeps the first bytes, at most so many.
    mutating func cut(to length: Int) { count = max(0, min(length, count)) }

    /// Takes bytes out of the middle; what follows them moves.
    mutating func remove(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        (memory + range.lowerBound).update(from: memory + range.upperBound, count: count - range.upperBound)
        count -= range.count
    }

    // MARK: Appending

    /// Sees to it that so many bytes more find room.
    @inline(__always)
    mutating func reserve(_ more: Int) {
        if capacity &- count < more { grow(more) }
    }

    @inline(never)
    private mutating func grow(_ more: Int) {
        let larger = max(capacity * 2, count + more)
        let fresh = UnsafeMutablePointer<UInt8>.allocate(capacity: larger + Self.slack)
        fresh.update(from: memory, count: count)
        memory.deallocate()
        (memory, capacity) = (fresh, larger)
    }

    @inline(__always)
    mutating func append(_ byte: UInt8) {
        reserve(1)
        memory[count] = byte
        count &+= 1
    }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return }
        reserve(bytes.count)
        UnsafeMutableRawPointer(memory + count).copyMemory(from: base, byteCount: bytes.count)
        count &+= bytes.count
    }

    /// Appends bytes where they lie.
    @inline(__always)
    mutating func append(span: RawSpan) { span.withUnsafeBytes { append($0) } }

    mutating func append(_ bytes: [UInt8]) { bytes.withUnsafeBytes { append($0) } }

    mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// Appends the first bytes of a text in the program.
    mutating func append(_ text: StaticString, prefix: Int = .max) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: min(prefix, text.utf8CodeUnitCount)))
    }

    /// Appends some of many bytes; short ones in two words, for which sixteen bytes from the first on must be there.
    @inline(__always)
    mutating func append(padded bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        guard range.count <= 16, bytes.count &- range.lowerBound >= 16 else {
            return append(UnsafeRawBufferPointer(rebasing: bytes[range]))
        }
        reserve(range.count)
        let place = UnsafeMutableRawPointer(memory + count)
        let first = bytes.loadUnaligned(fromByteOffset: range.lowerBound, as: UInt64.self)
        let second = bytes.loadUnaligned(fromByteOffset: range.lowerBound &+ 8, as: UInt64.self)
        place.storeBytes(of: first, as: UInt64.self)
        place.storeBytes(of: second, toByteOffset: 8, as: UInt64.self)
        count &+= range.count
    }

    /// Appends a decimal number with leading zeros up to a width of 20; one below zero counts as zero.
    mutating func append(padded number: Int, _ width: Int) {
        var value = UInt64(max(number, 0))
        if width <= 1, value < 1000 {
            // What nearly all numbers of a log are.
            let small = UInt32(truncatingIfNeeded: value)
            if small >= 100 { append(0x30 &+ UInt8(truncatingIfNeeded: small / 100)) }
            if small >= 10 { append(0x30 &+ UInt8(truncatingIfNeeded: small / 10 % 10)) }
            return append(0x30 &+ UInt8(truncatingIfNeeded: small % 10))
        }
        var digits = 1
        var rest = value / 10
        while rest > 0 {
            digits &+= 1
            rest /= 10
        }
        let length = max(digits, min(width, 20))
        reserve(length)
        var index = count &+ length
        count = index
        for _ in 0..<length {
            index &-= 1
            memory[index] = 0x30 &+ UInt8(truncatingIfNeeded: value % 10)
            value /= 10
        }
    }

    /// Appends sixteen hexadecimal digits.
    mutating func append(hex word: UInt64) {
        for digit in 0..<16 { append(hexDigit: UInt8(truncatingIfNeeded: word >> UInt64(60 - 4 * digit)) & 15) }
    }

    private mutating func append(hexDigit value: UInt8) { append(value < 10 ? 48 + value : 87 + value) }

    /// Appends a UUID (version 4) made of random words.
    mutating func append(uuid first: UInt64, _ second: UInt64) {
        let high = (first & ~0xF000) | 0x4000
        let low = (second & ~(0b11 << 62)) | (0b10 << 62)
        for digit in 0..<32 {
            if digit == 8 || digit == 12 || digit == 16 || digit == 20 { append(UInt8(ascii: "-")) }
            let word = digit < 16 ? high : low
            append(hexDigit: UInt8(truncatingIfNeeded: word >> UInt64(60 - 4 * (digit % 16))) & 15)
        }
    }

    /// Appends an IP address with its port, or the path of a unix socket.
    mutating func append(_ address: borrowing SocketAddress) {
        reserve(SocketAddress.textBytesMax)
        if let length = address.writeText(to: memory + count) {
            count &+= length
        } else {
            append(address.description)
        }
    }

    mutating func append(_ address: IPAddress) {
        reserve(SocketAddress.textBytesMax)
        count &+= address.writeText(to: memory + count)
    }

    /// Appends a moment as ISO 8601 in UTC with milliseconds.
    ///
    /// All but those stays the same for a second, and is kept for the next line.
    mutating func append(iso seconds: Int64, _ nanoseconds: Int) {
        if seconds != second {
            secondText = TimeFormat.isoText(CivilTime(seconds: seconds))
            second = seconds
        }
        reserve(24)
        let place = memory + count
        UnsafeMutableRawPointer(place).storeBytes(of: secondText, as: InlineArray<24, UInt8>.self)
        let milliseconds = UInt32(truncatingIfNeeded: max(0, min(nanoseconds, 999_999_999))) / 1_000_000
        place[20] = 0x30 &+ UInt8(truncatingIfNeeded: milliseconds / 100)
        place[21] = 0x30 &+ UInt8(truncatingIfNeeded: milliseconds / 10 % 10)
        place[22] = 0x30 &+ UInt8(truncatingIfNeeded: milliseconds % 10)
        count &+= 24
    }

    // MARK: Looking

    /// Whether any of the words from a position on is one that the caller looks for; behind the last byte stand letters.
    @inline(__always)
    mutating func containsWord(from start: Int, where isFound: (UInt64) -> Bool) -> Bool {
        precondition(start >= 0)
        UnsafeMutableRawPointer(memory + count).storeBytes(of: 0x6161_6161_6161_6161, as: UInt64.self)
        var index = start
        while index < count {
            if isFound(UnsafeRawPointer(memory + index).loadUnaligned(as: UInt64.self)) { return true }
            index &+= 8
        }
        return false
    }
}

extension FormatContext {
    /// A field of the request, or a pseudo header, as it stands there.
    func requestField(_ field: FormatField) -> [UInt8]? {
        var line = FormatLine(capacity: 64)
        return appendRequestField(field, to: &line) ? line.bytes : nil
    }
}
