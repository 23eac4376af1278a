/// Where a host listens, as configured.
///
/// The proxy makes a socket address of it.
public enum HostAddress: Hashable, Sendable, CustomStringConvertible {
    /// An IP address in text, checked at compile time.
    case ip(String, port: UInt16)
    /// A unix socket.
    case pipe(String)
    /// A listener of this very process (`envoy_internal_address`), and what tells endpoints on it apart.
    case listener(String, endpoint: String)
    /// A DNS name that is still to be resolved (STRICT_DNS, LOGICAL_DNS).
    case name(String, port: UInt16)

    /// `10.0.0.1:80`, `[::1]:80`, `/run/a.sock`, `db.example:5432`.
    public var description: String {
        switch self {
        case .ip(let address, let port): address.utf8.contains(0x3A) ? "[\(address)]:\(port)" : "\(address):\(port)"
        case .pipe(let path): path
        case .listener(let name, let endpoint): "envoy://\(name)/\(endpoint)"
        case .name(let name, let port): "\(name):\(port)"
        }
    }

    /// Whether a text is an IPv4 or IPv6 address.
    static func isIPAddress(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        return isIPv4(bytes[...]) || isIPv6(bytes)
    }

    private static func isIPv4(_ bytes: ArraySlice<UInt8>) -> Bool {
        let parts = bytes.split(separator: 0x2E, omittingEmptySubsequences: false)
        return parts.count == 4
            && parts.allSatisfy { part in
                guard (1...3).contains(part.count), part.allSatisfy({ $0 &- 0x30 < 10 }) else { return false }
                if part.count > 1, part.first == 0x30 { return false }
                return part.reduce(0) { $0 * 10 + Int($1 - 0x30) } < 256
            }
    }

    private static func isIPv6(_ bytes: [UInt8]) -> Bool {
        guard bytes.contains(0x3A), bytes.count <= 45 else { return false }
        let groups = bytes.split(separator: 0x3A, omittingEmptySubsequences: false)
        var count = 0
        var gaps = 0
        for (index, group) in groups.enumerated() {
            if group.isEmpty {
                // `::` leaves one empty group inside, two at an end.
                let isEdge = index == 0 || index == groups.count - 1
                if !isEdge { gaps += 1 }
                continue
            }
            if index == groups.count - 1, isIPv4(group) {
                count += 2
                continue
            }
            guard group.count <= 4, group.allSatisfy(isHexDigit) else { return false }
            count += 1
        }
        let startsWithGap = bytes.starts(with: [0x3A, 0x3A])
        let endsWithGap = bytes.reversed().starts(with: [0x3A, 0x3A])
        if bytes.first == 0x3A, !startsWithGap { return false }
        if bytes.last == 0x3A, !endsWithGap { return false }
        if bytes == [0x3A, 0x3A] { return true }
        return gaps == 0 ? count == 8 : gaps == 1 && count <= 7
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        byte &- 0x30 < 10 || (byte | 0x20) &- 0x61 < 6
    }
}

/// Where a host stands: region, zone, sub-zone.
public struct Locality: Hashable, Sendable {
    /// Region.
    public var region: String
    /// Zone.
    public var zone: String
    /// Sub-zone.
    public var subZone: String

    /// A place; all empty is "unknown".
    public init(region: String = "", zone: String = "", subZone: String = "") {
        self.region = region
        self.zone = zone
        self.subZone = subZone
    }
}
