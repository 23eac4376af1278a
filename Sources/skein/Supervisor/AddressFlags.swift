internal import APIServer
internal import ControlPlane
internal import IO
internal import Network

/// The ranges of addresses that `skein up` gives away.
enum AddressFlags {
    static let pods = Flag(
        "pool", value: "CIDR[,CIDR]",
        "addresses of pods (default 10.244.0.0/16); with an IPv6 range beside it they get one of each")
    static let services = Flag(
        "service-pool", value: "CIDR[,CIDR]",
        "addresses of services (default 10.96.0.0/16, and of IPv6 none); the first one's family is the usual")
    static let balancers = Flag(
        "balancer-pool", value: "CIDR[,CIDR]",
        "addresses of services of type LoadBalancer (default 10.97.0.0/24, and of IPv6 none)")

    private static let standard: [String: String] = [
        pods.name: "10.244.0.0/16", services.name: "10.96.0.0/16", balancers.name: "10.97.0.0/24",
    ]

    /// The ranges of pods, IPv4 first, and those of services; all must do without each other's addresses.
    static func ranges(_ invocation: Invocation) throws(CommandError) -> ([Prefix], ServiceRanges) {
        let podRanges = try prefixes(pods, invocation) { range in
            if range.address.isV6 {
                return NodeBlocks(range) == nil || range.length < 16
                    ? "\(range): not an IPv6 range between /16 and /116, like fd00:244::/48" : nil
            }
            return (8...24).contains(range.length) ? nil : "\(range): not between /8 and /24, like 10.244.0.0/16"
        }.sorted { !$0.address.isV6 && $1.address.isV6 }
        let serviceRanges = try prefixes(services, invocation, ServiceRanges.problem)
        let balancerRanges = try prefixes(balancers, invocation, ServiceRanges.problem)
        let hasV6 = podRanges.contains(where: \.address.isV6)
        if !hasV6, let range = (serviceRanges + balancerRanges).first(where: \.address.isV6) {
            throw CommandError.usage(
                "up", "\(range): pods have no IPv6 addresses; give --\(pods.name) an IPv6 range, too")
        }
        let all = podRanges + serviceRanges + balancerRanges
        for (index, range) in all.enumerated() {
            if let other = all[..<index].first(where: { $0.overlaps(range) }) {
                throw CommandError.usage("up", "\(range) overlaps \(other)")
            }
        }
        guard let ranges = ServiceRanges(cluster: serviceRanges, balancers: balancerRanges) else {
            throw CommandError.usage("up", "--\(services.name): no ranges of services")
        }
        if hasV6, !File.exists("/proc/sys/net/ipv6") {
            throw CommandError("skein up: --\(pods.name): this kernel has no IPv6")
        }
        return (podRanges, ranges)
    }

    /// The arguments by which another process gets the same ranges.
    static func arguments(pods podPools: [Prefix], _ services: ServiceRanges) -> [String] {
        func text(_ prefixes: [Prefix]) -> String { prefixes.map(\.description).joined(separator: ",") }
        return [
            "--\(pods.name)", text(podPools), "--\(self.services.name)", text(services.cluster),
            "--\(balancers.name)", text(services.balancers),
        ]
    }

    /// A range of each family at most; that of IPv4 is the usual one when only one of IPv6 is given.
    private static func prefixes(
        _ flag: Flag, _ invocation: Invocation, _ problem: (Prefix) -> String?
    ) throws(CommandError) -> [Prefix] {
        let usual = standard[flag.name] ?? ""
        var ranges: [Prefix] = []
        for text in (invocation.value(flag) ?? usual).split(separator: ",", omittingEmptySubsequences: false) {
            guard let range = Prefix(text), text.contains("/") else {
                throw CommandError.usage("up", "--\(flag.name): \(text): not a range, like \(usual)")
            }
            if let problem = problem(range) { throw CommandError.usage("up", "--\(flag.name): \(problem)") }
            guard !ranges.contains(where: { $0.address.isV6 == range.address.isV6 }) else {
                throw CommandError.usage("up", "--\(flag.name): two ranges of one family; one of each is possible")
            }
            ranges.append(range)
        }
        if !ranges.contains(where: { !$0.address.isV6 }), let range = Prefix(usual) { ranges.insert(range, at: 0) }
        return ranges
    }
}
