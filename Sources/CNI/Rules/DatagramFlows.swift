internal import IO
internal import Netlink

/// The kernel's memory of UDP "connections", where ports are published and withdrawn (N-15).
enum DatagramFlows {
    private static let transport: UInt8 = 17  // IPPROTO_UDP

    /// Forgets those whose clients send to these ports.
    static func forget(to ports: Set<UInt16>) throws(SystemError) {
        guard !ports.isEmpty else { return }
        try ConnectionTable().forget(
            among: Set(ports.map { .init(.client, nil, transport: transport, port: $0) })
        ) { $0.transport == transport && ports.contains($0.port) }
    }

    /// Forgets those that one of these really answers, after translation.
    static func forget(answeredBy addresses: Set<IPAddress>) throws(SystemError) {
        guard !addresses.isEmpty else { return }
        try ConnectionTable().forget(
            among: Set(addresses.map { .init(.answerer, $0, transport: transport) })
        ) { $0.transport == transport && addresses.contains($0.answerer) }
    }
}
