public import IO
internal import Serialization

/// What a container is doing, with what is known only while it does it.
public enum ContainerState: Sendable, Hashable {
    /// Not started yet or to be started again.
    case waiting(reason: String, message: String)
    /// Being started.
    case starting
    /// Running.
    case running(Running)
    /// Ended.
    case terminated(Terminated)

    /// A container that runs.
    public struct Running: Sendable, Hashable {
        /// Identity at the runtime.
        public var id: String
        /// When it started, seconds since 1970.
        public var startedAt: Int64
        /// The same on the monotonic clock.
        public var since: MonotonicTime
    }

    /// A container that has ended.
    public struct Terminated: Sendable, Hashable {
        /// Identity at the runtime; empty when it never ran.
        public var id: String
        /// Exit code; 128 and the signal's number for one that a signal ended.
        public var exitCode: Int
        /// The reason in one word, as Kubernetes has it (`Completed`, `Error`, `OOMKilled`).
        public var reason: String
        /// For people.
        public var message: String
        /// Seconds since 1970.
        public var startedAt: Int64
        /// Seconds since 1970.
        public var finishedAt: Int64
    }
}

/// One container of a pod over all its runs.
struct ContainerRecord: Sendable, Hashable {
    enum Role: Sendable, Hashable { case proxy, initial, sidecar, main, ephemeral }

    let name: String
    let role: Role
    let probes: [Probe.Kind: Probe]
    let preStop: Probe.Check?
    var state = ContainerState.waiting(reason: "PodInitializing", message: "")
    var last: ContainerState.Terminated?
    var restartCount = 0
    /// Whether the startup probe (if any) has succeeded in this run.
    var isStarted = false
    var isReady = false
    var trackers: [Probe.Kind: ProbeTracker] = [:]
    /// Runs that ended soon after one another.
    var quickEnds = 0
    var restartAt: MonotonicTime?
    /// SIGTERM was sent; SIGKILL follows then.
    var killAt: MonotonicTime?
    var isStopping = false

    var isRunning: Bool { if case .running = state { true } else { false } }
    var isActive: Bool {
        switch state {
        case .running, .starting: true
        case .waiting, .terminated: false
        }
    }
    var terminated: ContainerState.Terminated? { if case .terminated(let end) = state { end } else { nil } }
}
