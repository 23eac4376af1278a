public import IO

/// A port of the host that leads to a pod.
public struct HostPort: Sendable, Hashable {
    /// The address of the host; nil means all of them.
    public var address: IPAddress?
    /// The host's port.
    public var port: UInt16
    /// TCP or UDP.
    public var transport: Transport
    /// The pod's address.
    public var target: IPAddress
    /// The pod's port.
    public var targetPort: UInt16
    /// Whose port it is: `Pod skein-system/gateway spec.containers[0].ports[0]`.
    public var provenance: String

    /// A port of the host that leads to a pod.
    public init(
        address: IPAddress?, port: UInt16, transport: Transport = .tcp, target: IPAddress, targetPort: UInt16,
        provenance: String
    ) {
        self.address = address
        self.port = port
        self.transport = transport
        self.target = target
        self.targetPort = targetPort
        self.provenance = provenance
    }

    /// Refuses what the kernel cannot do.
    func check() throws(NetworkError) {
        if let address, address.isV6 != target.isV6 {
            throw .invalid("\(provenance): host address \(address) and pod address \(target) differ in family")
        }
        if let address, address.isV6, address.isLoopback {
            throw .invalid("\(provenance): host port on ::1 is not possible, use 127.0.0.1")
        }
    }

    /// One map per family and kind, so that the number of ports costs nothing.
    static func rules(_ ports: [HostPort], table: String) -> [String] {
        var lines: [String] = []
        for (isV6, word, type, suffix) in [(false, "ip", "ipv4_addr", "4"), (true, "ip6", "ipv6_addr", "6")] {
            let mine = ports.filter { $0.target.isV6 == isV6 }
            for transport in Transport.allCases {
                let exact = mine.filter { $0.transport == transport && $0.address != nil }
                let any = mine.filter { $0.transport == transport && $0.address == nil }
                if !exact.isEmpty {
                    let map = "ports_\(transport)\(suffix)"
                    lines.append(
                        "add map \(table) \(map) { type \(type) . inet_service : \(type) . inet_service; }")
                    for port in exact {
                        lines.append(
                            "add element \(table) \(map) { \(port.address ?? port.target) . \(port.port) comment "
                                + "\(NFTables.comment(port.provenance)) : \(port.target) . \(port.targetPort) }")
                    }
                    for chain in ["prerouting", "output"] {
                        lines.append(
                            "add rule \(table) \(chain) meta l4proto \(transport) dnat \(word) to \(word) daddr . "
                                + "\(transport) dport map @\(map)")
                    }
                }
                if !any.isEmpty {
                    let map = "any_\(transport)\(suffix)"
                    lines.append("add map \(table) \(map) { type inet_service : \(type) . inet_service; }")
                    for port in any {
                        lines.append(
                            "add element \(table) \(map) { \(port.port) comment \(NFTables.comment(port.provenance))"
                                + " : \(port.target) . \(port.targetPort) }")
                    }
                    for chain in ["prerouting", "output"] {
                        lines.append(
                            "add rule \(table) \(chain) meta nfproto \(isV6 ? "ipv6" : "ipv4") fib daddr type local "
                                + "meta l4proto \(transport) dnat \(word) to \(transport) dport map @\(map)")
                    }
                }
            }
        }
        return lines
    }
}

/// The transport protocols of services and host ports.
public enum Transport: String, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// TCP.
    case tcp
    /// UDP.
    case udp
    /// SCTP.
    case sctp

    /// The word that nftables uses.
    public var description: String { rawValue }
}
