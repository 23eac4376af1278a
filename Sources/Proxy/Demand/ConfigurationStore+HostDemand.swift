internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream
internal import XDS

// Virtual hosts that requests ask for (VHDS).
extension ConfigurationStore {
    private static let log = Logger("xds")

    /// A worker wants the virtual host of a domain; it is told when the server has answered, or at once when nobody can be asked.
    func demandHost(_ host: String, ofRoutes routes: String, worker: Int) {
        let name = "\(routes)/\(host)"
        guard let source = hostSource(routes) else {
            return tell([ClusterDemand.Notice(name: name, workers: [worker], outcome: .missing)], .host)
        }
        switch hostDemand.ask(name, from: source, worker: worker, isPresent: hasHost(name), now: loop.now) {
        case .known(let outcome):
            tell([ClusterDemand.Notice(name: name, workers: [worker], outcome: outcome)], .host)
        case .overflow:
            Self.log.warning("so many hosts are asked for that no other can be", ["host": name])
            tell([ClusterDemand.Notice(name: name, workers: [worker], outcome: .missing)], .host)
        case .wait(let isNew):
            guard isNew else { return }
            sweepLater()
            wantsChanged()
            onChange()
        }
    }

    /// Where the virtual hosts of a route configuration are asked for.
    private func hostSource(_ routes: String) -> DiscoverySource? {
        self.routes[routes]?.wants.first { $0.typeURL == EnvoyAPI.VirtualHost.typeURL }?.source
    }

    /// Whether a virtual host is there that answers that name.
    private func hasHost(_ name: String) -> Bool {
        hostAliases.values.contains { $0.contains(name) }
    }

    /// The server has answered, and the workers have what it said: who waits goes on.
    func answerHosts(_ present: Set<String>, missing: [String]) {
        tell(hostDemand.arrived { present.contains($0) }, .host)
        tell(hostDemand.missing(missing, now: loop.now), .host)
        // Copies of requests wait for nothing, so what they go to is asked for with the virtual host.
        var isNew = false
        for name in mirrorClusters where clusters[name] == nil {
            guard let source = hostDemand.wanted.first?.source else { break }
            isNew = clusterDemand.want(name, from: source, isPresent: false, now: loop.now) || isNew
        }
        if isNew {
            sweepLater()
            wantsChanged()
            onChange()
        }
    }

    /// The clusters that get copies of requests, by what virtual hosts on demand say.
    var mirrorClusters: Set<String> {
        var names: Set<String> = []
        for host in discoveredHosts.values.flatMap(\.values) {
            for policy in host.requestMirrorPolicies where !policy.cluster.isEmpty { names.insert(policy.cluster) }
            for route in host.routes {
                guard case .route(let action) = route.action else { continue }
                for policy in action.requestMirrorPolicies where !policy.cluster.isEmpty {
                    names.insert(policy.cluster)
                }
            }
        }
        return names
    }

    /// The names of clusters whose traffic says whether a virtual host is in use.
    private static func destinations(of host: EnvoyAPI.VirtualHost) -> Set<String> {
        var names: Set<String> = []
        for route in host.routes {
            guard case .route(let action) = route.action else { continue }
            switch action.clusterSpecifier {
            case .cluster(let name): names.insert(name)
            case .weightedClusters(let weighted): names.formUnion(weighted.clusters.map(\.name))
            default: break
            }
        }
        return names
    }

    /// Virtual hosts to whose clusters nothing has gone for long leave; they are asked for again when somebody wants them.
    ///
    /// Only clusters on demand count: what many hosts share (passing through) says nothing about one of them.
    func sweepHosts(now: MonotonicTime) {
        let resources = hostAliases
        let (left, notices) = hostDemand.sweep(now: now) { name in
            var traffic = ClusterDemand.Traffic(total: 0, active: 0)
            guard let resource = resources.first(where: { $0.value.contains(name) })?.key,
                let host = discoveredHosts.values.lazy.compactMap({ $0[resource] }).first
            else { return traffic }
            for cluster in Self.destinations(of: host) where clusterDemand.contains(cluster) {
                let cells = metrics.cluster(cluster)
                traffic.total &+= cells.value(.upstream_rq_total)
                traffic.active &+= cells.value(.upstream_rq_active)
            }
            return traffic
        }
        guard !left.isEmpty else { return }
        tell(notices, .host)
        let gone = resources.filter { entry in
            !entry.value.isDisjoint(with: left) && !hostDemand.names.contains { entry.value.contains($0) }
        }
        if !gone.isEmpty {
            Self.log.info("nobody has used virtual hosts for long", ["count": "\(gone.count)"])
            _ = changeHosts(set: [], removed: gone.keys.sorted())
        }
        wantsChanged()
        onChange()
    }

    /// A route configuration is gone, or asks for its virtual hosts no more: if it comes again, they are asked for anew.
    func forgetHosts(of routes: String) {
        discoveredHosts[routes] = nil
        hostAliases = hostAliases.filter { !$0.key.hasPrefix(routes + "/") }
        tell(hostDemand.forget { $0.hasPrefix(routes + "/") }, .host)
    }

    /// What was there before a restart is asked for again as soon as there is a server, and leaves like anything else that was asked for.
    func adoptDemand(clusters names: [String], hosts: [String]) {
        for name in names {
            _ = clusterDemand.want(name, from: .ads, isPresent: clusters[name] != nil, now: loop.now)
        }
        for name in hosts { _ = hostDemand.want(name, from: .ads, isPresent: hasHost(name), now: loop.now) }
        guard !names.isEmpty || !hosts.isEmpty else { return }
        sweepLater()
        wantsChanged()
        onChange()
    }
}
