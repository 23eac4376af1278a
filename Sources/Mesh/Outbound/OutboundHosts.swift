/// The virtual hosts of a kind of callers in the route configurations of its plan, and what was put together of them.
///
/// An edit of one virtual host costs its own encoding and the copy of the bytes of its route configuration: the others are not asked for, nor are
/// their domains compared again as long as those of the edited one are what they were.
struct OutboundHosts: Sendable {
    /// One route configuration.
    private struct Part: Sendable {
        /// Those of services in the plan's order, then the others.
        var all: [EncodedHost]
        /// Without the domains that an earlier one claims.
        var apart: [EncodedHost]
        /// Whether nobody lost a domain, so that both lists are the same.
        var isWhole: Bool
        var resource: MeshResource

        /// Those; `last` is what was made of them before: where all claim what they claimed, nothing is compared again.
        init(_ name: String, _ all: [EncodedHost], like last: Part?) {
            self.all = all
            if let last, last.isWhole, last.resource.name == name, last.all.count == all.count,
                zip(last.all, all).allSatisfy({ $0 === $1 || $0.domains == $1.domains })
            {
                (apart, isWhole) = (all, true)
                let isSame = zip(last.all, all).allSatisfy { $0 === $1 }
                resource = isSame ? last.resource : MeshResource(routes: name, hosts: all)
                return
            }
            apart = OutboundHosts.apart(all)
            isWhole = apart.count == all.count && zip(apart, all).allSatisfy { $0 === $1 }
            resource = MeshResource(routes: name, hosts: apart)
        }
    }

    private let plan: OutboundPlan
    private var parts: [Part]

    /// All virtual hosts, as `host` gives them; `last` is what the plan before this one had.
    init(_ plan: OutboundPlan, like last: OutboundHosts?, _ host: (OutboundPlan.Host) -> EncodedHost) {
        self.plan = plan
        let before = Dictionary((last?.parts ?? []).map { ($0.resource.name, $0) }, uniquingKeysWith: { $1 })
        parts = plan.routes.map { routes in
            Part(routes.name, routes.hosts.map(host) + routes.others, like: before[routes.name])
        }
    }

    /// Puts the virtual hosts of services in the place of earlier ones.
    mutating func replace(
        _ changed: [OutboundPlan.Host], _ host: (OutboundPlan.Host) -> EncodedHost
    ) {
        let ports = Set(changed.lazy.map(\.port))
        let changed = Set(changed)
        for (index, routes) in plan.routes.enumerated()
        where parts.indices.contains(index) && ports.contains(routes.port) {
            var keepsDomains = parts[index].isWhole
            var isChanged = false
            for (place, known) in routes.hosts.enumerated() where changed.contains(known) {
                isChanged = true
                let now = host(known)
                keepsDomains = keepsDomains && now.domains == parts[index].all[place].domains
                parts[index].all[place] = now
            }
            guard isChanged else { continue }
            if keepsDomains {
                parts[index].apart = parts[index].all
                parts[index].resource = MeshResource(routes: routes.name, hosts: parts[index].apart)
            } else {
                parts[index] = Part(routes.name, parts[index].all, like: nil)
            }
        }
    }

    /// Everything that the plan says, with the virtual hosts.
    var resources: MeshResources {
        var resources = plan.fixed
        for part in parts { resources.routes[part.resource.name] = part.resource }
        return resources
    }

    /// A domain belongs to the first that claims it.
    private static func apart(_ hosts: [EncodedHost]) -> [EncodedHost] {
        var claimed: Set<String> = []
        claimed.reserveCapacity(hosts.count * 8)
        return hosts.compactMap { host in
            let kept = host.domains.filter { claimed.insert($0).inserted }
            return kept.isEmpty ? nil : host.keeping(kept)
        }
    }
}
