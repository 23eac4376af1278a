import APIServer
import DNS
import HTTP
import KubernetesAPI
import Serialization
import Store
import Telemetry

/// Health, figures and a read-only overview, without login on loopback: nothing secret is shown (decision 12).
///
/// `@unchecked Sendable`: used on one loop.
final class OverviewPage: @unchecked Sendable {
    private let source: any ObjectSource
    private let streams: ProxyStreams
    /// The built-in time series, once they are there.
    weak var insight: InsightService?
    /// What the exporter of metrics says of itself.
    var exporter: () -> String = { "" }
    /// What the name server has counted; nil where there is none.
    var names: () -> DNSCounts? = { nil }
    /// Our own API, where it is served.
    weak var api: APIListeners?
    /// The figures of the registry of programs that are no pods.
    var programs: () -> String = { "" }
    /// The figures of joined nodes.
    var nodes: () -> String = { "" }
    /// The dashboard, once the time series are there.
    var dashboard: Dashboard?

    init(source: any ObjectSource, streams: ProxyStreams) {
        self.source = source
        self.streams = streams
    }

    func answer(_ request: HTTPRequest) async -> HTTPResponse {
        guard Self.isLocal(request.head.authorityText) else {
            return HTTPResponse(status: 403, text: "this host name is not served here\n")
        }
        // A page of somebody else's that is open in a browser here must not read what is shown.
        let headers = request.head.headers
        let origins = (0..<headers.count).filter { headers.nameText(at: $0) == "origin" }.map {
            headers.valueText(at: $0)
        }
        guard origins.allSatisfy({ Self.isLocal($0.drop { $0 != "/" }.drop { $0 == "/" }) }) else {
            return HTTPResponse(status: 403, text: "pages of other origins are not answered\n")
        }
        if let answer = await InsightPages.prometheus(request, insight) { return answer }
        if let answer = TracePages.answer(request, streams.traces, isPublic: true) { return answer }
        if let answer = await dashboard?.answer(request) { return answer }
        switch request.path {
        case "/healthz": return HTTPResponse(status: 200, text: "ok\n")
        case "/metrics":
            return HTTPResponse(status: 200, contentType: "text/plain; version=0.0.4", body: Array(allMetrics.utf8))
        case "/" where request.head.headers["accept"]?.contains("text/html") == true:
            var head = ResponseHead(status: 303)
            try? head.headers.append(.location, "/dashboard")
            return HTTPResponse(head, .bytes([]))
        case "/", "/proxies":
            return HTTPResponse(status: 200, contentType: "application/json", body: proxies.bytes)
        default: return HTTPResponse(status: 404, text: "see /dashboard, /healthz, /metrics and /proxies\n")
        }
    }

    /// A page on a foreign name that points here (DNS rebinding) is refused.
    private static func isLocal(_ authority: some StringProtocol) -> Bool {
        ["127.0.0.1", "localhost", "[::1]"].contains { authority == $0 || authority.hasPrefix("\($0):") }
    }

    /// Everything that a scraper gets.
    var allMetrics: String {
        metrics + (api?.metrics ?? "") + (insight?.metrics ?? "") + (streams.traces?.metrics ?? "")
            + (dashboard?.metrics ?? "") + programs() + exporter()
    }

    /// The control plane's own figures, in Prometheus' text format.
    var metrics: String {
        var text = """
            # HELP skein_control_proxies Connected proxies.
            # TYPE skein_control_proxies gauge
            skein_control_proxies \(streams.publisher.streamCount)
            # HELP skein_control_proxies_unsettled Proxies that have not acknowledged everything.
            # TYPE skein_control_proxies_unsettled gauge
            skein_control_proxies_unsettled \(streams.publisher.proxies.filter { !$0.isSettled }.count)
            # HELP skein_control_proxies_refusing Proxies that refused their last configuration of some type.
            # TYPE skein_control_proxies_refusing gauge
            skein_control_proxies_refusing \(streams.publisher.proxies.filter { !$0.rejected.isEmpty }.count)
            # HELP skein_control_drain_laggards_total Proxies that did not acknowledge in time that a pod stops.
            # TYPE skein_control_drain_laggards_total counter
            skein_control_drain_laggards_total \(streams.publisher.laggardCount)
            # HELP skein_control_snapshots_total Translations of the mesh.
            # TYPE skein_control_snapshots_total counter
            skein_control_snapshots_total \(streams.publisher.generation)
            # HELP skein_control_objects Objects in the store.
            # TYPE skein_control_objects gauge

            """
        for (kind, count) in source.counts {
            text += "skein_control_objects{kind=\"\(kind.kind)\",group=\"\(kind.group)\"} \(count)\n"
        }
        return text + storeMetrics + nameMetrics + nodes() + (streams.rateLimits?.metrics ?? "")
    }

    private var nameMetrics: String { names()?.metrics ?? "" }

    private var storeMetrics: String {
        guard let counters = source.storeCounters else { return "" }
        let counted: [(name: String, help: String, value: UInt64)] = [
            ("writes", "Writes that are safe.", counters.settledWrites.value),
            ("batches", "Steps in which they became safe: fsyncs, transactions.", counters.batches.value),
            ("refused_writes", "Writes refused because too many were waiting.", counters.refusedWrites.value),
            ("overtaken", "Steps taken back because another server was faster.", counters.overtaken.value),
            ("reloads", "Times that everything was read.", counters.reloads.value),
            ("lost_watches", "Watches that fell too far behind.", counters.lostWatches.value),
        ]
        var text = ""
        for counter in counted {
            text += "# HELP skein_store_\(counter.name)_total \(counter.help)\n"
            text += "# TYPE skein_store_\(counter.name)_total counter\n"
            text += "skein_store_\(counter.name)_total \(counter.value)\n"
        }
        return text
    }

    private var proxies: JSON {
        [
            "proxies": .array(
                streams.publisher.proxies.map { proxy in
                    [
                        "pod": .string("\(proxy.pod)"), "synced": .bool(proxy.isSettled),
                        "refused": .object(proxy.rejected.mapValues { .string($0) }),
                    ]
                })
        ]
    }
}
