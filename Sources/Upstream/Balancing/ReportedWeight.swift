/// The weight that a host's load reports give it (client-side weighted round robin).
public struct ReportedWeight: Sendable, Hashable {
    private var weight: Double = 0
    private var reportingSince: UInt64?
    private var updated: UInt64 = 0

    /// No reports.
    public init() {}

    /// What a report gives a host; nil where it says nothing: no requests per second, or no utilization.
    public static func weight(by report: LoadReport, _ settings: ClusterConfig.ReportedWeights) -> Double? {
        var utilization = report.applicationUtilization
        if utilization <= 0 {
            for name in settings.metricNames { utilization = max(utilization, report.value(of: name) ?? 0) }
        }
        if utilization <= 0 { utilization = report.cpuUtilization }
        guard report.requestsPerSecond > 0, utilization > 0 else { return nil }
        let penalty = max(report.errorsPerSecond, 0) / report.requestsPerSecond * settings.errorPenalty
        return report.requestsPerSecond / (utilization + penalty)
    }

    /// Takes a report into account, unless it says nothing.
    mutating func take(_ report: LoadReport, _ settings: ClusterConfig.ReportedWeights, now: UInt64) {
        guard let weight = Self.weight(by: report, settings) else { return }
        self.weight = weight
        if reportingSince == nil { reportingSince = now }
        updated = now
    }

    /// The weight; nil while reports are too new or too old.
    mutating func value(_ settings: ClusterConfig.ReportedWeights, now: UInt64) -> Double? {
        guard let since = reportingSince else { return nil }
        if now > updated, now - updated >= settings.expirationPeriod.nanosecondsClamped {
            // Forgotten whole: a host that comes back has its blackout again.
            reportingSince = nil
            return nil
        }
        guard now >= since, now - since >= settings.blackoutPeriod.nanosecondsClamped else { return nil }
        return weight
    }
}

extension Host {
    /// Takes a load report of this host into account.
    public func take(_ report: LoadReport, _ settings: ClusterConfig.ReportedWeights, now: UInt64) {
        reportedWeight.take(report, settings, now: now)
    }
}

/// Weights of one list of hosts, renewed once per period.
final class ReportedWeights {
    private let settings: ClusterConfig.ReportedWeights
    private var weights: [ObjectIdentifier: Double] = [:]
    private var standard: Double = 1
    private var nextUpdate: UInt64 = 0

    init(_ settings: ClusterConfig.ReportedWeights) { self.settings = settings }

    /// Renews the weights when it is time; the answer is whether it did.
    @discardableResult
    func update(_ hosts: [Host], now: UInt64) -> Bool {
        guard now >= nextUpdate else { return false }
        nextUpdate = now &+ settings.updatePeriod.nanosecondsClamped
        weights.removeAll(keepingCapacity: true)
        for host in hosts {
            if let weight = host.reportedWeight.value(settings, now: now) { weights[ObjectIdentifier(host)] = weight }
        }
        // Who reports nothing gets what the middle one gets.
        let sorted = weights.values.sorted()
        standard = sorted.isEmpty ? 1 : sorted[sorted.count / 2]
        return true
    }

    func weight(of host: Host) -> Double { weights[ObjectIdentifier(host)] ?? standard }
}
