package import IO

/// How fast packets may go in one direction.
package struct TrafficLimit: Hashable, Sendable {
    /// Bytes a second; above 0.
    package var rate: UInt64
    /// Bytes at once.
    package var burst: UInt32

    /// So many bytes a second, and so many at once.
    package init(rate: UInt64, burst: UInt32) {
        self.rate = rate
        self.burst = burst
    }
}

/// Token buckets on links (<linux/pkt_sched.h>, tc-tbf(8)).
extension NetlinkChannel {
    /// Makes a device in which packets wait (ifb), up; EOPNOTSUPP where the kernel has none.
    ///
    /// - Parameter group: the link group, by which its maker knows it again.
    package func addWaitingLink(_ name: String, mtu: Int, group: UInt32, alias: String) throws(SystemError) {
        var message = NetlinkMessage(type: 16, flags: NetlinkChannel.make)  // RTM_NEWLINK
        // ifinfomsg: any family, no number yet, IFF_UP.
        for number in [0, 0, 1, 1] as [UInt32] { message.append(number) }
        message.attribute(3, name)  // IFLA_IFNAME
        message.attribute(4, UInt32(clamping: mtu))  // IFLA_MTU
        message.attribute(27, group)  // IFLA_GROUP
        message.nested(18) { $0.attribute(1, "ifb") }  // IFLA_LINKINFO, IFLA_INFO_KIND
        try request(message, "make link \(name)")
        // The kernel takes no note for people together with the rest.
        var note = NetlinkMessage(type: 19, flags: NetlinkChannel.change)  // RTM_SETLINK
        for _ in 0..<4 { note.append(UInt32(0)) }
        note.attribute(3, name)
        note.attribute(20, String(alias.prefix(200)))  // IFLA_IFALIAS
        try request(note, "name link \(name)")
    }

    private static func queueMessage(
        _ type: UInt16, _ flags: UInt16, device: Int32, handle: UInt32, parent: UInt32, info: UInt32 = 0
    ) -> NetlinkMessage {
        var message = NetlinkMessage(type: type, flags: flags)
        message.append(UInt32(0))  // family
        message.append(device)
        message.append(handle)
        message.append(parent)
        message.append(info)
        return message
    }

    /// What leaves by the device goes no faster than that; EOPNOTSUPP or ENOENT where the kernel has no token buckets.
    package func limit(_ device: Int32, to wish: TrafficLimit) throws(SystemError) {
        let (rate, burst) = (wish.rate, wish.burst)
        var message = NetlinkChannel.queueMessage(
            36, NetlinkChannel.replace, device: device, handle: 1 << 16, parent: .max)
        message.attribute(1, "tbf")
        message.nested(2) { options in
            // tc_tbf_qopt: rate (link layer Ethernet), peak rate, limit, buffer, mtu. What waits longer than 25 ms is dropped.
            var parameters = [UInt8](repeating: 0, count: 36)
            parameters[1] = 1
            let limit = UInt32(clamping: rate / 40 &+ UInt64(burst))
            withUnsafeBytes(of: UInt32(clamping: rate)) { parameters.replaceSubrange(8..<12, with: $0) }
            withUnsafeBytes(of: limit) { parameters.replaceSubrange(24..<28, with: $0) }
            options.attribute(1, parameters)
            if rate > UInt64(UInt32.max) { options.attribute(4, rate) }  // TCA_TBF_RATE64
            options.attribute(6, burst)  // TCA_TBF_BURST
        }
        try request(message, "limit link \(device)")
    }

    /// What comes in by a device leaves by another one first.
    package func redirect(_ device: Int32, to other: Int32) throws(SystemError) {
        let ingress: UInt32 = 0xffff_0000
        var queue = NetlinkChannel.queueMessage(
            36, NetlinkChannel.replace, device: device, handle: ingress, parent: 0xffff_fff1)
        queue.attribute(1, "ingress")
        try request(queue, "take what comes in by link \(device)")
        // Priority 1, all protocols (ETH_P_ALL in network order).
        var filter = NetlinkChannel.queueMessage(
            44, NetlinkChannel.make, device: device, handle: 0, parent: ingress, info: 1 << 16 | 0x0300)
        filter.attribute(1, "u32")
        filter.nested(2) { options in
            // tc_u32_sel: terminal, one key, which every packet has.
            var selector = [UInt8](repeating: 0, count: 32)
            selector[0] = 1
            selector[2] = 1
            options.attribute(5, selector)
            options.nested(7) { actions in
                actions.nested(1) { action in
                    action.attribute(1, "mirred")
                    action.nested(2) { parameters in
                        // tc_mirred: index, capabilities, action STOLEN, counts, egress redirect, device.
                        var bytes: [UInt8] = []
                        for number in [0, 0, 4, 0, 0, 1, UInt32(bitPattern: other)] as [UInt32] {
                            withUnsafeBytes(of: number) { bytes += $0 }
                        }
                        parameters.attribute(2, bytes)
                    }
                }
            }
        }
        try request(filter, "redirect what comes in by link \(device)")
    }
}
