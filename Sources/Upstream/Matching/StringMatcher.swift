/// A test on the bytes of one value: Envoy's `StringMatcher`, compiled.
public enum StringMatcher: Sendable {
    /// The whole value.
    case exact([UInt8], ignoringCase: Bool)
    /// The value begins with these bytes.
    case prefix([UInt8], ignoringCase: Bool)
    /// The value ends with these bytes.
    case suffix([UInt8], ignoringCase: Bool)
    /// The value has these bytes somewhere.
    case contains([UInt8], ignoringCase: Bool)
    /// An expression that must match the whole value.
    case regex(RegularExpression)

    /// Whether the value passes.
    public func matches(_ value: borrowing Span<UInt8>) -> Bool {
        switch self {
        case .exact(let bytes, let ignoringCase): Bytes.equal(value, bytes.span, ignoringCase: ignoringCase)
        case .prefix(let bytes, let ignoringCase):
            Bytes.hasPrefix(value, bytes.span, at: 0, ignoringCase: ignoringCase)
        case .suffix(let bytes, let ignoringCase): Bytes.hasSuffix(value, bytes.span, ignoringCase: ignoringCase)
        case .contains(let bytes, let ignoringCase): Bytes.contains(value, bytes.span, ignoringCase: ignoringCase)
        case .regex(let expression): expression.matches(value)
        }
    }
}
