import EnvoyAPI

/// Makes addresses.
enum Addresses {
    static func socket(_ socket: SocketAddress) -> Address {
        var address = Address()
        address.address = .socketAddress(socket)
        return address
    }

    /// The address of an endpoint: `unix://PATH` is a socket file.
    static func of(_ address: String, port: Int) -> Address {
        if address.hasPrefix("unix://") {
            var pipe = Pipe()
            pipe.path = String(address.dropFirst("unix://".count))
            var address = Address()
            address.address = .pipe(pipe)
            return address
        }
        var socket = SocketAddress()
        socket.address = address
        socket.portSpecifier = .portValue(UInt32(clamping: port))
        return Addresses.socket(socket)
    }

    /// Every address of the pod: of both families, in one socket, where pods have both.
    static func any(port: UInt32, _ config: MeshConfig, isUDP: Bool = false) -> Address {
        var socket = SocketAddress()
        socket.protocol = isUDP ? .udp : .tcp
        socket.address = config.isDualStack ? "::" : "0.0.0.0"
        socket.ipv4Compat = config.isDualStack
        socket.portSpecifier = .portValue(port)
        return Addresses.socket(socket)
    }

    /// One address, or a range in CIDR form, as a prefix.
    static func prefix(_ address: String) -> CidrRange {
        let parts = address.split(separator: "/", maxSplits: 1)
        var range = CidrRange()
        range.addressPrefix = String(parts.first ?? "")
        let most: UInt32 = address.contains(":") ? 128 : 32
        range.prefixLen = parts.count > 1 ? min(UInt32(parts[1]) ?? most, most) : most
        return range
    }

    /// Whether a text is an IP address.
    static func isAddress(_ text: some StringProtocol) -> Bool {
        if text.contains(":") {
            let groups = text.split(separator: ":", omittingEmptySubsequences: false)
            let isShort = text.contains("::")
            return (isShort ? (3...9).contains(groups.count) : groups.count == 8)
                && groups.allSatisfy { $0.count <= 4 && $0.allSatisfy(\.isHexDigit) }
        }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { (1...3).contains($0.count) && UInt8($0) != nil }
    }

    /// Whether a text is an IP address or a range in CIDR form.
    static func isAddressOrRange(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let address = parts.first, isAddress(address) else { return false }
        guard parts.count == 2 else { return parts.count == 1 }
        return UInt32(parts[1]).map { $0 <= (address.contains(":") ? 128 : 32) } ?? false
    }
}
