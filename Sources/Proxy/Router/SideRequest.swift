internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// A request that the router sends beside its own: a copy for another cluster (mirror), or a second try while the first is
/// still under way (hedge).
///
/// Nobody waits for it: what it cannot send within its bounds it gives up.
final class SideRequest: PoolClient, UpstreamClient {
    private let worker: Worker
    private let cluster: ClusterRuntime
    private let priority: ResourcePriority
    private var head: RequestHead
    private var body: ByteBuffer?
    private var trailers: HeaderTable?
    private var isComplete = false
    private var pool: HostPool?
    private var upstream: (any UpstreamStream)?
    private var countsActive = false
    private var timer: LoopTimer?
    /// Who wants the answer; nil for a mirror.
    ///
    /// Strong until it ends: router and request let go of each other then.
    private var router: Router?
    private(set) var isFinished = false

    init(_ head: RequestHead, cluster: ClusterRuntime, worker: Worker, priority: ResourcePriority, for router: Router?)
    {
        self.head = head
        self.cluster = cluster
        self.worker = worker
        self.priority = priority
        self.router = router
    }

    /// The host that answers.
    var host: Host? { pool?.host }

    /// Where the request itself names its destination (ORIGINAL_DST, dynamic_forward_proxy).
    private var destination: String? {
        if let router { return router.namedDestination(cluster) }
        return cluster.config.dnsCache == nil ? nil : head.authorityText
    }

    private var connection: ConnectionInfo? { router?.stream.connectionInfo }

    /// Begins; false when no host takes it.
    func start(_ choice: LoadBalancer.Request, timeout: Duration?) -> Bool {
        let settings = cluster.config.serverNames
        guard let host = cluster.choose(choice, connection: connection, named: destination),
            let pool = cluster.pool(
                of: host,
                named: router?.extras?.serverName
                    ?? (settings.followRequests ? ServerNameOfRequest.find(head, settings) : nil),
                speaking: router?.extras?.applicationProtocols, for: router?.stream.connection?.info,
                from: router?.stream.upstreamSource)
        else {
            cluster.count(.upstream_cx_none_healthy)
            isFinished = true
            router = nil
            return false
        }
        guard cluster.acquire(.request, priority) else {
            cluster.count(.upstream_rq_pending_overflow)
            isFinished = true
            router = nil
            return false
        }
        self.pool = pool
        countsActive = true
        host.activeRequests &+= 1
        host.statistics.requestsTotal &+= 1
        cluster.count(.upstream_rq_active)
        if let timeout {
            timer = worker.schedule(after: timeout) { [weak self] in self?.fail() }
        }
        pool.acquire(self, priority: priority)
        return !isFinished
    }

    // MARK: Request

    func sendBody(_ bytes: UnsafeRawBufferPointer) {
        guard !isFinished else { return }
        if let upstream {
            // Nobody is slowed down for a copy.
            guard !upstream.requestIsBlocked else { return giveUp() }
            upstream.sendBody(bytes)
        } else {
            let buffer = body ?? ByteBuffer(pool: worker.blocks)
            guard buffer.count + bytes.count <= Limits.bufferBytes else { return giveUp() }
            buffer.append(bytes)
            body = buffer
        }
    }

    func sendEnd(_ trailers: borrowing HeaderTable) {
        guard !isFinished, !isComplete else { return }
        isComplete = true
        if let upstream {
            upstream.sendEnd(trailers)
        } else if !trailers.isEmpty {
            self.trailers = copy trailers
        }
    }

    private func giveUp() {
        cluster.count(.retry_or_shadow_abandoned)
        abandon()
    }

    // MARK: Connection

    func poolReady(_ upstream: any UpstreamStream) {
        self.upstream = upstream
        cluster.count(.upstream_rq_total)
        upstream.begin(head, isUpgrade: false, for: self)
        if let body {
            self.body = nil
            upstream.sendBody(body.bytes)
        }
        if isComplete { upstream.sendEnd(trailers ?? HeaderTable()) }
    }

    func poolFailed(_ failure: PoolFailure) { fail() }

    // MARK: Response

    var responseIsPaused: Bool { router?.responseIsPaused ?? false }

    func requestMayContinue() {}

    func responseInterim(_ head: borrowing ResponseHead) {}

    func responseHead(_ head: inout ResponseHead) {
        if let host = pool?.host {
            if head.status >= 500 { host.statistics.errors &+= 1 } else { host.statistics.successes &+= 1 }
            cluster.outlier?.report(.response(head.status), host)
        }
        if let router, let upstream, let pool {
            // From here on the router is the client of this stream in all but name.
            timer?.cancel()
            router.hedgeAnswers(self, upstream, pool)
            router.responseHead(&head)
        } else {
            cluster.metrics.countResponse(head.status, row: worker.index)
        }
    }

    func responseBody(_ bytes: UnsafeRawBufferPointer) { router?.responseBody(bytes) }

    func responseEnd(_ trailers: borrowing HeaderTable) {
        let router = router
        finish()
        router?.responseEnd(trailers)
    }

    func upstreamFailed(_ failure: UpstreamFailure, onReusedConnection: Bool) {
        upstream = nil
        let router = router
        let wasAnswering = router?.isAnsweredBy(self) ?? false
        if let host = pool?.host { cluster.outlier?.report(.localFailure, host) }
        if wasAnswering {
            finish()
            router?.upstreamFailed(failure, onReusedConnection: false)
        } else {
            fail()
        }
    }

    // MARK: End

    private func fail() {
        guard !isFinished else { return }
        let router = router
        abandon()
        router?.hedgeFailed(self)
    }

    /// Lets go of everything, whatever it was doing.
    func abandon() {
        guard !isFinished else { return }
        if upstream == nil { pool?.cancel(self) }
        let upstream = upstream
        finish()
        upstream?.abandon()
    }

    private func finish() {
        isFinished = true
        timer?.cancel()
        timer = nil
        upstream = nil
        body = nil
        router = nil
        guard countsActive, let pool else { return }
        countsActive = false
        pool.host.activeRequests &-= 1
        cluster.release(.request, priority)
        cluster.uncount(.upstream_rq_active)
        cluster.released(pool.host)
    }
}
