/// Sealed samples as bytes of a file: records one behind the other, each with a checksum, labels once a file.
///
/// A file that was cut off in the middle of a record is read up to that record.
public struct SeriesLog: Sendable {
    private var known: [Labels: UInt64] = [:]
    /// Label sets that a file knows at most; a reader takes no more.
    static let labelsMax = 1_000_000

    /// For a file that is begun.
    public init() {}

    /// The records of a block: its labels, unless the file has them, and the block.
    public mutating func encode(_ sealed: SeriesStore.Sealed) -> [UInt8] {
        var bytes: [UInt8] = []
        let number: UInt64
        if let old = known[sealed.labels] {
            number = old
        } else {
            number = UInt64(known.count)
            known[sealed.labels] = number
            var record: [UInt8] = [0x4C]
            VariableLength.append(UInt64(sealed.labels.pairs.count), to: &record)
            for pair in sealed.labels.pairs {
                for text in [pair.name, pair.value] {
                    VariableLength.append(UInt64(text.utf8.count), to: &record)
                    record += text.utf8
                }
            }
            Self.append(record, to: &bytes)
        }
        var record: [UInt8] = [0x42, sealed.kind.rawValue, sealed.isCoarse ? 1 : 0]
        VariableLength.append(number, to: &record)
        record += sealed.block
        Self.append(record, to: &bytes)
        return bytes
    }

    private static func append(_ record: [UInt8], to bytes: inout [UInt8]) {
        VariableLength.append(UInt64(record.count), to: &bytes)
        let sum = checksum(record[...])
        for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: sum >> shift)) }
        bytes += record
    }

    /// FNV-1a.
    private static func checksum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.reduce(2_166_136_261) { ($0 ^ UInt32($1)) &* 16_777_619 }
    }

    /// The blocks of a file, and how many of its bytes were no record.
    public static func decode(_ bytes: [UInt8], _ body: (SeriesStore.Sealed) -> Void) -> Int {
        var rest = bytes[...]
        var known: [Labels] = []
        while !rest.isEmpty {
            let before = rest.count
            guard let length = VariableLength.read(&rest), rest.count >= 4, length <= UInt64(rest.count - 4) else {
                return before
            }
            let sum = rest.prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            var record = rest.dropFirst(4).prefix(Int(length))
            rest = rest.dropFirst(4 + Int(length))
            guard checksum(record) == sum, let type = record.popFirst() else { return before }
            switch type {
            case 0x4C:
                guard known.count < labelsMax, let labels = labels(&record) else { return before }
                known.append(labels)
            case 0x42:
                guard let kind = record.popFirst().flatMap(SeriesKind.init(rawValue:)), let tier = record.popFirst(),
                    let number = VariableLength.read(&record), number < UInt64(known.count)
                else { return before }
                body(
                    SeriesStore.Sealed(
                        labels: known[Int(number)], kind: kind, isCoarse: tier == 1, block: Array(record)))
            default: return before
            }
        }
        return 0
    }

    private static func labels(_ record: inout ArraySlice<UInt8>) -> Labels? {
        guard let count = VariableLength.read(&record), count <= 256 else { return nil }
        var values: [String: String] = [:]
        for _ in 0..<count {
            guard let name = text(&record), let value = text(&record) else { return nil }
            values[name] = value
        }
        return Labels(values)
    }

    private static func text(_ record: inout ArraySlice<UInt8>) -> String? {
        guard let length = VariableLength.read(&record), length <= UInt64(record.count) else { return nil }
        defer { record = record.dropFirst(Int(length)) }
        return String(decoding: record.prefix(Int(length)), as: UTF8.self)
    }
}
