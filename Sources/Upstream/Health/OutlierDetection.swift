/// Settings of passive health checks, with Envoy's defaults (O-2).
public struct OutlierDetection: Sendable, Hashable {
    /// 5xx in a row before an ejection; 0 switches this detector off.
    public var consecutive5xx: UInt32 = 5
    /// Percent of detections that eject.
    public var enforcingConsecutive5xx: UInt32 = 100
    /// 502, 503, 504 in a row before an ejection; 0 switches this detector off.
    public var consecutiveGatewayFailure: UInt32 = 5
    /// Percent of detections that eject: 0 by default (O-3).
    public var enforcingConsecutiveGatewayFailure: UInt32 = 0
    /// Failures of our own side are counted apart (O-9).
    public var splitsLocalOriginErrors = false
    /// Failures of our own side in a row, when they are counted apart; 0 switches this detector off.
    public var consecutiveLocalOriginFailure: UInt32 = 5
    /// Percent of detections that eject.
    public var enforcingConsecutiveLocalOriginFailure: UInt32 = 100
    /// Time between sweeps, in which hosts come back.
    public var interval: Duration = .seconds(10)
    /// Length of the first ejection.
    public var baseEjectionTime: Duration = .seconds(30)
    /// Longest ejection.
    public var maxEjectionTime: Duration = .seconds(300)
    /// Up to this much is added to an ejection, by chance.
    public var maxEjectionTimeJitter: Duration = .zero
    /// Most hosts ejected at once, in percent.
    public var maxEjectionPercent: UInt32 = 10
    /// One host may be ejected whatever the percentage.
    public var alwaysEjectsOneHost = false
    /// A passed active check ends an ejection.
    public var successfulActiveCheckUnejects = true
    /// Statuses that count as errors in place of the 5xx class (O-8), as closed ranges; empty is 500...599.
    public var errorStatuses: [ClosedRange<UInt16>] = []

    /// Envoy's defaults.
    public init() {}
}

/// What outlier detection remembers of one host.
struct OutlierRecord: Sendable {
    var consecutive5xx: UInt32 = 0
    var consecutiveGatewayFailure: UInt32 = 0
    var consecutiveLocalOriginFailure: UInt32 = 0
    var ejectedAt: UInt64 = 0
    var unejectAt: UInt64 = 0
    /// Times the base time is multiplied; grows with each ejection, shrinks with each quiet sweep (O-4).
    var multiplier: UInt64 = 0
    var lastUnejectedAt: UInt64 = 0
}
