internal import IO
internal import Upstream

// Connections that end a tunnel at the host: one for each request, never kept.
extension HostPool {
    /// Connects for one request; `opening` goes before its payload.
    func connectTunnel(_ client: any PoolClient, priority: ResourcePriority, opening: [UInt8]) {
        cluster.count(.upstream_rq_pending_total)
        if cluster.worker.sheds(.upstreamConnection) { return client.poolFailed(.overflow) }
        guard host.activeConnections < (cluster.config.limits.connectionsPerHostMax ?? .max),
            cluster.acquire(.connection, priority)
        else {
            cluster.count(.upstream_cx_overflow)
            return client.poolFailed(.overflow)
        }
        do throws(SystemError) {
            let tls = try cluster.beginTLS(host, key)
            let connection = TCPUpstreamConnection(
                try cluster.openSocket(to: address, of: host, from: key.source), pool: self, priority: priority,
                tls: tls,
                opening: opening,
                for: client)
            host.activeConnections &+= 1
            host.statistics.connectionsTotal &+= 1
            cluster.count(.upstream_cx_total)
            cluster.count(.upstream_cx_active)
            cluster.count(.upstream_rq_pending_active)
            tunnels[ObjectIdentifier(connection)] = connection
            do throws(SystemError) {
                try connection.start()
            } catch {
                connection.close()
                cluster.count(.upstream_cx_connect_fail)
                client.poolFailed(.connectFailed(error))
            }
        } catch {
            cluster.release(.connection, priority)
            cluster.count(.upstream_cx_connect_fail)
            host.statistics.connectFailures &+= 1
            client.poolFailed(.connectFailed(error))
        }
    }

    func connected(_ connection: TCPUpstreamConnection) { cluster.uncount(.upstream_rq_pending_active) }

    func closed(_ connection: TCPUpstreamConnection, wasConnecting: Bool) {
        guard tunnels.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return }
        if wasConnecting { cluster.uncount(.upstream_rq_pending_active) }
        host.activeConnections &-= 1
        cluster.release(.connection, connection.priority)
        cluster.uncount(.upstream_cx_active)
        cluster.count(.upstream_cx_destroy)
        cluster.released(host)
    }

    /// Who waits for a connection of its own no longer wants it.
    func cancelTunnel(_ client: any PoolClient) {
        tunnels.values.first { $0.waiter === client }?.abandon()
    }
}
