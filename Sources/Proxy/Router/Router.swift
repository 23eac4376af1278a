internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// The last step of a request: an answer of the route's own, or tries at the hosts of a cluster.
///
/// It owns the tries: choosing hosts, waiting for connections, holding the body for a repetition, deadlines, and what
/// the client gets when all fails. Decisions about repetition are `RetryState`'s.
final class Router: PoolClient, UpstreamClient {
    enum State { case created, waitingForConnection, active, backingOff, responding, finished }

    /// Strong; the stream lets go of its router when it ends.
    let stream: HTTPStream
    let route: Route
    let target: ClusterTarget?

    // What others have is asked of them: each reference of its own would be counted with every request.
    var worker: Worker { stream.worker }
    /// How the route forwards; nil for answers of the route's own.
    var forwarding: Forwarding? { route.forwarding }

    var state = State.created
    var cluster: ClusterRuntime?
    var priority = ResourcePriority.normal
    var retry = RetryState()
    var isRetrying = false
    var hasFreshTry = false
    var hash: UInt64?
    /// The host of the latest try.
    var upstreamHost: Host? { pool?.host }
    /// The pool of the latest try.
    var pool: HostPool?
    var upstream: (any UpstreamStream)?
    var countsActive = false
    /// The aggregate that the route names, of whose members `cluster` is one; nil where the route names `cluster` itself.
    private var aggregate: ClusterRuntime?
    private(set) var hedgeIsAnswering = false
    private var isAnsweredByHedge = false
    /// Redirects followed so far.
    var redirects: UInt32 = 0
    /// What few requests have; made when the first of it is set.
    private(set) var extras: RouterExtras?

    /// The request's body as far as it may have to be sent (again).
    var body: ByteBuffer?
    private(set) var keepsBody = false
    private var bodyIsLost = false
    private var bodyBytesMax: Int
    var requestIsComplete = false
    var trailers: HeaderTable?
    private(set) var isUpgrade = false
    /// A try is under way that the router's log of tries has no line of.
    var isTryOpen = false
    /// What the present try was answered with; 0 is nothing yet.
    var tryStatus: UInt16 = 0

    /// Bytes under way count for balancing; so many are counted now.
    private var countsBytes = false
    var bytesCounted: UInt64 = 0

    var timeouts: RequestTimeouts?
    var routeDeadline = MonotonicTime.never
    var tryDeadline = MonotonicTime.never
    /// When the present try has been silent for too long.
    var tryIdleDeadline = MonotonicTime.never
    /// When the present try has taken longer than its cluster lets one take.
    var tryEndDeadline = MonotonicTime.never
    var tryStarted: MonotonicTime

    init(stream: HTTPStream, route: Route, target: ClusterTarget?) {
        self.stream = stream
        self.route = route
        self.target = target
        bodyBytesMax = stream.manager.config.buffers.retry(stream.version)
        tryStarted = stream.worker.loop.now
    }

    // MARK: For formats

    /// The cluster that the request goes to.
    var upstreamCluster: ClusterRuntime? { cluster }

    func makeExtras() -> RouterExtras {
        if let extras { return extras }
        let made = RouterExtras()
        extras = made
        return made
    }

    // MARK: Beginning

    func start() {
        if stream.requestOpensTunnel, let forwarding = route.forwarding, !allowsUpgrade(forwarding) {
            stream.manager.count(.downstream_rq_ws_on_non_ws_route, worker)
            return stream.localReply(status: 403, details: "upgrade_failed")
        }
        stream.manager.count(.rq_total, worker)
        if let forwarding = route.forwarding { return forward(forwarding) }
        switch route.action {
        case .directResponse(let direct):
            stream.manager.count(.rq_direct_response, worker)
            let (body, type) = stream.body(of: direct)
            stream.localReply(
                status: direct.status, bytes: body, details: "direct_response",
                headers: type.map { [("content-type", $0)] } ?? [])
        case .redirect(let redirect):
            stream.manager.count(.rq_direct_response, worker)
            let location = stream.readRequest { route.location(for: $0) } ?? []
            stream.localReply(
                status: redirect.status, details: "direct_response",
                headers: [("location", String(decoding: location, as: UTF8.self))])
        case .nonForwarding:
            stream.localReply(status: 404, details: "non_forwarding_action")
        case .forward: break  // Taken above.
        }
    }

