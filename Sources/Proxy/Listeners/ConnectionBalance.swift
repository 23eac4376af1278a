internal import Synchronization

/// How a listener's connections are spread over the workers.
///
/// The kernel spreads them by a hash (SO_REUSEPORT): of 64 connections one of two workers gets less than 40 % in one case of ten. So a
/// worker that has clearly more than another one hands what it accepts over; `connection_balance_config: exact_balance` does so for any difference.
final class ConnectionBalance: Sendable {
    /// Connections by worker; held for a few instructions per connection.
    private let counts: Mutex<[Int]>

    init(workers: Int) { counts = Mutex([Int](repeating: 0, count: max(workers, 1))) }

    /// Who gets a connection that `worker` accepted; it is counted there until `release`.
    func take(_ worker: Int, isExact: Bool) -> Int {
        counts.withLock { counts in
            guard counts.indices.contains(worker) else { return worker }
            let chosen = Self.choose(counts, worker, isExact: isExact)
            counts[chosen] += 1
            return chosen
        }
    }

    /// Counts a connection that came by another listener.
    func add(_ worker: Int) {
        counts.withLock { counts in
            if counts.indices.contains(worker) { counts[worker] += 1 }
        }
    }

    func release(_ worker: Int) {
        counts.withLock { counts in
            if counts.indices.contains(worker) { counts[worker] -= 1 }
        }
    }

    /// How many connections are counted as a worker's.
    func count(of worker: Int) -> Int { counts.withLock { $0.indices.contains(worker) ? $0[worker] : 0 } }

    /// Pure: the worker with the fewest connections when ours has too many more.
    static func choose(_ counts: [Int], _ worker: Int, isExact: Bool) -> Int {
        guard let least = counts.indices.min(by: { counts[$0] < counts[$1] }) else { return worker }
        let slack = isExact ? 0 : counts[least] / differenceShare
        return counts[worker] - counts[least] > slack ? least : worker
    }

    /// A difference below this part of a worker's connections is not worth a hop to another thread; few connections are spread evenly,
    /// because of eight a worker would easily get two.
    private static let differenceShare = 8
}
