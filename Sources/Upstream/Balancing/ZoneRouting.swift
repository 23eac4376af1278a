/// How zone aware routing spreads requests between the own zone and the others (Envoy's algorithm).
///
/// The own zone takes what is its share: if the zone has at least as large a part of the upstream hosts as it has of the
/// proxies, everything stays; otherwise the rest goes where upstream hosts are in excess.
struct ZoneRouting {
    /// What it was made from.
    let localSelection: HostSelection

    private enum Mode {
        case off
        case allLocal
        case residual(localShare: UInt64, cumulative: [UInt64])
    }

    private let mode: Mode
    private let ownIndex: Int

    init(_ settings: ClusterConfig.ZoneAware, own: Locality, local: HostSelection, upstream: HostSelection) {
        localSelection = local
        let places = upstream.priorities[0].localities
        ownIndex = places.firstIndex { $0.locality == own } ?? -1
        let healthy = upstream.priorities[0].healthy.count
        let proxies = local.priorities[0].localities
        let proxyCount = local.priorities[0].healthy.count
        guard ownIndex >= 0, places.count > 1, !places[ownIndex].healthy.isEmpty, healthy > 0, proxyCount > 0,
            upstream.priorities[0].hosts.count >= Int(clamping: settings.clusterSizeMin), !local.isInPanic[0]
        else {
            if ownIndex >= 0, let forced = settings.forcedLocalHostsMin, places[ownIndex].healthy.count >= Int(forced) {
                mode = .allLocal
            } else {
                mode = .off
            }
            return
        }
        if let forced = settings.forcedLocalHostsMin, places[ownIndex].healthy.count >= Int(forced) {
            mode = .allLocal
            return
        }
        func proxyShare(_ locality: Locality) -> UInt64 {
            let count = proxies.reduce(0) { $0 + ($1.locality == locality ? $1.healthy.count : 0) }
            return UInt64(count) * 10_000 / UInt64(proxyCount)
        }
        let shares = places.map { UInt64($0.healthy.count) * 10_000 / UInt64(healthy) }
        let ownProxies = proxyShare(own)
        guard shares[ownIndex] < ownProxies else {
            mode = .allLocal
            return
        }
        var sum: UInt64 = 0
        let ownIndex = ownIndex
        let cumulative = places.indices.map { index in
            let proxies = proxyShare(places[index].locality)
            if index != ownIndex, shares[index] > proxies { sum += shares[index] - proxies }
            return sum
        }
        mode = .residual(localShare: shares[ownIndex] * 10_000 / ownProxies, cumulative: cumulative)
    }

    /// The index of the place; -1 when places do not count for this request.
    func draw(_ settings: ClusterConfig.ZoneAware, _ draws: inout SplitMix64) -> Int {
        if case .off = mode { return -1 }
        if settings.enabledPercent < 100, Double(draws.next(below: 10_000)) >= settings.enabledPercent * 100 {
            return -1
        }
        switch mode {
        case .off: return -1
        case .allLocal: return ownIndex
        case .residual(let localShare, let cumulative):
            if draws.next(below: 10_000) < localShare { return ownIndex }
            guard let total = cumulative.last, total > 0 else { return -1 }
            let point = draws.next(below: total)
            return cumulative.firstIndex { point < $0 } ?? -1
        }
    }
}

/// Hosts by nearness: the same sub-zone, zone, region, the rest.
///
/// The nearest class takes all that it can (its healthy share times the overprovisioning factor), the next what is left.
struct Nearness {
    private var classes: [(hosts: WeightedDraw, upTo: UInt64)] = []

    init(_ priority: HostSet.Priority, from own: Locality, isDegraded: Bool, factor: UInt32) {
        var groups: [(all: Int, usable: [Host])] = [(0, []), (0, []), (0, []), (0, [])]
        for place in priority.localities {
            let distance = Self.distance(place.locality, own)
            groups[distance].all += place.hosts.count
            groups[distance].usable += isDegraded ? place.degraded : place.healthy
        }
        let wanted = groups.map {
            $0.all == 0 ? 0 : min(100, UInt64(factor) * UInt64($0.usable.count) / UInt64($0.all))
        }
        let total = min(100, wanted.reduce(0, +))
        guard total > 0 else { return }
        var sum: UInt64 = 0
        for (index, group) in groups.enumerated() where wanted[index] > 0 && sum < 100 {
            sum = min(100, sum + wanted[index] * 100 / total)
            classes.append((WeightedDraw(group.usable), sum))
        }
        classes[classes.count - 1].upTo = 100
    }

    static func distance(_ place: Locality, _ own: Locality) -> Int {
        guard place.region == own.region else { return 3 }
        guard place.zone == own.zone else { return 2 }
        return place.subZone == own.subZone ? 0 : 1
    }

    /// Time constant of connect times.
    static let decay: Duration = .seconds(60)

    /// Two draws; the host to which connections come about sooner wins, one never connected to wins over both.
    func pick(now: UInt64, _ draws: inout SplitMix64) -> Host? {
        guard let last = classes.last else { return nil }
        let point = draws.next(below: 100)
        let group = classes.first { point < $0.upTo } ?? last
        guard let first = group.hosts.draw(&draws), let second = group.hosts.draw(&draws) else { return nil }
        if first === second { return first }
        guard first.connectTime.isKnown else { return first }
        guard second.connectTime.isKnown else { return second }
        let (a, b) = (first.connectTime.nanoseconds, second.connectTime.nanoseconds)
        // What differs by less than a quarter is noise.
        return b < a * 0.75 ? second : first
    }
}
