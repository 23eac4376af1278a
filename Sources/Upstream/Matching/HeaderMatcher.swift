/// One condition on a header of a request: Envoy's `HeaderMatcher`, compiled.
public struct HeaderMatcher: Sendable {
    /// What is asked of the value.
    public enum Condition: Sendable {
        /// The header is there (or, with false, is not).
        case present(Bool)
        /// The value passes a string test.
        case value(StringMatcher)
        /// The value is a decimal number in a half-open range.
        case range(start: Int64, end: Int64)
    }

    /// The header's name; `host` became `:authority`.
    public let name: HeaderName
    /// The condition.
    public let condition: Condition
    /// Turns the outcome round.
    ///
    /// A missing header stays no match for value conditions, unless it counts as empty (H-5).
    public let isInverted: Bool
    /// A missing header counts as an empty value.
    public let treatsMissingAsEmpty: Bool

    /// A condition on a header.
    public init(
        name: HeaderName, condition: Condition, isInverted: Bool = false, treatsMissingAsEmpty: Bool = false
    ) {
        self.name = name.bytes == Array("host".utf8) ? HeaderName(":authority") : name
        self.condition = condition
        self.isInverted = isInverted
        self.treatsMissingAsEmpty = treatsMissingAsEmpty
    }

    /// Whether the request passes.
    ///
    /// Of a repeated header one value that passes is enough, and inverted none may pass (Envoy).
    public func matches(_ request: borrowing some RequestView & ~Copyable & ~Escapable) -> Bool {
        if name.isPseudo {
            guard let value = request.pseudoHeader(name), !value.isEmpty else { return missing }
            return matches(value: value)
        }
        guard let first = request.nextField(named: name, from: 0) else { return missing }
        guard let second = request.nextField(named: name, from: first + 1) else {
            return matches(value: request.fieldValue(at: first))
        }
        if passes(request.fieldValue(at: first)) { return !isInverted }
        var next: Int? = second
        while let index = next {
            if passes(request.fieldValue(at: index)) { return !isInverted }
            next = request.nextField(named: name, from: index + 1)
        }
        return isInverted
    }

    /// As for a request, on the fields of a response.
    public func matches(response: borrowing some ResponseView & ~Copyable & ~Escapable) -> Bool {
        guard let first = response.nextField(named: name, from: 0) else { return missing }
        guard let second = response.nextField(named: name, from: first + 1) else {
            return matches(value: response.fieldValue(at: first))
        }
        if passes(response.fieldValue(at: first)) { return !isInverted }
        var next: Int? = second
        while let index = next {
            if passes(response.fieldValue(at: index)) { return !isInverted }
            next = response.nextField(named: name, from: index + 1)
        }
        return isInverted
    }

    private var missing: Bool {
        if case .present(let wanted) = condition { return !wanted != isInverted }
        guard treatsMissingAsEmpty else { return false }
        let empty: [UInt8] = []
        return matches(value: empty.span)
    }

    func matches(value: borrowing Span<UInt8>) -> Bool { passes(value) != isInverted }

    private func passes(_ value: borrowing Span<UInt8>) -> Bool {
        switch condition {
        case .present(let wanted): wanted
        case .value(let matcher): matcher.matches(value)
        case .range(let start, let end):
            if let number = Bytes.integer(value) { number >= start && number < end } else { false }
        }
    }
}
