internal import HTTP
internal import IO
internal import TLS
internal import Upstream

/// The HTTP/2 connections of one loop to one host: as few as the host's own limits allow.
///
/// Requests go to the first connection with room; a new one is made when all are full. Who comes before any is ready waits in
/// line, and one connection on its way is enough for as many as it will probably take.
final class HTTP2Pool {
    let host: Host
    let address: SocketAddress
    let cluster: ClusterRuntime
    let metrics: HTTP2Metrics
    private var connections: [HTTP2ClientConnection] = []
    private var connecting = 0
    private var waiting: [Waiter] = []
    private var isDraining = false
    private var isServing = false

    private typealias Waiter = HostPool.Waiter

    /// A connection that is open, its handshake done.
    struct Handed {
        let socket: Socket
        let input: ByteBuffer
        let tls: TLSTransport
        let priority: ResourcePriority
    }

    /// Takes a connection whose host chose HTTP/1.1, and all who wait; nil where nothing is chosen.
    var turned: ((Handed, [HostPool.Waiter]) -> Void)?

    /// What a new connection is expected to take before the host has said so: what it said the last time, at first what
    /// RFC 9113 §6.5.2 recommends at least.
    private(set) var expectedStreams = 100

    /// What sets its connections apart from others to the host.
    let key: HostPool.Key

    init(host: Host, address: SocketAddress, cluster: ClusterRuntime, key: HostPool.Key) {
        self.key = key
        self.host = host
        self.address = address
        self.cluster = cluster
        metrics = HTTP2Metrics(cluster.worker.metrics.scope("cluster", cluster.config.observedName, "http2"))
    }

    /// Gives the client a stream, now or later; `fresh` asks for a connection that has not just refused one.
    func acquire(_ client: any PoolClient, priority: ResourcePriority, fresh: Bool) {
        if waiting.isEmpty {
            for index in connections.indices where connections[index].capacity > 0 {
                return client.poolReady(connections[index].makeStream())
            }
        }
        cluster.count(.upstream_rq_pending_total)
        guard cluster.acquire(.pendingRequest, priority) else {
            cluster.count(.upstream_rq_pending_overflow)
            return client.poolFailed(.overflow)
        }
        cluster.count(.upstream_rq_pending_active)
        waiting.append(Waiter(client: client, priority: priority))
        connectIfNeeded(forLast: true)
    }

    /// Takes a client out of the line.
    func cancel(_ client: any PoolClient) {
        guard let index = waiting.firstIndex(where: { $0.client === client }) else { return }
        leave(waiting.remove(at: index))
    }

    private func leave(_ waiter: Waiter) {
        cluster.release(.pendingRequest, waiter.priority)
        cluster.uncount(.upstream_rq_pending_active)
    }

    /// - Parameter forLast: For who has come just now.
    private func connectIfNeeded(forLast: Bool = false) {
        let own = cluster.config.http2.concurrentStreamsMax.map { Int(clamping: $0) } ?? expectedStreams
        let each = max(1, min(own, expectedStreams, Int(cluster.config.maxRequestsPerConnection ?? .max)))
        if waiting.count > connecting * each, let last = waiting.last { connect(last.priority, forLast: forLast) }
    }

    /// As in the pool of HTTP/1 connections.
    private func shed(last: Bool) {
        let isAlone = connections.allSatisfy(\.isDraining) && connecting == 0
        let failed = isAlone ? waiting : Array(waiting.suffix(last ? 1 : 0))
        waiting.removeLast(failed.count)
        for waiter in failed {
            leave(waiter)
            waiter.client.poolFailed(.overflow)
        }
    }

    private func connect(_ priority: ResourcePriority, forLast: Bool) {
        if cluster.worker.sheds(.upstreamConnection) { return shed(last: forLast) }
        let isAllowed =
            host.activeConnections < (cluster.config.limits.connectionsPerHostMax ?? .max)
            && cluster.acquire(.connection, priority)
        if !isAllowed {
            cluster.count(.upstream_cx_overflow)
            // As for HTTP/1: a host without any connection that takes requests gets one.
            guard connections.allSatisfy(\.isDraining) && connecting == 0 else { return }
            cluster.exceed(.connection, priority)
        }
        do throws(SystemError) {
            let tls = try cluster.beginTLS(host, key)
            let socket = try cluster.openSocket(to: address, of: host, from: key.source)
            guard let connection = try? HTTP2ClientConnection(socket, pool: self, priority: priority, tls: tls) else {
                socket.close()
                throw SystemError(Self.noMemory, "an HTTP/2 session")
            }
            connecting += 1
            host.activeConnections &+= 1
            host.statistics.connectionsTotal &+= 1
            cluster.count(.upstream_cx_total)
            if turned == nil { cluster.count(.upstream_cx_http2_total) }
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
            failAll(.connectFailed(error))
        }
    }

