public import Serialization

/// A whole number or a word: a port by number or name, a count or a percentage.
public enum IntOrString: Sendable, Hashable {
    /// A number.
    case int(Int)
    /// A name or a percentage.
    case string(String)

    /// Reads a JSON number or string; `nil` for anything else.
    public init?(json: JSON?) {
        if let number = json?.int {
            self = .int(number)
        } else if let text = json?.string {
            self = .string(text)
        } else {
            return nil
        }
    }

    /// The same as JSON.
    public var json: JSON {
        switch self {
        case .int(let number): .integer(Int64(number))
        case .string(let text): .string(text)
        }
    }

    /// The number, or the percentage (`25%`) of `total`, rounded up or down; `nil` when it is neither.
    public func scaled(of total: Int, roundUp: Bool) -> Int? {
        switch self {
        case .int(let number): return number
        case .string(let text):
            guard text.hasSuffix("%"), let percent = Int(text.dropLast()), (0...1_000_000).contains(percent),
                (0...1_000_000_000).contains(total)
            else { return nil }
            return (total * percent + (roundUp ? 99 : 0)) / 100
        }
    }
}
