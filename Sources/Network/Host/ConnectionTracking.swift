internal import CNetlink
internal import Glibc
internal import IO
internal import Netlink

/// The kernel's memory of connections.
enum ConnectionTracking {
    private static let subsystem = UInt16(1 << 8)  // NFNL_SUBSYS_CTNETLINK
    private static let get = subsystem | 1  // IPCTNL_MSG_CT_GET
    private static let delete = subsystem | 2  // IPCTNL_MSG_CT_DELETE

    /// Forgets the UDP "connections" that were led to these endpoints: their clients are led anew by the next packet,
    /// instead of for ever to a pod that is gone (N-15).
    static func forgetDatagrams(to endpoints: Set<ServicePort.Endpoint>) throws(NetworkError) {
        try forget { entry in
            entry.transport == UInt8(IPPROTO_UDP) && endpoints.contains(ServicePort.Endpoint(entry.source, entry.port))
        }
    }

    /// Ends the connections that `isDenied` says of: their next packet begins a new one, which is asked about.
    static func forget(isDenied: (PolicySet.Packet) -> Bool) throws(NetworkError) {
        try forget { entry in
            guard let client = entry.client else { return false }
            let transport: Transport? =
                switch Int(entry.transport) {
                case IPPROTO_TCP: .tcp
                case IPPROTO_UDP: .udp
                case 132: .sctp
                default: nil
                }
            return isDenied(
                PolicySet.Packet(from: client, to: entry.source, transport, port: transport == nil ? 0 : entry.port))
        }
    }

    /// What an entry's replies come from: after address translation that is who really answers.
    private struct Answerer {
        /// Who began the connection.
        var client: IPAddress?
        var source: IPAddress
        var port: UInt16
        var transport: UInt8
    }

    private static func forget(where matches: (Answerer) -> Bool) throws(NetworkError) {
        let socket = try NetlinkSocket(protocol: NETLINK_NETFILTER)
        var dump = NetlinkMessage(type: get, flags: UInt16(NLM_F_REQUEST | NLM_F_DUMP))
        dump.append(UInt32(0))  // nfgenmsg: any family, version 0, resource 0
        for reply in try socket.exchange(dump, "list connections") {
            let family = reply.payload.number(0, as: UInt8.self)
            let attributes = reply.attributes(after: 4)
            // CTA_TUPLE_ORIG 1, CTA_TUPLE_REPLY 2
            guard let original = attributes[1], var answer = attributes[2].flatMap(answerer) else { continue }
            answer.client = answerer(original)?.source
            guard matches(answer) else { continue }
            var message = NetlinkMessage(type: delete, flags: UInt16(NLM_F_REQUEST | NLM_F_ACK))
            message.append(UInt32(family))
            message.attribute(1 | Int(NLA_F_NESTED), Array(original))
            do throws(NetworkError) {
                try socket.request(message, "forget a connection")
            } catch {
                // It ended by itself meanwhile.
                if case .system(let error) = error, error.errno == ENOENT { continue }
                throw error
            }
        }
    }

    private static func answerer(_ tuple: ArraySlice<UInt8>) -> Answerer? {
        let parts = NetlinkReply.attributes(tuple)
        // CTA_TUPLE_IP 1: CTA_IP_V4_SRC 1, CTA_IP_V6_SRC 3; CTA_TUPLE_PROTO 2: CTA_PROTO_NUM 1, CTA_PROTO_SRC_PORT 2
        let ip = NetlinkReply.attributes(parts[1] ?? [])
        let transport = NetlinkReply.attributes(parts[2] ?? [])
        guard let source = (ip[1] ?? ip[3]).flatMap({ IPAddress(bytes: $0) }), let number = transport[1]?.first else {
            return nil
        }
        return Answerer(
            client: nil, source: source, port: UInt16(bigEndian: transport[2]?.number(0, as: UInt16.self) ?? 0),
            transport: number)
    }
}
