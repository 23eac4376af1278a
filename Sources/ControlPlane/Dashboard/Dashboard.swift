import HTTP
import IO
import Insight
import Mesh
import Serialization
import Telemetry

/// The dashboard: its files, what they ask, and the events that keep them current.
///
/// Reads only.
///
/// - `/dashboard` and `/dashboard/FILE`: the page, its style and its modules (`DashboardAssets`), nothing from elsewhere;
/// - `/dashboard/mesh?window=SECONDS`: what the overview and the graph show; as open as `/metrics`, of which it is made;
/// - `/dashboard/events?window=SECONDS`: the same as server-sent events, after each reading of the metrics;
/// - `/skein/v1/…`: what is for administrators, with the token that `skein dashboard` hands out (ATK-32).
///
/// `Host` and `Origin` are checked before (`OverviewPage`). `@unchecked Sendable`: used on one loop.
final class Dashboard: @unchecked Sendable {
    /// The spans that can be looked at, in seconds.
    static let windows: [Int64] = [60, 300, 900, 3600]

    private let insight: InsightService
    private let streams: ProxyStreams
    /// Who behind a host answers.
    var behind: MeshPicture.Behind = { _, _ in [:] }
    /// Answers what is below `/skein/v1/`; without it there is nothing.
    var pages: (@Sendable (HTTPRequest) async -> HTTPResponse)?
    private let token: DashboardToken
    let events: DashboardEvents
    /// Pictures of the present tick, by window: many readers, one computation.
    private var drawn: [Int64: (tick: Int64, bytes: [UInt8])] = [:]
    /// Requests for administrators' pages without the right token.
    private(set) var refused: UInt64 = 0

    init(_ insight: InsightService, _ streams: ProxyStreams, token: DashboardToken, on loop: EventLoop) {
        self.insight = insight
        self.streams = streams
        self.token = token
        events = DashboardEvents(on: loop)
        insight.ticked = { [weak self] in self?.publish() }
    }

    /// The answer; nil when it is no path of the dashboard's.
    func answer(_ request: HTTPRequest) async -> HTTPResponse? {
        let path = request.path
        if path.hasPrefix("/skein/v1/") { return await administration(request) }
        guard path == "/dashboard" || path.hasPrefix("/dashboard/") else { return nil }
        guard request.head.method == .get || request.head.method == .head else {
            return DashboardHeaders.put(on: HTTPResponse(status: 405, text: "GET only\n"))
        }
        switch path {
        case "/dashboard/mesh", "/dashboard/events":
            guard let window = Self.window(request) else {
                let known = Self.windows.map(String.init).joined(separator: ", ")
                return DashboardHeaders.put(on: HTTPResponse(status: 400, text: "window=: one of \(known)\n"))
            }
            if path == "/dashboard/events" {
                return DashboardHeaders.put(on: events.open(window, now: picture(window)))
            }
            let response = HTTPResponse(status: 200, contentType: "application/json", body: picture(window))
            return DashboardHeaders.put(on: response)
        default: return DashboardHeaders.put(on: DashboardFiles.answer(request))
        }
    }

    private static func window(_ request: HTTPRequest) -> Int64? {
        guard let text = request.queryItems.first(where: { $0.name == "window" })?.value else { return windows[0] }
        return Int64(text).flatMap { windows.contains($0) ? $0 : nil }
    }

    /// What is for administrators: whoever can read the data directory of this Skein has the token.
    private func administration(_ request: HTTPRequest) async -> HTTPResponse {
        guard let field = request.head.headers["authorization"], token.isRight(field) else {
            refused += 1
            let text = "\(request.path) is for administrators: skein dashboard prints the address with the token\n"
            return DashboardHeaders.put(on: HTTPResponse(status: 401, text: text))
        }
        guard let pages, request.head.method == .get else {
            let status: UInt16 = pages == nil ? 404 : 405
            return DashboardHeaders.put(on: HTTPResponse(status: status, text: "GET only\n"))
        }
        return DashboardHeaders.put(on: await pages(request))
    }

    // MARK: The picture

    /// The mesh as JSON; computed once for each tick and window.
    private func picture(_ window: Int64) -> [UInt8] {
        let tick = insight.newest ?? 0
        if let known = drawn[window], known.tick == tick, tick > 0 { return known.bytes }
        let bytes = describe(window).bytes
        drawn[window] = (tick, bytes)
        return bytes
    }

    private func describe(_ window: Int64) -> JSON {
        let tick = insight.newest ?? 0
        let picture = MeshPicture(insight.store, now: tick, ticks: window / Insight.step, behind: behind)
        let alerts = insight.alerts
        var problems = MeshProblem.find(picture, insight.store, alerts: alerts.book.alerts, now: tick)
        let proxies = streams.publisher.proxies
        for proxy in proxies {
            for (type, reason) in proxy.rejected.sorted(by: { $0.key < $1.key }) {
                problems.append(MeshProblem(.critical, .refused, "\(proxy.pod)", "\(type): \(reason)"))
            }
        }
        if let problem = alerts.problem { problems.append(MeshProblem(.warning, .alertConfiguration, problem)) }
        var json = picture.json
        json["time"] = .integer(tick * Insight.step)
        json["problems"] = MeshProblem.json(problems)
        json["problemCount"] = .integer(Int64(problems.count))
        json["alerts"] = alerts.shown["alerts"]
        json["proxies"] = [
            "connected": .integer(Int64(proxies.count)),
            "unsettled": .integer(Int64(proxies.count { !$0.isSettled })),
            "refusing": .integer(Int64(proxies.count { !$0.rejected.isEmpty })),
        ]
        return json
    }

    private func publish() {
        for window in events.windows { events.publish(picture(window), window: window) }
        drawn = drawn.filter { $0.value.tick == insight.newest }
    }

    /// The dashboard's own figures, as a page of metrics.
    var metrics: String {
        """
        # HELP skein_dashboard_streams Event streams that are open, of at most \(DashboardEvents.streamsMax).
        # TYPE skein_dashboard_streams gauge
        skein_dashboard_streams \(events.count)
        # HELP skein_dashboard_streams_refused_total Event streams that were one too many.
        # TYPE skein_dashboard_streams_refused_total counter
        skein_dashboard_streams_refused_total \(events.refused)
        # HELP skein_dashboard_streams_dropped_total Event streams whose reader was too slow.
        # TYPE skein_dashboard_streams_dropped_total counter
        skein_dashboard_streams_dropped_total \(events.dropped)
        # HELP skein_dashboard_unauthorized_total Requests for administrators' pages without the right token.
        # TYPE skein_dashboard_unauthorized_total counter
        skein_dashboard_unauthorized_total \(refused)

        """
    }
}

/// What every answer of the dashboard carries, so that a browser runs our files and nothing else, and shows them nowhere else.
enum DashboardHeaders {
    /// No inline script or style, nothing from other origins, no plug-in, no frame, no form, no text that becomes HTML.
    static let contentSecurityPolicy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        + "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

    static let fields = [
        ("content-security-policy", contentSecurityPolicy), ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"), ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"), ("cross-origin-resource-policy", "same-origin"),
    ]

    static func put(on response: HTTPResponse) -> HTTPResponse {
        var response = response
        // The names and values are constants that fit any head.
        for (name, value) in fields { try? response.head.headers.append(name, value) }
        if !response.head.headers.contains(.cacheControl) {
            try? response.head.headers.append(.cacheControl, "no-store")
        }
        return response
    }
}
