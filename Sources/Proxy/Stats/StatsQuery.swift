internal import Telemetry
internal import Upstream

/// What a request for `/stats` asks, with Envoy's parameters.
struct StatsQuery: Sendable {
    /// How the answer is written.
    enum Format: Sendable { case text, json, prometheus }
    /// Which kind of metric.
    enum Kind: String, Sendable {
        case all = "All", counters = "Counters", gauges = "Gauges", histograms = "Histograms", texts = "TextReadouts"
    }
    /// How histograms are shown.
    enum Buckets: Sendable { case summary, cumulative, disjoint, detailed }

    /// Why a query is refused, in Envoy's words.
    struct Refusal: Error { let text: String }

    var format = Format.text
    var kind = Kind.all
    var buckets: Buckets?
    var usedOnly = false
    var hidesAll = false
    var showsTexts = false
    var isPretty = false
    var filter: RegularExpression?

    init(_ items: [String: String], isPrometheus: Bool = false) throws(Refusal) {
        usedOnly = items["usedonly"] != nil
        showsTexts = items["text_readouts"] != nil
        isPretty = items["pretty"] != nil
        switch items["format"] ?? "text" {
        case "text", "html", "active-html", "": format = .text
        case "json": format = .json
        case "prometheus": format = .prometheus
        default: throw Refusal(text: "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n")
        }
        if isPrometheus { format = .prometheus }
        if let type = items["type"] {
            guard let kind = Kind(rawValue: type) else { throw Refusal(text: "invalid &type= param") }
            self.kind = kind
        }
        switch items["histogram_buckets"] {
        case nil, ""?, "none"?: buckets = nil
        case "summary"?: buckets = .summary
        case "cumulative"?: buckets = .cumulative
        case "disjoint"?: buckets = .disjoint
        case "detailed"?: buckets = .detailed
        default:
            throw Refusal(
                text: "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary|prometheusnative)\n")
        }
        switch items["hidden"] {
        case nil, "include"?, "exclude"?: hidesAll = false
        case "only"?: hidesAll = true
        default: throw Refusal(text: "usage: /stats?hidden=(include|only|exclude)\n\n")
        }
        if let pattern = items["filter"], !pattern.isEmpty {
            do throws(RegularExpressionError) {
                filter = try RegularExpression(pattern)
            } catch {
                throw Refusal(text: "Invalid re2 regex: \(error.description)")
            }
        }
    }

    /// Whether the answer holds the metric.
    func takes(_ sample: MetricSample, _ dotted: String) -> Bool {
        if hidesAll || usedOnly && !sample.isUsed { return false }
        switch (kind, sample.value) {
        case (.all, _), (.counters, .counter), (.gauges, .gauge), (.histograms, .histogram), (.texts, .text): break
        default: return false
        }
        return filter.map { $0.find(in: Array(dotted.utf8)) != nil } ?? true
    }

    /// Whether the answer holds a standard metric; those that are zero are not there.
    func takes(standard name: String) -> Bool {
        guard !hidesAll, [.all, name.hasSuffix("_total") ? .counters : .histograms].contains(kind) else { return false }
        return filter.map { $0.find(in: Array(name.utf8)) != nil } ?? true
    }
}
