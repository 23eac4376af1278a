extension Quantity {
    /// Whether a text counts in powers of 1024.
    public static func isBinary(_ text: String) -> Bool { text.hasSuffix("i") }

    /// The amount as Kubernetes writes it in its shortest form: `500m`, `2`, `1k`, `64Mi`.
    ///
    /// - Parameter isBinary: whether powers of 1024 are named, where the amount is whole.
    public func text(isBinary: Bool = false) -> String {
        guard milli % 1000 == 0 else { return "\(milli)m" }
        var value = milli / 1000
        let (base, names): (Int64, [String]) =
            isBinary ? (1024, ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]) : (1000, ["", "k", "M", "G", "T", "P", "E"])
        var power = 0
        while value != 0, value % base == 0, power < names.count - 1 {
            value /= base
            power += 1
        }
        return "\(value)\(names[power])"
    }

    /// The sum; it stops at the largest amount.
    public static func + (left: Quantity, right: Quantity) -> Quantity {
        let (sum, overflows) = left.milli.addingReportingOverflow(right.milli)
        return Quantity(milli: overflows ? (right.milli > 0 ? .max : .min) : sum)
    }
}
