internal import Synchronization

/// The value of one runtime key now, as the data path reads it: one atomic load.
///
/// A key that no layer sets has none, and the configuration's default counts.
public final class RuntimeEntry: Sendable, Hashable {
    /// The key, for example `routing.traffic_shift.helloworld`.
    public let key: String
    /// `unset`, or numerator and denominator in 32 bits each.
    private let share = Atomic<UInt64>(RuntimeEntry.unset)
    /// `unset`, or the bits of a `Double`.
    private let number = Atomic<UInt64>(RuntimeEntry.unset)
    /// `unset`, 0 or 1.
    private let flag = Atomic<UInt64>(RuntimeEntry.unset)
    /// No fraction and no finite number has these bits.
    private static let unset = UInt64.max

    init(_ key: String) { self.key = key }

    func set(_ value: RuntimeValue?) {
        share.store(
            value?.fraction.map { UInt64($0.numerator) << 32 | UInt64($0.denominator) } ?? Self.unset,
            ordering: .relaxed)
        number.store(value?.number?.bitPattern ?? Self.unset, ordering: .relaxed)
        flag.store(value?.flag.map { $0 ? 1 : 0 } ?? Self.unset, ordering: .relaxed)
    }

    /// The share: a fraction as such, a whole number as percent.
    public var fraction: Fraction? {
        let bits = share.load(ordering: .relaxed)
        guard bits != Self.unset else { return nil }
        return Fraction(
            numerator: UInt32(truncatingIfNeeded: bits >> 32), denominator: UInt32(truncatingIfNeeded: bits))
    }

    /// The number.
    public var double: Double? {
        let bits = number.load(ordering: .relaxed)
        return bits == Self.unset ? nil : Double(bitPattern: bits)
    }

    /// The whole number; nothing for negative ones and fractions, as in Envoy.
    public var integer: UInt64? { double.flatMap { UInt64(exactly: $0) } }

    /// The switch.
    public var isEnabled: Bool? {
        let bits = flag.load(ordering: .relaxed)
        return bits == Self.unset ? nil : bits == 1
    }

    /// The same key of the same runtime.
    public static func == (left: RuntimeEntry, right: RuntimeEntry) -> Bool { left === right }
    /// By identity.
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

/// What a layer says about a key.
public struct RuntimeValue: Sendable, Hashable {
    /// As it was written.
    public var text: String
    /// As a number.
    public var number: Double?
    /// As a switch.
    public var flag: Bool?
    /// As a share.
    public var fraction: Fraction?

    /// A value from a query or a file: a number, `true` or `false`, or any text.
    public init(text: String) {
        self.text = text
        if let value = Double(text), value.isFinite { take(value) }
        if text == "true" || text == "false" { flag = text == "true" }
    }

    init(number: Double, text: String) {
        self.text = text
        if number.isFinite { take(number) }
    }

    init(flag: Bool) {
        text = flag ? "true" : "false"
        self.flag = flag
    }

    init(fraction: Fraction, text: String) {
        self.text = text
        self.fraction = fraction
    }

    private mutating func take(_ value: Double) {
        number = value
        if let percent = UInt32(exactly: value) { fraction = Fraction(numerator: percent, denominator: 100) }
    }
}