    private func forward(_ forwarding: Forwarding) {
        guard let target, let cluster = stream.manager.cluster(for: target) else {
            stream.info.flags.insert(.noClusterFound)
            stream.info.upstreamCluster = nil
            stream.manager.count(.noCluster, worker)
            return stream.localReply(status: forwarding.clusterNotFoundStatus, details: "cluster_not_found")
        }
        if cluster.discovery == .aggregate { aggregate = cluster }
        self.cluster = cluster
        if refusesHeaders() { return }
        if worker.sheds(.downstreamFilters) {
            stream.info.flags.insert(.overloadManager)
            stream.info.attempts = 1  // As Envoy: the try that would have begun.
            stream.manager.count(.rq_overload_local_reply, worker)
            return stream.localReply(status: 503, body: "envoy overloaded", details: "overload")
        }
        priority = forwarding.priority
        stream.requestMetrics?.add(.upstream_rq_total, row: worker.index)
        if cluster.hostSet.drop(random: worker.random.next()) != nil {
            cluster.count(.upstream_rq_drop_overload)
            countResponse(503)
            stream.info.flags.insert(.unconditionalDropOverload)
            return stream.localReply(
                status: 503, body: "unconditional drop overload", details: "unconditional_drop_overload",
                headers: [("x-envoy-unconditional-drop-overload", "true")])
        }
        if stream.requestOpensTunnel {
            isUpgrade = true
            stream.countUpgrade()
        }
        if let found = forwarding.termination(of: stream.request.method) { makeExtras().termination = found }
        let isInternal = stream.isInternal
        timeouts =
            RequestTimeouts.asks(forwarding, honorsHeaders: isInternal)
            ? stream.readRequest {
                RequestTimeouts(
                    forwarding, request: $0, honorsHeaders: isInternal,
                    followsExpected: stream.manager.config.router.respectsExpectedTimeout)
            }
            : RequestTimeouts(forwarding)
        if !isUpgrade {
            if forwarding.sharedRetryPolicy != nil || isInternal {
                retry = stream.readRequest {
                    RetryState(shared: forwarding.sharedRetryPolicy, request: $0, honorsHeaders: isInternal)
                }
            }
            keepsBody = retry.mayRetry || forwarding.internalRedirects != nil
        }
        countsBytes = cluster.rules.countsBytes
        if let limit = route.bufferBytesMax { bodyBytesMax = Int(limit) }
        // What the cluster says goes before the route's word (as Envoy).
        if cluster.hashesRequests {
            makeHash(cluster.config.hashPolicies)
        } else if !forwarding.hashPolicies.isEmpty {
            makeHash(forwarding.hashPolicies)
        }
        // As the router finds it, before the route rewrites it.
        if cluster.rules.followsServerNames {
            makeExtras().serverName = ServerNameOfRequest.find(stream.request, cluster.config.serverNames)
        }
        if stream.info.hasFilterState, let name = stream.info.filterState[FilterStateFactory.serverNameKey] {
            makeExtras().serverName = name
        }
        if stream.info.hasFilterState,
            let names = stream.info.filterState[FilterStateFactory.applicationProtocolsKey]
        {
            makeExtras().applicationProtocols = names
        }
        if !cluster.hasOwnHosts, cluster.config.dnsCache != nil {
            makeExtras().dynamicHost = stream.request.authorityText
        }
        rewriteRequest(forwarding)
        if !forwarding.mirrors.isEmpty, !isUpgrade, stream.explanation == nil { startMirrors(forwarding) }
        beginTry()
    }

    // MARK: Tries

