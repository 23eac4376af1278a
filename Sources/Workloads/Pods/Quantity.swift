/// A Kubernetes resource quantity: `500m`, `0.5`, `64Mi`, `1e3`.
struct Quantity: Hashable, Sendable {
    /// The value in thousandths, rounded up.
    let millis: Int
    /// The value rounded up to a whole number.
    var whole: Int { millis / 1000 + (millis % 1000 > 0 ? 1 : 0) }

    private static let suffixes: [String: Double] = [
        "": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
        "Ki": 1024, "Mi": 1_048_576, "Gi": 1_073_741_824, "Ti": 1_099_511_627_776,
    ]

    init?(_ text: String) {
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        var rest = String(text.dropFirst(digits.count))
        guard let number = Double(digits) else { return nil }
        var scale = 1.0
        if let first = rest.first, first == "e" || first == "E", let exponent = Int(rest.dropFirst()),
            (-18...18).contains(exponent)
        {
            for _ in 0..<abs(exponent) { scale *= exponent < 0 ? 0.1 : 10 }
            rest = ""
        }
        guard let factor = Self.suffixes[rest] else { return nil }
        // Above 2^53 thousandths the sum is not exact any more, and no machine has so much.
        let value = (number * scale * factor * 1000).rounded(.up)
        guard value.isFinite, value >= 0, value < 9e18 else { return nil }
        millis = Int(value)
    }
}
