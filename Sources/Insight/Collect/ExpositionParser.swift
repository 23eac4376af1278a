internal import Glibc

/// Reads Prometheus' text format (0.0.4, and what OpenMetrics adds to a sample), line by line, with limits (ATK-19).
public struct ExpositionParser: Sendable {
    /// What a page may have at most; what is beyond it is left out and counted.
    public struct Limits: Sendable {
        /// Samples of a page.
        public var samplesMax = 100_000
        /// Bytes of a line.
        public var lineBytesMax = 16_384
        /// Labels of a sample.
        public var labelsMax = 64

        /// The usual limits.
        public init() {}
    }

    /// A sample of a page.
    public struct Sample: Sendable, Hashable {
        /// The metric's name.
        public var name: String
        /// The labels, in the page's order.
        public var labels: [Label]
        /// The number.
        public var value: Double
        /// The page's own time stamp, as it stands there; milliseconds in Prometheus' format, seconds in OpenMetrics.
        public var timestamp: Double?

        /// The value of a label; nil without it.
        public func label(_ name: String) -> String? { labels.first { $0.name == name }?.value }
    }

    /// Lines that were no samples.
    public private(set) var malformed = 0
    /// Samples that did not fit the limits.
    public private(set) var refused = 0
    private let limits: Limits

    /// A parser.
    public init(_ limits: Limits = Limits()) { self.limits = limits }

    /// Calls `body` with each sample of a page.
    public mutating func parse(_ page: [UInt8], _ body: (Sample) -> Void) {
        var count = 0
        for line in page.split(separator: 0x0A) {
            guard let first = line.first, first != 0x23 else { continue }
            guard count < limits.samplesMax, line.count <= limits.lineBytesMax else {
                refused += 1
                continue
            }
            guard let sample = sample(line) else {
                malformed += 1
                continue
            }
            count += 1
            body(sample)
        }
    }

    private func sample(_ line: ArraySlice<UInt8>) -> Sample? {
        var rest = line
        skipBlanks(&rest)
        guard let name = identifier(&rest, withColon: true) else { return nil }
        skipBlanks(&rest)
        var labels: [Label] = []
        if rest.first == 0x7B {
            rest.removeFirst()
            while true {
                skipBlanks(&rest)
                if rest.first == 0x7D {
                    rest.removeFirst()
                    break
                }
                guard labels.count < limits.labelsMax, let label = identifier(&rest, withColon: false) else {
                    return nil
                }
                skipBlanks(&rest)
                guard rest.popFirst() == 0x3D else { return nil }
                skipBlanks(&rest)
                guard let value = quoted(&rest) else { return nil }
                labels.append(Label(label, value))
                skipBlanks(&rest)
                if rest.first == 0x2C { rest.removeFirst() } else if rest.first != 0x7D { return nil }
            }
        }
        let words = rest.split(whereSeparator: { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D })
        guard let first = words.first, let value = NumberText.parse(first) else { return nil }
        var timestamp: Double?
        if words.count > 1, words[1].first != 0x23 {
            guard let time = NumberText.parse(words[1]) else { return nil }
            timestamp = time
        }
        return Sample(name: name, labels: labels, value: value, timestamp: timestamp)
    }

    private func skipBlanks(_ rest: inout ArraySlice<UInt8>) {
        while rest.first == 0x20 || rest.first == 0x09 { rest.removeFirst() }
    }

    private func identifier(_ rest: inout ArraySlice<UInt8>, withColon: Bool) -> String? {
        let word = rest.prefix { byte in
            byte &- 48 < 10 || (byte | 0x20) &- 97 < 26 || byte == 0x5F || withColon && byte == 0x3A
        }
        guard let first = word.first, first &- 48 >= 10 else { return nil }
        rest = rest[word.endIndex...]
        return String(decoding: word, as: UTF8.self)
    }

    private func quoted(_ rest: inout ArraySlice<UInt8>) -> String? {
        guard rest.popFirst() == 0x22 else { return nil }
        guard let end = rest.firstIndex(where: { $0 == 0x22 || $0 == 0x5C }) else { return nil }
        if rest[end] == 0x22 {
            let text = String(decoding: rest[..<end], as: UTF8.self)
            rest = rest[(end + 1)...]
            return text
        }
        var bytes: [UInt8] = []
        while let byte = rest.popFirst() {
            if byte == 0x22 { return String(decoding: bytes, as: UTF8.self) }
            guard byte == 0x5C else {
                bytes.append(byte)
                continue
            }
            guard let next = rest.popFirst() else { return nil }
            bytes.append(next == 0x6E ? 0x0A : next)
        }
        return nil
    }
}

/// Numbers as Prometheus reads and writes them.
public enum NumberText {
    /// The number of some bytes: digits, `NaN`, `+Inf`, `-Inf`.
    static func parse(_ bytes: ArraySlice<UInt8>) -> Double? { parse(String(decoding: bytes, as: UTF8.self)) }

    /// The number of a text: digits, `NaN`, `+Inf`, `-Inf`.
    public static func parse(_ text: String) -> Double? {
        switch text {
        case "+Inf", "Inf", "+inf", "inf": return .infinity
        case "-Inf", "-inf": return -.infinity
        case "NaN", "nan": return .nan
        default:
            guard let first = text.utf8.first, first &- 48 < 10 || first == 0x2D || first == 0x2B || first == 0x2E
            else { return nil }
            return Double(text)
        }
    }

    /// The shortest text from which the same number is read: without exponent as long as that is short.
    public static func text(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
        return "\(value)"
    }

    /// A number with so many digits behind the point.
    public static func fixed(_ value: Double, _ digits: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return text(value) }
        let scale = pow(10, Double(digits))
        let scaled = Int64((abs(value) * scale).rounded())
        let whole = scaled / Int64(scale)
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard digits > 0 else { return sign + String(whole) }
        let fraction = String(scaled % Int64(scale))
        return sign + "\(whole)." + String(repeating: "0", count: max(0, digits - fraction.count)) + fraction
    }
}
