internal import HTTP
internal import IO
internal import Upstream

// The way of a try through the filters behind the router: the cluster's, or the router's own.
extension Router {
    /// The filters that tries in the present cluster pass; nil for nearly all.
    var upstreamChain: UpstreamFilterChain? {
        cluster?.upstreamFilters ?? stream.manager.config.router.upstreamFilters
    }

    /// Whether the present try passes filters.
    var isFiltering: Bool { stream.upstreamFilters != nil }

    /// The request as far as it has come goes through the filters of the try.
    func runUpstreamFilters() {
        let run = stream.upstreamFilters
        if stream.runHead(.upstreamRequest, isEnd: stream.requestHasNoBody) { beginUpstream() }
        guard !stream.isFinished, run === stream.upstreamFilters else { return }
        sendCollected()
    }

    /// The head has passed the filters: it leaves.
    func beginUpstream() {
        guard let upstream, state == .active else { return }
        upstream.begin(stream.request, isUpgrade: isUpgrade, for: self)
        stream.info.firstUpstreamByteSent = worker.loop.now
    }

    /// A piece of the body goes to the host, through the filters where there are some.
    func sendUpstream(_ bytes: UnsafeRawBufferPointer) {
        if isFiltering, !stream.isTunnel {
            stream.runBody(.upstreamRequest, bytes, isEnd: false)
        } else {
            upstream?.sendBody(bytes)
        }
    }

    /// The end of the request, likewise.
    func sendUpstreamEnd(_ trailers: borrowing HeaderTable) {
        if isFiltering, !stream.isTunnel {
            stream.runEnd(.upstreamRequest, trailers)
        } else {
            upstream?.sendEnd(trailers)
            stream.info.lastUpstreamByteSent = worker.loop.now
        }
    }

    /// A piece of the body has passed the filters of the try.
    func upstreamBodyPassed(_ bytes: UnsafeRawBufferPointer) {
        guard state == .active || state == .responding else { return }
        upstream?.sendBody(bytes)
    }

    /// All of the request has.
    func upstreamEndPassed(_ trailers: borrowing HeaderTable) {
        guard state == .active || state == .responding else { return }
        upstream?.sendEnd(trailers)
        stream.info.lastUpstreamByteSent = worker.loop.now
    }

    /// A filter of the try answered the client: the try is over.
    func answeredByUpstreamFilter() {
        guard state != .finished else { return }
        letGo()
        releaseRetry(succeeded: false)
        state = .finished
    }

    /// Writes a line for a try that is over, where the router keeps a log of them.
    ///
    /// - Parameter flag: What ended it, where the request does not know yet.
    func logTry(_ flag: ResponseFlags = []) {
        let logs = stream.manager.config.router.upstreamLogs
        guard !logs.isEmpty, isTryOpen else { return }
        isTryOpen = false
        let info = stream.info
        stream.info.status = tryStatus
        stream.info.flags.formUnion(flag)
        worker.accessLog.log(logs, stream, .upstreamEnd) { worker.random.next() }
        stream.info = info
    }

    /// What is written of a try before it is over, where the router's options ask for it: it has its connection.
    func logTryBeginning() {
        let config = stream.manager.config.router
        guard !config.upstreamLogs.isEmpty else { return }
        if config.logsNewTries {
            worker.accessLog.log(config.upstreamLogs, stream, .upstreamPoolReady) { worker.random.next() }
        }
        if let interval = config.tryLogInterval { logTryPeriodically(stream.info.attempts, interval) }
    }

    private func logTryPeriodically(_ attempt: Int, _ interval: Duration) {
        _ = worker.schedule(after: interval) { [weak self] in
            guard let self, self.isTryOpen, self.stream.info.attempts == attempt else { return }
            self.worker.accessLog.log(
                self.stream.manager.config.router.upstreamLogs, self.stream, .upstreamPeriodic
            ) { self.worker.random.next() }
            self.logTryPeriodically(attempt, interval)
        }
    }
}
