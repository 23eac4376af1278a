internal import IO

/// Whether address ranges are free on a host.
///
/// Pure: routes, addresses and links are given.
struct OverlapCheck {
    let routes: [RouteSocket.Route]
    let addresses: [RouteSocket.Address]
    let links: [RouteSocket.Link]

    func check(_ configuration: HostNetworkConfiguration) throws(NetworkError) {
        for family in configuration.families {
            for (name, range) in [("pod pool", family.pool)] + family.servicePools.map({ ("service pool", $0) }) {
                guard let other = overlap(range) else { continue }
                throw .pool("\(name) \(range) overlaps \(other); choose another range")
            }
        }
    }

    /// The first thing that is not ours and lies in the range, in words.
    private func overlap(_ range: Prefix) -> String? {
        for entry in addresses where range.contains(entry.address) && !isOurs(entry.device) {
            return "the address \(entry.address)/\(entry.length) of device \(name(entry.device))"
        }
        for route in routes where route.origin != Int(RouteSocket.origin) && !isOurs(route.device) {
            // The default route overlaps everything and harms nothing; so do multicast and link-local ones.
            guard let destination = route.destination, destination.length > 0, destination.overlaps(range) else {
                continue
            }
            return "the route to \(destination) through device \(name(route.device))"
        }
        return nil
    }

    private func isOurs(_ device: Int32) -> Bool { links.contains { $0.index == device && Ownership.owns($0) } }

    private func name(_ device: Int32) -> String { links.first { $0.index == device }?.name ?? "\(device)" }
}
