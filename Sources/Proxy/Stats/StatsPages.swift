internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry

/// The admin pages about metrics: `/stats`, `/stats/prometheus`, `/reset_counters`.
enum StatsPages {
    /// Answers `/stats` and `/stats/prometheus`.
    static func answer(_ proxy: ProxyServer, _ query: [String: String], isPrometheus: Bool) async -> HTTPResponse {
        let asked: StatsQuery
        do throws(StatsQuery.Refusal) {
            asked = try StatsQuery(query, isPrometheus: isPrometheus)
        } catch {
            return HTTPResponse(status: 400, text: error.text)
        }
        let configuration = proxy.stats
        var entries: [StatsText.Entry] = []
        for sample in await MetricReport.samples(proxy) {
            let dotted = sample.name.dotted
            if configuration.shows(dotted), asked.takes(sample, dotted) { entries.append((dotted, sample)) }
        }
        entries.sort { $0.dotted < $1.dotted }
        switch asked.format {
        case .text: return HTTPResponse(status: 200, text: StatsText.text(entries, asked))
        case .json:
            let json = StatsText.json(entries, asked)
            return HTTPResponse(
                status: 200, contentType: "application/json",
                body: asked.isPretty ? Array(json.pretty.utf8) : json.bytes)
        case .prometheus:
            var text = PrometheusText.text(entries, asked, configuration.tags)
            if query["standard"] == "compact" {
                text += StandardMetricsText.compact(proxy.metrics.standard, shows: configuration.shows)
            } else {
                text += StandardMetricsText.prometheus(proxy.metrics.standard) { name in
                    configuration.shows(name) && asked.takes(standard: name)
                }
            }
            return HTTPResponse(
                status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", body: Array(text.utf8))
        }
    }
}
