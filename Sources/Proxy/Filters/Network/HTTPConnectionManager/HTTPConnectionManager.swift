internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Telemetry
internal import Upstream

/// The connection manager of one filter chain on one loop: what its connections share.
final class HTTPConnectionManager {
    let config: HTTPConnectionManagerConfig
    let filters: [any HTTPFilterConfig]
    let metrics: HTTPMetrics
    private let responses: HTTPMetrics.Responses
    /// This loop's row of `metrics`, which holds its block.
    private let row: MetricRow
    let worker: Worker
    private(set) var routes: CompiledRoutes?
    /// The clusters that `routes` names, in the order of `RouteTable.clusterNames`.
    private var clusters: [ClusterRuntime?] = []
    /// Route tables by the key of their scope, where requests choose one.
    private var scopes: [[String]: CompiledRoutes] = [:]
    private(set) var isDraining = false
    private(set) var connections: [ObjectIdentifier: any DownstreamConnection] = [:]
    private(set) var activeStreams = 0
    let keepsAccessLog: Bool
    /// Counts for Istio's standard metrics; nil where no filter asks for them.
    let standard: StandardRecorder?
    /// Requests choose a route table by their fields; `routes` is the only one otherwise.
    let isScoped: Bool
    /// What its HTTP/2 codecs count; one for all managers, as in Envoy.
    let http2Metrics: HTTP2Metrics
    /// The same of its HTTP/1 codecs.
    private let droppedUnderscores: MetricCounter
    private let rejectedUnderscores: MetricCounter

    /// - Parameter isExplaining: nothing is served and nothing logged: requests are explained.
    init(
        _ config: HTTPConnectionManagerConfig, metrics: HTTPMetrics, worker: Worker, listener: String = "",
        isExplaining: Bool = false
    ) {
        self.config = config
        self.metrics = metrics
        row = metrics.block.row(worker.index)
        listenerName = listener
        responses = metrics.responses(listener: listener)
        self.worker = worker
        http2Metrics = HTTP2Metrics(worker.metrics.scope("http2"))
        let http1 = worker.metrics.scope("http1")
        droppedUnderscores = http1.counter("dropped_headers_with_underscores")
        rejectedUnderscores = http1.counter("requests_rejected_with_underscores_in_headers")
        filters = config.filters
        let stats = isExplaining ? nil : filters.lazy.compactMap { $0 as? IstioStatsFilterConfig }.first
        standard = stats.map { StandardRecorder($0.settings, worker: worker) }
        keepsAccessLog = !isExplaining && (!config.accessLogs.isEmpty || config.tracing != nil)
        if case .scoped = config.routes { isScoped = true } else { isScoped = false }
        resolve()
    }

    /// Looks up routes and clusters again after the tables changed; requests under way keep what they began with.
    func resolve() {
        switch config.routes {
        case .inline(let compiled): routes = compiled
        case .rds(let name): routes = worker.tables.routes[name]
        case .scoped(let scoping): resolve(scoping)
        }
        clusters = routes?.table.clusterNames.map { worker.clusterInUse(named: $0) } ?? []
        knownRecordedHeaders = nil
        internalOnlyHeaders = routes?.table.internalOnlyHeaders ?? []
    }

    /// Fields that only internal clients may send (`routes`).
    private var internalOnlyHeaders: [HeaderName] = []

    /// The listener whose connections it serves; empty where nobody says.
    let listenerName: String

