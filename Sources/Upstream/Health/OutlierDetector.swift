/// Passive health checks of one cluster on one loop: it counts results and ejects hosts that misbehave.
///
/// It changes the hosts' `ejected` condition through their `HostSet` itself; the answers are for counters and logs.
public struct OutlierDetector {
    /// How a request to a host ended.
    public enum Result: Sendable, Hashable {
        /// A response with this status; for gRPC, the HTTP equivalent of its status.
        case response(status: UInt16)
        /// A failure on our side of the application: no connection, a reset, a timeout (O-9).
        case localOriginFailure
        /// A connection came about or a request went out, without a response to judge yet.
        case localOriginSuccess
    }

    /// Why a host was ejected.
    public enum Cause: Sendable, Hashable {
        /// `consecutive_5xx`.
        case consecutive5xx
        /// `consecutive_gateway_failure`.
        case consecutiveGatewayFailure
        /// `consecutive_local_origin_failure`.
        case consecutiveLocalOriginFailure
        /// `success_rate`: far worse than the others.
        case successRate
        /// `failure_percentage`: worse than a fixed share.
        case failurePercentage
        /// `local_origin_success_rate`.
        case localOriginSuccessRate
        /// `local_origin_failure_percentage`.
        case localOriginFailurePercentage

        /// Envoy's name, in counters.
        public var name: String {
            switch self {
            case .consecutive5xx: "consecutive_5xx"
            case .consecutiveGatewayFailure: "consecutive_gateway_failure"
            case .consecutiveLocalOriginFailure: "consecutive_local_origin_failure"
            case .successRate: "success_rate"
            case .failurePercentage: "failure_percentage"
            case .localOriginSuccessRate: "local_origin_success_rate"
            case .localOriginFailurePercentage: "local_origin_failure_percentage"
            }
        }
    }

    /// An ejection, or a detection that did not lead to one.
    public struct Detection: Sendable, Hashable {
        /// What was detected.
        public var cause: Cause
        /// Whether the host was ejected; if not, percentages or chance stood against it.
        public var isEjected: Bool
        /// Too many were ejected already.
        public var isOverflow = false
        /// How long the host stays away.
        public var duration: Duration
    }

    /// What a sweep did.
    public struct Sweep {
        /// Hosts that came back.
        public var returned: [Host] = []
        /// Detections by success rate and failure percentage.
        public var detections: [(host: Host, detection: Detection)] = []
    }

    /// The settings; replaceable at any time.
    public var settings: OutlierDetection

    /// A detector; call `sweep` each `settings.interval`.
    public init(_ settings: OutlierDetection) { self.settings = settings }

    /// Takes a result into account.
    ///
    /// - Parameters:
    ///   - now: Nanoseconds of a monotonic clock.
    ///   - random: One draw, for enforcement percentages and jitter.
    @discardableResult
    public func record(
        _ result: Result, for host: Host, in hostSet: HostSet, now: UInt64, random: UInt64
    ) -> Detection? {
        switch result {
        case .localOriginSuccess:
            if settings.splitsLocalOriginErrors {
                host.outlier.consecutiveLocalOriginFailure = 0
                host.outlier.localRequests &+= 1
                host.outlier.localSuccesses &+= 1
            }
            return nil
        case .localOriginFailure where settings.splitsLocalOriginErrors:
            host.outlier.consecutiveLocalOriginFailure &+= 1
            host.outlier.localRequests &+= 1
            return detect(
                .consecutiveLocalOriginFailure, when: host.outlier.consecutiveLocalOriginFailure,
                reaches: settings.consecutiveLocalOriginFailure,
                enforcing: settings.enforcingConsecutiveLocalOriginFailure, host, hostSet, now, random)
        case .localOriginFailure: return record(status: 503, isError: true, host, hostSet, now, random)
        case .response(let status): return record(status: status, isError: isError(status), host, hostSet, now, random)
        }
    }

    /// Whether a status counts as an error (O-8).
    public func isError(_ status: UInt16) -> Bool {
        settings.errorStatuses.isEmpty
            ? (500...599).contains(status) : settings.errorStatuses.contains { $0.contains(status) }
    }

