internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// Who gets the answer of an exchange.
protocol ClusterExchangeClient: AnyObject {
    /// Whether what comes has no place to go; `ClusterExchange.mayContinue` follows.
    var isPaused: Bool { get }
    /// Takes the head, by swapping.
    func exchangeHead(_ head: inout ResponseHead)
    func exchangeBody(_ bytes: UnsafeRawBufferPointer)
    /// The answer is complete; nothing follows.
    func exchangeEnd(_ trailers: borrowing HeaderTable)
    /// There is no whole answer; nothing follows.
    func exchangeFailed(_ failure: CallFailure)
    /// What was sent has left.
    func exchangeDrained()
}

extension ClusterExchangeClient {
    var isPaused: Bool { false }
    func exchangeDrained() {}
}

/// One request of a filter's own to a cluster, through the loop's balancer, circuit breakers and pools, and its answer.
///
/// It counts at the cluster as requests of clients do, as an internal one. Body and trailers may be said before there is a
/// connection; they wait, bounded. The client is kept until the exchange ends, and told of one end only.
final class ClusterExchange: PoolClient, UpstreamClient {
    private let worker: Worker
    private let cluster: ClusterRuntime
    private var head: RequestHead
    private var client: (any ClusterExchangeClient)?
    private var waiting: [UInt8] = []
    private var isComplete = false
    private var pool: HostPool?
    private var upstream: (any UpstreamStream)?
    private var countsActive = false
    private var timer: LoopTimer?
    private var hasHead = false
    private let started: MonotonicTime
    private(set) var isFinished = false
    /// The answer is not taken: the request is sent again.
    private var isRetried = false

    init(_ head: RequestHead, cluster: ClusterRuntime, worker: Worker, for client: any ClusterExchangeClient) {
        self.head = head
        // An aggregate is not asked itself.
        self.cluster = cluster.member()
        self.worker = worker
        self.client = client
        started = worker.loop.now
    }

    /// Who answers; nil before a host is chosen.
    var host: SocketAddress? { pool?.address }

    /// Chooses a host and asks for a connection; the end may come before this returns.
    ///
    /// - Parameter fresh: a connection that was used before will not do.
    func start(timeout: Duration?, fresh: Bool = false) {
        var choice = LoadBalancer.Request()
        choice.now = worker.loop.now.nanoseconds
        let settings = cluster.config.serverNames
        guard
            let host = cluster.choose(
                choice, connection: nil, named: cluster.config.dnsCache == nil ? nil : head.authorityText),
            let pool = cluster.pool(
                of: host, named: settings.followRequests ? ServerNameOfRequest.find(head, settings) : nil)
        else {
            cluster.count(.upstream_cx_none_healthy)
            return fail(.noHost, status: 503)
        }
        guard cluster.acquire(.request, .normal) else {
            cluster.count(.upstream_rq_pending_overflow)
            return fail(.overflow, status: 503)
        }
        self.pool = pool
        countsActive = true
        host.activeRequests &+= 1
        host.statistics.requestsTotal &+= 1
        cluster.count(.upstream_rq_active)
        if let timeout {
            timer = worker.schedule(after: timeout) { [weak self] in self?.timedOut() }
        }
        pool.acquire(self, priority: .normal, fresh: fresh)
    }

    // MARK: Request

    /// Whether the host reads slower than we write.
    var isBlocked: Bool { upstream?.requestIsBlocked ?? !waiting.isEmpty }

    /// As `isBlocked`, but for what waits for a connection: that has `CallLimits.waitingBytes`.
    var isReadSlowly: Bool { upstream?.requestIsBlocked ?? false }

    func send(_ bytes: [UInt8]) {
        guard !isFinished, !isComplete, !bytes.isEmpty else { return }
        if let upstream {
            bytes.withUnsafeBytes { upstream.sendBody($0) }
        } else if waiting.count + bytes.count <= CallLimits.waitingBytes {
            waiting += bytes
        } else {
            letGo(counting: .upstream_rq_cancelled)
            end { $0.exchangeFailed(.overflow) }
        }
    }

    func finishSending() {
        guard !isFinished, !isComplete else { return }
        isComplete = true
        upstream?.sendEnd(HeaderTable())
    }

    /// The client takes more.
    func mayContinue() { upstream?.responseMayContinue() }

    // MARK: Connection

    func poolReady(_ upstream: any UpstreamStream) {
        self.upstream = upstream
        cluster.count(.upstream_rq_total)
        if let host = pool?.host { cluster.outlier?.report(.localSuccess, host) }
        upstream.begin(head, isUpgrade: false, for: self)
        guard !isFinished else { return }
        if !waiting.isEmpty {
            waiting.withUnsafeBytes { upstream.sendBody($0) }
            waiting = []
        }
        if isComplete, !isFinished { upstream.sendEnd(HeaderTable()) }
    }

