public import IO
public import Mesh
import Telemetry

/// Who still has to hear that a pod takes no more traffic, before the pod may stop (ARCHITECTURE section 4, stop order).
///
/// Pure: the publisher tells what subscribers have acknowledged, and asks who is drained.
public struct DrainTracker: Sendable {
    /// A pod that is being deleted.
    private struct Drain: Sendable {
        var uid: String
        var deadline: MonotonicTime
        var waitsFor: Set<Int>
        var hasBegun = false
    }

    /// What came out for a pod.
    public struct Outcome: Sendable, Hashable {
        /// The pod.
        public var pod: NamespacedName
        /// Its identity.
        public var uid: String
        /// The subscribers that did not acknowledge in time.
        public var laggards: [Int]
    }

    private var drains: [NamespacedName: Drain] = [:]

    /// Whether proxies of other servers may use the pods: what they have acknowledged is not known here, so a drain takes its whole time.
    public var hasUnknownSubscribers = false

    /// Nobody is draining.
    public init() {}

    /// The longest time to wait for acknowledgements: 5 s, at most half of the pod's grace period.
    public static func patience(gracePeriodSeconds: Int) -> Duration {
        min(.seconds(5), .milliseconds(max(gracePeriodSeconds, 0) * 500))
    }

    /// The pods whose endpoints are not known to be gone everywhere.
    public var pods: [NamespacedName] { drains.keys.sorted() }
    /// The earliest deadline.
    public var nextDeadline: MonotonicTime? { drains.values.map(\.deadline).min() }

    /// A pod is being deleted.
    public mutating func begin(
        _ pod: NamespacedName, uid: String, gracePeriodSeconds: Int, now: MonotonicTime
    ) {
        if drains[pod]?.uid == uid { return }
        drains[pod] = Drain(
            uid: uid, deadline: now + Self.patience(gracePeriodSeconds: gracePeriodSeconds), waitsFor: [])
    }

    /// The pod is gone, or has been told.
    public mutating func end(_ pod: NamespacedName) { drains[pod] = nil }

    /// The snapshots without the pod are with these subscribers, who have not acknowledged them yet.
    public mutating func published(_ pod: NamespacedName, waitingFor subscribers: Set<Int>) {
        drains[pod]?.hasBegun = true
        drains[pod]?.waitsFor = subscribers
    }

    /// The pods that need wait no longer: all have acknowledged, or the time is up.
    public mutating func finished(now: MonotonicTime) -> [Outcome] {
        var outcomes: [Outcome] = []
        for (pod, drain) in drains.sorted(by: { $0.key < $1.key }) {
            let isDone = drain.hasBegun && drain.waitsFor.isEmpty && !hasUnknownSubscribers
            guard isDone || drain.deadline <= now else { continue }
            outcomes.append(Outcome(pod: pod, uid: drain.uid, laggards: drain.waitsFor.sorted()))
            drains[pod] = nil
        }
        return outcomes
    }
}
