/// Hosts in turn, each as often as its weight says: earliest deadline first.
///
/// Equal weights need no heap: then a cursor goes round.
final class Schedule {
    private struct Entry {
        var deadline: Double
        var order: UInt64
        var index: Int
    }

    private let hosts: [Host]
    private let isWeighted: Bool
    private var cursor: Int
    private var heap: [Entry] = []
    private var now = 0.0
    private var order: UInt64 = 0

    /// A schedule that starts at a place drawn by chance, so that many proxies do not all begin with the first host.
    init(_ hosts: [Host], random: UInt64) {
        self.hosts = hosts
        isWeighted = Set(hosts.map(\.weight)).count > 1
        cursor = hosts.isEmpty ? 0 : Int(UInt64(hosts.count).multipliedFullWidth(by: random).high)
        guard isWeighted else { return }
        var draws = SplitMix64(seed: random)
        for index in hosts.indices {
            // A first deadline inside the host's own period: the start is spread, the shares stay exact.
            push(Entry(deadline: draws.nextUnit() / Double(hosts[index].weight), order: order, index: index))
            order += 1
        }
    }

    func next() -> Host? {
        guard !hosts.isEmpty else { return nil }
        guard isWeighted else {
            let host = hosts[cursor]
            cursor = cursor + 1 == hosts.count ? 0 : cursor + 1
            return host
        }
        guard var entry = pop() else { return nil }
        now = entry.deadline
        let host = hosts[entry.index]
        entry.deadline = now + 1 / Double(host.weight)
        entry.order = order
        order += 1
        push(entry)
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

    private func pop() -> Entry? {
        guard let first = heap.first, let last = heap.popLast() else { return nil }
        guard !heap.isEmpty else { return first }
        heap[0] = last
        var parent = 0
        while true {
            var smallest = parent
            for child in (2 * parent + 1)...(2 * parent + 2) where child < heap.count {
                if Self.isEarlier(heap[child], heap[smallest]) { smallest = child }
            }
            guard smallest != parent else { break }
            heap.swapAt(parent, smallest)
            parent = smallest
        }
        return first
    }
}

/// Hosts by chance, each as often as its weight says.
struct WeightedDraw {
    private let hosts: [Host]
    /// Empty when all weights are equal.
    private let cumulativeWeights: [UInt64]

    init(_ hosts: [Host]) {
        self.hosts = hosts
        guard Set(hosts.map(\.weight)).count > 1 else {
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
