import Glibc

/// How long a workload waits for calls of which some are open at the same time.
///
/// Calls one after the other take the sum of their times; calls that are made together at least the longest of them, and in the mean more, since sometimes
/// the one and sometimes the other is the last. Between the two lies (Σ t^p)^(1/p): with p = 1 it is the sum, with p = ∞ the longest, and p is what fits the
/// share of the sum that was seen. (Two exponential times of the same mean take 1.5 of it, p = 1.71; with means of 4 and 1 that p says 4.21, and 4.2 is true.) Pure.
struct CallGroupModel: Sendable, Hashable {
    /// The places of the called workloads.
    var members: [Int]
    /// p, from 1 up; infinite where the longest alone counts.
    private(set) var exponent = 1.0
    /// What is left of it when it takes less than the longest: calls to one workload that overlap.
    private(set) var factor = 1.0
    /// What it took when it was seen, in milliseconds.
    private(set) var seen = 0.0

    /// Above this p the longest alone counts.
    private static let exponentMax = 64.0

    /// A group that took a share of the sum of its members' times.
    init(_ members: [Int], share: Double, of times: [Double]) {
        self.members = members
        let own = members.map { times[$0] }
        let (sum, longest) = (own.reduce(0, +), own.max() ?? 0)
        seen = max(0, min(1, share.isFinite ? share : 1)) * sum
        guard sum > 0 else { return }
        if seen <= longest {
            exponent = seen < longest || members.count > 1 ? .infinity : 1
            factor = seen / longest
        } else if seen < sum * (1 - 1e-9) {
            // The norm falls as p grows.
            var (low, high) = (1.0, Self.exponentMax)
            for _ in 0..<60 {
                let middle = (low + high) / 2
                if Self.norm(own, middle) > seen { low = middle } else { high = middle }
            }
            exponent = (low + high) / 2
        }
    }

    /// The same with all its times so many times as long: what was measured elsewhere does not fit exactly.
    mutating func scale(_ share: Double) {
        factor *= share
        seen *= share
    }

    /// Whether its time is the sum of its members' times, up to a factor.
    var isSum: Bool { exponent == 1 || members.count == 1 }

    /// Milliseconds, from the milliseconds that the calls to each workload take.
    func time(_ times: [Double]) -> Double { factor * Self.norm(members.map { times[$0] }, exponent) }

    private static func norm(_ times: [Double], _ exponent: Double) -> Double {
        guard exponent > 1 else { return times.reduce(0, +) }
        guard let longest = times.max(), longest > 0 else { return 0 }
        guard exponent < exponentMax else { return longest }
        return longest * pow(times.reduce(0) { $0 + pow($1 / longest, exponent) }, 1 / exponent)
    }
}
