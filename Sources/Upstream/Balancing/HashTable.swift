/// Hosts by hash: a ring (ketama-like) or a Maglev table.
struct HashTable {
    private let hosts: [Host]
    /// Sorted by hash; empty for Maglev.
    private var ring: [(hash: UInt64, host: Int32)] = []
    /// Slot → host; empty for a ring.
    private var slots: [Int32] = []

    /// A ring in which each host has points in proportion to its weight, and the least of them at least
    /// `minimumSize` / number of hosts, within `maximumSize` in all.
    init(ring hosts: [Host], minimumSize: Int, maximumSize: Int, hashesHostnames: Bool) {
        self.hosts = hosts
        let total = hosts.reduce(0.0) { $0 + Double($1.weight) }
        guard total > 0 else { return }
        let least = Double(hosts.map(\.weight).min() ?? 1) / total
        let scale = min((least * Double(minimumSize)).rounded(.up) / least, Double(maximumSize))
        // As Envoy: running sums, so that the points add up to the scale whatever the rounding.
        var current = 0.0
        var target = 0.0
        for (index, host) in hosts.enumerated() {
            target += scale * Double(host.weight) / total
            var point = 0
            while current < target {
                ring.append((Hash.xxh64("\(host.hashKey(hashesHostnames))_\(point)"), Int32(truncatingIfNeeded: index)))
                point += 1
                current += 1
            }
        }
        ring.sort { ($0.hash, $0.host) < ($1.hash, $1.host) }
    }

    /// A Maglev table with weights (section 3.4 of the paper by Eisenbud and others, 2016).
    init(maglev hosts: [Host], size: Int, hashesHostnames: Bool) {
        self.hosts = hosts
        guard !hosts.isEmpty, size > 1 else { return }
        struct Walk {
            var position: Int
            var skip: Int
            var weight: Double
            var target: Double
        }
        let heaviest = Double(hosts.map(\.weight).max() ?? 1)
        var walks = hosts.map { host in
            Walk(
                position: Int(Hash.xxh64(host.hashKey(hashesHostnames)) % UInt64(size)),
                skip: Int(Hash.xxh64(host.hashKey(hashesHostnames), seed: 1) % UInt64(size - 1)) + 1,
                weight: Double(host.weight), target: 0)
        }
        slots = [Int32](repeating: -1, count: size)
        var filled = 0
        var round = 1.0
        while filled < size {
            for index in walks.indices where filled < size {
                // A host takes its turn once its weight has added up to that of the heaviest.
                if round * walks[index].weight < walks[index].target { continue }
                walks[index].target += heaviest
                while slots[walks[index].position] >= 0 {
                    walks[index].position = (walks[index].position + walks[index].skip) % size
                }
                slots[walks[index].position] = Int32(truncatingIfNeeded: index)
                filled += 1
            }
            round += 1
        }
    }

    func host(for hash: UInt64) -> Host? {
        if !slots.isEmpty { return hosts[Int(slots[Int(hash % UInt64(slots.count))])] }
        guard !ring.isEmpty else { return nil }
        var low = 0
        var high = ring.count
        while low < high {
            let middle = (low + high) / 2
            if ring[middle].hash < hash { low = middle + 1 } else { high = middle }
        }
        return hosts[Int(ring[low == ring.count ? 0 : low].host)]
    }
}

extension Host {
    /// What stands for the host in a ring or table; the address when it has no name.
    fileprivate func hashKey(_ byHostname: Bool) -> String {
        byHostname && !endpoint.hostname.isEmpty ? endpoint.hostname : "\(address)"
    }
}
