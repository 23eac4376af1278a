internal import IO
internal import Telemetry
internal import Upstream

// When a try is given up, and when there is another one.
extension Router {
    // MARK: Repeating

    func acquireRetry() -> Bool {
        guard let cluster else { return false }
        if isRetrying { return true }
        guard cluster.acquire(.retry, priority) else {
            cluster.count(.upstream_rq_retry_overflow)
            return false
        }
        isRetrying = true
        return true
    }

    func releaseRetry(succeeded: Bool) {
        guard isRetrying, let cluster else { return }
        isRetrying = false
        cluster.release(.retry, priority)
        if succeeded { cluster.count(.upstream_rq_retry_success) }
    }

    func retryAfter(_ wait: Duration) {
        cluster?.count(.upstream_rq_retry)
        stream.requestMetrics?.add(.upstream_rq_retry, row: worker.index)
        state = .backingOff
        tryDeadline = .never
        backOffTimer = worker.schedule(after: wait) { [weak self] in
            guard let self, self.state == .backingOff else { return }
            self.beginTry()
        }
    }

    // MARK: Time

    var earliestDeadline: MonotonicTime {
        state == .finished ? .never : min(routeDeadline, min(tryDeadline, tryIdleDeadline))
    }

    func deadlineReached(_ now: MonotonicTime) {
        guard let cluster, state != .finished else { return }
        if routeDeadline <= now {
            cluster.count(.upstream_rq_timeout)
            stream.requestMetrics?.add(.upstream_rq_timeout, row: worker.index)
            stream.info.flags.insert(.upstreamRequestTimeout)
            pool?.host.statistics.timeouts &+= 1
            if let host = pool?.host, state == .active { cluster.outlier?.report(.timeout, host) }
            letGo()
            if state == .responding {
                state = .finished
                stream.info.details = "response_timeout"
                return stream.reset()
            }
            giveUp(status: 504, body: "upstream request timeout", details: "response_timeout", outcome: .perTryTimeout)
        } else if tryDeadline <= now {
            tryDeadline = .never
            if let timeouts, timeouts.hedges, startHedge() {
                if let timeout = timeouts.perTry { tryDeadline = now + timeout }
                return cluster.count(.upstream_rq_per_try_timeout)
            }
            cluster.count(.upstream_rq_per_try_timeout)
            if let host = pool?.host { cluster.outlier?.report(.timeout, host) }
            letGo()
            if retry.retriesMax > 0 && canRepeat,
                case .retry(let wait) = retry.decide(
                    after: .perTryTimeout, random: worker.random.next()),
                acquireRetry()
            {
                return retryAfter(wait)
            }
            stream.info.flags.insert(.upstreamRequestTimeout)
            giveUp(
                status: 504, body: "upstream request timeout", details: "upstream_per_try_timeout",
                outcome: .perTryTimeout)
        } else if tryIdleDeadline <= now {
            tryIdleDeadline = .never
            cluster.count(.upstream_rq_per_try_idle_timeout)
            stream.info.flags.insert(.streamIdleTimeout)
            if let host = pool?.host { cluster.outlier?.report(.timeout, host) }
            let hadBegun = state == .responding
            letGo()
            if hadBegun {
                state = .finished
                stream.info.details = "upstream_per_try_idle_timeout"
                return stream.reset()
            }
            if retry.retriesMax > 0 && canRepeat,
                case .retry(let wait) = retry.decide(after: .perTryTimeout, random: worker.random.next()),
                acquireRetry()
            {
                return retryAfter(wait)
            }
            giveUp(
                status: 504, body: "stream timeout", details: "upstream_per_try_idle_timeout", outcome: .perTryTimeout)
        }
    }

    // MARK: No connection

    func poolFailed(_ failure: PoolFailure) {
        switch failure {
        case .overflow:
            releaseHost()
            overflow()
        case .connectFailed(let error):
            failedToConnect("remote connection failure", "delayed connect error: \(error.reason)")
        case .connectTimedOut:
            failedToConnect("connection timeout", nil)
        case .handshakeFailed(let reason):
            failedToConnect("remote connection failure", "TLS_error: \(reason)")
        }
    }

    func failedToConnect(_ reason: String, _ transport: String?) {
        let host = pool?.host
        releaseHost()
        if let host { cluster?.outlier?.report(.localFailure, host) }
        stream.info.upstreamTransportFailure = transport
        latestReset = transport.map { "\(reason), transport failure reason: \($0)" } ?? reason
        let text = transport == nil ? "connection_timeout" : "remote_connection_failure"
        decide(
            .connectFailure, status: 503, flag: .upstreamConnectionFailure,
            details: "upstream_reset_before_response_started{\(text)}")
    }

    // MARK: The end

    /// The client is gone or the stream was answered by somebody else.
    func abandon() {
        guard state != .finished else { return }
        if state != .created { cluster?.count(.upstream_rq_cancelled) }
        letGo()
        state = .finished
    }

    /// The stream is over; whatever is left is given back.
    func streamFinished() {
        if state != .finished { letGo() }
        releaseRetry(succeeded: false)
        state = .finished
        body = nil
        mirrors = []
        failureBeforeHedge = nil
    }

    /// Seconds since 1970, for responses that name a time.
    var wallSeconds: Int64 { forwarding?.retryPolicy?.rateLimitedBackOff == nil ? 0 : WallClock.now.seconds }
}
