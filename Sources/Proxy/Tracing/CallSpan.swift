internal import HTTP
internal import IO

/// The span of a call that a filter makes for a request: a child of the request's.
final class CallSpan {
    private let context: TraceContext
    private let provider: TraceProvider
    private let worker: Worker
    private let cluster: String
    private let local: SocketAddress
    /// Nanoseconds since 1970.
    private let startedWall: UInt64
    private let started: MonotonicTime
    private var hasEnded = false

    fileprivate init(
        _ context: TraceContext, _ provider: TraceProvider, cluster: String, _ stream: HTTPStream, startedWall: UInt64
    ) {
        self.context = context
        self.provider = provider
        self.cluster = cluster
        self.startedWall = startedWall
        worker = stream.worker
        local = stream.connectionInfo.localAddress
        started = stream.worker.loop.now
    }

    /// The call says whose child it is.
    func inject(into headers: inout HeaderTable) { provider.inject(context, into: &headers) }

    /// The call is over; `status` is that of its answer, nil where none came.
    func end(status: UInt16?) {
        guard !hasEnded else { return }
        hasEnded = true
        guard context.isSampled else { return }
        var span = SpanRecord(
            context: context, name: "async \(cluster) egress", kind: .client, started: startedWall,
            duration: (worker.loop.now - started).wholeNanoseconds)
        span.tags = [
            ("component", "proxy"), ("upstream_cluster", cluster), ("upstream_cluster.name", cluster),
        ]
        if let status { span.tags.append(("http.status_code", "\(status)")) }
        span.isError = status.map { $0 >= 500 } ?? true
        if span.isError { span.tags.append(("error", "true")) }
        provider.report(span, local: local, row: worker.index)
    }
}

extension ActiveSpan {
    /// Begins the span of a call; `isSampled` overrules the request's own sampling.
    func beginCall(to cluster: String, _ stream: HTTPStream, isSampled: Bool? = nil) -> CallSpan {
        var child = context
        child.parent = context.span
        child.span = stream.worker.random.next() | 1
        if let isSampled { child.isSampled = isSampled }
        return CallSpan(
            child, provider, cluster: cluster, stream, startedWall: nanoseconds(stream, stream.worker.loop.now))
    }
}
