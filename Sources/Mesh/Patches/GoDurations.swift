import KubernetesAPI
import Serialization

/// Durations as Go writes them, `500ms` or `1m30s`: Istio takes them in values of patches, where Envoy's JSON knows seconds only.
enum GoDurations {
    /// The value with each field that is a time by its name in seconds.
    static func rewritten(_ value: JSON, name: String = "") -> JSON {
        switch value {
        case .object(let members):
            return .object(
                members.reduce(into: [:]) { result, member in
                    result[member.key] = rewritten(member.value, name: member.key)
                })
        case .array(let items): return .array(items.map { rewritten($0, name: name) })
        case .string(let text):
            guard isTime(name), text.last?.isLetter == true, Int(text.dropLast()) == nil,
                let duration = Duration(istio: text)
            else { return value }
            return .string(seconds(duration))
        default: return value
        }
    }

    /// Envoy's names of fields that are durations.
    private static func isTime(_ name: String) -> Bool {
        let name = name.lowercased()
        let ends = [
            "timeout", "interval", "rate", "duration", "delay", "period", "ttl", "window", "time", "jitter", "age",
        ]
        return ends.contains { name.hasSuffix($0) }
    }

    /// `1.5s`.
    private static func seconds(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let nanoseconds = attoseconds / 1_000_000_000
        guard nanoseconds != 0 else { return "\(seconds)s" }
        let digits = String(abs(nanoseconds))
        return "\(seconds).\(String(repeating: "0", count: max(0, 9 - digits.count)))\(digits)s"
    }
}
