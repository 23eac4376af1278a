/// An amount as Kubernetes writes it: `100m`, `1.5`, `50Mi`, `2e3`.
///
/// Held in thousandths, rounded up, as Kubernetes does for what is finer; amounts beyond some 9·10^15 saturate.
public struct Quantity: Sendable, Hashable, Comparable {
    /// The amount in thousandths of the unit (millicores for processors).
    public var milli: Int64

    /// An amount of so many thousandths.
    public init(milli: Int64) { self.milli = milli }

    /// Reads the text; `nil` when it is no quantity.
    public init?(_ text: String) {
        var bytes = Substring(text)
        var isNegative = false
        if bytes.first == "-" || bytes.first == "+" {
            isNegative = bytes.first == "-"
            bytes = bytes.dropFirst()
        }
        let digits = bytes.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let suffix = String(bytes.dropFirst(digits.count))
        guard !digits.isEmpty, digits != ".", digits.filter({ $0 == "." }).count <= 1, digits.count <= 40 else {
            return nil
        }
        let padded = digits.first == "." ? "0" + digits : String(digits)
        guard let value = Double(padded.last == "." ? padded + "0" : padded) else { return nil }
        let factor: Double
        if let known = Quantity.factors[suffix] {
            factor = known
        } else if let first = suffix.first, first == "e" || first == "E", let exponent = Int(suffix.dropFirst()),
            (-18...18).contains(exponent)
        {
            factor = (0..<abs(exponent)).reduce(1.0) { product, _ in exponent < 0 ? product / 10 : product * 10 }
        } else {
            return nil
        }
        let scaled = (value * factor * 1000).rounded(.up)
        let bounded = scaled >= 9.2e18 ? Int64.max : Int64(scaled)
        milli = isNegative ? -bounded : bounded
    }

    private static let factors: [String: Double] = [
        "": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
        "Ki": 1024, "Mi": 1_048_576, "Gi": 1_073_741_824, "Ti": 1_099_511_627_776, "Pi": 1_125_899_906_842_624,
        "Ei": 1_152_921_504_606_846_976,
    ]

    /// The amount in whole units, rounded up (bytes for memory).
    public var units: Int64 { milli / 1000 + (milli % 1000 > 0 ? 1 : 0) }

    /// Orders by amount.
    public static func < (left: Quantity, right: Quantity) -> Bool { left.milli < right.milli }
}
