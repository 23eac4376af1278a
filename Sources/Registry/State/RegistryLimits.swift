public import Telemetry

/// How much the registry takes.
///
/// What is more is refused with 429 and the limit's name, and counted; bodies and values are refused with 413 as Consul does it.
public struct RegistryLimits: Sendable {
    /// Nodes in the catalog.
    public var nodes = 5_000
    /// Instances of services.
    public var services = 20_000
    /// Checks.
    public var checks = 20_000
    /// Keys.
    public var keys = 100_000
    /// Sessions.
    public var sessions = 10_000
    /// Intentions.
    public var intentions = 2_000
    /// Requests that wait for a change at once.
    public var watchers = 1_500
    /// Bytes of a key, and of any name.
    public var nameBytes = 1_024
    /// Bytes of a value, and of any other body: Consul's `kv_max_value_size` and `txn_max_req_len`.
    public var bodyBytes = 512 * 1024
    /// Operations of one transaction: Consul's.
    public var transactionOperations = 64
    /// Writes by which one request changes the store in one step.
    ///
    /// `delete?recurse` of more keys takes several steps.
    public var stepWrites = 90
    /// Bytes of a check's output that are kept: Consul's.
    public var outputBytes = 4_096
    /// Checks that are under way at once; others wait for their turn.
    public var runningChecks = 64

    /// The usual limits.
    public init() {}
}

/// What the registry counts.
public final class RegistryCounters {
    /// Requests that were answered.
    public let requests = Counter()
    /// Requests that were refused because nobody may do that.
    public let denied = Counter()
    /// Bodies that were too large.
    public let largeBodies = Counter()
    /// Requests that were refused because too many waited already.
    public let refusedWatchers = Counter()
    /// Checks that were made.
    public let checksRun = Counter()
    /// Sessions that ended because nobody renewed them, or because a check of theirs was critical.
    public let endedSessions = Counter()
    /// Instances that were removed because they were critical for too long.
    public let removedInstances = Counter()
    /// Writes of what follows for the mesh that failed; they are tried again.
    public let failedWrites = Counter()
    /// What was refused at a limit, by the name of the limit.
    public private(set) var refused: [String: UInt64] = [:]

    /// All zero.
    public init() {}

    /// Something was refused at that limit.
    func refuse(_ limit: String) { refused[limit, default: 0] += 1 }
}
