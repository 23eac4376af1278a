import Synchronization

/// Passive health checks of one cluster: it counts results and ejects hosts that misbehave.
///
/// Counts and ejections are those of all loops together (`OutlierLedger`). Of its own loop it changes the hosts' `ejected` condition through
/// their `HostSet` itself; the others follow (`follow`). The answers are for counters and logs.
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
        let record = hostSet.outlierLedger.record(of: host)
        switch result {
        case .localOriginSuccess:
            if settings.splitsLocalOriginErrors {
                Self.end(record.consecutiveLocalOriginFailure)
                record.localResults.add(isSuccess: true)
            }
            return nil
        case .localOriginFailure where settings.splitsLocalOriginErrors:
            record.localResults.add(isSuccess: false)
            return detect(
                .consecutiveLocalOriginFailure, record.consecutiveLocalOriginFailure,
                reaches: settings.consecutiveLocalOriginFailure,
                enforcing: settings.enforcingConsecutiveLocalOriginFailure, host, record, hostSet, now, random)
        case .localOriginFailure:
            return self.record(status: 503, isError: true, host, record, hostSet, now, random)
        case .response(let status):
            return self.record(status: status, isError: isError(status), host, record, hostSet, now, random)
        }
    }

    /// A row of failures is over; most have not begun, and a load is cheaper for the other loops than a store.
    private static func end(_ row: borrowing Atomic<UInt32>) {
        if row.load(ordering: .relaxed) != 0 { row.store(0, ordering: .relaxed) }
    }

    /// Whether a status counts as an error (O-8).
    public func isError(_ status: UInt16) -> Bool {
        settings.errorStatuses.isEmpty
            ? (500...599).contains(status) : settings.errorStatuses.contains { $0.contains(status) }
    }

    private func record(
        status: UInt16, isError: Bool, _ host: Host, _ record: OutlierRecord, _ hostSet: HostSet, _ now: UInt64,
        _ random: UInt64
    ) -> Detection? {
        record.responses.add(isSuccess: !isError)
        guard isError else {
            Self.end(record.consecutive5xx)
            Self.end(record.consecutiveGatewayFailure)
            return nil
        }
        var detection: Detection?
        if (502...504).contains(status) {
            detection = detect(
                .consecutiveGatewayFailure, record.consecutiveGatewayFailure,
                reaches: settings.consecutiveGatewayFailure, enforcing: settings.enforcingConsecutiveGatewayFailure,
                host, record, hostSet, now, random)
        } else {
            Self.end(record.consecutiveGatewayFailure)
        }
        let second = detect(
            .consecutive5xx, record.consecutive5xx, reaches: settings.consecutive5xx,
            enforcing: settings.enforcingConsecutive5xx, host, record, hostSet, now, random &+ 1)
        if let detection, detection.isEjected { return detection }
        return second ?? detection
    }

    /// Counts one more failure in a row.
    private func detect(
        _ cause: Cause, _ row: borrowing Atomic<UInt32>, reaches threshold: UInt32, enforcing percent: UInt32,
        _ host: Host, _ record: OutlierRecord, _ hostSet: HostSet, _ now: UInt64, _ random: UInt64
    ) -> Detection? {
        let count = row.wrappingAdd(1, ordering: .relaxed).newValue
        guard threshold > 0, count >= threshold, !record.isEjected.load(ordering: .relaxed) else { return nil }
        // Of several loops that come this far at once the one that ends the row has detected it.
        guard row.compareExchange(expected: count, desired: 0, ordering: .relaxed).exchanged else { return nil }
        return eject(host, record, cause, enforcing: percent, hostSet, now, random)
    }

    /// Nil when another loop has ejected it meanwhile.
    private func eject(
        _ host: Host, _ record: OutlierRecord, _ cause: Cause, enforcing percent: UInt32, _ hostSet: HostSet,
        _ now: UInt64, _ random: UInt64
    ) -> Detection? {
        var draws = SplitMix64(seed: random)
        let isEnforced = draws.next(below: 100) < UInt64(percent)
        let jitter = draws.next(below: nanoseconds(settings.maxEjectionTimeJitter) + 1)
        let count = hostSet.count
        let detection = hostSet.outlierLedger.state.withLock { state -> Detection? in
            guard !record.isEjected.load(ordering: .relaxed) else { return nil }
            // O-5: the share that would be ejected with this one must not exceed the limit, also for the first.
            let isInShare = (state.ejected + 1) * 100 <= Int(min(settings.maxEjectionPercent, 100)) * count
            guard isInShare || (state.ejected == 0 && settings.alwaysEjectsOneHost) else {
                return Detection(cause: cause, isEjected: false, isOverflow: true, duration: .zero)
            }
            guard isEnforced else { return Detection(cause: cause, isEjected: false, duration: .zero) }
            let base = nanoseconds(settings.baseEjectionTime)
            let longest = max(nanoseconds(settings.maxEjectionTime), base)
            var multiplier = record.multiplier.load(ordering: .relaxed)
            let (soFar, overflow) = base.multipliedReportingOverflow(by: multiplier)
            if !overflow, soFar < longest { multiplier += 1 }
            record.multiplier.store(multiplier, ordering: .relaxed)
            let (grown, grownOverflow) = base.multipliedReportingOverflow(by: multiplier)
            let length = (grownOverflow ? longest : min(grown, longest)) &+ jitter
            record.ejectedAt.store(now, ordering: .relaxed)
            record.unejectAt.store(now &+ length, ordering: .relaxed)
            record.isEjected.store(true, ordering: .relaxed)
            state.ejected += 1
            return Detection(cause: cause, isEjected: true, duration: .nanoseconds(Int64(clamping: length)))
        }
        if detection?.isEjected == true { hostSet.set(.ejected, of: host, to: true) }
        return detection
    }

    /// Lets hosts come back whose time is over, lets the multiplier of the others shrink (O-4), and compares hosts.
    ///
    /// One loop does that for all.
    public func sweep(_ hostSet: HostSet, now: UInt64, random: UInt64) -> Sweep {
        var sweep = Sweep()
        for host in hostSet.hosts {
            let record = hostSet.outlierLedger.record(of: host)
            if record.isEjected.load(ordering: .relaxed) {
                if now >= record.unejectAt.load(ordering: .relaxed), comeBack(host, record, hostSet) {
                    sweep.returned.append(host)
                }
            } else {
                let multiplier = record.multiplier.load(ordering: .relaxed)
                if multiplier > 0 { record.multiplier.store(multiplier - 1, ordering: .relaxed) }
            }
        }
        compare(hostSet, now: now, random: random, into: &sweep)
        return sweep
    }

    /// A passed active check ends an ejection, unless the settings say otherwise; the answer is whether it did.
    public func activeCheckPassed(_ host: Host, in hostSet: HostSet) -> Bool {
        guard settings.successfulActiveCheckUnejects, host.conditions.contains(.ejected) else { return false }
        return comeBack(host, hostSet.outlierLedger.record(of: host), hostSet)
    }

    /// Takes over what another loop has decided about a host; the answer is whether it is ejected now and was not before.
    public static func follow(_ host: Host, in hostSet: HostSet) -> Bool {
        let isEjected = hostSet.outlierLedger.record(of: host).isEjected.load(ordering: .relaxed)
        guard host.conditions.contains(.ejected) != isEjected else { return false }
        hostSet.set(.ejected, of: host, to: isEjected)
        return isEjected
    }

    private func comeBack(_ host: Host, _ record: OutlierRecord, _ hostSet: HostSet) -> Bool {
        let hasEnded = hostSet.outlierLedger.comeBack(record)
        hostSet.set(.ejected, of: host, to: false)
        return hasEnded
    }

    /// A host with what it did in the interval that ends now.
    private struct Measured {
        let host: Host
        let record: OutlierRecord
        let count: UInt32
        let rate: Double
    }

    /// Success rate and failure percentage over the interval that ends now, of responses and, apart, of our own side.
    private func compare(_ hostSet: HostSet, now: UInt64, random: UInt64, into sweep: inout Sweep) {
        var draws = SplitMix64(seed: random)
        func measure(_ results: (OutlierRecord) -> ResultCount) -> [Measured] {
            hostSet.hosts.map { host in
                let record = hostSet.outlierLedger.record(of: host)
                let (count, rate) = results(record).finish()
                return Measured(host: host, record: record, count: count, rate: rate)
            }
        }
        compare(
            measure(\.responses), hostSet, causes: (.successRate, .failurePercentage),
            enforcing: (settings.enforcingSuccessRate, settings.enforcingFailurePercentage), now, &draws, &sweep)
        guard settings.splitsLocalOriginErrors else { return }
        compare(
            measure(\.localResults), hostSet, causes: (.localOriginSuccessRate, .localOriginFailurePercentage),
            enforcing: (settings.enforcingLocalOriginSuccessRate, settings.enforcingFailurePercentageLocalOrigin), now,
            &draws, &sweep)
    }

    private func compare(
        _ hosts: [Measured], _ hostSet: HostSet, causes: (rate: Cause, percentage: Cause),
        enforcing: (rate: UInt32, percentage: UInt32), _ now: UInt64, _ draws: inout SplitMix64, _ sweep: inout Sweep
    ) {
        func measured(_ volume: UInt32) -> [Measured] {
            hosts.filter { $0.count > 0 && $0.count >= volume && !$0.record.isEjected.load(ordering: .relaxed) }
        }
        func eject(_ host: Measured, _ cause: Cause, enforcing percent: UInt32) {
            let random = draws.next()
            let detection = self.eject(host.host, host.record, cause, enforcing: percent, hostSet, now, random)
            if let detection { sweep.detections.append((host.host, detection)) }
        }
        if enforcing.rate > 0 {
            let hosts = measured(settings.successRateRequestVolume)
            if !hosts.isEmpty, hosts.count >= Int(settings.successRateMinimumHosts) {
                let mean = hosts.reduce(0) { $0 + $1.rate } / Double(hosts.count)
                let variance = hosts.reduce(0) { $0 + ($1.rate - mean) * ($1.rate - mean) } / Double(hosts.count)
                let threshold = mean - variance.squareRoot() * Double(settings.successRateStdevFactor) / 1000
                for host in hosts where host.rate < threshold { eject(host, causes.rate, enforcing: enforcing.rate) }
            }
        }
        if enforcing.percentage > 0 {
            let hosts = measured(settings.failurePercentageRequestVolume)
            if !hosts.isEmpty, hosts.count >= Int(settings.failurePercentageMinimumHosts) {
                for host in hosts where 100 - host.rate >= Double(settings.failurePercentageThreshold) {
                    eject(host, causes.percentage, enforcing: enforcing.percentage)
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
