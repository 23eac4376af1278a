internal import IO
internal import Telemetry
import Telemetry

/// Streams the metrics of the process to a metrics service, at each flush.
///
/// One stream lasts as long as the service keeps it; its first message says who speaks. `@unchecked Sendable`: lives on the control loop alone.
final class MetricsServiceSink: @unchecked Sendable {
    private static let log = Logger("sink")

    private let config: MetricsServiceSinkConfig
    private let interval: Duration
    private let loop: EventLoop
    private weak var proxy: ProxyServer?
    private var families: MetricFamilies
    private var timer: LoopTimer?
    private var isFlushing = false
    private var hasFailed = false
    /// `stats_sinks.metrics_service.*`.
    private let sent: MetricCounter
    private let failed: MetricCounter
    private let told: MetricCounter
    private let leftOut: MetricCounter
    private let row: Int

    init(_ config: MetricsServiceSinkConfig, interval: Duration, _ proxy: ProxyServer) {
        self.config = config
        self.interval = interval
        self.proxy = proxy
        loop = proxy.loop
        row = proxy.metrics.controlRow
        families = MetricFamilies(config)
        let scope = proxy.metrics.scope("stats_sinks", "metrics_service")
        sent = scope.counter("messages_sent")
        failed = scope.counter("messages_lost")
        told = scope.counter("families_sent")
        leftOut = scope.counter("values_left_out")
    }

    func start() {
        timer = loop.schedule(after: interval) { [weak self] in
            guard let self else { return }
            Task(executorPreference: self.loop) {
                await self.flush()
                self.start()
            }
        }
    }

    /// The last values go out, once; the process is about to end.
    func finish() async {
        timer?.cancel()
        timer = nil
        await flush()
    }

    private func flush() async {
        guard !isFlushing, let proxy else { return }
        isFlushing = true
        defer { isFlushing = false }
        let points = await MetricExport.Point.all(
            of: proxy, usesExtractedName: config.emitsLabels, emitsAttributes: config.emitsLabels)
        let wall = WallClock.now
        let now = wall.seconds &* 1000 &+ Int64(wall.nanoseconds) / 1_000_000
        let (messages, left) = families.messages(points, now: now)
        leftOut.add(UInt64(left), row: row)
        for (place, message) in messages.enumerated() {
            let answer = await proxy.collectors.send(
                message.bytes, introduction: config.introduction, to: config.target)
            guard answer != nil else {
                failed.add(UInt64(messages.count - place), row: row)
                if !hasFailed { Self.log.warning("metrics were not taken", ["cluster": config.target.cluster]) }
                hasFailed = true
                return
            }
            hasFailed = false
            sent.add(row: row)
            told.add(UInt64(message.families), row: row)
        }
    }
}
