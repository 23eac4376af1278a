/// When certificates are renewed, and when somebody must be told that they were not.
///
/// Times are unix seconds. Chance comes in as a number from 0 to 1, so that all of it can be tried on a virtual clock.
public enum CertificateSchedule {
    /// How long a workload's certificate holds: 24 hours.
    public static let workloadLifetime: Int64 = 86_400
    /// The shortest life that a workload may ask for: 10 minutes, of which half is for renewing it.
    public static let workloadLifetimeMin: Int64 = 600
    /// How much earlier than it is signed a certificate begins to hold: clocks differ.
    public static let backdating: Int64 = 300
    /// How far from half life, as a share of the life, renewals are spread (ATK-48).
    static let jitterShare = 0.1
    /// First and longest pause between tries after a refused or unanswered request.
    static let retryFirst: Int64 = 1
    static let retryLongest: Int64 = 300

    /// When a certificate is to be renewed: at half life, up to a tenth of the life earlier.
    public static func renewal(notBefore: Int64, notAfter: Int64, jitter: Double) -> Int64 {
        let life = max(0, notAfter - notBefore)
        let early = Double(life) * jitterShare * min(max(jitter, 0), 1)
        return notBefore + life / 2 - Int64(early)
    }

    /// When the next try is due after so many that failed: twice as long each time, half of it by chance.
    public static func retry(attempt: Int, now: Int64, jitter: Double) -> Int64 {
        let pause = min(retryLongest, retryFirst << Int64(min(max(attempt, 0), 20)))
        return now + max(1, pause / 2 + Int64(Double(pause) / 2 * min(max(jitter, 0), 1)))
    }

    /// When it must be told that a renewal is overdue: when half of what remained at half life is gone.
    public static func alarm(notBefore: Int64, notAfter: Int64) -> Int64 {
        notBefore + max(0, notAfter - notBefore) / 4 * 3
    }

    /// How a certificate stands.
    public static func health(notBefore: Int64, notAfter: Int64, now: Int64) -> CertificateHealth {
        if now >= notAfter { return .expired }
        if now < notBefore { return .notYetValid }
        return now >= alarm(notBefore: notBefore, notAfter: notAfter) ? .expiresSoon : .good
    }
}

/// How a certificate stands.
public enum CertificateHealth: String, Sendable, Hashable, CaseIterable {
    /// Valid, and not due.
    case good = "Good"
    /// Valid, but it should have been renewed long ago.
    case expiresSoon = "ExpiresSoon"
    /// Not valid any more.
    case expired = "Expired"
    /// Not valid yet: a clock is wrong.
    case notYetValid = "NotYetValid"
}
