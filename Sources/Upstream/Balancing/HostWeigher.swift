/// What a host weighs now: its configured weight, less while it is new, less while it is busy.
struct HostWeigher {
    private let slowStart: ClusterConfig.SlowStart?
    private let window: UInt64
    private let busyBias: Double?

    init(_ options: ClusterConfig.BalancingOptions, _ policy: ClusterConfig.Balancing) {
        slowStart = options.slowStart
        window = options.slowStart?.window.nanosecondsClamped ?? 0
        if case .leastRequest = policy { busyBias = options.activeRequestBias } else { busyBias = nil }
    }

    /// Whether some host is still new.
    func isStarting(_ hosts: [Host], now: UInt64) -> Bool {
        slowStart != nil && hosts.contains { host in host.healthySince.map { now &- $0 < window } ?? false }
    }

    func weight(of host: Host, now: UInt64) -> Double {
        var weight = Double(host.weight)
        if let busyBias, busyBias != 0 {
            let busy = Double(host.activeRequests) + 1
            weight /= busyBias == 1 ? busy : Power.raise(busy, to: busyBias)
        }
        return weight * share(of: host, now: now)
    }

    /// What part of its weight a host has by its age: 1 when it is no longer new.
    func share(of host: Host, now: UInt64) -> Double {
        guard let slowStart, let since = host.healthySince, now &- since < window else { return 1 }
        // At least a millisecond counts as elapsed, as in Envoy.
        let elapsed = Double(max(now &- since, 1_000_000)) / Double(window)
        let grown =
            slowStart.aggression == 1 || elapsed >= 1 ? elapsed : Power.raise(elapsed, to: 1 / slowStart.aggression)
        return max(min(grown, 1), slowStart.minimumShare)
    }
}

/// Powers of positive numbers without a mathematics library.
enum Power {
    /// `base` to the power of `exponent`, to about ten digits; base above 0.
    static func raise(_ base: Double, to exponent: Double) -> Double {
        guard base > 0, base.isFinite else { return 0 }
        return exp2(exponent * log2(base))
    }

    static func log2(_ value: Double) -> Double {
        // The significand in 1 ..< 2, squared again and again: each squaring gives one binary digit of the logarithm.
        var significand = value.significand
        var result = Double(value.exponent)
        var digit = 0.5
        for _ in 0..<40 {
            significand *= significand
            if significand >= 2 {
                significand /= 2
                result += digit
            }
            digit /= 2
        }
        return result
    }

    static func exp2(_ value: Double) -> Double {
        guard value < 1000 else { return .infinity }
        guard value > -1000 else { return 0 }
        let whole = value.rounded(.down)
        let rest = (value - whole) * 0.693_147_180_559_945_3
        var term = 1.0
        var sum = 1.0
        for step in 1..<18 {
            term *= rest / Double(step)
            sum += term
        }
        return Double(sign: .plus, exponent: Int(whole), significand: sum)
    }
}
