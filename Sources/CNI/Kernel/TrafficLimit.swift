internal import Glibc
internal import IO
internal import Netlink

/// Token buckets on links (<linux/pkt_sched.h>, tc-tbf(8)).
extension LinkSocket {
    private static func message(
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

    /// What leaves by the device is at most `rate` bytes a second, with `burst` bytes at once.
    func limit(_ device: Int32, rate: UInt64, burst: UInt32) throws(SystemError) {
        var message = LinkSocket.message(36, NetlinkChannel.replace, device: device, handle: 1 << 16, parent: .max)
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
        try channel.request(message, "limit link \(device)")
    }

    /// What comes in by a device leaves by another one first.
    func redirect(_ device: Int32, to other: Int32) throws(SystemError) {
        let ingress: UInt32 = 0xffff_0000
        var queue = LinkSocket.message(36, NetlinkChannel.replace, device: device, handle: ingress, parent: 0xffff_fff1)
        queue.attribute(1, "ingress")
        try channel.request(queue, "take what comes in by link \(device)")
        // Priority 1, all protocols (ETH_P_ALL in network order).
        var filter = LinkSocket.message(
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
                        for number in [0, 0, 4, 0, 0, 1, UInt32(bitPattern: other)] as [UInt32] { bytes.add(number) }
                        parameters.attribute(2, bytes)
                    }
                }
            }
        }
        try channel.request(filter, "redirect what comes in by link \(device)")
    }
}
