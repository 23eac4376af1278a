internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
import Telemetry

/// Sends the metrics of the process to a collector at each flush.
///
/// A message that nobody takes is tried again, three times; then the next flush tells the same: cumulative values by themselves, deltas since what has
/// arrived. `@unchecked Sendable`: lives on the control loop alone.
final class MetricSink: @unchecked Sendable {
    private static let log = Logger("sink")
    /// How often a message is tried again, and how long is waited before the first further try; each next wait is twice as long.
    private static let retries = 3
    private static let pause = Duration.milliseconds(250)

    private let config: MetricSinkConfig
    private let interval: Duration
    private let loop: EventLoop
    private weak var proxy: ProxyServer?
    private var export: MetricExport
    private var timer: LoopTimer?
    private var isFlushing = false
    private var hasFailed = false
    private let started = MetricSink.now

    /// `stats_sinks.open_telemetry.*`.
    private let sent: MetricCounter
    private let failed: MetricCounter
    private let retried: MetricCounter
    private let points: MetricCounter
    private let rejected: MetricCounter
    private let leftOut: MetricCounter
    private let row: Int

    init(_ config: MetricSinkConfig, interval: Duration, _ proxy: ProxyServer) {
        self.config = config
        self.interval = interval
        self.proxy = proxy
        loop = proxy.loop
        row = proxy.metrics.controlRow
        export = MetricExport(config)
        let scope = proxy.metrics.scope("stats_sinks", "open_telemetry")
        sent = scope.counter("exports_sent")
        failed = scope.counter("exports_failed")
        retried = scope.counter("exports_retried")
        points = scope.counter("points_sent")
        rejected = scope.counter("points_rejected")
        leftOut = scope.counter("points_left_out")
    }

    private static var now: UInt64 {
        let wall = WallClock.now
        return UInt64(clamping: wall.seconds) &* 1_000_000_000 &+ UInt64(clamping: wall.nanoseconds)
    }

    func start() {
        timer = loop.schedule(after: interval) { [weak self] in
            guard let self else { return }
            Task(executorPreference: self.loop) {
                await self.flush(retries: Self.retries)
                self.start()
            }
        }
    }

    /// The last values go out, once; the process is about to end.
    func finish() async {
        timer?.cancel()
        timer = nil
        await flush(retries: 0)
    }

    private func flush(retries: Int) async {
        guard !isFlushing, let proxy else { return }
        isFlushing = true
        defer { isFlushing = false }
        let values = await MetricExport.Point.all(
            of: proxy, prefix: config.prefix, usesExtractedName: config.usesExtractedName,
            emitsAttributes: config.emitsAttributes)
        let (batches, left) = export.batches(values, now: Self.now, started: started)
        leftOut.add(UInt64(left), row: row)
        for batch in batches {
            guard let answer = await send(batch.message, retries: retries, proxy.collectors) else {
                failed.add(row: row)
                if !hasFailed {
                    Self.log.warning("metrics were not taken", ["cluster": config.target.cluster])
                }
                hasFailed = true
                return
            }
            hasFailed = false
            export.arrived(batch)
            sent.add(row: row)
            points.add(UInt64(batch.points), row: row)
            let response = try? ExportMetricsServiceResponse(serialized: answer)
            rejected.add(UInt64(clamping: response?.partialSuccess?.rejectedDataPoints ?? 0), row: row)
        }
    }

    private func send(_ message: [UInt8], retries: Int, _ hub: CollectorHub) async -> [UInt8]? {
        var wait = Self.pause
        for attempt in 0...retries {
            if attempt > 0 {
                retried.add(row: row)
                await loop.sleep(for: wait)
                wait *= 2
            }
            if let answer = await hub.send(message, to: config.target) { return answer }
        }
        return nil
    }
}
