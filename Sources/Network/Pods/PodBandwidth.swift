internal import Glibc
internal import IO
internal import Netlink

/// Limits of a pod's traffic, in bits a second; 0 is none.
public struct PodBandwidth: Sendable, Hashable {
    /// What comes to the pod.
    public var ingress: UInt64
    /// What the pod sends.
    public var egress: UInt64

    /// What kubelet's runtimes take: a kilobit to a petabit a second.
    public static let range: ClosedRange<UInt64> = 1000...1_000_000_000_000_000

    /// Limits of both directions.
    public init(ingress: UInt64 = 0, egress: UInt64 = 0) {
        self.ingress = ingress
        self.egress = egress
    }

    /// A fifth of a second at once, but two of the largest packets that a pod's kernel makes: less would hold up a single write.
    static func limit(_ bits: UInt64) -> TrafficLimit {
        let rate = max(bits / 8, 1)
        return TrafficLimit(rate: rate, burst: UInt32(clamping: max(rate / 5, 131_072)))
    }
}

extension HostNetwork {
    /// Limits what goes to the pod at the host's end of its link, and what comes from it in a device of its own.
    func limit(_ pod: PodAttachment, _ end: RouteSocket.Link) throws(NetworkError) {
        guard pod.bandwidth != PodBandwidth() else { return }
        let name = Ownership.waitingLink(uid: pod.uid)
        do throws(SystemError) {
            let channel = try NetlinkChannel(NetlinkChannel.route)
            if pod.bandwidth.ingress > 0 { try channel.limit(end.index, to: PodBandwidth.limit(pod.bandwidth.ingress)) }
            guard pod.bandwidth.egress > 0 else { return }
            try channel.addWaitingLink(
                name, mtu: mtu, group: UInt32(Ownership.podGroup), alias: "skein pod \(pod.name), what it sends")
            let waiting = Int32(bitPattern: if_nametoindex(name))
            guard waiting > 0 else { throw SystemError.last("look for link \(name)") }
            try channel.limit(waiting, to: PodBandwidth.limit(pod.bandwidth.egress))
            try channel.redirect(end.index, to: waiting)
        } catch {
            guard error.errno != EOPNOTSUPP, error.errno != ENOENT else {
                throw .invalid("pod \(pod.name): this kernel cannot limit traffic (\(error))")
            }
            throw .system(error)
        }
    }
}
