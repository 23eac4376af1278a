internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// The last step of a request: an answer of the route's own, or tries at the hosts of a cluster.
///
/// It owns the tries: choosing hosts, waiting for connections, holding the body for a repetition, deadlines, and what
/// the client gets when all fails. Decisions about repetition are `RetryState`'s.
final class Router: PoolClient, UpstreamClient {
    private enum State { case created, waitingForConnection, active, backingOff, responding, finished }

    /// Strong; the stream lets go of its router when it ends.
    let stream: HTTPStream
    let worker: Worker
    let route: Route
    let target: ClusterTarget?

    private var state = State.created
    var forwarding: Forwarding?
    private var cluster: ClusterRuntime?
    private var priority = ResourcePriority.normal
    private var retry = RetryState()
    private var isRetrying = false
    private var hasFreshTry = false
    var hash: UInt64?
    var newCookie: [UInt8]?
    private var triedHosts: [Host] = []
    private var pool: HostPool?
    private var upstream: (any UpstreamStream)?
    private var countsActive = false
    private var backOffTimer: LoopTimer?

    /// The request's body as far as it may have to be sent (again).
    private var body: ByteBuffer?
    private var keepsBody = false
    private var bodyIsLost = false
    private var bodyBytesMax = Limits.retryBufferBytes
    private var requestIsComplete = false
    private var trailers: HeaderTable?
    private var isUpgrade = false

    var timeouts: RequestTimeouts?
    private var routeDeadline = MonotonicTime.never
    private var tryDeadline = MonotonicTime.never
    private var tryStarted: MonotonicTime
    private var latestReset: String?

    init(stream: HTTPStream, route: Route, target: ClusterTarget?) {
        self.stream = stream
        self.route = route
        self.target = target
        worker = stream.worker
        tryStarted = stream.worker.loop.now
    }

    // MARK: For formats

    /// The cluster that the request goes to.
    var upstreamCluster: ClusterRuntime? { cluster }

    /// The host of the latest try.
    var upstreamHost: Host? { triedHosts.last }

    // MARK: Beginning

    func start() {
        stream.manager.count(.rq_total, worker)
        switch route.action {
        case .directResponse(let direct):
            stream.manager.count(.rq_direct_response, worker)
            stream.localReply(status: direct.status, bytes: direct.body, details: "direct_response")
        case .redirect(let redirect):
            stream.manager.count(.rq_direct_response, worker)
            let location = route.location(for: RequestHeadView(stream.request)) ?? []
            stream.localReply(
                status: redirect.status, details: "direct_response",
                headers: [("location", String(decoding: location, as: UTF8.self))])
        case .nonForwarding:
            stream.localReply(status: 404, details: "non_forwarding_action")
        case .forward(let forwarding):
            self.forwarding = forwarding
            forward(forwarding)
        }
    }

    private func forward(_ forwarding: Forwarding) {
        guard let target, let cluster = stream.manager.cluster(for: target) else {
            stream.info.flags.insert(.noClusterFound)
            stream.manager.count(.noCluster, worker)
            return stream.localReply(status: forwarding.clusterNotFoundStatus, details: "cluster_not_found")
        }
        self.cluster = cluster
        priority = forwarding.priority
        stream.info.upstreamCluster = cluster.name
        cluster.count(.upstream_rq_total)
        stream.requestMetrics?.add(.upstream_rq_total, row: worker.index)
        if let category = cluster.hostSet.drop(random: worker.random.next()) {
            stream.info.details = "drop_overload"
            return stream.localReply(
                status: 503, body: "drop overload", details: "drop_overload_\(category)",
                headers: [("x-envoy-unconditional-drop-overload", "true")])
        }
        if stream.request.isUpgrade {
            guard allowsUpgrade(forwarding) else {
                return stream.localReply(status: 403, details: "upgrade_failed")
            }
            isUpgrade = true
        }
        let honorsHeaders = stream.isInternal
        timeouts = RequestTimeouts(
            forwarding, request: RequestHeadView(stream.request), honorsHeaders: honorsHeaders)
        if !isUpgrade {
            retry = RetryState(
                policy: forwarding.retryPolicy, request: RequestHeadView(stream.request), honorsHeaders: honorsHeaders)
            keepsBody = retry.mayRetry
        }
        if let limit = route.bufferBytesMax { bodyBytesMax = Int(limit) }
        if !forwarding.hashPolicies.isEmpty { makeHash(forwarding) }
        // As the router finds it, before the route rewrites it.
        if cluster.config.serverNames.followRequests {
            serverName = ServerNameOfRequest.find(stream.request, cluster.config.serverNames)
        }
        rewriteRequest(forwarding)
        beginTry()
    }

