internal import IO

/// A connection as its listener's access log sees it: nothing is known of what it carries.
struct ListenerLogContext: FormatContext {
    var info: StreamInfo
    var connectionInfo: ConnectionInfo
    /// Who counts; nil where nobody does.
    var worker: Worker?

    func expressionGaveUp() { worker?.countExpressionGivenUp() }
}

extension Worker {
    /// Writes a line about a connection that is over, or that no filter chain takes, into its listener's logs.
    func log(
        _ configs: [AccessLogConfig], _ connection: ConnectionInfo, started: MonotonicTime, flags: ResponseFlags = [],
        details: String? = nil, received: UInt64 = 0, sent: UInt64 = 0
    ) {
        guard !configs.isEmpty else { return }
        var info = StreamInfo(started: started)
        let age = (loop.now - started).wholeNanoseconds
        // The wall clock is read once, at the end: the beginning is that much earlier.
        info.startedWall = WallClock.ago(age)
        info.lastDownstreamByteSent = loop.now
        info.flags = flags
        info.details = details
        info.bytesReceived = received
        info.bytesSent = sent
        accessLog.log(configs, ListenerLogContext(info: info, connectionInfo: connection, worker: self), .notSet) {
            random.next()
        }
    }
}