    func beginTry() {
        guard let forwarding = route.forwarding, state != .finished else { return }
        if let aggregate { cluster = aggregate.member() }
        guard let cluster else { return }
        state = .waitingForConnection
        stream.info.attempts += 1
        if stream.info.attempts > 1 { beginRetry() }
        guard let host = chooseHost(forwarding, cluster),
            let pool = cluster.pool(
                of: host, named: extras?.serverName, speaking: extras?.applicationProtocols,
                for: cluster.tellsClients ? stream.connection?.info : nil, from: stream.upstreamSource)
        else {
            cluster.count(.upstream_cx_none_healthy)
            stream.info.flags.insert(.noHealthyUpstream)
            return giveUp(
                status: 503, body: "no healthy upstream", details: "no_healthy_upstream", outcome: .noHealthyHost)
        }
        guard cluster.acquire(.request, priority) else {
            stream.info.upstreamHost = pool.address
            return overflow()
        }
        countsActive = true
        host.activeRequests &+= 1
        host.statistics.requestsTotal &+= 1
        cluster.count(.upstream_rq_active)
        if stream.info.attempts > 1, let former = upstreamHost, former !== host {
            makeExtras().formerHosts.append(former)
        }
        self.pool = pool
        stream.info.upstreamHost = pool.address
        tryStarted = worker.loop.now
        isTryOpen = true
        tryStatus = 0
        if requestIsComplete { setTryDeadline() }
        if let explanation = stream.explanation { return explainEnd(explanation, cluster) }
        if let termination = extras?.termination {
            return pool.connectTunnel(self, priority: priority, opening: opening(termination))
        }
        pool.acquire(self, priority: priority, fresh: hasFreshTry, downstream: stream.version)
    }

    func poolReady(_ upstream: any UpstreamStream) {
        self.upstream = upstream
        state = .active
        cluster?.count(.upstream_rq_total)  // As Envoy: one for each try that has a connection.
        if let outlier = cluster?.outlier, let host = pool?.host { outlier.report(.localSuccess, host) }
        // Not for access logs alone: headers, filters and expressions may tell them too.
        stream.info.upstreamLocalAddress = upstream.localAddress
        stream.info.upstreamProtocol = upstream.httpVersion
        stream.info.upstreamTLS = upstream.tlsFacts
        stream.info.upstreamHostname = pool?.host.endpoint.hostname
        if stream.manager.standard != nil { pool?.notePrincipals(upstream) }
        startTryEnd()
        finishHead()
        if let span = stream.span { beginTry(span, upstream) }
        logTryBeginning()
        if let chain = upstreamChain, stream.beginUpstreamFilters(chain) { return runUpstreamFilters() }
        upstream.begin(stream.request, isUpgrade: isUpgrade, for: self)
        stream.info.firstUpstreamByteSent = worker.loop.now
        sendCollected()
    }

    /// Sends what of the body has come so far.
    @inline(__always)
    func sendCollected() {
        if let body, !body.isEmpty {
            sendUpstream(body.bytes)
            if keepsBody, body.count > bodyBytesMax { loseBody() }
            if !keepsBody { self.body = nil }
        }
        guard !stream.isFinished else { return }
        if requestIsComplete { sendUpstreamEnd(trailers ?? HeaderTable()) }
        if !requestIsComplete { stream.requestMayContinue() }
    }

    // MARK: Request body

    func requestBody(_ bytes: UnsafeRawBufferPointer) {
        if let extras { for mirror in extras.mirrors { mirror.sendBody(bytes) } }
        if countsBytes { countBytes(bytes.count) }
        if keepsBody && !bodyIsLost {
            let held = body?.count ?? 0
            if held + bytes.count > bodyBytesMax && state == .active {
                // Too large to repeat: from now on it only passes through.
                loseBody()
                body = nil
            }
        }
        if state == .active || state == .responding, upstream != nil {
            if keepsBody && state == .active { hold(bytes) }
            sendUpstream(bytes)
        } else if state == .waitingForConnection || state == .backingOff {
            hold(bytes)
        }
    }

    /// The body is too large to be sent again.
    private func loseBody() {
        bodyIsLost = true
        keepsBody = false
        cluster?.count(.retry_or_shadow_abandoned)
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
        if let extras { for mirror in extras.mirrors { mirror.sendEnd(trailers) } }
        if let timeout = timeouts?.total, timeout > .zero, !isUpgrade {
            routeDeadline = worker.loop.now + timeout
        }
        setTryDeadline()
        if state == .active || state == .responding { sendUpstreamEnd(trailers) }
    }

    private func setTryDeadline() {
        guard let timeouts, !isUpgrade, timeouts.perTry != nil || timeouts.perTryIdle != nil else { return }
        if let timeout = timeouts.perTry { tryDeadline = worker.loop.now + timeout }
        if let timeout = timeouts.perTryIdle { tryIdleDeadline = worker.loop.now + timeout }
        stream.deadlinesChanged()
    }

    func tunnelRequestEnd() { upstream?.sendTunnelEnd() }

    /// Whether the client must wait: the upstream is slower, or there is none yet and enough is held for it.
    var requestIsPaused: Bool {
        switch state {
        case .active, .responding: upstream?.requestIsBlocked ?? false
        case .created, .waitingForConnection, .backingOff: (body?.count ?? 0) >= stream.manager.config.buffers.wire
        case .finished: false
        }
    }

