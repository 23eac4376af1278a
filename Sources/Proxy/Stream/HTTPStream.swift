internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// One request and its response: route, filters, router, access log.
///
/// The path of a request reads here from top to bottom: `begin` → `findRoute` → `runFilters` → `Router`; the response
/// comes back through `respond…`; `finish` runs once, always, last.
final class HTTPStream {
    let worker: Worker
    let manager: HTTPConnectionManager
    /// Strong while the stream lives; `finish` breaks the cycle.
    private(set) var connection: HTTPConnection?
    let connectionInfo: ConnectionInfo

    var request = RequestHead()
    var response = ResponseHead()
    var info: StreamInfo
    /// What the client sent, before rewrites, where a rewrite changed it (access log, `x-envoy-original-path`).
    var originalPath: [UInt8]?

    private(set) var route: Route?
    private(set) var target: ClusterTarget?
    private(set) var requestIsComplete = false
    private(set) var responseHasBegun = false
    private(set) var isFinished = false
    private(set) var isTunnel = false
    private(set) var router: Router?

    private var filters: [any HTTPFilter] = []
    private var nextFilter = 0
    private var filtersAreDone = false
    private var heldBody: ByteBuffer?

    private var lastActivity: MonotonicTime
    private var requestDeadline = MonotonicTime.never
    private var idleTimeout: Duration?

    init(connection: HTTPConnection) {
        self.connection = connection
        connectionInfo = connection.info
        worker = connection.worker
        manager = connection.manager
        let now = worker.loop.now
        info = StreamInfo(started: now)
        if manager.keepsAccessLog { info.startedWall = WallClock.now }
        lastActivity = now
        idleTimeout = manager.config.streamIdleTimeout
        if let timeout = manager.config.requestTimeout { requestDeadline = now + timeout }
    }

    // MARK: Request

    /// Called once with the head in `request`.
    func begin() {
        manager.requestBegan(worker)
        guard prepareRequest() else { return }
        findRoute()
        guard !isFinished else { return }
        runFilters()
    }

    /// What the connection manager does to each request before anything else looks at it.
    private func prepareRequest() -> Bool {
        let config = manager.config
        guard config.pathNormalization.apply(to: &request) else {
            localReply(status: 400, details: "path_normalization_failed")
            return false
        }
        manager.setForwardingHeaders(self)
        if request.isUpgrade {
            let upgrade = request.headers[.upgrade] ?? ""
            request.headers.removeHopByHopFields()
            try? request.headers.append(.upgrade, upgrade)
        } else {
            request.headers.removeHopByHopFields()
        }
        return true
    }

    private func findRoute() {
        guard let table = manager.routes?.table else {
            info.flags.insert(.noRouteFound)
            return localReply(status: 404, details: "route_not_found")
        }
        let random = worker.random.next()
        guard let found = table.route(for: RequestHeadView(request), random: random) else {
            manager.count(.noRoute, worker)
            info.flags.insert(.noRouteFound)
            return localReply(status: 404, details: "route_not_found")
        }
        route = found.route
        if !found.route.name.isEmpty { info.routeName = found.route.name }
        info.virtualHost = found.virtualHost.name
        if case .forward(let forwarding) = found.route.action {
            target = forwarding.target(for: RequestHeadView(request), random: worker.random.next())
            if let timeout = forwarding.idleTimeout { idleTimeout = timeout == .zero ? nil : timeout }
        }
    }

    private func runFilters() {
        if filters.isEmpty && nextFilter == 0 && !manager.filters.isEmpty {
            for factory in manager.filters where route?.disabledFilters.contains(factory.name) != true {
                if let filter = factory.make(self) { filters.append(filter) }
            }
        }
        while nextFilter < filters.count {
            let filter = filters[nextFilter]
            nextFilter += 1
            if filter.requestHead(self) == .stop || isFinished { return }
        }
        filtersAreDone = true
        startRouter()
    }

    /// Goes on after a filter that stopped the request.
    func resume() {
        guard !isFinished, !filtersAreDone else { return }
        runFilters()
        connection?.armTimer()
    }

    private func startRouter() {
        guard let route else { return }
        let router = Router(stream: self, route: route, target: target)
        self.router = router
        router.start()
        guard !isFinished else { return }
        if let held = heldBody {
            heldBody = nil
            router.requestBody(held.bytes)
            if !isFinished { connection?.requestMayContinue() }
        }
        if requestIsComplete && !isFinished { router.requestEnd() }
    }

    func requestBody(_ bytes: UnsafeRawBufferPointer) {
        info.bytesReceived &+= UInt64(bytes.count)
        lastActivity = worker.loop.now
        if let router {
            router.requestBody(bytes)
        } else if !isFinished {
            let held = heldBody ?? ByteBuffer(pool: worker.blocks)
            held.append(bytes)
            heldBody = held
        }
    }

    func requestEnd(_ trailers: borrowing HeaderTable) {
        guard !requestIsComplete else {
            router?.tunnelRequestEnd()
            return
        }
        requestIsComplete = true
        let now = worker.loop.now
        info.requestEnded = now
        lastActivity = now
        requestDeadline = .never
        router?.requestEnd()
    }

    /// Whether the connection must not read more of the request now.
    var requestIsPaused: Bool {
        if let router { return router.requestIsPaused }
        return (heldBody?.count ?? 0) >= Limits.bufferBytes
    }