    private func record(
        status: UInt16, isError: Bool, _ host: Host, _ hostSet: HostSet, _ now: UInt64, _ random: UInt64
    ) -> Detection? {
        host.outlier.requests += 1
        guard isError else {
            host.outlier.successes += 1
            host.outlier.consecutive5xx = 0
            host.outlier.consecutiveGatewayFailure = 0
            return nil
        }
        var detection: Detection?
        if (502...504).contains(status) {
            host.outlier.consecutiveGatewayFailure += 1
            detection = detect(
                .consecutiveGatewayFailure, when: host.outlier.consecutiveGatewayFailure,
                reaches: settings.consecutiveGatewayFailure, enforcing: settings.enforcingConsecutiveGatewayFailure,
                host, hostSet, now, random)
        } else {
            host.outlier.consecutiveGatewayFailure = 0
        }
        host.outlier.consecutive5xx += 1
        let second = detect(
            .consecutive5xx, when: host.outlier.consecutive5xx, reaches: settings.consecutive5xx,
            enforcing: settings.enforcingConsecutive5xx, host, hostSet, now, random &+ 1)
        if let detection, detection.isEjected { return detection }
        return second ?? detection
    }

    private func detect(
        _ cause: Cause, when count: UInt32, reaches threshold: UInt32, enforcing percent: UInt32, _ host: Host,
        _ hostSet: HostSet, _ now: UInt64, _ random: UInt64
    ) -> Detection? {
        guard threshold > 0, count >= threshold, !host.conditions.contains(.ejected) else { return nil }
        switch cause {
        case .consecutive5xx: host.outlier.consecutive5xx = 0
        case .consecutiveGatewayFailure: host.outlier.consecutiveGatewayFailure = 0
        case .consecutiveLocalOriginFailure: host.outlier.consecutiveLocalOriginFailure = 0
        case .successRate, .failurePercentage, .localOriginSuccessRate, .localOriginFailurePercentage: break
        }
        return eject(host, cause, enforcing: percent, hostSet, now, random)
    }

    private func eject(
        _ host: Host, _ cause: Cause, enforcing percent: UInt32, _ hostSet: HostSet, _ now: UInt64, _ random: UInt64
    ) -> Detection {
        var draws = SplitMix64(seed: random)
        let refused = Detection(cause: cause, isEjected: false, duration: .zero)
        let isEnforced = draws.next(below: 100) < UInt64(percent)
        let hosts = hostSet.hosts
        let ejected = hosts.reduce(0) { $0 + ($1.conditions.contains(.ejected) ? 1 : 0) }
        // O-5: the share that would be ejected with this one must not exceed the limit, also for the first.
        let isInShare = (ejected + 1) * 100 <= Int(min(settings.maxEjectionPercent, 100)) * hosts.count
        guard isInShare || (ejected == 0 && settings.alwaysEjectsOneHost) else {
            return Detection(cause: cause, isEjected: false, isOverflow: true, duration: .zero)
        }
        guard isEnforced else { return refused }
        let base = nanoseconds(settings.baseEjectionTime)
        let longest = max(nanoseconds(settings.maxEjectionTime), base)
        let (soFar, overflow) = base.multipliedReportingOverflow(by: host.outlier.multiplier)
        if !overflow, soFar < longest { host.outlier.multiplier += 1 }
        let (grown, grownOverflow) = base.multipliedReportingOverflow(by: host.outlier.multiplier)
        let jitter = draws.next(below: nanoseconds(settings.maxEjectionTimeJitter) + 1)
        let length = (grownOverflow ? longest : min(grown, longest)) &+ jitter
        host.outlier.ejectedAt = now
        host.outlier.unejectAt = now &+ length
        hostSet.set(.ejected, of: host, to: true)
        return Detection(cause: cause, isEjected: true, duration: .nanoseconds(Int64(clamping: length)))
    }

    /// Lets hosts come back whose time is over, lets the multiplier of the others shrink (O-4), and compares hosts.
    public func sweep(_ hostSet: HostSet, now: UInt64, random: UInt64) -> Sweep {
        var sweep = Sweep()
        for host in hostSet.hosts {
            if host.conditions.contains(.ejected) {
                if now >= host.outlier.unejectAt {
                    comeBack(host, hostSet)
                    sweep.returned.append(host)
                }
            } else if host.outlier.multiplier > 0 {
                host.outlier.multiplier -= 1
            }
        }
        compare(hostSet, now: now, random: random, into: &sweep)
        for host in hostSet.hosts {
            host.outlier.requests = 0
            host.outlier.successes = 0
            host.outlier.localRequests = 0
            host.outlier.localSuccesses = 0
        }
        return sweep
    }