    /// The name that the upstream's TLS must have; nil is its transport socket's.
    private var serverName: String?

    // MARK: Tries

    private func beginTry() {
        guard let cluster, let forwarding, state != .finished else { return }
        state = .waitingForConnection
        stream.info.attempts += 1
        var choice = LoadBalancer.Request()
        choice.hash = hash
        if let policy = forwarding.retryPolicy, policy.avoidsPreviousHosts, !triedHosts.isEmpty {
            choice.avoiding = triedHosts
            choice.attemptsMax = policy.hostSelectionAttemptsMax
        }
        guard let host = cluster.choose(choice, connection: stream.connectionInfo),
            let pool = cluster.pool(of: host, named: serverName)
        else {
            cluster.count(.upstream_cx_none_healthy)
            stream.info.flags.insert(.noHealthyUpstream)
            return giveUp(
                status: 503, body: "no healthy upstream", details: "no_healthy_upstream", outcome: .noHealthyHost)
        }
        guard cluster.acquire(.request, priority) else {
            cluster.count(.upstream_rq_pending_overflow)
            return overflow()
        }
        countsActive = true
        host.activeRequests &+= 1
        host.statistics.requestsTotal &+= 1
        cluster.count(.upstream_rq_active)
        self.pool = pool
        if triedHosts.last !== host { triedHosts.append(host) }
        stream.info.upstreamHost = pool.address
        tryStarted = worker.loop.now
        if requestIsComplete { setTryDeadline() }
        let isFresh = hasFreshTry
        pool.acquire(
            self, priority: priority, fresh: isFresh, downstream: stream.connection?.httpVersion ?? .http11)
    }

    private func overflow() {
        stream.info.flags.insert(.upstreamOverflow)
        giveUp(
            status: 503,
            body: "upstream connect error or disconnect/reset before headers. reset reason: overflow",
            details: "upstream_reset_before_response_started{overflow}", outcome: .overflow,
            headers: [("x-envoy-overloaded", "true")])
    }

    func poolReady(_ upstream: any UpstreamStream) {
        self.upstream = upstream
        state = .active
        if stream.manager.keepsAccessLog {
            stream.info.upstreamLocalAddress = upstream.localAddress
            stream.info.upstreamProtocol = upstream.httpVersion
            stream.info.upstreamTLS = upstream.tlsFacts
            stream.info.upstreamHostname = pool?.host.endpoint.hostname
        }
        if case .auto? = forwarding?.hostRewrite, let host = pool?.host, !host.endpoint.hostname.isEmpty,
            let forwarding
        {
            setAuthority(Array(host.endpoint.hostname.utf8), forwarding)
        }
        if route.includesAttemptCount {
            stream.request.headers.remove(.xEnvoyAttemptCount)
            stream.request.headers.append(.xEnvoyAttemptCount, number: stream.info.attempts)
        }
        if let span = stream.span { span.beginTry(stream, host: pool?.address) }
        upstream.begin(stream.request, isUpgrade: isUpgrade, for: self)
        stream.info.firstUpstreamByteSent = worker.loop.now
        if let body, !body.isEmpty {
            upstream.sendBody(body.bytes)
            if !keepsBody { self.body = nil }
        }
        if requestIsComplete {
            upstream.sendEnd(trailers ?? HeaderTable())
            stream.info.lastUpstreamByteSent = worker.loop.now
        }
        if !requestIsComplete { stream.requestMayContinue() }
    }

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