    /// The fields of requests that the recorder keeps: those that routes and policies look at.
    var recordedHeaders: [HeaderName] {
        if let knownRecordedHeaders { return knownRecordedHeaders }
        var wanted = routes?.table.relevantHeaders ?? []
        for case let policies as RBACFilterConfig in filters {
            for name in policies.headerNames where !name.hasPrefix(":") { wanted.insert(HeaderName(name)) }
        }
        let names = wanted.sorted { $0.description < $1.description }
        knownRecordedHeaders = names
        return names
    }
    private var knownRecordedHeaders: [HeaderName]?
    private func resolve(_ scoping: ScopedRouting) {
        scopes = [:]
        let all: [ScopedRouting.Scope] =
            switch scoping.source {
            case .inline(let scopes): scopes
            case .discovered: worker.tables.scopes
            }
        for scope in all {
            switch scope.routes {
            case .inline(let compiled): scopes[scope.key] = compiled
            case .named(let name): scopes[scope.key] = worker.tables.routes[name]
            }
        }
    }

    /// The table that a request is routed by; nil where there is none yet, or none for its scope.
    func table(for request: borrowing RequestHead) -> RouteTable? {
        guard case .scoped(let scoping) = config.routes else { return routes?.table }
        return scoping.key(request.headers).flatMap { scopes[$0] }?.table
    }

    /// The cluster of a route's target; nil is NC.
    func cluster(for target: ClusterTarget) -> ClusterRuntime? {
        if let index = target.index, clusters.indices.contains(index), let cluster = clusters[index],
            cluster.name == target.cluster, !cluster.isRemoved
        {
            return cluster
        }
        // The first request to it, one that began with an older table, or a cluster named by a header.
        let cluster = worker.cluster(named: target.cluster)
        if let index = target.index, let table = routes?.table.clusterNames, table.indices.contains(index),
            table[index] == target.cluster, clusters.indices.contains(index)
        {
            clusters[index] = cluster
        }
        return cluster
    }

    /// Counts a field with an underscore in its name: true when it is dropped, false when its request is refused (ATK-16).
    func dropsUnderscore(_ worker: Worker) -> Bool {
        let drops = config.underscores == .drop
        (drops ? droppedUnderscores : rejectedUnderscores).add(row: worker.index)
        return drops
    }

    // MARK: Connections

    /// Serves a connection with the codec that configuration, ALPN or, later, its first bytes ask for.
    func serve(_ socket: Socket, _ info: ConnectionInfo, input: ByteBuffer?, tls: TLSTransport?) {
        if config.codec == .http2 || (config.codec == .auto && info.isHTTP2) {
            do throws(HTTP2Error) {
                try HTTP2ServerConnection(
                    socket, info: info, manager: self, input: input, worker: worker, tls: tls
                ).begin()
            } catch {
                socket.close()
            }
            return
        }
        let hadInput = input?.isEmpty == false
        let connection = HTTP1Connection(socket, info: info, manager: self, input: input, worker: worker, tls: tls)
        do throws(SystemError) {
            try connection.start()
        } catch {
            return connection.close()
        }
        if hadInput { connection.run() }
    }

    func connectionOpened(_ connection: any DownstreamConnection) {
        connections[ObjectIdentifier(connection)] = connection
        count(.downstream_cx_total, worker)
        if connection.httpVersion == .http2 {
            count(.downstream_cx_http2_total, worker)
            count(.downstream_cx_http2_active, worker)
        } else {
            count(.downstream_cx_http1_total, worker)
            count(.downstream_cx_http1_active, worker)
        }
        count(.downstream_cx_active, worker)
        if isDraining { connection.drain() }
    }

