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
    private(set) var connection: (any DownstreamStream)?
    /// The connection's addresses, with the client as `x-forwarded-for` names it where that is trusted.
    var connectionInfo: ConnectionInfo
    /// Whether the client's `x-envoy-*` fields count.
    var isInternal = false
    /// What the client sent is no request that could be shown.
    var isRefused = false
    /// The client's connection ends with this answer.
    var closesConnection = false
    /// The answer is the proxy's own.
    private(set) var isLocalReply = false

    // Not checked for exclusive access: a stream belongs to one loop, and the checks of these two cost each request more than its routing.
    @exclusivity(unchecked) var request = RequestHead()
    @exclusivity(unchecked) var response = ResponseHead()
    var info: StreamInfo
    /// What the client sent, before rewrites, where a rewrite changed it (access log, `x-envoy-original-path`).
    var originalPath: [UInt8]?
    /// The client's version of HTTP.
    let version: HTTPVersion
    /// What the response ended with, where an access log may want to know.
    private(set) var responseTrailers: HeaderTable?
    /// The span of this request; nil where nothing is traced.
    var span: ActiveSpan?
    /// The request is only explained: nobody sent it, and nothing of it leaves.
    var explanation: Explanation?
    /// What the recorder keeps of this request; nil for nearly all.
    var recording: RecordedRequest.Question?
    /// What the request counts for besides its cluster; nil for nearly all.
    private(set) var requestMetrics: RequestMetrics?

    private(set) var route: Route?
    private(set) var target: ClusterTarget?
    private(set) var requestIsComplete = false
    private(set) var responseHasBegun = false
    private(set) var isFinished = false
    private(set) var isTunnel = false
    private(set) var router: Router?

    var requestFilters = FilterDirection(.request)
    var responseFilters = FilterDirection(.response)
    /// The filters of the try under way; nil for nearly all.
    var upstreamFilters: UpstreamFilterRun?
    /// Where custom_response fetches the answer from, once it does, and the status of the one that there was.
    var customResponse: (RedirectedResponse, status: UInt16)?
    /// Who makes a body itself, and is told when one may go on, in either direction; nil for nearly all.
    var bodySource: (() -> Void)?
    /// The filters that were made for this stream, in the order of requests.
    var filters: [any HTTPFilter] = []
    /// A filter changed what the route was chosen by.
    private var routeIsStale = false
    /// The filters that have not seen the head were made for another route.
    var filtersAreStale = false
    /// Whose word holds on which filters are off: the route that the client's request had, as Envoy.
    var firstRoute: Route?

    private var lastActivity: MonotonicTime
    private var requestDeadline = MonotonicTime.never
    private var streamDeadline = MonotonicTime.never
    private var idleTimeout: Duration?
    var countsUpgrade = false

    init(connection: any DownstreamStream) {
        self.connection = connection
        connectionInfo = connection.info
        worker = connection.worker
        manager = connection.manager
        version = connection.httpVersion
        let now = worker.loop.now
        let held = manager.config.buffers.held(version)
        requestFilters.heldBytesMax = held
        responseFilters.heldBytesMax = held
        info = StreamInfo(started: now)
        if manager.keepsAccessLog { info.startedWall = WallClock.now }
        if connectionInfo.hasFilterState { info.filterState = connectionInfo.facts.filterState }
        lastActivity = now
        idleTimeout = manager.config.streamIdleTimeout
        if let timeout = manager.config.requestTimeout { requestDeadline = now + timeout }
        if let duration = manager.config.maxStreamDuration { streamDeadline = now + duration }
    }

    // MARK: Request

    /// Called once with the head in `request`.
    func begin() {
        manager.requestBegan(self)
        if worker.recorder.takes() { beginRecording() }
        guard prepareRequest() else { return }
        findRoute()
        if let tracing = manager.config.tracing, explanation == nil { span = ActiveSpan.begin(self, tracing) }
        if manager.keepsAccessLog { manager.logBeginning(self) }
        makeFilters()
        if requestFilters.isEmpty {
            startRouter()
        } else if runHead(.request, isEnd: requestHasNoBody) {
            startRouter()
        }
    }

    /// The route, or none: filters see the request either way, and the router answers 404.
    private func findRoute() {
        routeIsStale = false
        route = nil
        target = nil
        guard let table = manager.isScoped ? manager.table(for: request) : manager.routes?.table else { return }
        let random = worker.random.next()
        if let explanation { explainRoute(explanation, table, random: random) }
        guard let found = readRequest({ table.route(for: $0, random: random, facts: self) }) else { return }
        route = found.route
        if !found.route.name.isEmpty { info.routeName = found.route.name }
        info.virtualHost = found.virtualHost.name
        if !found.virtualHost.virtualClusters.isEmpty || !found.route.statPrefix.isEmpty {
            findMetrics(found.virtualHost, found.route)
        }
        if let forwarding = found.route.forwarding {
            let random = worker.random.next()
            if let only = forwarding.onlyTarget {
                target = only
            } else {
                target = readRequest { forwarding.target(for: $0, random: random, facts: self, hash: { nil }) }
            }
            info.upstreamCluster = target?.cluster
            if let explanation { explainTarget(explanation, forwarding) }
            if let timeout = forwarding.idleTimeout { idleTimeout = timeout == .zero ? nil : timeout }
            if forwarding.limitsStream, let deadline = deadline(forwarding) { streamDeadline = deadline }
        }
    }

    private func findMetrics(_ host: VirtualHost, _ route: Route) {
        let index = host.virtualClusters.isEmpty ? nil : readRequest { host.virtualCluster(for: $0) }
        if let index { info.virtualCluster = host.virtualClusters[index].name }
        requestMetrics = RequestMetrics(host, route, virtualCluster: index, worker)
    }

    /// A filter changed a field that routes may match: the next look at the route searches again.
    func clearRoute() {
        if firstRoute == nil { firstRoute = route }
        routeIsStale = true
        filtersAreStale = true
    }

    /// The route as the request is now.
    var currentRoute: Route? {
        if routeIsStale { findRoute() }
        return route
    }

    /// What the present route says about a filter, the most specific level; nil when it says nothing.
    func routeConfig(for name: String) -> (any Sendable)? {
        target?.filterConfigs?[name]?.last ?? currentRoute?.filterConfigs[name]?.last
    }

    /// What table, virtual host, route and weighted cluster say about a filter, the most general level first.
    func routeConfigs(for name: String) -> [any Sendable] {
        (currentRoute?.filterConfigs[name] ?? []) + (target?.filterConfigs?[name] ?? [])
    }

    private func startRouter() {
        guard let route = currentRoute else {
            manager.count(.rq_total, worker)
            manager.count(.noRoute, worker)
            info.flags.insert(.noRouteFound)
            return localReply(status: 404, details: "route_not_found")
        }
        let router = Router(stream: self, route: route, target: target)
        self.router = router
        router.start()
    }

    /// Another router takes over, for a redirect; filters do not see the request again.
    func replaceRouter(_ next: Router, _ found: (route: Route, target: ClusterTarget?, virtualHost: String)) {
        route = found.route
        target = found.target
        info.upstreamCluster = found.target?.cluster
        info.routeName = found.route.name.isEmpty ? nil : found.route.name
        info.virtualHost = found.virtualHost
        // As Envoy: each leg is a request of its own in logs and counters; the first is logged with the route that comes next.
        info.status = response.status
        info.details = "internal_redirect"
        manager.legEnded(self)
        info.beginLeg()
        endUpstreamFilters()
        router = next
        next.start()
    }

    /// The request has become another, and begins anew with filters and route: the answer that there was is gone.
    func followCustomResponse() {
        guard !isFinished, !responseHasBegun else { return }
        // As Envoy: the first leg is logged with the route that comes next.
        clearRoute()
        _ = currentRoute
        info.status = response.status
        info.details = "internal_redirect"
        manager.legEnded(self)
        info.beginLeg()
        router?.streamFinished()
        router = nil
        isLocalReply = false
        response.removeAll()
        responseFilters.trailers = nil
        requestFilters.trailers = nil
        beginAnew(body: nil, isEnd: true)
    }

    /// `request.opensTunnel`, field by field: to ask the head as a whole would copy it out of this object.
    var requestOpensTunnel: Bool { request.isUpgrade || request.method == .connect }

    /// Whether the request ends with its head.
    var requestHasNoBody: Bool {
        if case .none = request.body { return true }
        return false
    }

    /// Whether the response ends with its head.
    var responseHasNoBody: Bool {
        if case .none = response.body { return true }
        return request.method == .head
    }

    func requestBody(_ bytes: UnsafeRawBufferPointer) {
        info.bytesReceived &+= UInt64(bytes.count)
        lastActivity = worker.loop.now
        guard !isFinished else { return }
        if requestFilters.isEmpty || isTunnel {
            router?.requestBody(bytes)
        } else {
            runBody(.request, bytes, isEnd: false)
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
        guard !isFinished else { return }
        if requestFilters.isEmpty || isTunnel {
            router?.requestEnd(trailers)
        } else {
            runEnd(.request, trailers)
        }
    }

    /// Whether the connection must not read more of the request now.
    var requestIsPaused: Bool {
        if requestFilters.pausesSender || upstreamFilters?.request.pausesSender == true { return true }
        return router?.requestIsPaused ?? false
    }

    /// The upstream takes bytes again.
    func requestMayContinue() {
        connection?.requestMayContinue()
        bodySource?()
    }

    // MARK: Filters

    /// Goes on after a filter that stopped the request.
    func resumeRequest(_ filter: any HTTPFilter) { resume(.request, filter) }

    /// Goes on after a filter that stopped the response.
    func resumeResponse(_ filter: any HTTPFilter) { resume(.response, filter) }

    func armTimer() { connection?.armTimer() }

    /// The head has passed all filters.
    func deliverHead(_ flow: FilterDirection.Flow) {
        switch flow {
        case .request: startRouter()
        case .response: sendResponseHead()
        case .upstreamRequest: router?.beginUpstream()
        case .upstreamResponse: router?.responseHeadPassed()
        }
    }

    func deliverBody(_ flow: FilterDirection.Flow, _ bytes: UnsafeRawBufferPointer, isEnd: Bool) {
        guard !bytes.isEmpty else { return }
        switch flow {
        case .request: router?.requestBody(bytes)
        case .response: sendResponseBody(bytes)
        case .upstreamRequest: router?.upstreamBodyPassed(bytes)
        case .upstreamResponse: router?.responseBodyPassed(bytes)
        }
    }

    func deliverEnd(_ flow: FilterDirection.Flow, _ trailers: borrowing HeaderTable) {
        switch flow {
        case .request: router?.requestEnd(trailers)
        case .response: sendResponseEnd(trailers)
        case .upstreamRequest: router?.upstreamEndPassed(trailers)
        case .upstreamResponse: router?.responseEndPassed(trailers)
        }
    }

    // MARK: Response

    /// An interim response goes straight through.
    func respondInterim(_ head: borrowing ResponseHead) {
        guard !isFinished, !responseHasBegun else { return }
        // We answered `Expect` ourselves unless the upstream was to. Others pass (RFC 9110 §15.2), which Envoy does not let them.
        if !manager.config.passesContinue && (head.status == 100 || manager.config.usesEnvoyDefaults) { return }
        manager.countInterim(head.status)
        connection?.sendInterim(head)
    }

    /// Passes the head in `response` to the client, through the filters.
    func respondHead() {
        guard !isFinished else { return }
        lastActivity = worker.loop.now
        if responseFilters.isEmpty || runHead(.response, isEnd: responseHasNoBody) { sendResponseHead() }
    }

    private func sendResponseHead() {
        guard !isFinished, let connection else { return }
        responseHasBegun = true
        info.status = response.status
        info.firstDownstreamByteSent = worker.loop.now
        span?.respond(self)
        manager.prepareResponse(self)
        if response.opensTunnel(answering: request.method) { isTunnel = true }
        connection.sendHead(
            &response,
            to: AnsweredRequest(
                method: request.method, minorVersion: request.minorVersion, opensTunnel: requestOpensTunnel))
        if isTunnel {
            idleTimeout = nil
            if manager.config.logsTunnels { manager.log(self, .downstreamTunnelSuccessfullyEstablished) }
            connection.requestMayContinue()
        }
    }

    func respondBody(_ bytes: UnsafeRawBufferPointer) {
        guard !isFinished else { return }
        lastActivity = worker.loop.now
        if responseFilters.isEmpty || isTunnel {
            sendResponseBody(bytes)
        } else {
            runBody(.response, bytes, isEnd: false)
        }
    }

    private func sendResponseBody(_ bytes: UnsafeRawBufferPointer) {
        guard let connection else { return }
        info.bytesSent &+= UInt64(bytes.count)
        connection.sendBody(bytes)
    }

    func respondEnd(_ trailers: borrowing HeaderTable) {
        guard !isFinished else { return }
        if responseFilters.isEmpty || isTunnel {
            sendResponseEnd(trailers)
        } else {
            runEnd(.response, trailers)
        }
    }

    private func sendResponseEnd(_ trailers: borrowing HeaderTable) {
        guard !isFinished, let connection else { return }
        if manager.keepsAccessLog, !trailers.isEmpty { responseTrailers = copy trailers }
        if manager.standard != nil { info.grpcStatus = trailers.grpcStatus }
        connection.sendEnd(trailers)
        finish(isReset: false)
    }

    /// Whether the client does not keep up; `responseMayContinue` follows.
    var responseIsPaused: Bool {
        (connection?.responseIsBlocked ?? false) || responseFilters.pausesSender
            || upstreamFilters?.response.pausesSender == true
    }

    func responseMayContinue() {
        router?.responseMayContinue()
        bodySource?()
    }

    /// Answers from here.
    ///
    /// The texts are Envoy's.
    func localReply(
        status: UInt16, body: String = "", details: String, headers: [(String, String)] = [], grpcStatus: Int? = nil,
        mutations: [HeaderMutation] = []
    ) {
        localReply(
            status: status, bytes: Array(body.utf8), details: details, headers: headers, grpcStatus: grpcStatus,
            mutations: mutations)
    }

    /// - Parameters:
    ///   - grpcStatus: What a gRPC client gets instead of what stands for `status`.
    ///   - mutations: What a filter's configuration adds to its answer.
    func localReply(
        status: UInt16, bytes: [UInt8], details: String, headers: [(String, String)] = [], grpcStatus: Int? = nil,
        mutations: [HeaderMutation] = []
    ) {
        guard !isFinished else { return }
        if upstreamFilters != nil { router?.answeredByUpstreamFilter() }
        isLocalReply = true
        info.details = info.details ?? details
        var (status, bytes) = (status, bytes)
        var rewritten: LocalReplyRules.Reply?
        if let rules = manager.config.localReply, !responseHasBegun {
            var reply = LocalReplyRules.Reply(status: status, body: bytes)
            info.status = status
            rules.rewrite(&reply, self, worker.loop.now) { worker.random.next() }
            (status, bytes) = (reply.status, reply.body)
            rewritten = reply
        }
        guard !responseHasBegun else { return finish(isReset: true) }
        // What could not be understood may be followed by more of it (Envoy).
        if status == 400, version != .http2 { closesConnection = true }
        // A reply that a filter of the response makes does not pass the filters again.
        if responseFilters.hasBegun { responseFilters.bypass() }
        let isGRPC = !info.answersPlainly && request.headers.isGRPC
        response.removeAll()
        response.status = isGRPC ? 200 : status
        for (name, value) in headers { try? response.headers.append(name, value) }
        if let rewritten {
            if let type = rewritten.contentType, !isGRPC { try? response.headers.set(.contentType, type) }
            if !rewritten.headers.isEmpty {
                HeaderRewriter(stream: self).apply(rewritten.headers, to: &response.headers)
            }
        }
        if isGRPC {
            // P-3: a gRPC client understands a failure only as trailers-only.
            response.headers.append(.contentType, constant: "application/grpc")
            response.headers.append(.grpcStatus, number: grpcStatus ?? GRPCFailure.of(httpStatus: status))
            if !bytes.isEmpty { try? response.headers.append(.grpcMessage, GRPCFailure.escape(bytes)) }
        } else if !bytes.isEmpty {
            if !response.headers.contains(.contentType) {
                response.headers.append(.contentType, constant: "text/plain")
            }
            response.body = .length(bytes.count)
        }
        if !mutations.isEmpty {
            var headers = response.headers
            HeaderRewriter(stream: self).apply(mutations, to: &headers)
            response.headers = headers
        }
        applyResponseMutations()
        respondHead()
        if !isGRPC && request.method != .head { bytes.withUnsafeBytes { respondBody($0) } }
        respondEnd(HeaderTable())
    }

    /// The client's bytes are no request; the connection closes after this answer.
    func refuse(
        status: UInt16, body: String, details: String, isProtocolError: Bool = true, showsRequest: Bool = false
    ) {
        manager.requestBegan(self)
        requestIsComplete = true
        isRefused = !showsRequest
        if isProtocolError { info.flags.insert(.downstreamProtocolError) }
        localReply(status: status, body: body, details: details)
    }

    /// The client's message is no request, and its stream has been reset: there is nobody to answer.
    func refuseSilently(_ flag: ResponseFlags, details: String) {
        manager.requestBegan(self)
        requestIsComplete = true
        isRefused = true
        info.flags.insert(flag)
        info.details = details
        finish(isReset: true)
    }

    /// Header changes of route, virtual host and table.
    func applyResponseMutations() {
        info.status = response.status
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

    /// The rest of the request is no HTTP: the client is told where nothing was said yet, the upstream must not take what it
    /// has for a whole request.
    func requestIsMalformed(
        status: UInt16, body: String, details: String, flag: ResponseFlags = .downstreamProtocolError
    ) {
        guard !isFinished, !responseHasBegun else { return downstreamFailed(flag, details: details) }
        info.flags.insert(flag)
        router?.abandon()
        closesConnection = true
        localReply(status: status, body: body, details: details)
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
        if isReset {
            let isTheirs = info.flags.contains(.downstreamConnectionTermination)
            manager.count(isTheirs ? .downstream_rq_rx_reset : .downstream_rq_tx_reset, worker)
        } else if !requestIsComplete, !requestHasNoBody, responseHasBegun, !isTunnel {
            manager.count(.downstream_rq_response_before_rq_complete, worker)
        }
        router?.streamFinished()
        if !filters.isEmpty { for filter in filters { filter.streamEnded(self) } }
        manager.requestEnded(self)
        let connection = connection.take()
        if !filters.isEmpty {
            filters = []
            requestFilters.bypass()
            responseFilters.bypass()
            bodySource = nil
        }
        router = nil
        connection?.streamEnded(isReset: isReset)
    }

    deinit { worker.spareHeads.give(&request, &response) }

    // MARK: Time

    var earliestDeadline: MonotonicTime {
        var next = min(requestDeadline, streamDeadline)
        if let idleTimeout = worker.overload.scaled(idleTimeout, .streamIdle) {
            next = min(next, lastActivity + idleTimeout)
        }
        if let router { next = min(next, router.earliestDeadline) }
        return next
    }

    func deadlineReached(_ now: MonotonicTime) {
        if let router, router.earliestDeadline <= now {
            router.deadlineReached(now)
        } else if streamDeadline <= now {
            streamDeadline = .never
            manager.count(.downstream_rq_max_duration_reached, worker)
            router?.abandon()
            info.details = "max_duration_timeout"
            localReply(
                status: requestIsComplete ? 504 : 408, body: "downstream duration timeout",
                details: "max_duration_timeout", grpcStatus: 4)
        } else if requestDeadline <= now {
            requestDeadline = .never
            manager.count(.downstream_rq_timeout, worker)
            router?.abandon()
            localReply(status: 408, body: "request timeout", details: "request_overall_timeout")
        } else if let idleTimeout = worker.overload.scaled(idleTimeout, .streamIdle),
            lastActivity + idleTimeout <= now
        {
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