    /// A passed active check ends an ejection, unless the settings say otherwise; the answer is whether it did.
    public func activeCheckPassed(_ host: Host, in hostSet: HostSet) -> Bool {
        guard settings.successfulActiveCheckUnejects, host.conditions.contains(.ejected) else { return false }
        comeBack(host, hostSet)
        return true
    }

    private func comeBack(_ host: Host, _ hostSet: HostSet) {
        host.outlier.consecutive5xx = 0
        host.outlier.consecutiveGatewayFailure = 0
        host.outlier.consecutiveLocalOriginFailure = 0
        hostSet.set(.ejected, of: host, to: false)
    }

    /// Success rate and failure percentage over the interval that ends now, of responses and, apart, of our own side.
    private func compare(_ hostSet: HostSet, now: UInt64, random: UInt64, into sweep: inout Sweep) {
        var draws = SplitMix64(seed: random)
        for host in hostSet.hosts {
            host.outlier.successRate = Self.rate(host.outlier.successes, host.outlier.requests)
            host.outlier.localSuccessRate = Self.rate(host.outlier.localSuccesses, host.outlier.localRequests)
        }
        compare(
            hostSet, causes: (.successRate, .failurePercentage),
            enforcing: (settings.enforcingSuccessRate, settings.enforcingFailurePercentage), now, &draws, &sweep
        ) { ($0.outlier.requests, $0.outlier.successRate) }
        guard settings.splitsLocalOriginErrors else { return }
        compare(
            hostSet, causes: (.localOriginSuccessRate, .localOriginFailurePercentage),
            enforcing: (settings.enforcingLocalOriginSuccessRate, settings.enforcingFailurePercentageLocalOrigin), now,
            &draws, &sweep
        ) { ($0.outlier.localRequests, $0.outlier.localSuccessRate) }
    }

    private static func rate(_ successes: UInt32, _ requests: UInt32) -> Double {
        requests == 0 ? -1 : Double(successes) * 100 / Double(requests)
    }

    private func compare(
        _ hostSet: HostSet, causes: (rate: Cause, percentage: Cause), enforcing: (rate: UInt32, percentage: UInt32),
        _ now: UInt64, _ draws: inout SplitMix64, _ sweep: inout Sweep, _ record: (Host) -> (UInt32, Double)
    ) {
        func measured(_ volume: UInt32) -> [(host: Host, rate: Double)] {
            hostSet.hosts.compactMap { host in
                let (requests, rate) = record(host)
                guard requests > 0, requests >= volume, !host.conditions.contains(.ejected) else { return nil }
                return (host, rate)
            }
        }
        if enforcing.rate > 0 {
            let hosts = measured(settings.successRateRequestVolume)
            if !hosts.isEmpty, hosts.count >= Int(settings.successRateMinimumHosts) {
                let mean = hosts.reduce(0) { $0 + $1.rate } / Double(hosts.count)
                let variance = hosts.reduce(0) { $0 + ($1.rate - mean) * ($1.rate - mean) } / Double(hosts.count)
                let threshold = mean - variance.squareRoot() * Double(settings.successRateStdevFactor) / 1000
                for (host, rate) in hosts where rate < threshold {
                    let detection = eject(host, causes.rate, enforcing: enforcing.rate, hostSet, now, draws.next())
                    sweep.detections.append((host, detection))
                }
            }
        }
        if enforcing.percentage > 0 {
            let hosts = measured(settings.failurePercentageRequestVolume)
            if !hosts.isEmpty, hosts.count >= Int(settings.failurePercentageMinimumHosts) {
                for (host, rate) in hosts where 100 - rate >= Double(settings.failurePercentageThreshold) {
                    let detection = eject(
                        host, causes.percentage, enforcing: enforcing.percentage, hostSet, now, draws.next())
                    sweep.detections.append((host, detection))
                }
            }
        }
    }

    private func nanoseconds(_ duration: Duration) -> UInt64 {
        let parts = duration.components
        guard parts.seconds >= 0, parts.attoseconds >= 0 else { return 0 }
        // Above 292 years a time is as good as never; the product must not overflow.
        guard parts.seconds < 9_000_000_000 else { return 9_000_000_000_000_000_000 }
        return UInt64(parts.seconds) * 1_000_000_000 + UInt64(parts.attoseconds / 1_000_000_000)
    }
}
