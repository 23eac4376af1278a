/// Hosts in turn, each as often as its weight says: earliest deadline first.
///
/// Equal weights need no heap: then a cursor goes round. A weight is looked at when a host has had its turn, so weights may
/// change at any time and nothing is rebuilt: a choice costs O(log n).
final class Schedule {
    private struct Entry {
        var deadline: Double
        var order: UInt64
        var index: Int
    }

    let hosts: [Host]
    private let isWeighted: Bool
    private var cursor: Int
    private var heap: [Entry] = []
    private var now = 0.0
    private var order: UInt64 = 0

    static func hasEqualWeights(_ hosts: [Host]) -> Bool {
        guard let first = hosts.first?.weight else { return true }
        return hosts.allSatisfy { $0.weight == first }
    }

    /// A schedule by configured weights that starts at a place drawn by chance, so that many proxies do not all begin with
    /// the first host.
    init(_ hosts: [Host], random: UInt64) {
        self.hosts = hosts
        isWeighted = !Self.hasEqualWeights(hosts)
        cursor = hosts.isEmpty ? 0 : Int(UInt64(hosts.count).multipliedFullWidth(by: random).high)
        if isWeighted { fill(random) { Double($0.weight) } }
    }

    /// A schedule by weights that change.
    init(_ hosts: [Host], random: UInt64, weight: (Host) -> Double) {
        self.hosts = hosts
        isWeighted = true
        cursor = 0
        fill(random, weight)
    }

    /// Begins anew with weights that have changed all at once: old deadlines mean nothing beside new ones.
    func fill(_ random: UInt64, _ weight: (Host) -> Double) {
        heap.removeAll(keepingCapacity: true)
        now = 0
        heap.reserveCapacity(hosts.count)
        var draws = SplitMix64(seed: random)
        for index in hosts.indices {
            // A first deadline inside the host's own period: the start is spread, the shares stay exact.
            push(Entry(deadline: draws.nextUnit() * Self.period(weight(hosts[index])), order: order, index: index))
            order += 1
        }
    }

    private static func period(_ weight: Double) -> Double { 1 / max(weight, 1e-9) }

    func next() -> Host? {
        guard !isWeighted else { return next { Double($0.weight) } }
        guard !hosts.isEmpty else { return nil }
        let host = hosts[cursor]
        cursor = cursor + 1 == hosts.count ? 0 : cursor + 1
        return host
    }

    func next(_ weight: (Host) -> Double) -> Host? {
        guard let entry = heap.first else { return nil }
        now = entry.deadline
        let host = hosts[entry.index]
        // The first goes back in with its new deadline: one walk down instead of out and in.
        heap[0] = Entry(deadline: now + Self.period(weight(host)), order: order, index: entry.index)
        order += 1
        sink()
        return host
    }

    private static func isEarlier(_ a: Entry, _ b: Entry) -> Bool {
        a.deadline < b.deadline || (a.deadline == b.deadline && a.order < b.order)
    }

    private func push(_ entry: Entry) {
        heap.append(entry)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard Self.isEarlier(heap[child], heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private func sink() {
        var parent = 0
        while true {
            var smallest = parent
            for child in (2 * parent + 1)...(2 * parent + 2) where child < heap.count {
                if Self.isEarlier(heap[child], heap[smallest]) { smallest = child }
            }
            guard smallest != parent else { return }
            heap.swapAt(parent, smallest)
            parent = smallest
        }
    }
}

/// Hosts by chance, each as often as its weight says.
struct WeightedDraw {
    private let hosts: [Host]
    /// Empty when all weights are equal.
    private let cumulativeWeights: [UInt64]

    init(_ hosts: [Host]) {
        self.hosts = hosts
        guard !Schedule.hasEqualWeights(hosts) else {
            cumulativeWeights = []
            return
        }
        var sum: UInt64 = 0
        cumulativeWeights = hosts.map { host in
            sum += UInt64(host.weight)
            return sum
        }
    }

    func draw(_ draws: inout SplitMix64) -> Host? {
        guard !hosts.isEmpty else { return nil }
        guard let total = cumulativeWeights.last else { return hosts[Int(draws.next(below: UInt64(hosts.count)))] }
        let point = draws.next(below: total)
        var low = 0
        var high = cumulativeWeights.count - 1
        while low < high {
            let middle = (low + high) / 2
            if point < cumulativeWeights[middle] { high = middle } else { low = middle + 1 }
        }
        return hosts[low]
    }
}
