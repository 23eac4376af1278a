/// A metric's name in Envoy's dotted form, whose elements may contain dots themselves.
///
/// Envoy cuts names at every dot, and a cluster `catalog.default` becomes cluster `catalog`. Here a dot inside an element
/// is kept as U+0001 until a name is printed, so that tags are cut at the right place.
public struct MetricName: Sendable, Hashable {
    /// The name with the dots inside elements masked.
    public let masked: String

    /// A name whose elements are masked already.
    public init(masked: String) { self.masked = masked }

    /// A name from its elements.
    public init(_ elements: String...) { masked = Self.masked(elements) }

    static let dot: Unicode.Scalar = "\u{1}"

    static func masked(_ elements: [String]) -> String {
        elements.count == 1 ? elements[0] : elements.map(element).joined(separator: ".")
    }

    /// One element with its own dots masked; control characters have no place in a name.
    public static func element(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 == 0x2E || $0 < 0x20 || $0 == 0x7F }) else { return text }
        var masked = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case ".": masked.unicodeScalars.append(dot)
            case _ where scalar.value < 0x20 || scalar.value == 0x7F: masked += "_"
            default: masked.unicodeScalars.append(scalar)
            }
        }
        return masked
    }

    /// The text with the masked dots as dots.
    public static func unmasked(_ text: String) -> String {
        guard text.utf8.contains(1) else { return text }
        return String(decoding: text.utf8.map { $0 == 1 ? 0x2E : $0 }, as: UTF8.self)
    }

    /// The name as `/stats` prints it.
    public var dotted: String { Self.unmasked(masked) }
}

/// One metric as it is read: a name and a value.
public struct MetricSample: Sendable {
    /// What kind of value the sample holds.
    public enum Value: Sendable {
        /// A number that only grows.
        case counter(UInt64)
        /// A number that goes up and down.
        case gauge(Int64)
        /// A distribution.
        case histogram(HistogramSnapshot)
        /// A text.
        case text(String)
    }

    /// The name.
    public var name: MetricName
    /// The value.
    public var value: Value

    /// Makes a sample.
    public init(_ name: MetricName, _ value: Value) {
        self.name = name
        self.value = value
    }

    /// Whether anything was ever counted, as far as the value tells.
    public var isUsed: Bool {
        switch value {
        case .counter(let count): count != 0
        case .gauge(let level): level != 0
        case .histogram(let snapshot): snapshot.count != 0
        case .text(let text): !text.isEmpty
        }
    }
}

/// Something that can be asked for its metrics.
public protocol MetricSource: Sendable {
    /// The present samples.
    func samples() -> [MetricSample]
}