    /// `byPeer`: the client closed first; `isBusy`: a request was under way.
    func connectionClosed(_ connection: any DownstreamConnection, byPeer: Bool = false, isBusy: Bool = false) {
        guard connections.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return }
        uncount(.downstream_cx_active)
        uncount(connection.httpVersion == .http2 ? .downstream_cx_http2_active : .downstream_cx_http1_active)
        count(.downstream_cx_destroy, worker)
        count(byPeer ? .downstream_cx_destroy_remote : .downstream_cx_destroy_local, worker)
        if isBusy {
            count(.downstream_cx_destroy_active_rq, worker)
            count(byPeer ? .downstream_cx_destroy_remote_active_rq : .downstream_cx_destroy_local_active_rq, worker)
        }
    }

    /// Another codec takes the connection over and counts it anew.
    func connectionLeft(_ connection: any DownstreamConnection) {
        guard connections.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return }
        for cell in [
            HTTPMetrics.Cell.downstream_cx_total, .downstream_cx_active, .downstream_cx_http1_total,
            .downstream_cx_http1_active,
        ] {
            uncount(cell)
        }
    }

    func uncount(_ cell: HTTPMetrics.Cell) { row.add(cell.rawValue, 0 &- 1) }

    /// From now on responses say `connection: close`; connections that stay idle close after a moment.
    func drain() {
        isDraining = true
        for connection in connections.values { connection.drain() }
    }

    /// Closes connections that have been idle for a while.
    ///
    /// A client that just sends its next request is rather answered.
    func closeIdle(for duration: Duration) {
        let now = worker.loop.now
        for connection in Array(connections.values) where connection.isIdle && connection.idleSince + duration <= now {
            connection.closeGracefully()
        }
    }

    // MARK: Streams

    func requestBegan(_ stream: HTTPStream) {
        activeStreams += 1
        count(.downstream_rq_total, worker)
        count(stream.version == .http2 ? .downstream_rq_http2_total : .downstream_rq_http1_total, worker)
        count(.downstream_rq_active, worker)
    }

    func requestEnded(_ stream: HTTPStream) {
        activeStreams -= 1
        if stream.countsUpgrade { uncount(.downstream_cx_upgrades_active) }
        uncount(.downstream_rq_active)
        if stream.responseHasBegun, !stream.info.isHealthCheck {
            responses.count(stream.info.status, row: worker.index)
        }
        let time = worker.loop.now.nanoseconds(since: stream.info.started)
        metrics.requestTime.record(nanoseconds: time, row: worker.index)
        if let standard, !stream.info.isHealthCheck { standard.record(stream, nanoseconds: time) }
        if keepsAccessLog { log(stream, .downstreamEnd) }
        if worker.isTapped { for tap in worker.taps { tap.take(stream) } }
        stream.span?.end(stream)
        stream.endRecording()
    }

    /// A redirect is followed: what came before it is logged, and what comes now counted, like a request.
    func legEnded(_ stream: HTTPStream) {
        if keepsAccessLog { log(stream, .downstreamEnd) }
        count(.downstream_rq_total, worker)
        count(stream.version == .http2 ? .downstream_rq_http2_total : .downstream_rq_http1_total, worker)
    }

    /// A response before the response (Envoy counts it as one).
    func countInterim(_ status: UInt16) { responses.count(status, row: worker.index) }

    // MARK: Access logs

    func log(_ stream: HTTPStream, _ type: LogType) {
        worker.accessLog.log(config.accessLogs, stream, type) { stream.worker.random.next() }
    }

    /// What is written before a request is over, where the configuration asks for it.
    func logBeginning(_ stream: HTTPStream) {
        if config.logsNewRequests { log(stream, .downstreamStart) }
        if let interval = config.accessLogInterval { logPeriodically(stream, interval) }
    }

    private func logPeriodically(_ stream: HTTPStream, _ interval: Duration) {
        _ = worker.schedule(after: interval) { [weak stream, weak self] in
            guard let stream, let self, !stream.isFinished else { return }
            self.log(stream, .downstreamPeriodic)
            self.logPeriodically(stream, interval)
        }
    }

    func count(_ cell: HTTPMetrics.Cell, _ amount: UInt64) {
        row.add(cell.rawValue, amount)
    }

    func count(_ cell: HTTPMetrics.Cell, _ worker: Worker) { row.add(cell.rawValue) }

    // MARK: Headers

    /// What every request gets before routing (P-1, P-5, ATK-17); a status is that of its refusal.
    func setForwardingHeaders(_ stream: HTTPStream) -> UInt16? {
        if !config.earlyMutations.isEmpty {
            var headers = stream.request.headers
            config.earlyMutations.apply(to: &headers, stream)
            stream.request.headers = headers
        }
        if config.stripsDot { stripDot(&stream.request) }
        if config.stripsPort != .never {
            stripPort(&stream.request, localPort: stream.connectionInfo.localAddress.port)
        }
        let isTLS = stream.connectionInfo.isTLS
        if config.forwarding.goesByAddress || stream.request.headers.contains(.xForwardedFor) {
            let client = config.forwarding.apply(to: &stream.request, of: stream.connectionInfo, isTLS: isTLS)
            if let status = client.refusal { return status }
            stream.isInternal = client.isInternal
            if let address = client.address, address != stream.connectionInfo.directRemoteAddress.address {
                // Port 0, as Envoy has it: the field names no port.
                stream.connectionInfo.remoteAddress = .ip(address, port: 0)
            }
        } else {
            let port = config.forwarding.appendsForwardedPort ? stream.connectionInfo.localAddress.port : nil
            config.forwarding.apply(to: &stream.request, isTLS: isTLS, localPort: port)
        }
        if !internalOnlyHeaders.isEmpty, !stream.isInternal {
            for name in internalOnlyHeaders { stream.request.headers.remove(named: name.bytes.span.bytes) }
        }
        config.forwardedClientCertificate.apply(
            to: &stream.request.headers, tls: isTLS ? stream.connectionInfo.tls : nil)
        if config.forwarding.generatesRequestID, !stream.request.headers.contains(.xRequestId) {
            RequestID.append(to: &stream.request.headers, &worker.random)
        }
        if !config.via.isEmpty { try? stream.request.headers.append(.via, config.via) }
        if let scheme = config.scheme {
            stream.request.setScheme(scheme)
            try? stream.request.headers.set(.xForwardedProto, "\(scheme)")
        }
        if let name = config.userAgent {
            try? stream.request.headers.set("x-envoy-downstream-service-cluster", name)
            if let node = config.nodeID { try? stream.request.headers.set("x-envoy-downstream-service-node", node) }
            if (stream.request.headers[.userAgent] ?? "").isEmpty { try? stream.request.headers.set(.userAgent, name) }
        }
        return nil
    }

    /// `a.example.` is `a.example`, with a port or without.
    private func stripDot(_ request: inout RequestHead) {
        var authority = [UInt8](copying: request.authority)
        let end = authority.lastIndex(of: UInt8(ascii: ":")) ?? authority.count
        guard end > 0, authority[end - 1] == UInt8(ascii: ".") else { return }
        authority.remove(at: end - 1)
        try? request.setAuthority(authority.span.bytes)
    }

    /// Takes the port away from the authority: every port, or the listener's own.
    private func stripPort(_ request: inout RequestHead, localPort: UInt16?) {
        let authority = [UInt8](copying: request.authority)
        guard let colon = authority.lastIndex(of: UInt8(ascii: ":")), authority.last != UInt8(ascii: "]"),
            let port = UInt16(String(decoding: authority[(colon + 1)...], as: UTF8.self)),
            config.stripsPort == .always || port == localPort
        else { return }
        try? request.setAuthority(Array(authority[..<colon]).span.bytes)
    }

    /// What every response gets.
    func prepareResponse(_ stream: HTTPStream) {
        switch config.serverHeader {
        case .passThrough: break
        case .appendIfAbsent:
            if !stream.response.headers.contains(.server) { stream.response.headers.append(config.serverField) }
        case .overwrite, .unrecognized:
            stream.response.headers.remove(.server)
            stream.response.headers.append(config.serverField)
        }
        if !stream.response.headers.contains(.date), let date = worker.date() { stream.response.headers.append(date) }
        if config.setsRequestIDInResponse, let id = stream.request.headers[.xRequestId] {
            try? stream.response.headers.set(.xRequestId, id)
        }
        if !config.via.isEmpty { try? stream.response.headers.append(.via, config.via) }
    }
}
