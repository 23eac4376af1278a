/// One condition on a query parameter: Envoy's `QueryParameterMatcher`, compiled.
///
/// Names and values are compared as they stand in the path, without percent-decoding; of a repeated parameter the
/// first value counts.
public struct QueryParameterMatcher: Sendable {
    /// What is asked of the parameter.
    public enum Condition: Sendable {
        /// The parameter is there (or, with false, is not).
        case present(Bool)
        /// Its first value passes a string test.
        case value(StringMatcher)
    }

    /// The parameter's name, case-sensitive.
    public let name: [UInt8]
    /// The condition.
    public let condition: Condition

    /// A condition on a parameter.
    public init(name: [UInt8], condition: Condition) {
        self.name = name
        self.condition = condition
    }

    /// Whether the query (what follows `?`, without a fragment) passes.
    public func matches(query: borrowing Span<UInt8>) -> Bool {
        var start = 0
        while start < query.count {
            let end = Bytes.firstIndex(of: 0x26, in: query, from: start) ?? query.count
            let parameter = query.extracting(start..<end)
            let equals = Bytes.firstIndex(of: 0x3D, in: parameter) ?? parameter.count
            if Bytes.equal(parameter.extracting(0..<equals), name.span) {
                switch condition {
                case .present(let wanted): return wanted
                case .value(let matcher):
                    return matcher.matches(parameter.extracting(min(equals + 1, parameter.count)..<parameter.count))
                }
            }
            start = end + 1
        }
        if case .present(false) = condition { return true }
        return false
    }
}
