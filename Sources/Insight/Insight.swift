/// What the mesh did, does and would do: time series, queries over them, alerts, the planner.
///
/// Everything here is pure (ARCHITECTURE decision 3): pages of metrics come in with the time at which they were read, and
/// samples, answers and alerts come out. Sockets, files and clocks belong to the control plane (`ControlPlane/Insight`).
public enum Insight {
    /// Seconds between two samples of a series.
    public static let step: Int64 = 10
    /// Seconds between two samples of what is kept for long.
    public static let coarseStep: Int64 = 300
    /// How long samples of every `step` are kept; seconds.
    public static let fineRetention: Int64 = 24 * 3600
    /// How long samples of every `coarseStep` are kept; seconds.
    public static let coarseRetention: Int64 = 30 * 24 * 3600
    /// How long samples of every `step` are kept of Istio's metrics; seconds.
    public static let briefFineRetention: Int64 = 3600
    /// How long samples of every `coarseStep` are kept of Istio's metrics; seconds.
    public static let briefCoarseRetention: Int64 = 24 * 3600
}
