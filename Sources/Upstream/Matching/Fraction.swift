/// A share of events: numerator out of 100, 10,000 or 1,000,000.
public struct Fraction: Sendable, Hashable {
    /// How many out of `denominator`; more than all counts as all.
    public var numerator: UInt32
    /// 100, 10,000 or 1,000,000.
    public var denominator: UInt32
    /// The runtime key that may override it.
    public var runtime: RuntimeEntry?

    /// Everything.
    public static let all = Fraction(numerator: 100, denominator: 100)
    /// Nothing.
    public static let none = Fraction(numerator: 0, denominator: 100)

    /// A share.
    public init(numerator: UInt32, denominator: UInt32) {
        self.numerator = numerator
        self.denominator = denominator
    }

    /// Whether an event with this draw is inside the share.
    public func includes(random: UInt64) -> Bool {
        if let override = runtime?.fraction { return override.includes(random: random) }
        return UInt64(denominator).multipliedFullWidth(by: random).high < UInt64(numerator)
    }
}
