internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry

/// Tells a management server what the clusters did, as often as it wants to know (LRS).
///
/// `@unchecked Sendable`: lives on the control loop alone.
final class LoadReportSession: ManagementSession, @unchecked Sendable {
    private static let log = Logger("lrs")
    private static let path = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"
    /// Whoever wants reports more often gets them as often as this.
    static let intervalMin: Duration = .milliseconds(100)

    private let loop: EventLoop
    private let node: Node
    private let clusters: () async -> [ClusterReport]
    private let metrics: Metrics
    private var report = ClusterLoadReport()
    private var stream: ManagementStream?
    private var timer: LoopTimer?
    /// Of the present stream and the present wish: an answer to an older one is dropped.
    private var turn = 0
    var send: ([[UInt8]]) -> Void = { _ in }

    /// `load_reporter.*`.
    private struct Metrics {
        let requests: MetricCounter
        let responses: MetricCounter
        let errors: MetricCounter
        let retries: MetricCounter
        let row: Int
    }

    /// Starts it, if the bootstrap says where reports go.
    static func start(_ proxy: ProxyServer) -> LoadReportSession? {
        guard let source = proxy.bootstrap.loadReports else { return nil }
        let session = LoadReportSession(proxy)
        let stream = ManagementStream(
            loop: proxy.loop, store: proxy.store, source: source, path: path, session: session)
        session.stream = stream
        stream.start()
        return session
    }

    private init(_ proxy: ProxyServer) {
        loop = proxy.loop
        node = proxy.bootstrap.node
        clusters = { [weak proxy] in
            guard let proxy else { return [] }
            return await ClusterReport.all(proxy)
        }
        let metrics = proxy.store.context.metrics
        let scope = metrics.scope("load_reporter")
        self.metrics = Metrics(
            requests: scope.counter("requests"), responses: scope.counter("responses"),
            errors: scope.counter("errors"), retries: scope.counter("retries"), row: metrics.controlRow)
    }

    func stop() {
        timer?.cancel()
        stream?.stop()
    }

    func connected() {
        var request = LoadStatsRequest()
        request.node = node
        request.node?.clientFeatures.append("envoy.lrs.supports_send_all_clusters")
        metrics.requests.add(row: metrics.row)
        send([request.serialized()])
    }

    func disconnected() {
        turn += 1
        timer?.cancel()
        report.forget()
        metrics.errors.add(row: metrics.row)
        metrics.retries.add(row: metrics.row)
    }

    func received(_ bytes: [UInt8]) throws(MessageError) {
        let response = try LoadStatsResponse(serialized: bytes)
        metrics.responses.add(row: metrics.row)
        turn += 1
        timer?.cancel()
        let turn = turn
        let interval = max(response.loadReportingInterval ?? .zero, Self.intervalMin)
        Self.log.debug(
            "load is reported",
            ["every": "\(interval)", "clusters": response.sendAllClusters ? "all" : "\(response.clusters.count)"])
        Task(executorPreference: loop) {
            let clusters = await self.clusters()
            guard turn == self.turn else { return }
            self.report.want(response, clusters, at: self.loop.now)
            self.schedule(interval, turn)
        }
    }

    private func schedule(_ interval: Duration, _ turn: Int) {
        timer = loop.schedule(after: interval) { [weak self] in
            guard let self else { return }
            Task(executorPreference: self.loop) { await self.tell(interval, turn) }
        }
    }

    private func tell(_ interval: Duration, _ turn: Int) async {
        let clusters = await clusters()
        guard turn == self.turn else { return }
        var request = LoadStatsRequest()
        request.clusterStats = report.take(clusters, at: loop.now)
        metrics.requests.add(row: metrics.row)
        send([request.serialized()])
        schedule(interval, turn)
    }
}