    /// The upstream takes bytes again.
    func requestMayContinue() { connection?.requestMayContinue() }

    // MARK: Response

    /// Passes the head in `response` to the client.
    func respondHead() {
        guard !isFinished, let connection else { return }
        for filter in filters.reversed() { filter.responseHead(self) }
        responseHasBegun = true
        lastActivity = worker.loop.now
        info.status = response.status
        manager.prepareResponse(self)
        if response.status == 101 { isTunnel = true }
        connection.sendHead(&response, to: request)
        if isTunnel {
            idleTimeout = nil
            connection.requestMayContinue()
        }
    }

    func respondBody(_ bytes: UnsafeRawBufferPointer) {
        guard !isFinished, let connection else { return }
        info.bytesSent &+= UInt64(bytes.count)
        lastActivity = worker.loop.now
        connection.sendBody(bytes)
    }

    func respondEnd(_ trailers: borrowing HeaderTable) {
        guard !isFinished, let connection else { return }
        connection.sendEnd(trailers)
        finish(isReset: false)
    }

    /// Whether the client does not keep up; `responseMayContinue` follows.
    var responseIsPaused: Bool { connection?.responseIsBlocked ?? false }

    func responseMayContinue() { router?.responseMayContinue() }

    /// Answers from here.
    ///
    /// The texts are Envoy's.
    func localReply(status: UInt16, body: String = "", details: String, headers: [(String, String)] = []) {
        localReply(status: status, bytes: Array(body.utf8), details: details, headers: headers)
    }

    func localReply(status: UInt16, bytes: [UInt8], details: String, headers: [(String, String)] = []) {
        guard !isFinished else { return }
        info.details = info.details ?? details
        guard !responseHasBegun else { return finish(isReset: true) }
        let isGRPC = request.headers.isGRPC
        response.removeAll()
        response.status = isGRPC ? 200 : status
        for (name, value) in headers { try? response.headers.append(name, value) }
        if isGRPC {
            // P-3: a gRPC client understands a failure only as trailers-only.
            response.headers.append(.contentType, constant: "application/grpc")
            response.headers.append(.grpcStatus, number: GRPCFailure.of(httpStatus: status))
            if !bytes.isEmpty { try? response.headers.append(.grpcMessage, GRPCFailure.escape(bytes)) }
        } else if !bytes.isEmpty {
            if !response.headers.contains(.contentType) {
                response.headers.append(.contentType, constant: "text/plain")
            }
            response.body = .length(bytes.count)
        }
        applyResponseMutations()
        respondHead()
        if !isGRPC && request.method != .head { bytes.withUnsafeBytes { respondBody($0) } }
        respondEnd(HeaderTable())
    }

    /// The client's bytes are no request; the connection closes after this answer.
    func refuse(status: UInt16, details: String) {
        manager.requestBegan(worker)
        requestIsComplete = true
        info.flags.insert(.downstreamProtocolError)
        localReply(status: status, details: details)
    }

    /// Header changes of route, virtual host and table.
    func applyResponseMutations() {
        guard let route else { return }
        let mutations = target?.responseMutations ?? route.responseMutations
        if !mutations.isEmpty {
            var headers = response.headers
            HeaderRewriter(stream: self).apply(mutations, to: &headers)
            response.headers = headers
        }
    }

    // MARK: End

    /// The client went away or broke the protocol.
    func downstreamFailed(_ flag: ResponseFlags, details: String) {
        guard !isFinished else { return }
        info.flags.insert(flag)
        info.details = info.details ?? details
        router?.abandon()
        finish(isReset: true)
    }

    /// The response cannot be completed.
    func reset() {
        guard !isFinished else { return }
        finish(isReset: true)
    }

    private func finish(isReset: Bool) {
        guard !isFinished else { return }
        isFinished = true
        let now = worker.loop.now
        info.lastDownstreamByteSent = now
        router?.streamFinished()
        for filter in filters { filter.streamEnded(self) }
        manager.requestEnded(self)
        let connection = connection
        self.connection = nil
        filters = []
        heldBody = nil
        connection?.streamEnded(isReset: isReset)
    }

    // MARK: Time

    var earliestDeadline: MonotonicTime {
        var next = requestDeadline
        if let idleTimeout { next = min(next, lastActivity + idleTimeout) }
        if let router { next = min(next, router.earliestDeadline) }
        return next
    }

    func deadlineReached(_ now: MonotonicTime) {
        if let router, router.earliestDeadline <= now {
            router.deadlineReached(now)
        } else if requestDeadline <= now {
            requestDeadline = .never
            router?.abandon()
            localReply(status: 408, body: "request timeout", details: "request_overall_timeout")
        } else if let idleTimeout, lastActivity + idleTimeout <= now {
            info.flags.insert(.streamIdleTimeout)
            manager.count(.streamIdleTimeout, worker)
            router?.abandon()
            if responseHasBegun {
                info.details = "stream_idle_timeout"
                finish(isReset: true)
            } else {
                localReply(
                    status: requestIsComplete ? 504 : 408, body: "stream timeout", details: "stream_idle_timeout")
            }
        }
    }

    /// Sets the request's deadline anew after the router changed one of its own.
    func deadlinesChanged() { connection?.armTimer() }
}
