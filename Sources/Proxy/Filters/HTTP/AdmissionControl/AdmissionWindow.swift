internal import IO

/// Requests of the last seconds and how many of them succeeded, and the chance by which the next one is refused.
///
/// Pure: time and randomness are arguments. Seconds are the grain: there are at most as many entries as the window has.
struct AdmissionWindow: Sendable {
    private struct Second {
        let began: MonotonicTime
        var requests: UInt64 = 0
        var successes: UInt64 = 0
    }

    /// What refuses.
    struct Rules: Sendable {
        /// Smaller is more patient; 1 is straight.
        var aggression: Double
        /// Share of successes, 0 to 1, from which on nothing is refused.
        var successThreshold: Double
        /// Fewer requests a second are never refused.
        var rateThreshold: Double
        /// 0 to 1.
        var probabilityMax: Double
    }

    private let window: Duration
    private var seconds: [Second] = []
    private(set) var requests: UInt64 = 0
    private(set) var successes: UInt64 = 0

    init(window: Duration) { self.window = window }

    private mutating func forget(_ now: MonotonicTime) {
        var gone = 0
        while gone < seconds.count, seconds[gone].began + window <= now {
            requests &-= seconds[gone].requests
            successes &-= seconds[gone].successes
            gone += 1
        }
        if gone > 0 { seconds.removeFirst(gone) }
    }

    mutating func record(isSuccess: Bool, at now: MonotonicTime) {
        forget(now)
        if seconds.last.map({ $0.began + .seconds(1) <= now }) ?? true { seconds.append(Second(began: now)) }
        seconds[seconds.count - 1].requests += 1
        requests += 1
        guard isSuccess else { return }
        seconds[seconds.count - 1].successes += 1
        successes += 1
    }

    /// Requests a second, over the time that is known.
    mutating func rate(at now: MonotonicTime) -> Double {
        forget(now)
        guard let oldest = seconds.first, requests > 0 else { return 0 }
        let age = now > oldest.began ? now - oldest.began : .zero
        return (Double(requests) / max(Double(age.components.seconds), 1)).rounded(.down)
    }

    /// The chance, 0 to 1, that the next request is refused.
    mutating func probability(_ rules: Rules, at now: MonotonicTime) -> Double {
        guard rate(at: now) >= rules.rateThreshold else { return 0 }
        let total = Double(requests)
        let wanted = rules.successThreshold > 0 ? Double(successes) / rules.successThreshold : total
        let excess = (total - wanted) / (total + 1)
        guard excess > 0 else { return 0 }
        let bent = rules.aggression == 1 ? excess : Self.power(excess, 1 / max(rules.aggression, 1))
        return min(bent, rules.probabilityMax)
    }

    /// - Parameter random: One draw; four digits of it count, as in Envoy.
    mutating func refuses(_ rules: Rules, at now: MonotonicTime, random: UInt64) -> Bool {
        10_000 * probability(rules, at: now) > Double(random % 10_000)
    }

    /// `base` to `exponent`, both 0 to 1, by halving: there is no C library here.
    static func power(_ base: Double, _ exponent: Double) -> Double {
        guard base > 0 else { return 0 }
        guard exponent < 1 else { return base }
        var result = 1.0
        var root = base
        var rest = exponent
        // Each bit of the exponent is a square root; 52 of them are all that a double has.
        for _ in 0..<52 {
            root = root.squareRoot()
            rest *= 2
            if rest >= 1 {
                result *= root
                rest -= 1
            }
            if rest == 0 { break }
        }
        return result
    }
}
