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
    /// Percent of success-rate detections among failures of our own side that eject, when they are counted apart.
    public var enforcingLocalOriginSuccessRate: UInt32 = 100
    /// Percent of failure-percentage detections among failures of our own side that eject.
    public var enforcingFailurePercentageLocalOrigin: UInt32 = 0
    /// Percent of success-rate detections that eject: 100 by default; Istio sets 0 (O-6).
    public var enforcingSuccessRate: UInt32 = 100
    /// Fewer measured hosts than this, and success rates are not compared.
    public var successRateMinimumHosts: UInt32 = 5
    /// Fewer requests than this in an interval, and a host is not measured.
    public var successRateRequestVolume: UInt32 = 100
    /// Allowed distance below the mean, in thousandths of the standard deviation.
    public var successRateStdevFactor: UInt32 = 1900
    /// Percent of failure-percentage detections that eject: 0 by default.
    public var enforcingFailurePercentage: UInt32 = 0
    /// Share of failures from which on a host is ejected, in percent.
    public var failurePercentageThreshold: UInt32 = 85
    /// Fewer measured hosts than this, and failure shares are not looked at.
    public var failurePercentageMinimumHosts: UInt32 = 5
    /// Fewer requests than this in an interval, and a host is not measured.
    public var failurePercentageRequestVolume: UInt32 = 50
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