    func requestMayContinue() { stream.requestMayContinue() }

    // MARK: Response

    var responseIsPaused: Bool { stream.responseIsPaused }

    func responseMayContinue() { upstream?.responseMayContinue() }

    func responseInterim(_ head: borrowing ResponseHead) {
        countResponse(head.status)
        // The host has begun to answer: what it says next is its answer, whatever it is (Envoy).
        retry = RetryState()
        stream.respondInterim(head)
    }

    func responseHead(_ head: inout ResponseHead) {
        guard cluster != nil, state == .active else { return }
        stream.info.firstUpstreamByteReceived = worker.loop.now
        swap(&head, &stream.response)
        if isFiltering, !stream.runHead(.upstreamResponse, isEnd: stream.responseHasNoBody) { return }
        responseHeadPassed()
    }

    /// The head of the response has passed the filters of the try: it is repeated, or delivered.
    @inline(__always)
    func responseHeadPassed() {
        guard let cluster, state == .active else { return }
        let now = worker.loop.now
        let status = stream.response.status
        tryStatus = status
        if let host = pool?.host {
            if !isAnsweredByHedge {
                if status >= 500 { host.statistics.errors &+= 1 } else { host.statistics.successes &+= 1 }
                if let outlier = cluster.outlier { outlier.report(.response(judgedStatus(stream.response)), host) }
            }
            if countsBytes, case .length(let count) = stream.response.body { countBytes(count) }
            if cluster.rules.learnsFromResponses { learn(from: stream.response, of: host, in: cluster) }
        }
        if let policy = forwarding?.internalRedirects, status / 100 == 3, followRedirect(policy) { return }
        if retry.isOn, canRepeat,
            case let outcome = TryOutcome.of(stream.response.status, stream.response.headers.parts),
            !retry.isFinal(outcome)
        {
            let decision = retry.decide(
                after: outcome, response: ResponseHeadView(head: stream.response), random: worker.random.next(),
                wallSeconds: wallSeconds)
            switch decision {
            case .retry(let wait):
                if acquireRetry() {
                    countRetried(status)
                    // The rest of this response is of no use; its connection goes with it.
                    dropConnection()
                    releaseHost()
                    return retryAfter(wait)
                }
                stream.info.flags.insert(.upstreamOverflow)
            case .deliver(.limitExceeded):
                countRetryLimit()
                // It was no success: there would be another try if there could be.
                releaseRetry(succeeded: false)
            case .deliver: break
            }
        }
        deliver(now)
    }