    private static let noMemory: Int32 = 12  // ENOMEM

    /// One attempt stands for all that wait for it.
    private func failAll(_ failure: PoolFailure) {
        if !isDraining { cluster.trouble = ConnectionTrouble(failure, host, cluster.worker.loop.now) }
        cluster.count(.upstream_cx_connect_fail)
        host.statistics.connectFailures &+= 1
        let failed = waiting
        waiting = []
        for waiter in failed {
            leave(waiter)
            waiter.client.poolFailed(failure)
        }
    }

    /// Requests that were counted as waiting before.
    func take(_ line: [HostPool.Waiter]) { waiting += line }

    /// A connection that was made to find out what the host speaks.
    func adopt(_ socket: Socket, _ input: ByteBuffer, _ tls: TLSTransport, _ priority: ResourcePriority) {
        connecting += 1
        guard
            let connection = try? HTTP2ClientConnection(socket, pool: self, priority: priority, tls: tls, input: input)
        else {
            socket.close()
            connecting -= 1
            host.activeConnections &-= 1
            cluster.release(.connection, priority)
            cluster.uncount(.upstream_cx_active)
            return failAll(.connectFailed(SystemError(Self.noMemory, "an HTTP/2 session")))
        }
        do throws(SystemError) {
            try connection.start()
            connection.isNegotiated()
        } catch {
            connection.close()
            connectFailed(connection, .connectFailed(error))
        }
    }

    /// The handshake of a connection is done: true when the host chose HTTP/1.1, and others have taken socket and line.
    func turnsHTTP1(_ connection: HTTP2ClientConnection, _ tls: TLSTransport) -> Bool {
        guard let turned, tls.engine.applicationProtocol != "h2", let (socket, input) = connection.surrender() else {
            return false
        }
        connecting -= 1
        let line = waiting
        waiting = []
        turned(Handed(socket: socket, input: input, tls: tls, priority: connection.priority), line)
        return true
    }

    func connected(_ connection: HTTP2ClientConnection) {
        if turned != nil { cluster.count(.upstream_cx_http2_total) }
        connecting -= 1
        cluster.hasConnected(host)
        connections.append(connection)
        if isDraining { connection.drain() }
        capacityGrew()
    }

    func connectFailed(_ connection: HTTP2ClientConnection, _ failure: PoolFailure) {
        connecting -= 1
        gone(connection)
        if connecting == 0 { failAll(failure) }
        cluster.released(host)
    }

    /// A stream ended, or a host allows more of them.
    func capacityGrew() {
        guard !waiting.isEmpty, !isServing else { return }
        isServing = true
        defer { isServing = false }
        while !waiting.isEmpty, let connection = connections.first(where: { $0.capacity > 0 }) {
            let waiter = waiting.removeFirst()
            leave(waiter)
            waiter.client.poolReady(connection.makeStream())
        }
        if !waiting.isEmpty { connectIfNeeded() }
    }

    /// A host has said how many streams it takes at once.
    func learned(streamsMax: UInt32) { expectedStreams = max(1, min(Int(streamsMax), Self.expectedStreamsMax)) }

    /// However many a host allows, no more are held back for one connection on its way.
    private static let expectedStreamsMax = 1000

    /// A connection is gone, whatever it was doing.
    func closed(_ connection: HTTP2ClientConnection) {
        connections.removeAll { $0 === connection }
        gone(connection)
        capacityGrew()
        if !waiting.isEmpty { connectIfNeeded() }
        cluster.released(host)
    }

    private func gone(_ connection: HTTP2ClientConnection) {
        host.activeConnections &-= 1
        cluster.release(.connection, connection.priority)
        cluster.uncount(.upstream_cx_active)
        cluster.count(.upstream_cx_destroy)
    }

    var isEmpty: Bool { connections.isEmpty && connecting == 0 && waiting.isEmpty }

    /// Connections with room for another request.
    var openCount: Int { connections.count { $0.capacity > 0 } }

    /// No connection takes new requests; each closes when its last one is done.
    func drain() {
        isDraining = true
        for connection in connections { connection.drain() }
        cluster.released(host)
    }
}
