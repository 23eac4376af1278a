internal import Glibc
internal import IO
internal import Netlink

/// The kernel's memory of connections, where policies and services have changed.
enum ConnectionTracking {
    /// Forgets the UDP "connections" that were led to these endpoints: their clients are led anew by the next packet,
    /// instead of for ever to a pod that is gone (N-15).
    static func forgetDatagrams(to endpoints: Set<ServicePort.Endpoint>) throws(NetworkError) {
        let transport = UInt8(IPPROTO_UDP)
        let searches = endpoints.map { endpoint in
            ConnectionTable.Search(.answerer, endpoint.address, transport: transport, port: endpoint.port)
        }
        try end(among: Set(searches)) {
            $0.transport == transport && endpoints.contains(ServicePort.Endpoint($0.answerer, $0.answererPort))
        }
    }

    /// Ends the connections that `isDenied` says of: their next packet begins a new one, which is asked about.
    ///
    /// - Parameter searches: what finds them; nil: they may be any.
    static func forget(
        among searches: Set<ConnectionTable.Search>?, isDenied: (PolicySet.Packet) -> Bool
    ) throws(NetworkError) {
        try end(among: searches) { connection in
            let transport: Transport? =
                switch Int(connection.transport) {
                case IPPROTO_TCP: .tcp
                case IPPROTO_UDP: .udp
                case 132: .sctp
                default: nil
                }
            return isDenied(
                PolicySet.Packet(
                    from: connection.client, to: connection.answerer, transport,
                    port: transport == nil ? 0 : connection.answererPort))
        }
    }

    private static func end(
        among searches: Set<ConnectionTable.Search>?, where matches: (ConnectionTable.Connection) -> Bool
    ) throws(NetworkError) {
        do throws(SystemError) { try ConnectionTable().forget(among: searches, where: matches) } catch {
            throw .system(error)
        }
    }
}
