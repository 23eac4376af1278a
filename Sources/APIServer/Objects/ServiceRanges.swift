public import IO

/// The ranges out of which services get their addresses, one of a family; the first family is that of services which name none.
public struct ServiceRanges: Sendable, Hashable {
    /// Cluster IPs.
    public let cluster: [Prefix]
    /// Addresses of `type: LoadBalancer`; a family without a range gets none.
    public let balancers: [Prefix]

    /// Bits of a range that count its addresses, as in Kubernetes.
    static let bitsMax = 20

    private static let standardCluster = Prefix(.v4(0x0a60_0000), length: 16)
    private static let standardBalancers = Prefix(.v4(0x0a61_0000), length: 24)

    /// 10.96.0.0/16 and 10.97.0.0/24.
    public static let standard = ServiceRanges(
        known: [standardCluster].compactMap(\.self), [standardBalancers].compactMap(\.self))

    private init(known cluster: [Prefix], _ balancers: [Prefix]) {
        self.cluster = cluster
        self.balancers = balancers
    }

    /// Why a range cannot be one of services; nil when it can: it has 2 to 20 bits to count with, and one at least is needed.
    public static func problem(of range: Prefix) -> String? {
        let bits = range.address.bitCount - range.length
        guard (2...bitsMax).contains(bits) else {
            let (least, most) = (range.address.bitCount - bitsMax, range.address.bitCount - 2)
            return "\(range): not between /\(least) and /\(most)"
        }
        return nil
    }

    /// Ranges of families; a family that has none of cluster IPs has no services.
    ///
    /// - Returns: nil when there are none of cluster IPs, two of one family, or one that cannot be.
    public init?(cluster: [Prefix], balancers: [Prefix]) {
        guard !cluster.isEmpty, (cluster + balancers).allSatisfy({ Self.problem(of: $0) == nil }) else { return nil }
        for ranges in [cluster, balancers] where Set(ranges.map(\.address.isV6)).count != ranges.count { return nil }
        self.init(known: cluster, balancers)
    }

    /// The families of services, as objects name them.
    var families: [String] { cluster.map { Self.family($0.address) } }

    /// `IPv4` or `IPv6`.
    static func family(_ address: IPAddress) -> String { address.isV6 ? "IPv6" : "IPv4" }

    /// All of them, those of cluster IPs first.
    public var all: [Prefix] { cluster + balancers }

    /// The address of the service `kubernetes` in `default`: the first of the first range.
    public var kubernetes: IPAddress {
        switch cluster.first?.address ?? .v4(0) {
        case .v4(let base): .v4(base &+ 1)
        case .v6(let high, let low): .v6(high: high, low: low &+ 1)
        }
    }
}
