internal import IO
internal import Telemetry
import Telemetry

/// Sends the metrics of the process as statsd lines at each flush.
///
/// `@unchecked Sendable`: lives on the control loop alone.
final class StatsdSink: @unchecked Sendable {
    private static let log = Logger("sink")

    private let config: StatsdSinkConfig
    private let interval: Duration
    private let loop: EventLoop
    private weak var proxy: ProxyServer?
    private var lines: StatsdLines
    private var timer: LoopTimer?
    private var socket: Socket?
    private var isFlushing = false
    private var hasFailed = false
    /// `stats_sinks.statsd.*`.
    private let sent: MetricCounter
    private let failed: MetricCounter
    private let row: Int

    init(_ config: StatsdSinkConfig, interval: Duration, _ proxy: ProxyServer) {
        self.config = config
        self.interval = interval
        self.proxy = proxy
        loop = proxy.loop
        row = proxy.metrics.controlRow
        lines = StatsdLines(prefix: config.prefix, tagsValues: config.tagsValues)
        let scope = proxy.metrics.scope("stats_sinks", "statsd")
        sent = scope.counter("lines_sent")
        failed = scope.counter("lines_lost")
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
        socket?.close()
        socket = nil
    }

    private func flush() async {
        guard !isFlushing, let proxy else { return }
        isFlushing = true
        defer { isFlushing = false }
        let stats = proxy.stats
        let samples = await MetricReport.samples(proxy).filter { $0.isUsed && stats.shows($0.name.dotted) }
        let made = lines.make(samples) { stats.tags.extract($0) }
        guard !made.isEmpty else { return }
        var lost = 0
        switch config.target {
        case .datagrams(let address): lost = send(made, to: address)
        case .stream(let target):
            let bytes = Array(made.map { $0 + "\n" }.joined().utf8)
            if await proxy.collectors.send(bytes, to: target) == nil { lost = made.count }
        }
        sent.add(UInt64(made.count - lost), row: row)
        failed.add(UInt64(lost), row: row)
        if lost > 0, !hasFailed { Self.log.warning("metrics were not taken", ["lines": "\(lost)"]) }
        hasFailed = lost > 0
    }

    /// How many lines were lost.
    private func send(_ made: [String], to address: SocketAddress) -> Int {
        var lost = 0
        for (text, count) in StatsdLines.datagrams(made, bytesMax: config.datagramBytes) {
            do throws(SystemError) {
                if socket == nil { socket = try Socket.datagram(connectedTo: address) }
                let bytes = Array(text.utf8)
                guard let socket else { continue }
                var failure: SystemError?
                bytes.withUnsafeBytes { pointer in
                    do throws(SystemError) { try socket.sendDatagram(pointer) } catch { failure = error }
                }
                if let failure { throw failure }
            } catch {
                // Nobody there is told by the datagram after the one that found nobody: the socket stays.
                lost += count
            }
        }
        return lost
    }
}

/// What samples are in statsd's words.
///
/// Pure.
struct StatsdLines {
    let prefix: String
    let tagsValues: Bool
    /// What has been told of counters and histograms.
    private var told: [String: UInt64] = [:]
    private var toldHistograms: [String: HistogramSnapshot] = [:]

    init(prefix: String, tagsValues: Bool) {
        self.prefix = prefix
        self.tagsValues = tagsValues
    }

    /// A line for each sample; counters and histograms tell what has come since the lines before.
    ///
    /// The values of a histogram are known by its buckets: each bucket that has grown is one line, with the upper bound for a value and the count for a
    /// rate (`|@0.1`: ten of them), which servers count alike.
    mutating func make(
        _ samples: [MetricSample], tags: (MetricName) -> (String, [(name: String, value: String)])
    ) -> [String] {
        var lines: [String] = []
        var (seen, seenHistograms): ([String: UInt64], [String: HistogramSnapshot]) = ([:], [:])
        for sample in samples {
            var (name, behind) = (sample.name.dotted, "")
            if tagsValues {
                let (left, found) = tags(sample.name)
                name = left
                if !found.isEmpty { behind = "|#" + found.map { "\($0.name):\($0.value)" }.joined(separator: ",") }
            }
            let key = sample.name.masked
            func line(_ value: String, _ kind: String) {
                lines.append("\(prefix)\(Self.clean(name)):\(value)|\(kind)\(behind)")
            }
            switch sample.value {
            case .text: continue
            case .gauge(let value): line("\(value)", "g")
            case .counter(let value):
                seen[key] = value
                let before = told[key] ?? 0
                // Somebody has reset it: what it has is what has come since.
                line("\(value >= before ? value - before : value)", "c")
            case .histogram(let snapshot):
                seenHistograms[key] = snapshot
                let grown = toldHistograms[key].map { snapshot.grown(since: $0) } ?? snapshot
                for (index, fresh) in grown.counts.enumerated() where fresh > 0 {
                    let bounds = snapshot.bounds
                    let bound = bounds.indices.contains(index) ? bounds[index] : bounds.last ?? 0
                    line(Self.text(bound), fresh == 1 ? "ms" : "ms|@\(1 / Double(fresh))")
                }
            }
        }
        told = seen
        toldHistograms = seenHistograms
        return lines
    }

    private static func text(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
    }

    /// A name without what ends one.
    private static func clean(_ name: String) -> String {
        String(name.map { $0 == ":" || $0 == "|" || $0 == "\n" ? "_" : $0 })
    }

    /// Lines put together up to a size; each datagram with how many it has.
    static func datagrams(_ lines: [String], bytesMax: Int) -> [(text: String, count: Int)] {
        var result: [(text: String, count: Int)] = []
        for line in lines {
            if let last = result.last, last.text.utf8.count + line.utf8.count + 1 <= bytesMax {
                result[result.count - 1] = (last.text + "\n" + line, last.count + 1)
            } else {
                result.append((line, 1))
            }
        }
        return result
    }
}
