internal import Glibc
internal import IO
internal import Netlink

extension Attachment {
    /// The device in which a container's packets wait on their way out.
    static func waitingLink(_ key: UInt128) -> String { waitingLink(ofHostLink: AttachmentOwner.hostLink(key)) }

    static func waitingLink(ofHostLink name: String) -> String { "ski" + name.dropFirst(3) }

    /// Limits the traffic of the container at its link's end on the host: to it by that device, from it by one of its own (ifb).
    func limit(_ device: String) throws(CNIError) {
        let bandwidth = configuration.bandwidth
        guard let end = try reporting({ () throws(SystemError) in try host.link(device) }) else {
            throw CNIError(.invalidConfiguration, "bandwidth: there is no network device \(device) on the host")
        }
        do throws(SystemError) {
            if bandwidth.ingressRate > 0 {
                try host.channel.limit(
                    end.index,
                    to: TrafficLimit(
                        rate: UInt64(bandwidth.ingressRate / 8), burst: UInt32(clamping: bandwidth.ingressBurst / 8)))
            }
            guard bandwidth.egressRate > 0 else { return }
            let name = Attachment.waitingLink(owner.key)
            try host.channel.addWaitingLink(name, mtu: end.mtu, group: unnamedGroup, alias: note)
            guard let waiting = try host.link(name) else { throw SystemError(ENODEV, "look for link \(name)") }
            try host.channel.limit(
                waiting.index,
                to: TrafficLimit(
                    rate: UInt64(bandwidth.egressRate / 8), burst: UInt32(clamping: bandwidth.egressBurst / 8)))
            try host.channel.redirect(end.index, to: waiting.index)
        } catch {
            guard error.errno != EOPNOTSUPP, error.errno != ENOENT else {
                throw CNIError(.invalidConfiguration, "bandwidth: this kernel cannot limit traffic (\(error))")
            }
            throw CNIError(.inputOutput, "bandwidth: \(error)")
        }
    }

    /// Takes the limits away that do not go with the link.
    func removeLimits() throws(CNIError) {
        try reporting { () throws(SystemError) in
            if let waiting = try host.link(Attachment.waitingLink(owner.key)) { try host.delete(waiting.index) }
        }
    }

    /// Whether packets from the container are to be limited, and are not.
    func lacksLimit() throws(CNIError) -> Bool {
        guard configuration.bandwidth.egressRate > 0 else { return false }
        return try reporting { () throws(SystemError) in try host.link(Attachment.waitingLink(owner.key)) == nil }
    }
}
