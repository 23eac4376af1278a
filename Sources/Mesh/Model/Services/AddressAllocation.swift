/// The addresses that the mesh chooses for ServiceEntries without any (S-17).
///
/// The address follows from the host alone: a hash of it is the place in 240.240.0.0/16, and the same place in
/// 2001:2::f0f0:0/112. Where two hosts meet, the one whose ServiceEntry is older keeps its place and the other takes the
/// next free one, so that a new host never moves an old one.
struct AddressAllocation: Sendable {
    /// How many hosts can have an address; further ones get none and are reported.
    static let capacity = 65_000

    /// The first and last place that is used: no address ends in `.0.0` or `.255.255`.
    private static let places: ClosedRange<UInt32> = 1...65_534

    private var placeByHost: [String: UInt32] = [:]

    /// Gives every host a place; `hosts` are in the order of age, without duplicates.
    init(hosts: [String] = []) {
        var taken: Set<UInt32> = []
        for host in hosts.prefix(Self.capacity) {
            var place = Self.preferred(host)
            while !taken.insert(place).inserted {
                place = place == Self.places.upperBound ? Self.places.lowerBound : place + 1
            }
            placeByHost[host] = place
        }
    }

    private static func preferred(_ host: String) -> UInt32 {
        let count = UInt64(places.upperBound - places.lowerBound) + 1
        return places.lowerBound + UInt32(truncatingIfNeeded: ContentHash.number(host) % count)
    }

    /// The IPv4 and the IPv6 address of a host; none when it has no place.
    func addresses(of host: String) -> [String] {
        guard let place = placeByHost[host] else { return [] }
        return ["240.240.\(place >> 8).\(place & 0xff)", "2001:2::f0f0:\(String(place, radix: 16))"]
    }

    /// Whether a ServiceEntry host is to get an address.
    ///
    /// Not when connections go where they were going, nor for wildcards: there is no single name to answer for.
    static func wants(_ service: MeshService, labels: [String: String]) -> Bool {
        service.addresses.isEmpty && service.resolution != .none && !HostName.isWildcard(service.host)
            && labels["networking.istio.io/enable-autoallocate-ip"] != "false"
    }
}
