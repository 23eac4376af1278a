internal import Glibc
internal import IO
internal import Netlink

extension Attachment {
    /// DEL: nothing of the container is left on the network; harmless when nothing or half was there (N-9).
    ///
    /// First the link, then the rules, then the address: nobody is given an address that somebody still has.
    func delete() throws(CNIError) {
        switch configuration.driver {
        case .host, .none: return
        case .chained:
            if let previous = configuration.previous {
                let device = previous.interfaces.last { $0.sandbox.isEmpty }?.name
                try removeRules(Set(previous.addresses.map(\.address.address)), device: device)
            } else {
                try removeOwnRules()
            }
            try removeLimits()
            return
        case .routed, .hostGateway, .bridge, .overlay, .ptp, .macvlan, .ipvlan, .vlan: break
        }
        var addresses = Set(configuration.previous?.addresses.map(\.address.address) ?? [])
        if let ipam = configuration.ipam, ipam.kind == .local, !tables.isEmpty {
            addresses.formUnion(try AddressStore(ipam, network: configuration.name).held(by: owner))
        }
        if configuration.capabilities.contains("bandwidth") || !configuration.bandwidth.isEmpty { try removeLimits() }
        let pending = try deleteLink()
        // While the kernel is at it.
        let rules = Result { () throws(CNIError) in try removeRules(addresses, device: owner.hostLink) }
        try pending?.wait()
        try rules.get()
        guard let ipam = configuration.ipam else { return }
        switch ipam.kind {
        case .local: try AddressStore(ipam, network: configuration.name).release(owner)
        case .delegated(let type):
            try DelegatedIPAM(type: type, request: request, configuration: configuration).run(.delete)
        }
    }

    /// Rules whose comment names this container: a DEL without prevResult says no address.
    private func removeOwnRules() throws(CNIError) {
        let note = self.note
        try reporting { () throws(SystemError) in
            let socket = try RuleSocket()
            for table in tables {
                for set in table.sets {
                    try socket.remove(
                        try socket.elements(of: set.name, in: table).filter { $0.note == note }, from: table)
                }
            }
        }
    }

    /// Begins to delete the container's link; nil when there is none.
    private func deleteLink() throws(CNIError) -> LinkDeletion? {
        if let link = try reporting({ () throws(SystemError) in try host.link(owner.hostLink) }) {
            return try reporting { () throws(SystemError) in try LinkDeletion(link.index, inThread: isLasting) }
        }
        // No end of ours on the host: a macvlan, or a link that another plugin has made.
        guard !request.namespace.isEmpty, let container = try? ContainerNamespace(path: request.namespace),
            !container.isOurs()
        else { return nil }
        try reporting { () throws(SystemError) in
            if let link = try container.links.link(request.interface), link.index != 1 {
                try container.links.delete(link.index)
            }
        }
        return nil
    }
}

/// A link on its way out.
///
/// The kernel's answer to RTM_DELLINK takes 13 to 30 ms, but the link is gone for everybody after about 3 ms, when the kernel
/// says so to those who listen: a process or thread of its own makes the call, and we go on at that word.
final class LinkDeletion {
    private let index: Int32
    private let watch: LinkSocket
    private let call: DetachedSend
    /// Lives until the other process has its copy.
    private let channel: NetlinkChannel

    /// Longest wait for the kernel, in milliseconds.
    private static let patience: Int32 = 30_000

    /// - Parameter inThread: a thread of this process makes the call, which has to go on for it.
    init(_ index: Int32, inThread: Bool) throws(SystemError) {
        self.index = index
        watch = try LinkSocket(watching: true)
        channel = try NetlinkChannel()
        call = try DetachedSend(
            socket: channel.descriptor, LinkSocket.deletion(index).finished(sequence: 1), "delete link \(index)",
            inThread: inThread)
    }

    /// Waits until nobody can see the link any more.
    func wait() throws(CNIError) {
        while true {
            switch call.wait(besides: watch.channel.descriptor, milliseconds: LinkDeletion.patience) {
            case .answered(let error):
                guard error == 0 || error == ENODEV else {
                    throw CNIError(.inputOutput, SystemError(error, "delete link \(index)").description)
                }
                return
            case .timeout:
                throw CNIError(.inputOutput, "delete link \(index): no answer in \(LinkDeletion.patience / 1000) s")
            case .readable:
                // Too many messages at once (ENOBUFS) lose some: the answer comes in the end.
                guard let messages = try? watch.channel.receive("watch links") else { continue }
                let isGone = messages.contains { _, message in
                    // Family 0: a bridge speaks of its ports in its own.
                    message.type == 17 && message.payload.first == 0 && LinkSocket.link(message).index == index
                }
                if isGone { return }
            }
        }
    }
}