    private func failedToConnect(_ reason: String, _ transport: String?) {
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

    // MARK: Request body

    func requestBody(_ bytes: UnsafeRawBufferPointer) {
        if keepsBody && !bodyIsLost {
            let held = body?.count ?? 0
            if held + bytes.count > bodyBytesMax && state == .active {
                // Too large to repeat: from now on it only passes through.
                bodyIsLost = true
                keepsBody = false
                body = nil
            }
        }
        if state == .active || state == .responding, let upstream {
            if keepsBody && state == .active { hold(bytes) }
            upstream.sendBody(bytes)
        } else if state == .waitingForConnection || state == .backingOff {
            hold(bytes)
        }
    }

    private func hold(_ bytes: UnsafeRawBufferPointer) {
        let buffer = body ?? ByteBuffer(pool: worker.blocks)
        buffer.append(bytes)
        body = buffer
    }

    func requestEnd(_ trailers: borrowing HeaderTable) {
        guard !requestIsComplete else { return }
        requestIsComplete = true
        if !trailers.isEmpty { self.trailers = copy trailers }
        if let timeout = timeouts?.total, timeout > .zero, !isUpgrade {
            routeDeadline = worker.loop.now + timeout
        }
        setTryDeadline()
        if state == .active || state == .responding {
            upstream?.sendEnd(trailers)
            stream.info.lastUpstreamByteSent = worker.loop.now
        }
    }

    private func setTryDeadline() {
        guard let timeout = timeouts?.perTry, timeout > .zero, !isUpgrade else { return }
        tryDeadline = worker.loop.now + timeout
        stream.deadlinesChanged()
    }

    func tunnelRequestEnd() { upstream?.sendTunnelEnd() }

    /// Whether the client must wait: the upstream is slower, or there is none yet and enough is held for it.
    var requestIsPaused: Bool {
        switch state {
        case .active, .responding: upstream?.requestIsBlocked ?? false
        case .created, .waitingForConnection, .backingOff: (body?.count ?? 0) >= Limits.bufferBytes
        case .finished: false
        }
    }

    func requestMayContinue() { stream.requestMayContinue() }

    // MARK: Response

    var responseIsPaused: Bool { stream.responseIsPaused }

    func responseMayContinue() { upstream?.responseMayContinue() }

    func responseInterim(_ head: borrowing ResponseHead) { stream.respondInterim(head) }

    func responseHead(_ head: inout ResponseHead) {
        guard let cluster, state == .active else { return }
        let now = worker.loop.now
        stream.info.firstUpstreamByteReceived = now
        swap(&head, &stream.response)
        let status = stream.response.status
        countResponse(status)
        if let host = pool?.host {
            if status >= 500 { host.statistics.errors &+= 1 } else { host.statistics.successes &+= 1 }
            cluster.outlier?.report(.response(status), host)
        }
        if retry.retriesMax > 0 && canRepeat {
            let decision = retry.decide(
                after: TryOutcome.of(stream.response), response: ResponseHeadView(head: stream.response),
                random: worker.random.next())
            switch decision {
            case .retry(let wait):
                if acquireRetry() {
                    // The rest of this response is of no use; its connection goes with it.
                    dropConnection()
                    releaseHost()
                    return retryAfter(wait)
                }
                stream.info.flags.insert(.upstreamOverflow)
            case .deliver(.limitExceeded):
                stream.info.flags.insert(.upstreamRetryLimitExceeded)
                cluster.count(.upstream_rq_retry_limit_exceeded)
            case .deliver: break
            }
        }
        deliver(now)
    }

    private func deliver(_ now: MonotonicTime) {
        state = .responding
        tryDeadline = .never
        releaseRetry(succeeded: stream.response.status < 500)
        body = nil
        if stream.response.status == 101 {
            routeDeadline = .never
            guard isUpgrade else {
                return failResponse(.upstreamProtocolError, "upstream_reset_before_response_started{protocol_error}")
            }
        } else if isUpgrade && stream.response.status / 100 == 2 {
            // A server that ignores the upgrade answers as if it were not there: nothing of what follows is tunnelled.
            isUpgrade = false
        }
        if stream.response.status == 101, let upgrade = stream.response.headers[.upgrade] {
            stream.response.headers.removeHopByHopFields()
            try? stream.response.headers.append(.upgrade, upgrade)
        } else {
            stream.response.headers.removeHopByHopFields()
        }
        stream.info.details = "via_upstream"
        stream.response.headers.remove(.xEnvoyUpstreamServiceTime)
        if !stream.manager.config.suppressesEnvoyHeaders {
            let time = now - (stream.info.firstUpstreamByteSent ?? tryStarted)
            stream.response.headers.append(
                .xEnvoyUpstreamServiceTime, number: Int(clamping: time.wholeNanoseconds / 1_000_000))
        }
        if route.includesAttemptCountInResponse {
            stream.response.headers.append(.xEnvoyAttemptCount, number: stream.info.attempts)
        }
        if let newCookie { try? stream.response.headers.append(.setCookie, newCookie.span.bytes) }
        stream.applyResponseMutations()
        stream.respondHead()
    }

    func responseBody(_ bytes: UnsafeRawBufferPointer) {
        guard state == .responding else { return }
        stream.respondBody(bytes)
    }

    /// The connection has let go of us already.
    func responseEnd(_ trailers: borrowing HeaderTable) {
        guard state == .responding else { return }
        upstream = nil
        stream.info.lastUpstreamByteReceived = worker.loop.now
        recordTime()
        releaseHost()
        state = .finished
        stream.respondEnd(trailers)
    }

    private func countResponse(_ status: UInt16) {
        cluster?.metrics.countResponse(status, isInternal: stream.isInternal, row: worker.index)
        stream.requestMetrics?.countResponse(status, isInternal: stream.isInternal, row: worker.index)
    }

    private func recordTime() {
        let time = worker.loop.now - tryStarted
        if stream.isInternal {
            cluster?.metrics.internalRequestTime.record(time, row: worker.index)
        } else {
            cluster?.metrics.requestTime.record(time, row: worker.index)
        }
        stream.requestMetrics?.record(time, row: worker.index)
    }

    /// The connection is closed already.
    func upstreamFailed(_ failure: UpstreamFailure, onReusedConnection: Bool) {
        guard let cluster, state != .finished else { return }
        upstream = nil
        let host = pool?.host
        releaseHost()
        if state == .responding {
            switch failure {
            case .terminated:
                return failResponse(
                    .upstreamConnectionTermination, "upstream_reset_after_response_started{connection_termination}")
            case .reset, .refused:
                return failResponse(.upstreamRemoteReset, "upstream_reset_after_response_started{remote_reset}")
            case .protocolError:
                return failResponse(.upstreamProtocolError, "upstream_reset_after_response_started{protocol_error}")
            }
        }
        switch failure {
        case .protocolError(let error):
            if let host { cluster.outlier?.report(.localFailure, host) }
            latestReset = "protocol error"
            stream.info.upstreamTransportFailure = error
            decide(
                .reset(requestBytesSent: true), status: 502, flag: .upstreamProtocolError,
                details: "upstream_reset_before_response_started{protocol_error}")
        case .reset:
            if let host { cluster.outlier?.report(.localFailure, host) }
            cluster.count(.upstream_rq_rx_reset)
            latestReset = "remote reset"
            decide(
                .reset(requestBytesSent: true), status: 503, flag: .upstreamRemoteReset,
                details: "upstream_reset_before_response_started{remote_reset}")
        case .refused:
            // RFC 9113 §8.7: not processed, so it may be sent again whatever it is.
            if !hasFreshTry && canRepeat && (bodyIsEmpty || keepsBody) {
                hasFreshTry = true
                return beginTry()
            }
            cluster.count(.upstream_rq_rx_reset)
            latestReset = "remote refused stream reset"
            decide(
                .reset(requestBytesSent: false), status: 503, flag: .upstreamRemoteReset,
                details: "upstream_reset_before_response_started{remote_refused_stream_reset}")
        case .terminated:
            // The upstream closed a kept connection just as we used it (RFC 9112 §9.3.1): a request that may be repeated
            // goes out once more, on a new connection, and nobody notices.
            if onReusedConnection && !hasFreshTry && canRepeat && stream.request.method.isIdempotent
                && (bodyIsEmpty || keepsBody)
            {
                hasFreshTry = true
                return beginTry()
            }
            if let host { cluster.outlier?.report(.localFailure, host) }
            cluster.count(.upstream_rq_rx_reset)
            latestReset = "connection termination"
            decide(
                .reset(requestBytesSent: true), status: 503, flag: .upstreamConnectionTermination,
                details: "upstream_reset_before_response_started{connection_termination}")
        }
    }

    private var bodyIsEmpty: Bool {
        if case .none = stream.request.body { return true }
        return false
    }

    /// Whether the whole request can be sent once more.
    private var canRepeat: Bool { !bodyIsLost && (bodyIsEmpty || keepsBody) && !isUpgrade }

    /// A try ended without a response: repeat it or answer.
    private func decide(_ outcome: TryOutcome, status: UInt16, flag: ResponseFlags, details: String) {
        guard let cluster else { return }
        if retry.retriesMax > 0 && canRepeat {
            switch retry.decide(after: outcome, random: worker.random.next()) {
            case .retry(let wait):
                if acquireRetry() { return retryAfter(wait) }
                stream.info.flags.insert(.upstreamOverflow)
            case .deliver(.limitExceeded):
                stream.info.flags.insert(.upstreamRetryLimitExceeded)
                cluster.count(.upstream_rq_retry_limit_exceeded)
            case .deliver: break
            }
        }
        stream.info.flags.insert(flag)
        let again = stream.info.attempts > 1 ? "retried and the latest reset reason" : "reset reason"
        let body =
            "upstream connect error or disconnect/reset before headers. \(again): "
            + (latestReset ?? "connection termination")
        giveUp(status: status, body: body, details: details, outcome: outcome)
    }

    private func giveUp(
        status: UInt16, body: String, details: String, outcome: TryOutcome, headers: [(String, String)] = []
    ) {
        releaseRetry(succeeded: false)
        state = .finished
        countResponse(status)
        stream.localReply(status: status, body: body, details: details, headers: headers)
    }

    private func failResponse(_ flag: ResponseFlags, _ details: String) {
        stream.info.flags.insert(flag)
        stream.info.details = details
        dropConnection()
        releaseHost()
        state = .finished
        if stream.responseHasBegun {
            stream.reset()
        } else {
            stream.localReply(
                status: 502,
                body: "upstream connect error or disconnect/reset before headers. reset reason: protocol error",
                details: details)
        }
    }

    // MARK: Repeating

    private func acquireRetry() -> Bool {
        guard let cluster else { return false }
        if isRetrying { return true }
        guard cluster.acquire(.retry, priority) else {
            cluster.count(.upstream_rq_retry_overflow)
            return false
        }
        isRetrying = true
        return true
    }

    private func releaseRetry(succeeded: Bool) {
        guard isRetrying, let cluster else { return }
        isRetrying = false
        cluster.release(.retry, priority)
        if succeeded { cluster.count(.upstream_rq_retry_success) }
    }

    private func retryAfter(_ wait: Duration) {
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

    var earliestDeadline: MonotonicTime { state == .finished ? .never : min(routeDeadline, tryDeadline) }

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
        }
    }

