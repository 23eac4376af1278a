internal import IO
internal import TLS
internal import Telemetry
internal import Upstream

/// Who waits for a connection of a pool.
protocol PoolClient: AnyObject {
    /// The connection is the client's until it is released or closed.
    func poolReady(_ stream: any UpstreamStream)
    func poolFailed(_ failure: PoolFailure)
}

/// Why a pool gave no connection.
enum PoolFailure: Sendable {
    case overflow
    case connectFailed(SystemError)
    case connectTimedOut
    /// The connection came about, TLS did not.
    case handshakeFailed(String)
}

/// Why the last connection to a host did not come about: for explanations.
final class ConnectionTrouble: Sendable {
    let address: HostAddress
    let failure: PoolFailure
    let time: MonotonicTime

    init(_ failure: PoolFailure, _ host: Host, _ time: MonotonicTime) {
        address = host.address
        self.failure = failure
        self.time = time
    }

    /// In words; nil where the host has no part in it.
    var text: String? {
        switch failure {
        case .overflow: nil
        case .connectFailed(let error): error.kernelText
        case .connectTimedOut: "no connection within connect_timeout"
        case .handshakeFailed(let reason): "the handshake failed: \(reason)"
        }
    }
}

/// The HTTP/1.1 connections of one loop to one host.
///
/// Idle ones are used last in, first out: few stay warm and the others reach their idle timeout. Who finds none waits in
/// line; whichever connection is free first serves the oldest.
final class HostPool {
    /// A place in the line.
    struct Waiter {
        let client: any PoolClient
        let priority: ResourcePriority
    }

    let host: Host
    let address: SocketAddress
    let cluster: ClusterRuntime
    private var idle: [HTTP1UpstreamConnection] = []
    /// Connections that serve a request; the loop keeps them.
    private var busy = 0
    private var connecting = 0
    private var waiting: [Waiter] = []
    private var isDraining = false
    /// Who both ends of its connections are, where standard metrics tell it: the same for all of them.
    var principals: StandardPrincipals?
    /// What sets the connections of this pool apart from others to the host.
    let key: Key
    /// Pools of connections that differ in what follows requests or clients.
    private var named: [Key: HostPool] = [:]
    /// Connections that carry one tunnel each.
    var tunnels: [ObjectIdentifier: TCPUpstreamConnection] = [:]
    /// The HTTP/2 connections, made at first use.
    private var http2: HTTP2Pool?

    /// What the host chose last, where ALPN chooses; nil: nobody has asked it yet.
    private var negotiated: HTTPVersion?

    /// What must be the same for requests to share connections.
    struct Key: Hashable {
        /// The name that TLS asks for; nil is the transport socket's own (`auto_sni`).
        var serverName: String?
        /// The ALPN names that TLS offers, separated by commas; nil is the transport socket's own.
        var applicationProtocols: String?
        /// The PROXY protocol header for a client; nil is ours, where the transport socket has one.
        var preface: [UInt8]?
        /// Where connections come from; nil is wherever the cluster says (original_src).
        var source: UpstreamSource?
    }

    init(host: Host, address: SocketAddress, cluster: ClusterRuntime, key: Key = Key()) {
        self.key = key
        self.host = host
        self.address = address
        self.cluster = cluster
    }

    /// The pool for a key: connections under one key never serve requests for another.
    func pool(_ key: Key) -> HostPool {
        if let known = named[key] { return known }
        if named.count >= Limits.serverNamesPerHost {
            // Names come with requests: those that nobody uses any more make room.
            for (old, pool) in named where pool.isUnused { named.removeValue(forKey: old)?.drain() }
        }
        let pool = HostPool(host: host, address: address, cluster: cluster, key: key)
        named[key] = pool
        return pool
    }

    /// Connections that would take a request at once; those for names that requests bring are not among them.
    var idleCount: Int { idle.count { !$0.isClosed } + (http2?.openCount ?? 0) }

    private var isUnused: Bool {
        tunnels.isEmpty && busy == 0 && connecting == 0 && waiting.isEmpty && (http2?.isEmpty ?? true)
    }

