internal import IO

/// A connection as its listener's access log sees it: nothing is known of what it carries.
struct ListenerLogContext: FormatContext {
    var info: StreamInfo
    var connectionInfo: ConnectionInfo
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
        let now = WallClock.now
        // The wall clock is read once, at the end: the beginning is that much earlier.
        let total = UInt64(clamping: now.seconds) &* 1_000_000_000 &+ UInt64(clamping: now.nanoseconds) &- age
        info.startedWall = (Int64(total / 1_000_000_000), Int32(total % 1_000_000_000))
        info.lastDownstreamByteSent = loop.now
        info.flags = flags
        info.details = details
        info.bytesReceived = received
        info.bytesSent = sent
        accessLog.log(configs, ListenerLogContext(info: info, connectionInfo: connection), .notSet) { random.next() }
    }
}