    // MARK: Letting go

    /// Stops the present try, wherever it stands.
    private func letGo() {
        if state == .waitingForConnection { pool?.cancel(self) }
        dropConnection()
        releaseHost()
        backOffTimer?.cancel()
        backOffTimer = nil
    }

    private func dropConnection() {
        let upstream = upstream
        self.upstream = nil
        if let upstream {
            cluster?.count(.upstream_rq_tx_reset)
            upstream.abandon()
        }
    }

    private func releaseHost() {
        guard countsActive, let cluster, let pool else { return }
        countsActive = false
        pool.host.activeRequests &-= 1
        cluster.release(.request, priority)
        cluster.uncount(.upstream_rq_active)
        cluster.released(pool.host)
    }

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
    }
}

extension HTTPMethod {
    /// RFC 9110 §9.2.2: repeating it does what doing it once does.
    var isIdempotent: Bool {
        switch self {
        case .get, .head, .options, .trace, .put, .delete: true
        case .post, .connect, .patch, .other: false
        }
    }
}

extension TryOutcome {
    /// The outcome that a response head is.
    static func of(_ head: borrowing ResponseHead) -> TryOutcome {
        let status = head.headers[.grpcStatus].flatMap { UInt32($0) }
        return .response(status: head.status, grpcStatus: status)
    }
}

extension [UInt8] {
    /// The bytes of a span.
    init(copying span: RawSpan) {
        self = span.withUnsafeBytes { [UInt8]($0) }
    }
}
