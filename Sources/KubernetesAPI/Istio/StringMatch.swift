public import Serialization

/// How a string is matched in Istio's API (`StringMatch`): one of exact, prefix and regex; none of them means "present".
public enum StringMatch: Sendable, Hashable {
    /// The whole value.
    case exact(String)
    /// The beginning of the value.
    case prefix(String)
    /// An RE2 expression for the whole value.
    case regex(String)
    /// No condition on the value: it is there.
    case present

    /// Reads the match; a member of an unknown kind reads as `present`.
    public init(json: JSON) {
        if let value = json["exact"]?.string {
            self = .exact(value)
        } else if let value = json["prefix"]?.string {
            self = .prefix(value)
        } else if let value = json["regex"]?.string {
            self = .regex(value)
        } else {
            self = .present
        }
    }
}

extension JSONView {
    /// The string match of that name; `nil` when it is absent.
    public func stringMatch(_ name: String) -> StringMatch? {
        guard let member = json[name], !member.isNull else { return nil }
        return StringMatch(json: member)
    }

    /// The map from names to string matches of that name, sorted by name.
    public func stringMatches(_ name: String) -> [(name: String, match: StringMatch)] {
        (json[name]?.object ?? [:]).sorted { $0.key < $1.key }.map { ($0.key, StringMatch(json: $0.value)) }
    }

    /// The duration of that name, written as `5s`, `1m30s` or `200ms`.
    public func duration(_ name: String) -> Duration? {
        json[name]?.string.flatMap(Duration.init(istio:))
    }
}

extension Duration {
    /// Reads a duration as Go and Istio write it: decimal numbers with the units h, m, s, ms, us and ns, in a row.
    public init?(istio text: String) {
        var rest = Substring(text)
        var total = Duration.zero
        guard !rest.isEmpty else { return nil }
        if rest == "0" {
            self = .zero
            return
        }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            guard let value = Double(digits), value.isFinite, value >= 0, value < 1e9 else { return nil }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { $0.isASCII && $0.isLetter || $0 == "µ" }
            rest = rest.dropFirst(unit.count)
            let nanoseconds: Double
            switch unit {
            case "h": nanoseconds = 3_600e9
            case "m": nanoseconds = 60e9
            case "s": nanoseconds = 1e9
            case "ms": nanoseconds = 1e6
            case "us", "µs": nanoseconds = 1e3
            case "ns": nanoseconds = 1
            default: return nil
            }
            let product = value * nanoseconds
            guard product < 9e18 else { return nil }
            total += .nanoseconds(Int64(product.rounded()))
        }
        self = total
    }
}
