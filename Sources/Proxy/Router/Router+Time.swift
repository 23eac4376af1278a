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
        logTry()
        stream.endUpstreamFilters()
        state = .backingOff
        tryDeadline = .never
        makeExtras().backOffTimer = worker.schedule(after: wait) { [weak self] in
            guard let self, self.state == .backingOff else { return }
            self.beginTry()
        }
    }

    // MARK: Time

    var earliestDeadline: MonotonicTime {
        state == .finished ? .never : min(min(routeDeadline, tryEndDeadline), min(tryDeadline, tryIdleDeadline))
    }

    /// The present try has its connection: how long it may take counts from now.
    func startTryEnd() {
        guard let longest = cluster?.rules.streamDurationMax else { return }
        tryEndDeadline = worker.loop.now + longest
        stream.deadlinesChanged()
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
            giveUpWaiting("response_timeout")
        } else if tryDeadline <= now {
            tryDeadline = .never
            if let timeouts, timeouts.hedges {
                // No try is given up for being slow: whichever answers first wins.
                if let host = pool?.host { cluster.outlier?.report(.timeout, host) }
                if retry.isOn, !retry.mayRetry {
                    countRetryLimit()
                } else if startHedge(), let timeout = timeouts.perTry {
                    tryDeadline = now + timeout
                }
                return
            }
            cluster.count(.upstream_rq_per_try_timeout)
            if let host = pool?.host { cluster.outlier?.report(.timeout, host) }
            letGo()
            if isRepeated(after: .perTryTimeout) { return }
            stream.info.flags.insert(.upstreamRequestTimeout)
            giveUpWaiting("upstream_per_try_timeout")
        } else if tryEndDeadline <= now {
            cluster.count(.upstream_rq_max_duration_reached)
            let hadBegun = state == .responding
            letGo()
            if hadBegun {
                state = .finished
                stream.info.flags.insert(.upstreamMaxStreamDurationReached)
                stream.info.details = ResponseDetails.upstreamMaxStreamDurationReached
                return stream.reset()
            }
            let outcome = TryOutcome.reset(requestBytesSent: true)
            if isRepeated(after: outcome) { return }
            stream.info.flags.insert(.upstreamMaxStreamDurationReached)
            // Who has not sent his request yet is late himself (Envoy).
            giveUp(
                status: requestIsComplete ? 504 : 408, body: "upstream max stream duration reached",
                details: ResponseDetails.upstreamMaxStreamDurationReached, outcome: outcome, isCounted: false)
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
            if isRepeated(after: .perTryTimeout) { return }
            giveUp(
                status: 504, body: "stream timeout", details: "upstream_per_try_idle_timeout", outcome: .perTryTimeout)
        }
    }

    /// Whether a try that ended without an answer is followed by another.
    func isRepeated(after outcome: TryOutcome) -> Bool {
        guard retry.isOn, canRepeat else { return false }
        switch retry.decide(after: outcome, random: worker.random.next()) {
        case .retry(let wait):
            if acquireRetry() {
                retryAfter(wait)
                return true
            }
            stream.info.flags.insert(.upstreamOverflow)
        case .deliver(.limitExceeded): countRetryLimit()
        case .deliver: break
        }
        return false
    }

    func countRetryLimit() {
        stream.info.flags.insert(.upstreamRetryLimitExceeded)
        cluster?.count(.upstream_rq_retry_limit_exceeded)
    }

    func giveUp(
        status: UInt16, body: String, details: String, outcome: TryOutcome, headers: [(String, String)] = [],
        isCounted: Bool = true
    ) {
        releaseRetry(succeeded: false)
        logTry()
        stream.endUpstreamFilters()
        state = .finished
        if isCounted { countResponse(status) }
        stream.localReply(status: status, body: body, details: details, headers: headers)
    }

    /// The answer to who has waited for too long: 504, or what an internal client asked for instead.
    private func giveUpWaiting(_ details: String) {
        let isAlternative = timeouts?.answersNoContent == true
        giveUp(
            status: isAlternative ? 204 : 504, body: isAlternative ? "" : "upstream request timeout", details: details,
            outcome: .perTryTimeout)
    }

    // MARK: No connection

    func overflow() {
        stream.info.flags.insert(.upstreamOverflow)
        stream.span?.happened("circuit breaker", stream, [("upstream_cluster", stream.info.upstreamCluster ?? "")])
        giveUp(
            status: 503,
            body: "upstream connect error or disconnect/reset before headers. reset reason: overflow",
            details: "upstream_reset_before_response_started{overflow}", outcome: .overflow,
            headers: [("x-envoy-overloaded", "true")])
    }

    func poolFailed(_ failure: PoolFailure) {
        switch failure {
        case .overflow:
            releaseHost()
            // The request never came as far as a host.
            stream.info.upstreamHost = nil
            overflow()
        case .connectFailed(let error):
            failedToConnect("remote connection failure", "delayed connect error: \(error.kernelText)")
        case .connectTimedOut:
            failedToConnect("connection timeout", nil)
        case .handshakeFailed(let reason):
            failedToConnect("remote connection failure", "TLS_error: \(reason)")
        }
    }

    func failedToConnect(_ reason: String, _ transport: String?) {
        let host = pool?.host
        if let span = stream.span, span.isSampled {
            span.happened("connection failed", stream, [("reason", transport ?? reason)])
        }
        releaseHost()
        if let host { cluster?.outlier?.report(.localFailure, host) }
        stream.info.upstreamTransportFailure = transport
        // What went wrong below HTTP is for the log: a client gets no addresses and no certificates' troubles to read.
        makeExtras().latestReset = reason
        let text = transport.map { "remote_connection_failure|\($0)" } ?? "connection_timeout"
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
        stream.endUpstreamFilters()
        releaseRetry(succeeded: false)
        state = .finished
        body = nil
        extras?.mirrors = []
        extras?.failureBeforeHedge = nil
    }

    /// Seconds since 1970, for responses that name a time.
    var wallSeconds: Int64 {
        forwarding?.sharedRetryPolicy?.policy.rateLimitedBackOff == nil ? 0 : WallClock.now.seconds
    }
}