    func poolFailed(_ failure: PoolFailure) {
        if case .overflow = failure { return fail(.overflow, status: 503) }
        if let host = pool?.host { cluster.outlier?.report(.localFailure, host) }
        switch failure {
        case .overflow: break
        case .connectFailed(let error): fail(.connect("connect error: \(error.reason)"), status: 503)
        case .connectTimedOut: fail(.connect("connection timeout"), status: 503)
        case .handshakeFailed(let reason): fail(.connect("TLS: \(reason)"), status: 503)
        }
    }

    // MARK: Answer

    var responseIsPaused: Bool { client?.isPaused ?? false }

    func requestMayContinue() { client?.exchangeDrained() }

    func responseInterim(_ head: borrowing ResponseHead) {}

    func responseHead(_ head: inout ResponseHead) {
        guard !isFinished else { return }
        hasHead = true
        if let host = pool?.host {
            if head.status >= 500 { host.statistics.errors &+= 1 } else { host.statistics.successes &+= 1 }
            cluster.outlier?.report(.response(head.status), host)
        }
        let status = head.status
        client?.exchangeHead(&head)
        if isRetried {
            for name in ["\(status)", "\(status / 100)xx", "completed"] {
                cluster.retryScope.counter("upstream_rq_" + name).add(row: worker.index)
            }
        } else {
            cluster.metrics.countResponse(status, isInternal: true, row: worker.index)
        }
    }

    func responseBody(_ bytes: UnsafeRawBufferPointer) { client?.exchangeBody(bytes) }

    func responseEnd(_ trailers: borrowing HeaderTable) {
        guard !isFinished else { return }
        upstream = nil
        cluster.metrics.internalRequestTime.record(worker.loop.now - started, row: worker.index)
        let client = client
        release()
        client?.exchangeEnd(trailers)
    }

    func upstreamFailed(_ failure: UpstreamFailure, onReusedConnection: Bool) {
        guard !isFinished else { return }
        upstream = nil
        if let host = pool?.host { cluster.outlier?.report(.localFailure, host) }
        switch failure {
        case .terminated:
            cluster.count(.upstream_rq_rx_reset)
            fail(.reset("connection termination", refused: onReusedConnection), status: hasHead ? nil : 503)
        case .reset:
            cluster.count(.upstream_rq_rx_reset)
            fail(.reset("remote reset", refused: false), status: hasHead ? nil : 503)
        case .refused:
            cluster.count(.upstream_rq_rx_reset)
            fail(.reset("remote refused stream reset", refused: true), status: hasHead ? nil : 503)
        case .protocolError(let error):
            fail(.reset("protocol error: \(error)", refused: false), status: hasHead ? nil : 502)
        }
    }

    // MARK: End

    /// The time for all tries together has passed.
    func passDeadline() { timedOut() }

    private func timedOut() {
        guard !isFinished else { return }
        cluster.count(.upstream_rq_timeout)
        pool?.host.statistics.timeouts &+= 1
        if let host = pool?.host, upstream != nil { cluster.outlier?.report(.timeout, host) }
        if !hasHead { cluster.metrics.countResponse(504, isInternal: true, row: worker.index) }
        letGo(counting: nil)
        end { $0.exchangeFailed(.timedOut) }
    }

    private func fail(_ failure: CallFailure, status: UInt16?) {
        guard !isFinished else { return }
        if let status { cluster.metrics.countResponse(status, isInternal: true, row: worker.index) }
        end { $0.exchangeFailed(failure) }
    }

    private func end(_ tell: (any ClusterExchangeClient) -> Void) {
        let client = client
        release()
        if let client { tell(client) }
    }

    /// Gives up the answer that has just begun, for another try.
    func cancelForRetry() {
        isRetried = true
        cancel()
    }

    /// Gives it up: the client hears nothing more.
    func cancel() {
        guard !isFinished else { return }
        client = nil
        letGo(counting: .upstream_rq_cancelled)
        release()
    }

    private func letGo(counting cell: ClusterMetrics.Cell?) {
        if let upstream {
            self.upstream = nil
            cluster.count(.upstream_rq_tx_reset)
            upstream.abandon()
        } else {
            if let cell { cluster.count(cell) }
            pool?.cancel(self)
        }
    }

    private func release() {
        isFinished = true
        timer?.cancel()
        timer = nil
        upstream = nil
        client = nil
        waiting = []
        guard countsActive, let pool else { return }
        countsActive = false
        pool.host.activeRequests &-= 1
        cluster.release(.request, .normal)
        cluster.uncount(.upstream_rq_active)
        cluster.released(pool.host)
    }
}