    /// Gives the client a stream of the cluster's protocol, now or later; `fresh` refuses a connection that was used before.
    ///
    /// `downstream` is what the client of the request speaks, for clusters that go by it.
    func acquire(
        _ client: any PoolClient, priority: ResourcePriority, fresh: Bool = false, downstream: HTTPVersion = .http11
    ) {
        if usesHTTP2(downstream) { return http2Pool().acquire(client, priority: priority, fresh: fresh) }
        while !fresh, let connection = idle.popLast() {
            if connection.isClosed { continue }
            if connection.isTooOld {
                connection.close()
                continue
            }
            setBusy(connection, true)
            client.poolReady(connection)
            return
        }
        cluster.count(.upstream_rq_pending_total)
        guard cluster.acquire(.pendingRequest, priority) else {
            cluster.count(.upstream_rq_pending_overflow)
            return client.poolFailed(.overflow)
        }
        cluster.count(.upstream_rq_pending_active)
        waiting.append(Waiter(client: client, priority: priority))
        // Where nothing is known of the host, one connection finds out for all who wait.
        if connecting < waiting.count, !isAutomatic || negotiated != nil || connecting == 0 {
            connect(priority, forLast: true)
        }
    }

    private func http2Pool() -> HTTP2Pool {
        if let http2 { return http2 }
        let pool = HTTP2Pool(host: host, address: address, cluster: cluster, key: key)
        if isAutomatic { pool.turned = { [unowned self] in turnedHTTP1($0, $1) } }
        http2 = pool
        return pool
    }

    /// Whether ALPN decides about each connection.
    private var isAutomatic: Bool { cluster.rules.codec == .automatic }

    private func usesHTTP2(_ downstream: HTTPVersion) -> Bool {
        switch cluster.rules.codec {
        case .http1: false
        case .http2: true
        case .downstream: downstream == .http2
        case .automatic: negotiated == .http2
        }
    }

    /// Takes a client out of the line.
    func cancel(_ client: any PoolClient) {
        http2?.cancel(client)
        if !tunnels.isEmpty { cancelTunnel(client) }
        guard let index = waiting.firstIndex(where: { $0.client === client }) else { return }
        leave(waiting.remove(at: index))
    }

    private func leave(_ waiter: Waiter) {
        cluster.release(.pendingRequest, waiter.priority)
        cluster.uncount(.upstream_rq_pending_active)
    }

    /// Load is shed in place of a new connection: who came just now fails, and without any connection nobody who waits could be served.
    private func shed(last: Bool) {
        let isAlone = busy == 0 && idle.isEmpty && connecting == 0
        let failed = isAlone ? waiting : Array(waiting.suffix(last ? 1 : 0))
        waiting.removeLast(failed.count)
        for waiter in failed {
            leave(waiter)
            waiter.client.poolFailed(.overflow)
        }
    }

    /// - Parameter forLast: It is made for who has come just now.
    private func connect(_ priority: ResourcePriority, forLast: Bool = false) {
        if cluster.worker.sheds(.upstreamConnection) { return shed(last: forLast) }
        let isAllowed =
            host.activeConnections < (cluster.config.limits.connectionsPerHostMax ?? .max)
            && cluster.acquire(.connection, priority)
        if !isAllowed {
            cluster.count(.upstream_cx_overflow)
            // Who waits gets the connection that comes free. Where there is none, one more is made (Envoy): other hosts' connections must not
            // make this host unreachable.
            guard busy == 0 && idle.isEmpty && connecting == 0 else { return }
            cluster.exceed(.connection, priority)
        }
        do throws(SystemError) {
            let tls = try cluster.beginTLS(host, key)
            let socket = try cluster.openSocket(to: address, of: host, from: key.source)
            let connection = HTTP1UpstreamConnection(socket, pool: self, priority: priority, tls: tls)
            connecting += 1
            host.activeConnections &+= 1
            host.statistics.connectionsTotal &+= 1
            cluster.count(.upstream_cx_total)
            if !isAutomatic { cluster.count(.upstream_cx_http1_total) }
            cluster.count(.upstream_cx_active)
            do throws(SystemError) {
                try connection.start()
            } catch {
                connection.close()
                connecting -= 1
                host.activeConnections &-= 1
                cluster.uncount(.upstream_cx_active)
                throw error
            }
        } catch {
            cluster.release(.connection, priority)
            takeFailed(.connectFailed(error))?.client.poolFailed(.connectFailed(error))
        }
    }

