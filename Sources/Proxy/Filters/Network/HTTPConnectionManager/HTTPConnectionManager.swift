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
    let worker: Worker
    private(set) var routes: CompiledRoutes?
    /// The clusters that `routes` names, in the order of `RouteTable.clusterNames`.
    private var clusters: [ClusterRuntime?] = []
    private(set) var isDraining = false
    private(set) var connections: [ObjectIdentifier: any DownstreamConnection] = [:]
    private(set) var activeStreams = 0
    let keepsAccessLog: Bool

    init(_ config: HTTPConnectionManagerConfig, metrics: HTTPMetrics, worker: Worker, listener: String = "") {
        self.config = config
        self.metrics = metrics
        responses = metrics.responses(listener: listener)
        self.worker = worker
        filters = config.filters
        keepsAccessLog = !config.accessLogs.isEmpty
        resolve()
    }

    /// Looks up routes and clusters again after the tables changed; requests under way keep what they began with.
    func resolve() {
        switch config.routes {
        case .inline(let compiled): routes = compiled
        case .rds(let name): routes = worker.tables.routes[name]
        }
        clusters = routes?.table.clusterNames.map { worker.cluster(named: $0) } ?? []
    }

    /// The cluster of a route's target; nil is NC.
    func cluster(for target: ClusterTarget) -> ClusterRuntime? {
        if let index = target.index, clusters.indices.contains(index), let cluster = clusters[index],
            cluster.name == target.cluster, !cluster.isRemoved
        {
            return cluster
        }
        // A request that began with an older table, or a cluster named by a header.
        return worker.cluster(named: target.cluster)
    }

    // MARK: Connections

    func connectionOpened(_ connection: any DownstreamConnection) {
        connections[ObjectIdentifier(connection)] = connection
        count(.downstream_cx_total, worker)
        if connection.httpVersion != .http2 { count(.downstream_cx_http1_total, worker) }
        count(.downstream_cx_active, worker)
        if isDraining { connection.drain() }
    }

    func connectionClosed(_ connection: any DownstreamConnection) {
        guard connections.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return }
        metrics.block.subtract(HTTPMetrics.Cell.downstream_cx_active.rawValue, row: worker.index)
        count(.downstream_cx_destroy, worker)
    }

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
            connection.close()
        }
    }

    // MARK: Streams

    func requestBegan(_ stream: HTTPStream) {
        activeStreams += 1
        count(.downstream_rq_total, worker)
        if stream.connection?.httpVersion != .http2 { count(.downstream_rq_http1_total, worker) }
        count(.downstream_rq_active, worker)
    }

    func requestEnded(_ stream: HTTPStream) {
        activeStreams -= 1
        metrics.block.subtract(HTTPMetrics.Cell.downstream_rq_active.rawValue, row: worker.index)
        responses.count(stream.info.status, row: worker.index)
        metrics.requestTime.record(worker.loop.now - stream.info.started, row: worker.index)
        for log in config.accessLogs {
            worker.accessLog.write(
                log.format.line { FormatOperator.value($0, $1, stream) }, to: log.sink)
        }
    }

    func count(_ cell: HTTPMetrics.Cell, _ worker: Worker) { metrics.block.add(cell.rawValue, row: worker.index) }

    // MARK: Headers

    /// What every request gets before routing (P-1, P-5, ATK-17).
    func setForwardingHeaders(_ stream: HTTPStream) {
        if config.stripsPort != .never { stripPort(&stream.request) }
        if config.usesRemoteAddress {
            stream.request.headers.removeEnvoyFields()
            if !config.skipsXFFAppend, let address = stream.connectionInfo.directRemoteAddress.address {
                appendForwardedFor(address, &stream.request.headers)
            }
            if config.trustedHops == 0 { stream.request.headers.remove(.xForwardedProto) }
            if !config.preservesRequestID { stream.request.headers.remove(.xRequestId) }
        }
        let tls = stream.connectionInfo.tls
        config.forwardedClientCertificate.apply(to: &stream.request.headers, tls: tls)
        if !stream.request.headers.contains(.xForwardedProto) {
            stream.request.headers.append(.xForwardedProto, constant: tls == nil ? "http" : "https")
        }
        if config.appendsForwardedPort, !stream.request.headers.contains(.xForwardedPort),
            let port = stream.connectionInfo.localAddress.port
        {
            stream.request.headers.append(.xForwardedPort, number: Int(port))
        }
        stream.request.setScheme(tls == nil ? "http" : "https")
        if config.generatesRequestID, !stream.request.headers.contains(.xRequestId) {
            RequestID.append(to: &stream.request.headers, &worker.random)
        }
        if !config.via.isEmpty { try? stream.request.headers.append(.via, config.via) }
    }

    private func appendForwardedFor(_ address: IPAddress, _ headers: inout HeaderTable) {
        if let old = headers[.xForwardedFor], !old.isEmpty {
            try? headers.set(.xForwardedFor, "\(old),\(address)")
        } else {
            try? headers.set(.xForwardedFor, "\(address)")
        }
    }

    private func stripPort(_ request: inout RequestHead) {
        let authority = [UInt8](copying: request.authority)
        guard let colon = authority.lastIndex(of: UInt8(ascii: ":")), authority.last != UInt8(ascii: "]"),
            let port = UInt16(String(decoding: authority[(colon + 1)...], as: UTF8.self))
        else { return }
        _ = port
        try? request.setAuthority(Array(authority[..<colon]).span.bytes)
    }

    /// What every response gets.
    func prepareResponse(_ stream: HTTPStream) {
        switch config.serverHeader {
        case .passThrough: break
        case .appendIfAbsent:
            if !stream.response.headers.contains(.server) { appendServer(&stream.response.headers) }
        case .overwrite, .unrecognized:
            stream.response.headers.remove(.server)
            appendServer(&stream.response.headers)
        }
        if !stream.response.headers.contains(.date) {
            let date = worker.date()
            try? stream.response.headers.append(.date, date.span.bytes)
        }
        if config.setsRequestIDInResponse, let id = stream.request.headers[.xRequestId] {
            try? stream.response.headers.set(.xRequestId, id)
        }
        if !config.via.isEmpty { try? stream.response.headers.append(.via, config.via) }
    }

    private func appendServer(_ headers: inout HeaderTable) {
        if config.serverName == "skein" {
            headers.append(.server, constant: "skein")
        } else {
            try? headers.append(.server, config.serverName)
        }
    }
}

extension HeaderTable {
    /// Removes every `x-envoy-*` field: at the edge they are a stranger's.
    mutating func removeEnvoyFields() {
        var index = 0
        while index < count {
            if name(at: index).withUnsafeBytes({ bytes in
                bytes.count > 8 && bytes.prefix(8).elementsEqual("x-envoy-".utf8)
            }) {
                remove(at: index)
            } else {
                index += 1
            }
        }
    }
}
