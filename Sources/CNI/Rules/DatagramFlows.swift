internal import IO
internal import Netlink

/// The kernel's memory of UDP "connections" (<linux/netfilter/nfnetlink_conntrack.h>).
enum DatagramFlows {
    /// One of them, as far as it matters.
    struct Flow {
        /// To which port the client sends.
        var port: UInt16?
        /// Who really answers, after translation.
        var answerer: IPAddress?
    }

    /// Forgets those that meet a condition.
    static func forget(where matches: (Flow) -> Bool) throws(SystemError) {
        let channel = try NetlinkChannel(NetlinkChannel.netfilter)
        var dump = NetlinkMessage(type: 1 << 8 | 1, flags: NetlinkChannel.dump)  // IPCTNL_MSG_CT_GET
        dump.append(UInt32(0))
        for reply in try channel.exchange(dump, "list connections") {
            let attributes = reply.attributes(after: 4)
            guard let original = attributes[1], let answer = attributes[2] else { continue }
            let transport = NetlinkReply.attributes(NetlinkReply.attributes(original)[2] ?? [])
            guard transport[1]?.first == 17 else { continue }
            let address = NetlinkReply.attributes(NetlinkReply.attributes(answer)[1] ?? [])
            let flow = Flow(
                port: transport[3].map { UInt16(bigEndian: $0.number(0, as: UInt16.self)) },
                answerer: (address[1] ?? address[3]).flatMap { IPAddress(bytes: $0) })
            guard matches(flow) else { continue }
            var message = NetlinkMessage(type: 1 << 8 | 2, flags: NetlinkChannel.change)  // IPCTNL_MSG_CT_DELETE
            message.append(UInt32(reply.payload.number(0, as: UInt8.self)))
            message.attribute(1 | 0x8000, Array(original))
            do throws(SystemError) { try channel.request(message, "forget a connection") } catch {
                guard error.errno == 2 else { throw error }  // ENOENT: it has ended by itself.
            }
        }
    }
}
