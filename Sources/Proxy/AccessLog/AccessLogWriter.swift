internal import IO
internal import Serialization
internal import Telemetry

/// The access logs of one loop: collects lines and writes them in batches, never waiting for whoever takes them.
final class AccessLogWriter {
    private static let log = Logger("access log")
    /// A batch this large does not wait for the timer (`--file-flush-min-size-kb`).
    var batchBytes = 65_536
    /// How long a line waits for others (`--file-flush-interval-msec`).
    var interval: Duration = .seconds(1)

    private unowned let loop: EventLoop
    private let metrics: LogFileMetrics
    private let row: Int
    private var files: [LogFileName: LogFile] = [:]
    /// Whose line was the last, and where it went: nearly always the same again.
    private var last: (log: FileLog, file: LogFile)?
    private var isScheduled = false

    /// One open log.
    private final class LogFile {
        var file: AppendFile?
        var pending = FormatLine(capacity: 4096)
        var hasFailed = false
    }

    init(loop: EventLoop, metrics: MetricSet, row: Int) {
        self.loop = loop
        self.row = row
        self.metrics = LogFileMetrics(metrics.scope("filesystem"))
    }

    /// Writes a line about the context into each of the logs whose filter it passes.
    func log<Context: FormatContext>(
        _ configs: [AccessLogConfig], _ context: Context, _ type: LogType, random: () -> UInt64
    ) {
        let moment = FormatMoment(type: type, now: loop.now)
        for config in configs {
            if let filter = config.filter, !filter.passes(context, moment, random: random) { continue }
            switch config.sink {
            case .file(let log): write(log, context, moment)
            case .remote(.grpc(let log)): log.write(context, moment, row: row)
            case .remote(.openTelemetry(let log)): log.write(context, moment, row: row)
            }
        }
    }

    private func write<Context: FormatContext>(
        _ log: FileLog, _ context: Context, _ moment: FormatMoment
    ) {
        let file = file(log)
        guard file.pending.count < Limits.logBufferBytes else { return metrics.failed.add(row: row) }
        let before = file.pending.count
        log.format.appendLine(context, moment, to: &file.pending)
        metrics.buffered.add(row: row)
        metrics.bytesBuffered.add(UInt64(file.pending.count - before), row: row)
        if file.pending.count >= batchBytes { flush(log.name, file) }
        guard !isScheduled else { return }
        isScheduled = true
        loop.schedule(after: interval) { [weak self] in
            guard let self else { return }
            self.isScheduled = false
            self.metrics.flushedByTimer.add(row: self.row)
            self.flush()
        }
    }

    private func file(_ log: FileLog) -> LogFile {
        if let last, last.log === log { return last.file }
        let file = files[log.name] ?? LogFile()
        files[log.name] = file
        last = (log, file)
        return file
    }

    func flush() {
        for (name, file) in files { flush(name, file) }
    }

    /// Opens the files anew: somebody has moved them away (SIGUSR1).
    func reopen() {
        flush()
        for file in files.values { file.file = nil }
    }

    private func flush(_ name: LogFileName, _ file: LogFile) {
        guard !file.pending.isEmpty else { return }
        do throws(SystemError) {
            let open: AppendFile
            if let known = file.file {
                open = known
            } else {
                switch name {
                case .path(let path): open = try AppendFile(path)
                case .stdout: open = AppendFile(descriptor: 1)
                case .stderr: open = AppendFile(descriptor: 2)
                }
                file.file = open
            }
            var failure: SystemError?
            let written = file.pending.withBytes { bytes in
                do throws(SystemError) {
                    return try open.write(bytes)
                } catch {
                    failure = error
                    return 0
                }
            }
            if let failure { throw failure }
            metrics.bytesBuffered.subtract(UInt64(written), row: row)
            if written == file.pending.count {
                file.pending.cut(to: 0)
                metrics.completed.add(row: row)
            } else {
                // Whoever reads the pipe is slow: the rest waits, up to a limit.
                file.pending.remove(0..<written)
            }
            file.hasFailed = false
        } catch {
            // Said once, not per line: a full disk must not fill another log.
            if !file.hasFailed { Self.log.error("lines are lost: \(error)") }
            file.hasFailed = true
            if file.file == nil { metrics.reopenFailed.add(row: row) }
            metrics.failed.add(row: row)
            metrics.bytesBuffered.subtract(UInt64(file.pending.count), row: row)
            file.pending.cut(to: 0)
            file.file = nil
        }
    }
}

/// `filesystem.*`, as Envoy counts its log files.
private struct LogFileMetrics {
    let buffered: MetricCounter
    let completed: MetricCounter
    let failed: MetricCounter
    let reopenFailed: MetricCounter
    let flushedByTimer: MetricCounter
    let bytesBuffered: MetricGauge

    init(_ scope: MetricScope) {
        buffered = scope.counter("write_buffered")
        completed = scope.counter("write_completed")
        failed = scope.counter("write_failed")
        reopenFailed = scope.counter("reopen_failed")
        flushedByTimer = scope.counter("flushed_by_timer")
        bytesBuffered = scope.gauge("write_total_buffered")
    }
}