    private func deliver(_ now: MonotonicTime) {
        state = .responding
        tryDeadline = .never
        // Where tries ran side by side, a retry has succeeded only if it was the one that answered.
        let isRetrySuccess = stream.response.status < 500 && (hedge == nil || isAnsweredByHedge)
        if let timeout = timeouts?.perTryIdle { tryIdleDeadline = now + timeout }
        if let hedge {
            hedgeIsAnswering = isAnsweredByHedge
            if !hedgeIsAnswering { letGoOfHedge(hedge) }
        }
        releaseRetry(succeeded: isRetrySuccess)
        body = nil
        // A response that was not delivered is counted as a retry's alone (Envoy).
        countResponse(stream.response.status)
        if pool?.host.isCanary == true { countCanary(stream.response.status) }
        if stream.response.status == 101 {
            routeDeadline = .never
            guard isUpgrade else {
                pool?.cluster.count(.upstream_cx_protocol_error)
                return failResponse(.upstreamProtocolError, "upstream_reset_before_response_started{protocol_error}")
            }
        } else if isUpgrade, stream.response.opensTunnel(answering: stream.request.method) {
            routeDeadline = .never
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
        // It tells what passed since the end of the request, which a tunnel's has not and an early answer's neither.
        if !stream.manager.config.suppressesEnvoyHeaders, requestIsComplete, !stream.requestOpensTunnel {
            let time = now.nanoseconds(since: stream.info.firstUpstreamByteSent ?? tryStarted)
            stream.response.headers.append(.xEnvoyUpstreamServiceTime, number: Int(clamping: time / 1_000_000))
        }
        if route.includesAttemptCountInResponse {
            stream.response.headers.append(.xEnvoyAttemptCount, number: stream.info.attempts)
        }
        if let newCookie = extras?.newCookie { try? stream.response.headers.append(.setCookie, newCookie.span.bytes) }
        stream.applyResponseMutations()
        stream.respondHead()
    }

    func responseBody(_ bytes: UnsafeRawBufferPointer) {
        if isFiltering, !stream.isTunnel { return stream.runBody(.upstreamResponse, bytes, isEnd: false) }
        responseBodyPassed(bytes)
    }

    @inline(__always)
    func responseBodyPassed(_ bytes: UnsafeRawBufferPointer) {
        guard state == .responding else { return }
        if let timeout = timeouts?.perTryIdle { tryIdleDeadline = worker.loop.now + timeout }
        stream.respondBody(bytes)
    }

    /// The connection has let go of us already.
    func responseEnd(_ trailers: borrowing HeaderTable) {
        guard state == .responding || isFiltering else { return }
        upstream = nil
        stream.info.lastUpstreamByteReceived = worker.loop.now
        if let cluster, let pool {
            recordTime(cluster, pool)
            releaseHost(cluster, pool)
        }
        if isFiltering, !stream.isTunnel { return stream.runEnd(.upstreamResponse, trailers) }
        responseEndPassed(trailers)
    }

    func responseEndPassed(_ trailers: borrowing HeaderTable) {
        guard state == .responding else { return }
        logTry()
        state = .finished
        stream.endUpstreamFilters()
        stream.respondEnd(trailers)
    }

    var bodyIsEmpty: Bool {
        if case .none = stream.request.body { return true }
        return false
    }

    /// Whether the whole request can be sent once more.
    var canRepeat: Bool { !bodyIsLost && (bodyIsEmpty || keepsBody) && !isUpgrade }

    /// A try ended without a response: repeat it or answer.
    func decide(_ outcome: TryOutcome, status: UInt16, flag: ResponseFlags, details: String) {
        logTry(flag)
        if isRepeated(after: outcome) { return }
        stream.info.flags.insert(flag)
        let again = stream.info.attempts > 1 ? "retried and the latest reset reason" : "reset reason"
        let body =
            "upstream connect error or disconnect/reset before headers. \(again): "
            + (extras?.latestReset ?? "connection termination")
        giveUp(status: status, body: body, details: details, outcome: outcome)
    }

    func failResponse(_ flag: ResponseFlags, _ details: String) {
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

    // MARK: Letting go

    /// Stops the present try, wherever it stands.
    func letGo() {
        logTry()
        stream.endUpstreamFilters()
        if state == .waitingForConnection { pool?.cancel(self) }
        dropConnection()
        releaseHost()
        extras?.backOffTimer?.cancel()
        extras?.backOffTimer = nil
        tryIdleDeadline = .never
        tryEndDeadline = .never
        if let hedge { letGoOfHedge(hedge) }
        if let extras, !requestIsComplete { for mirror in extras.mirrors where !mirror.isFinished { mirror.abandon() } }
    }

    private func letGoOfHedge(_ second: SideRequest) {
        extras?.hedge = nil
        extras?.failureBeforeHedge = nil
        second.abandon()
    }

    /// The second try has answered: the first is given up.
    func letGoOfFirst() {
        extras?.failureBeforeHedge = nil
        if state == .waitingForConnection { pool?.cancel(self) }
        dropConnection()
        releaseHost()
        isAnsweredByHedge = true
    }

    func dropConnection() {
        let upstream = upstream
        self.upstream = nil
        if isAnsweredByHedge, let hedge {
            // The stream is the second try's own: it ends it.
            isAnsweredByHedge = false
            hedgeIsAnswering = false
            return letGoOfHedge(hedge)
        }
        if let upstream {
            cluster?.count(.upstream_rq_tx_reset)
            upstream.abandon()
        }
    }

    func releaseHost() {
        guard countsActive, let cluster, let pool else { return }
        releaseHost(cluster, pool)
    }

    private func releaseHost(_ cluster: ClusterRuntime, _ pool: HostPool) {
        guard countsActive else { return }
        countsActive = false
        let host = pool.host
        if bytesCounted > 0 {
            host.bytesInFlight &-= bytesCounted
            bytesCounted = 0
        }
        host.activeRequests &-= 1
        cluster.release(.request, priority)
        cluster.uncount(.upstream_rq_active)
        cluster.released(host)
    }
}
