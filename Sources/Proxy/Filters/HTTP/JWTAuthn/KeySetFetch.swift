internal import HTTP
internal import IO
internal import Upstream

/// One GET of a key set from a cluster's hosts, on one loop, repeated as the retry policy says.
///
/// It holds itself by what it waits for (connection, timer) and tells its `RemoteKeySet` once.
final class KeySetFetch: PoolClient, UpstreamClient {
    private let keys: RemoteKeySet
    private let worker: Worker
    private var cluster: ClusterRuntime?
    private var pool: HostPool?
    private var upstream: (any UpstreamStream)?
    private var timer: LoopTimer?
    private var status: UInt16 = 0
    private var body: [UInt8] = []
    private var attempts = 0
    private var isUnderWay = false

    init(_ keys: RemoteKeySet, _ worker: Worker) {
        self.keys = keys
        self.worker = worker
    }

    func start() {
        attempts += 1
        status = 0
        body = []
        guard let cluster = worker.cluster(named: keys.cluster) else { return end(nil, mayRepeat: false) }
        self.cluster = cluster
        var choice = LoadBalancer.Request()
        choice.now = worker.loop.now.nanoseconds
        guard let host = cluster.choose(choice, connection: nil), let pool = cluster.pool(of: host) else {
            cluster.count(.upstream_cx_none_healthy)
            return end(nil)
        }
        guard cluster.acquire(.request, .normal) else {
            cluster.count(.upstream_rq_pending_overflow)
            return end(nil)
        }
        self.pool = pool
        isUnderWay = true
        host.activeRequests &+= 1
        host.statistics.requestsTotal &+= 1
        cluster.count(.upstream_rq_active)
        if keys.timeout > .zero {
            timer = worker.schedule(after: keys.timeout) { [self] in
                cluster.count(.upstream_rq_timeout)
                giveUp()
            }
        }
        pool.acquire(self, priority: .normal)
    }

    private func giveUp() {
        if upstream == nil { pool?.cancel(self) }
        let upstream = upstream
        let body: [UInt8]? = nil
        self.upstream = nil
        upstream?.abandon()
        end(body)
    }

    // MARK: Connection

    func poolReady(_ upstream: any UpstreamStream) {
        self.upstream = upstream
        cluster?.count(.upstream_rq_total)
        var head = RequestHead()
        head.setMethod(.get)
        head.setScheme("http")
        try? head.setPath(Array(keys.path.utf8).span.bytes)
        try? head.setAuthority(Array(keys.authority.utf8).span.bytes)
        try? head.headers.append("x-envoy-internal", "true")
        if let address = upstream.localAddress?.address {
            try? head.headers.append("x-forwarded-for", address.description)
        }
        if keys.timeout > .zero {
            let milliseconds = keys.timeout.wholeNanoseconds / 1_000_000
            try? head.headers.append("x-envoy-expected-rq-timeout-ms", String(milliseconds))
        }
        upstream.begin(head, isUpgrade: false, for: self)
        upstream.sendEnd(HeaderTable())
    }

    func poolFailed(_ failure: PoolFailure) { end(nil) }

    // MARK: Response

    var responseIsPaused: Bool { false }

    func requestMayContinue() {}

    func responseInterim(_ head: borrowing ResponseHead) {}

    func responseHead(_ head: inout ResponseHead) {
        status = head.status
        if let host = pool?.host {
            if status >= 500 { host.statistics.errors &+= 1 } else { host.statistics.successes &+= 1 }
            cluster?.outlier?.report(.response(status), host)
        }
        cluster?.metrics.countResponse(status, isInternal: true, row: worker.index)
    }

    func responseBody(_ bytes: UnsafeRawBufferPointer) {
        guard isUnderWay else { return }
        guard body.count + bytes.count <= JWTLimits.keySetBytes else { return giveUp() }
        body += bytes
    }

    func responseEnd(_ trailers: borrowing HeaderTable) {
        upstream = nil
        end(status == 200 && !body.isEmpty ? body : nil)
    }

    func upstreamFailed(_ failure: UpstreamFailure, onReusedConnection: Bool) {
        upstream = nil
        if let host = pool?.host { cluster?.outlier?.report(.localFailure, host) }
        if onReusedConnection { attempts -= 1 }
        end(nil, again: onReusedConnection)
    }

    // MARK: End

    /// - Parameter again: The connection had been closed before the request was seen: that is no attempt.
    private func end(_ body: [UInt8]?, mayRepeat: Bool = true, again: Bool = false) {
        timer?.cancel()
        timer = nil
        upstream = nil
        if isUnderWay, let pool, let cluster {
            isUnderWay = false
            pool.host.activeRequests &-= 1
            cluster.release(.request, .normal)
            cluster.uncount(.upstream_rq_active)
            cluster.released(pool.host)
        }
        pool = nil
        let failed = body == nil && (status == 0 || status >= 500)
        if failed, mayRepeat, again || attempts <= keys.retries {
            if !again { cluster?.count(.upstream_rq_retry) }
            let pause = again ? Duration.zero : backOff()
            _ = worker.schedule(after: pause) { [self] in start() }
            return
        }
        cluster = nil
        keys.fetched(body, on: worker)
    }

    /// Exponential, with full jitter.
    private func backOff() -> Duration {
        let most = min(keys.backOff.base * (1 << min(attempts - 1, 16)), keys.backOff.max)
        let share = Double(worker.random.next() >> 11) / Double(UInt64(1) << 53)
        return .nanoseconds(Int64(Double(most.wholeNanoseconds) * share))
    }
}
