internal import Serialization

/// Hosts by hash: a ring (ketama-like) or a Maglev table, with Envoy's points, so that the same configuration picks the same
/// host.
struct HashTable {
    private let hosts: [Host]
    /// Sorted by hash; empty for Maglev.
    private var ring: [(hash: UInt64, host: Int32)] = []
    /// Slot → host; empty for a ring.
    private var slots: [Int32] = []

    /// One host's way through a Maglev table.
    private struct Walk {
        var host: Int32
        var position: Int
        var skip: Int
        var weight: Double
        var target: Double

        mutating func advance(_ size: Int) { position = (position + skip) % size }
    }

    /// Each host's share of everything: given, or by its weight.
    private static func normalized(_ hosts: [Host], _ shares: [Double]?) -> [Double] {
        if let shares, shares.count == hosts.count { return shares }
        let total = hosts.reduce(0.0) { $0 + Double($1.weight) }
        return hosts.map { Double($0.weight) / total }
    }

    /// A ring in which each host has points in proportion to its weight, and the least of them at least
    /// `minimumSize` / number of hosts, within `maximumSize` in all.
    init(
        ring hosts: [Host], shares: [Double]? = nil, minimumSize: Int, maximumSize: Int, hashesHostnames: Bool,
        usesMurmur: Bool = false
    ) {
        self.hosts = hosts
        let weights = Self.normalized(hosts, shares)
        let least = weights.filter { $0 > 0 }.min() ?? 0
        guard least > 0 else { return }
        let scale = min((least * Double(minimumSize)).rounded(.up) / least, Double(maximumSize))
        ring.reserveCapacity(Int(scale) + hosts.count)
        // As Envoy: running sums, so that the points add up to the scale whatever the rounding.
        var current = 0.0
        var target = 0.0
        var text: [UInt8] = []
        for (index, host) in hosts.enumerated() {
            target += scale * weights[index]
            text.removeAll(keepingCapacity: true)
            text.append(contentsOf: host.hashKey(hashesHostnames).utf8)
            text.append(0x5F)
            let count = text.count
            var point = 0
            while current < target {
                text.removeSubrange(count...)
                text.append(contentsOf: String(point).utf8)
                let hash = usesMurmur ? Hash.murmur2(text.span) : Hash.xxh64(text.span)
                ring.append((hash, Int32(truncatingIfNeeded: index)))
                point += 1
                current += 1
            }
        }
        ring.sort { ($0.hash, $0.host) < ($1.hash, $1.host) }
    }

    /// A Maglev table with weights (section 3.4 of the paper by Eisenbud and others, 2016).
    init(maglev hosts: [Host], shares: [Double]? = nil, size: Int, hashesHostnames: Bool) {
        self.hosts = hosts
        let weights = Self.normalized(hosts, shares)
        guard let heaviest = weights.max(), heaviest > 0, size > 1 else { return }
        var walks: [Walk] = []
        for (index, host) in hosts.enumerated() where weights[index] > 0 {
            let key = host.hashKey(hashesHostnames)
            walks.append(
                Walk(
                    host: Int32(truncatingIfNeeded: index), position: Int(Hash.xxh64(key) % UInt64(size)),
                    skip: Int(Hash.xxh64(key, seed: 1) % UInt64(size - 1)) + 1, weight: weights[index], target: 0))
        }
        slots = [Int32](repeating: -1, count: size)
        var filled = 0
        var round = 1.0
        while filled < size {
            for index in walks.indices where filled < size {
                // A host takes its turn once its weight has added up to that of the heaviest.
                if round * walks[index].weight < walks[index].target { continue }
                walks[index].target += heaviest
                while slots[walks[index].position] >= 0 { walks[index].advance(size) }
                slots[walks[index].position] = walks[index].host
                walks[index].advance(size)
                filled += 1
            }
            round += 1
        }
    }

    /// - Parameter attempt: Which of the hosts that follow: a ring goes on to the next points, a table hashes anew.
    func host(for hash: UInt64, attempt: Int = 0) -> Host? {
        if !slots.isEmpty {
            let hash = attempt > 0 ? hash ^ (0 &- UInt64(attempt)) : hash
            return hosts[Int(slots[Int(hash % UInt64(slots.count))])]
        }
        guard !ring.isEmpty else { return nil }
        var low = 0
        var high = ring.count
        while low < high {
            let middle = (low + high) / 2
            if ring[middle].hash < hash { low = middle + 1 } else { high = middle }
        }
        return hosts[Int(ring[((low == ring.count ? 0 : low) + attempt) % ring.count].host)]
    }
}

extension Host {
    /// What stands for the host in a ring or table: its metadata's `hash_key`, its name where names are hashed, its address.
    func hashKey(_ byHostname: Bool) -> String {
        if let key = endpoint.metadata?["envoy.lb"]?["hash_key"]?.string, !key.isEmpty { return key }
        return byHostname && !endpoint.hostname.isEmpty ? endpoint.hostname : "\(address)"
    }
}
