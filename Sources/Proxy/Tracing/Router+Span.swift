internal import IO

// What the router tells the span of a sampled request.
extension Router {
    /// The request goes out once more.
    func beginRetry() {
        announceTimeLeft()
        guard let span = stream.span, span.isSampled else { return }
        span.happened("retry", stream, [("attempt", "\(stream.info.attempts)")])
    }

    /// A try has its connection: how long it waited for that, in a queue or for handshakes.
    func beginTry(_ span: ActiveSpan, _ upstream: any UpstreamStream) {
        if span.isSampled {
            let waited = (worker.loop.now - tryStarted).wholeNanoseconds / 1000
            var attributes = [("waited_us", "\(waited)"), ("upstream_address", pool.map { "\($0.address)" } ?? "")]
            if let facts = upstream.tlsFacts { attributes.append(("upstream_tls", facts.version)) }
            span.happened("connection", stream, attributes)
        }
        span.beginTry(stream, host: pool?.address)
    }
}