    /// One failed attempt answers one waiter: the others may still have luck with theirs.
    private func takeFailed(_ failure: PoolFailure) -> Waiter? {
        if !isDraining { cluster.trouble = ConnectionTrouble(failure, host, cluster.worker.loop.now) }
        cluster.count(.upstream_cx_connect_fail)
        host.statistics.connectFailures &+= 1
        guard !waiting.isEmpty else { return nil }
        let waiter = waiting.removeFirst()
        leave(waiter)
        return waiter
    }

    func connected(_ connection: HTTP1UpstreamConnection) {
        connecting -= 1
        cluster.hasConnected(host)
        if isAutomatic {
            negotiated = .http11
            cluster.count(.upstream_cx_http1_total)
        }
        give(connection)
        if isAutomatic { connectForWaiting() }
    }

    private func connectForWaiting() {
        while connecting < waiting.count, let waiter = waiting.dropFirst(connecting).first {
            let before = connecting
            connect(waiter.priority)
            if connecting <= before { return }
        }
    }

    // MARK: ALPN's choice

    /// The handshake of a connection is done: true when the host chose HTTP/2, and the HTTP/2 pool has taken socket and line.
    func turnsHTTP2(_ connection: HTTP1UpstreamConnection, _ tls: TLSTransport) -> Bool {
        guard isAutomatic, tls.engine.applicationProtocol == "h2", let (socket, input) = connection.surrender() else {
            return false
        }
        connecting -= 1
        negotiated = .http2
        let line = waiting
        waiting = []
        http2Pool().take(line)
        http2Pool().adopt(socket, input, tls, connection.priority)
        return true
    }

    /// As above, the other way round: the host spoke HTTP/2 before.
    private func turnedHTTP1(_ handed: HTTP2Pool.Handed, _ line: [Waiter]) {
        negotiated = .http11
        waiting += line
        let connection = HTTP1UpstreamConnection(
            handed.socket, pool: self, priority: handed.priority, tls: handed.tls, input: handed.input)
        connecting += 1
        do throws(SystemError) {
            try connection.start()
            connection.isNegotiated()
        } catch {
            connection.close()
            connectFailed(connection, .connectFailed(error))
        }
    }

    func connectFailed(_ connection: HTTP1UpstreamConnection, _ failure: PoolFailure) {
        connecting -= 1
        // Out of the line before the next connection is counted: nobody connects for a request that has failed.
        let waiter = takeFailed(failure)
        closed(connection)
        waiter?.client.poolFailed(failure)
    }

    /// A connection whose response is complete comes back.
    func release(_ connection: HTTP1UpstreamConnection) {
        setBusy(connection, false)
        give(connection)
    }

    private func setBusy(_ connection: HTTP1UpstreamConnection, _ isBusy: Bool) {
        guard connection.isBusy != isBusy else { return }
        connection.isBusy = isBusy
        busy += isBusy ? 1 : -1
    }

    private func give(_ connection: HTTP1UpstreamConnection) {
        if !waiting.isEmpty {
            let waiter = waiting.removeFirst()
            leave(waiter)
            setBusy(connection, true)
            waiter.client.poolReady(connection)
        } else if isDraining {
            connection.close()
        } else {
            idle.append(connection)
        }
    }

    /// A connection is gone, whatever it was doing.
    func closed(_ connection: HTTP1UpstreamConnection) {
        setBusy(connection, false)
        if let index = idle.firstIndex(where: { $0 === connection }) { idle.remove(at: index) }
        host.activeConnections &-= 1
        cluster.release(.connection, connection.priority)
        cluster.uncount(.upstream_cx_active)
        cluster.count(.upstream_cx_destroy)
        if waiting.count > connecting, let first = waiting.first { connect(first.priority) }
        cluster.released(host)
    }

    var isEmpty: Bool {
        idle.isEmpty && busy == 0 && connecting == 0 && waiting.isEmpty && (http2?.isEmpty ?? true)
            && tunnels.isEmpty && named.values.allSatisfy(\.isEmpty)
    }

    /// What is open now is not used again; new connections may be made.
    func renew() {
        for pool in named.values { pool.renew() }
        let closing = idle
        idle = []
        for connection in closing { connection.close() }
    }

    /// Idle connections close now, busy ones when they are done.
    func drain() {
        isDraining = true
        for pool in named.values { pool.drain() }
        http2?.drain()
        let closing = idle
        idle = []
        for connection in closing { connection.close() }
        cluster.released(host)
    }
}
