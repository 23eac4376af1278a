/// How a peer of HTTP/1 wrote the head of one message: the case of its field names and, where asked for, its reason phrase.
///
/// Names in a `HeaderTable` are in lower case; peers that compare names with their case get them back by this when the message is written to HTTP/1 again
/// (Envoy's `preserve_case`). Made only where that is configured; immutable.
public final class HTTP1Spelling: Sendable {
    /// What is kept of heads.
    public struct Rule: Sendable, Hashable {
        /// The reason phrase of a response is written as it came.
        public var forwardsReason: Bool
        /// Names that the peer did not send are written with capitals (`Content-Type`), not in lower case.
        public var capitalizesOthers: Bool

        /// A rule.
        public init(forwardsReason: Bool = false, capitalizesOthers: Bool = false) {
            self.forwardsReason = forwardsReason
            self.capitalizesOthers = capitalizesOthers
        }
    }

    private let capitalizesOthers: Bool
    /// The head as it came.
    private let bytes: [UInt8]
    /// Where its names stand: shorter ones first, equally long ones by their letters in lower case, the first of several equal ones first.
    private let names: [Range<Int>]
    /// The reason phrase to be written; empty is the usual one.
    let reason: ArraySlice<UInt8>

    /// - Parameter bytes: The head as it came, each byte where the table has it, which has just been read from them.
    fileprivate init(_ bytes: consuming [UInt8], _ table: borrowing HeaderTable, reason: Range<Int>, rule: Rule) {
        capitalizesOthers = rule.capitalizesOthers
        var names: [Range<Int>] = []
        names.reserveCapacity(table.count)
        let known = bytes.indices
        for index in 0..<table.count {
            let range = table.fields[index].name.range
            if known.contains(range) { names.append(range) }
        }
        bytes.withUnsafeBytes { head in
            names.sort {
                let order = Self.order(head.bytes.extracting($0), head.bytes.extracting($1))
                return order == 0 ? $0.lowerBound < $1.lowerBound : order < 0
            }
        }
        self.names = names
        self.reason = rule.forwardsReason && known.contains(reason) ? bytes[reason] : []
        self.bytes = bytes
    }

    /// Writes the names of a head that `HTTP1Serializer` wrote the way they came.
    public func apply(to head: UnsafeMutableRawBufferPointer) {
        bytes.withUnsafeBytes { original in
            HTTP1Serializer.eachName(of: head) { name in
                if let place = place(of: UnsafeRawBufferPointer(name), in: original) {
                    name.copyMemory(from: UnsafeRawBufferPointer(rebasing: original[place]))
                } else if capitalizesOthers {
                    HTTP1Serializer.capitalize(name)
                }
            }
        }
    }

    /// Where the first name stands that is this one but for its case.
    private func place(of name: UnsafeRawBufferPointer, in original: UnsafeRawBufferPointer) -> Range<Int>? {
        var (low, high) = (0, names.count)
        while low < high {
            let middle = (low &+ high) / 2
            if Self.order(original.bytes.extracting(names[middle]), name.bytes) < 0 {
                low = middle &+ 1
            } else {
                high = middle
            }
        }
        guard low < names.count, Self.order(original.bytes.extracting(names[low]), name.bytes) == 0 else { return nil }
        return names[low]
    }

    /// Below, at or above zero as the first name stands before the second, is the same but for case, or stands behind it.
    private static func order(_ first: RawSpan, _ second: RawSpan) -> Int {
        guard first.byteCount == second.byteCount else { return first.byteCount &- second.byteCount }
        for position in 0..<first.byteCount {
            let left = ASCII.lowercase(ByteScan.byte(first, position))
            let right = ASCII.lowercase(ByteScan.byte(second, position))
            if left != right { return Int(left) &- Int(right) }
        }
        return 0
    }
}

extension Range<Int> {
    /// Whether all of another range lies in this one.
    fileprivate func contains(_ other: Range<Int>) -> Bool {
        other.lowerBound >= lowerBound && other.upperBound <= upperBound
    }
}

/// Keeps the bytes of a head beside the parser, which lowers them.
struct HTTP1SpellingRecorder: Sendable {
    private let rule: HTTP1Spelling.Rule
    private var bytes: [UInt8] = []

    init(_ rule: HTTP1Spelling.Rule) { self.rule = rule }

    /// A head begins.
    mutating func begin() { bytes.removeAll(keepingCapacity: true) }

    /// The parser has taken bytes of the head.
    mutating func take(_ input: RawSpan) { bytes.append(span: input) }

    /// The head is complete.
    mutating func finish(_ table: borrowing HeaderTable, reason: Range<Int> = 0..<0) -> HTTP1Spelling {
        var head: [UInt8] = []
        swap(&head, &bytes)
        return HTTP1Spelling(head, table, reason: reason, rule: rule)
    }
}
