internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// When a TCP proxy writes lines besides the one at the end: `access_log_options`.
struct TCPLogOptions: Sendable {
    var logsStart = false
    var logsConnected = false
    var interval: Duration?

    init(compiling message: TcpProxy, at path: String) throws(ConfigurationError) {
        let options = message.accessLogOptions
        logsStart = options?.flushAccessLogOnStart ?? false
        logsConnected = options?.flushAccessLogOnConnected ?? message.flushAccessLogOnConnected
        interval = options?.accessLogFlushInterval ?? message.accessLogFlushInterval
        guard interval.map({ $0 >= .milliseconds(1) }) ?? true else {
            throw ConfigurationError(at: path + ".access_log_options.access_log_flush_interval", "is below 1 ms")
        }
    }
}

extension TCPSession {
    /// Writes a line about the connection as it is now.
    func log(_ type: LogType) {
        let config = proxy.config
        guard !config.accessLogs.isEmpty else { return }
        worker.accessLog.log(config.accessLogs, self, type) { worker.random.next() }
    }

    /// The connection has begun.
    func logStart() {
        let options = proxy.config.logOptions
        if options.logsStart { log(.tcpConnectionStart) }
        if let interval = options.interval, !proxy.config.accessLogs.isEmpty { logPeriodically(interval) }
    }

    private func logPeriodically(_ interval: Duration) {
        _ = worker.schedule(after: interval) { [weak self] in
            guard let self, !self.isOver else { return }
            self.log(.tcpPeriodic)
            self.logPeriodically(interval)
        }
    }
}
