internal import Glibc

/// A text with places for the value and the labels of an alert: the part of Prometheus' templates that rules use.
///
/// `{{ $value }}`, `{{ $labels.NAME }}`, each also through `humanize`, `humanizePercentage`, `humanizeDuration` or `printf "%.2f"`.
struct AlertTemplate: Sendable {
    private enum Piece: Sendable {
        case text(String)
        case value(Filter)
        case label(String)
    }
    private enum Filter: Sendable { case plain, humanize, percentage, duration, digits(Int) }

    private var pieces: [Piece] = []

    init(_ text: String) throws(QueryError) {
        var rest = Substring(text)
        while let open = rest.firstRange(of: "{{") {
            pieces.append(.text(String(rest[..<open.lowerBound])))
            guard let close = rest[open.upperBound...].firstRange(of: "}}") else {
                throw QueryError("{{ without }}")
            }
            pieces.append(try Self.piece(String(rest[open.upperBound..<close.lowerBound])))
            rest = rest[close.upperBound...]
        }
        pieces.append(.text(String(rest)))
    }

    private static func piece(_ text: String) throws(QueryError) -> Piece {
        let parts = text.split(separator: "|").map { $0.split(whereSeparator: \.isWhitespace).map(String.init) }
        guard let first = parts.first, first.count == 1 || first.first == "printf", parts.count <= 2 else {
            throw QueryError("{{\(text)}} is not of this subset of templates")
        }
        for prefix in ["$labels.", ".Labels."] where first[0].hasPrefix(prefix) && parts.count == 1 {
            return .label(String(first[0].dropFirst(prefix.count)))
        }
        let value = ["$value", ".Value"]
        if first.first == "printf", first.count == 3, value.contains(first[2]), parts.count == 1 {
            return .value(try digits(first[1], text))
        }
        guard first.count == 1, value.contains(first[0]) else {
            throw QueryError("{{\(text)}} is not of this subset of templates")
        }
        guard parts.count == 2 else { return .value(.plain) }
        switch parts[1].first {
        case "humanize": return .value(.humanize)
        case "humanizePercentage": return .value(.percentage)
        case "humanizeDuration": return .value(.duration)
        case "printf" where parts[1].count == 2: return .value(try digits(parts[1][1], text))
        default: throw QueryError("{{\(text)}} is not of this subset of templates")
        }
    }

    private static func digits(_ format: String, _ text: String) throws(QueryError) -> Filter {
        let inner = format.filter { $0 != "\"" }
        guard inner.hasPrefix("%."), inner.hasSuffix("f"), let digits = Int(inner.dropFirst(2).dropLast()), digits < 10
        else { throw QueryError("{{\(text)}}: of printf only %.Nf is known") }
        return .digits(digits)
    }

    func text(_ value: Double, _ labels: Labels) -> String {
        pieces.map { piece in
            switch piece {
            case .text(let text): text
            case .label(let name): labels[name]
            case .value(let filter): Self.text(value, filter)
            }
        }.joined()
    }

    private static func text(_ value: Double, _ filter: Filter) -> String {
        guard value.isFinite else { return NumberText.text(value) }
        switch filter {
        case .plain: return NumberText.text(value)
        case .digits(let digits): return NumberText.fixed(value, digits)
        case .percentage: return significant(value * 100) + "%"
        case .humanize: return humanized(value)
        case .duration: return duration(value)
        }
    }

    /// Four digits, as `%.4g` writes them for numbers of common size.
    private static func significant(_ value: Double) -> String {
        guard value != 0 else { return "0" }
        let magnitude = Int(log10(abs(value)).rounded(.down))
        let text = NumberText.fixed(value, max(0, min(9, 3 - magnitude)))
        guard text.contains(".") else { return text }
        return String(text.reversed().drop { $0 == "0" }.drop { $0 == "." }.reversed())
    }

    private static func humanized(_ value: Double) -> String {
        var rest = value
        if abs(rest) >= 1 {
            for prefix in ["", "k", "M", "G", "T", "P"] {
                if abs(rest) < 1000 { return significant(rest) + prefix }
                rest /= 1000
            }
            return significant(rest) + "E"
        }
        for prefix in ["", "m", "u", "n"] {
            if rest == 0 || abs(rest) >= 1 { return significant(rest) + prefix }
            rest *= 1000
        }
        return significant(rest) + "p"
    }

    private static func duration(_ value: Double) -> String {
        guard abs(value) >= 1 else { return humanized(value) + "s" }
        let seconds = Int64(abs(value)) % 60
        let (minutes, hours, days) = (
            Int64(abs(value)) / 60 % 60, Int64(abs(value)) / 3600 % 24, Int64(abs(value)) / 86_400
        )
        let sign = value < 0 ? "-" : ""
        if days > 0 { return "\(sign)\(days)d \(hours)h \(minutes)m \(seconds)s" }
        if hours > 0 { return "\(sign)\(hours)h \(minutes)m \(seconds)s" }
        if minutes > 0 { return "\(sign)\(minutes)m \(seconds)s" }
        return sign + significant(abs(value)) + "s"
    }
}
