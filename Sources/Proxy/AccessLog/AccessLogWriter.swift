internal import IO
internal import Telemetry

/// Collects a loop's access-log lines and writes them in batches.
final class AccessLogWriter {
    private static let log = Logger("access log")
    /// A batch this large does not wait for the timer.
    private static let batchBytes = 32_768
    private static let interval: Duration = .seconds(1)

    private unowned let loop: EventLoop
    private var pending: [AccessLogConfig.Sink: [UInt8]] = [:]
    private var isScheduled = false
    private var hasFailed = false

    init(loop: EventLoop) { self.loop = loop }

    func write(_ line: String, to sink: AccessLogConfig.Sink) {
        pending[sink, default: []].append(contentsOf: line.utf8)
        if pending[sink, default: []].count >= Self.batchBytes { flush(sink) }
        guard !isScheduled else { return }
        isScheduled = true
        loop.schedule(after: Self.interval) { [weak self] in
            self?.isScheduled = false
            self?.flush()
        }
    }

    func flush() {
        for sink in pending.keys { flush(sink) }
    }

    private func flush(_ sink: AccessLogConfig.Sink) {
        guard let bytes = pending[sink], !bytes.isEmpty else { return }
        pending[sink] = []
        switch sink {
        case .stdout: Console.out(String(decoding: bytes, as: UTF8.self))
        case .stderr: Console.error(String(decoding: bytes, as: UTF8.self))
        case .file(let path):
            do throws(SystemError) {
                try File.append(path, bytes)
                hasFailed = false
            } catch {
                // Said once, not per line: a full disk must not fill another log.
                if !hasFailed { Self.log.error("lines are lost: \(error)") }
                hasFailed = true
            }
        }
    }
}
