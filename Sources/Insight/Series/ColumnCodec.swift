/// Writes numbers of any width one behind the other.
struct BitWriter {
    private(set) var bytes: [UInt8] = []
    private var current: UInt8 = 0
    private var used = 0

    /// The lowest `count` bits of `value`, the highest of them first.
    mutating func put(_ value: UInt64, bits count: Int) {
        for position in stride(from: count - 1, through: 0, by: -1) {
            current = current << 1 | UInt8(truncatingIfNeeded: value >> UInt64(position) & 1)
            used += 1
            if used == 8 {
                bytes.append(current)
                (current, used) = (0, 0)
            }
        }
    }

    /// Fills the last byte with zeros.
    mutating func finish() -> [UInt8] {
        if used > 0 { put(0, bits: 8 - used) }
        return bytes
    }
}

/// Reads what `BitWriter` wrote; never beyond the end.
struct BitReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int
    private var used = 0

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    mutating func bit() -> UInt64? {
        guard position < bytes.endIndex else { return nil }
        let value = UInt64(bytes[position] >> UInt8(7 - used) & 1)
        used += 1
        if used == 8 { (position, used) = (position + 1, 0) }
        return value
    }

    mutating func bits(_ count: Int) -> UInt64? {
        var value: UInt64 = 0
        for _ in 0..<count {
            guard let bit = bit() else { return nil }
            value = value << 1 | bit
        }
        return value
    }
}

/// Numbers of seven bits a byte, the lowest first; the highest bit says that more follows.
enum VariableLength {
    static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest > 0x7F {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    static func read(_ bytes: inout ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while let byte = bytes.popFirst() {
            guard shift < 64 else { return nil }
            value |= UInt64(byte & 0x7F) << shift
            if byte & 0x80 == 0 { return value }
            shift += 7
        }
        return nil
    }

    /// Small numbers of either sign become small numbers.
    static func zigzag(_ value: Int64) -> UInt64 { UInt64(bitPattern: value << 1 ^ value >> 63) }
    static func unzigzag(_ value: UInt64) -> Int64 { Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1) }
}

/// A column of whole numbers in few bits: what they have in common once, and the rest in exponential-Golomb codes.
///
/// Increments of counters scatter around a mean: the difference to their median takes about as many bits as their
/// scatter has, and a column that does not change takes none.
enum ColumnCodec {
    private static let isConstant: UInt8 = 0xFF
    private static let isRaw: UInt8 = 0xFE
    /// Beyond that a code would be longer than the number itself.
    private static let codedMax: UInt64 = 1 << 56

    static func encode(_ values: [Int64], to bytes: inout [UInt8]) {
        let sorted = values.sorted()
        let median = sorted.isEmpty ? 0 : sorted[sorted.count / 2]
        let rests = values.map { VariableLength.zigzag($0 &- median) }
        VariableLength.append(VariableLength.zigzag(median), to: &bytes)
        guard let largest = rests.max(), largest > 0 else { return bytes.append(isConstant) }
        var writer = BitWriter()
        guard largest < codedMax else {
            bytes.append(isRaw)
            for rest in rests { writer.put(rest, bits: 64) }
            return bytes += writer.finish()
        }
        let parameter = best(rests)
        bytes.append(UInt8(parameter))
        for rest in rests {
            let head = rest >> UInt64(parameter) &+ 1
            let length = 64 - head.leadingZeroBitCount
            writer.put(0, bits: length - 1)
            writer.put(head, bits: length)
            writer.put(rest, bits: parameter)
        }
        bytes += writer.finish()
    }

    /// The parameter of the code with which the column is shortest.
    private static func best(_ rests: [UInt64]) -> Int {
        let mean = rests.reduce(into: 0.0) { $0 += Double($1) } / Double(max(rests.count, 1))
        var guess = 0
        while guess < 50, Double(UInt64(1) << UInt64(guess)) < mean { guess += 1 }
        return (max(0, guess - 3)...(guess + 1)).min { cost(rests, $0) < cost(rests, $1) } ?? 0
    }

    private static func cost(_ rests: [UInt64], _ parameter: Int) -> Int {
        rests.reduce(0) { sum, rest in
            sum + 2 * (64 - (rest >> UInt64(parameter) &+ 1).leadingZeroBitCount) - 1 + parameter
        }
    }

    /// The column that `encode` wrote, with the bytes behind it left; nil when it is cut off or no column.
    static func decode(_ count: Int, _ bytes: inout ArraySlice<UInt8>) -> [Int64]? {
        guard let zigzag = VariableLength.read(&bytes), let kind = bytes.popFirst() else { return nil }
        let median = VariableLength.unzigzag(zigzag)
        if kind == isConstant { return Array(repeating: median, count: count) }
        guard kind == isRaw || kind < 64 else { return nil }
        var reader = BitReader(bytes)
        var values: [Int64] = []
        values.reserveCapacity(count)
        var used = 0
        for _ in 0..<count {
            var rest: UInt64
            if kind == isRaw {
                guard let raw = reader.bits(64) else { return nil }
                rest = raw
                used += 64
            } else {
                var zeros = 0
                while true {
                    guard zeros < 64, let bit = reader.bit() else { return nil }
                    if bit == 1 { break }
                    zeros += 1
                }
                guard zeros < 64, let low = reader.bits(zeros), let tail = reader.bits(Int(kind)) else { return nil }
                let head = (zeros == 0 ? 1 : UInt64(1) << UInt64(zeros) | low) &- 1
                rest = head << UInt64(kind) | tail
                used += 2 * zeros + 1 + Int(kind)
            }
            values.append(median &+ VariableLength.unzigzag(rest))
        }
        bytes = bytes.dropFirst((used + 7) / 8)
        return values
    }
}
