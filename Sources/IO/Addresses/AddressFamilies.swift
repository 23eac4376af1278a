internal import Glibc

/// The families of IP addresses that a machine has, loopback aside.
public struct AddressFamilies: Hashable, Sendable {
    /// Some interface has an IPv4 address.
    public var hasV4: Bool
    /// Some interface has an IPv6 address.
    public var hasV6: Bool

    /// These.
    public init(hasV4: Bool, hasV6: Bool) {
        self.hasV4 = hasV4
        self.hasV6 = hasV6
    }

    /// Whether an address is of one of them.
    public func contains(_ address: IPAddress) -> Bool { address.isV6 ? hasV6 : hasV4 }

    private static let loopback: UInt32 = 0x8  // IFF_LOOPBACK

    /// What this network namespace has now; both where the kernel does not say.
    public static func ofMachine() -> AddressFamilies {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&first) == 0 else { return AddressFamilies(hasV4: true, hasV6: true) }
        defer { freeifaddrs(first) }
        var found = AddressFamilies(hasV4: false, hasV6: false)
        var next = first
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let address = entry.ifa_addr, UInt32(entry.ifa_flags) & loopback == 0 else { continue }
            switch Int32(address.pointee.sa_family) {
            case AF_INET: found.hasV4 = true
            case AF_INET6: found.hasV6 = true
            default: break
            }
        }
        return found
    }
}
