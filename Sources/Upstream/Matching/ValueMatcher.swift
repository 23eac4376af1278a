public import Serialization

/// One condition on a metadata value: Envoy's `ValueMatcher`, compiled.
public indirect enum ValueMatcher: Sendable {
    /// `null`.
    case null
    /// A number in a half-open range.
    case range(start: Double, end: Double)
    /// Exactly this number.
    case number(Double)
    /// A string that passes a test.
    case string(StringMatcher)
    /// This boolean.
    case bool(Bool)
    /// The value is there (or, with false, is not).
    case present(Bool)
    /// A list with an element that passes.
    case oneOf(ValueMatcher)
    /// One of these.
    case anyOf([ValueMatcher])

    /// Whether a value passes; nil is a value that is not there.
    public func matches(_ value: JSON?) -> Bool {
        switch self {
        case .null: return value?.isNull ?? false
        case .range(let start, let end): return value?.double.map { $0 >= start && $0 < end } ?? false
        case .number(let number): return value?.double == number
        case .string(let matcher):
            guard let text = value?.string else { return false }
            let bytes = Array(text.utf8)
            return matcher.matches(bytes.span)
        case .bool(let wanted): return value?.bool == wanted
        case .present(let wanted): return (value != nil) == wanted
        case .oneOf(let matcher): return value?.array?.contains { matcher.matches($0) } ?? false
        case .anyOf(let matchers): return matchers.contains { $0.matches(value) }
        }
    }
}

/// One condition on dynamic metadata: Envoy's `MetadataMatcher`, compiled.
public struct MetadataMatcher: Sendable {
    /// The namespace.
    public let namespace: String
    /// The way to the value.
    public let path: [String]
    /// The condition.
    public let value: ValueMatcher
    /// Turns the outcome round.
    public let isInverted: Bool

    /// Whether the metadata of the namespace passes.
    public func matches(_ metadata: JSON?) -> Bool {
        var value = metadata
        for key in path { value = value?[key] }
        return self.value.matches(value) != isInverted
    }
}

/// One condition on a cookie of a request.
public struct CookieMatcher: Sendable {
    /// The cookie's name.
    public let name: [UInt8]
    /// The condition on its value.
    public let value: StringMatcher
    /// Turns the outcome round.
    public let isInverted: Bool

    /// Whether the request passes; of a cookie that is not there the condition fails.
    public func matches(_ request: borrowing some RequestView & ~Copyable & ~Escapable) -> Bool {
        let found = Cookies.value(of: name, in: request)
        guard let found else { return isInverted }
        return value.matches(found.span) != isInverted
    }
}

/// The cookies of a request.
enum Cookies {
    private static let header = HeaderName("cookie")

    /// The value of the first cookie of a name; nil when there is none.
    static func value(
        of name: [UInt8], in request: borrowing some RequestView & ~Copyable & ~Escapable
    ) -> [UInt8]? {
        var next = request.nextField(named: header, from: 0)
        while let index = next {
            let value = request.fieldValue(at: index)
            var start = 0
            while start < value.count {
                while start < value.count, value[start] == 0x20 || value[start] == 0x3B { start += 1 }
                let end = Bytes.firstIndex(of: 0x3B, in: value, from: start) ?? value.count
                let pair = value.extracting(start..<end)
                if let equals = Bytes.firstIndex(of: 0x3D, in: pair),
                    Bytes.equal(pair.extracting(0..<equals), name.span)
                {
                    var first = equals + 1
                    var last = pair.count
                    // As Envoy: quotes around the value do not belong to it.
                    if last - first >= 2, pair[first] == 0x22, pair[last - 1] == 0x22 {
                        first += 1
                        last -= 1
                    }
                    return Bytes.copy(pair.extracting(first..<last))
                }
                start = end + 1
            }
            next = request.nextField(named: header, from: index + 1)
        }
        return nil
    }
}
