/// What was seen of one workload over a span of time.
public struct WorkloadObservation: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// Requests a second that it took in, further tries of its callers included.
    public var rate: Double
    /// How many requests that were.
    public var requests: Double
    /// Mean time of its answers, in milliseconds, its own calls included.
    public var response: Double
    /// The time in which 99 % were answered, in milliseconds.
    public var p99: Double
    /// Milliseconds of processor time that a request took; nil when nobody measured it.
    public var demand: Double?
    /// Pods that share its requests.
    public var replicas: Int
    /// How many of its pods are on which node; empty where that is not known.
    public var nodes: [String: Int]
    /// Mean calls for each of its requests, and their mean time in milliseconds as it saw them, by the called workload.
    public var calls: [String: Call]
    /// Calls of it that overlap or follow each other, as its spans show; nil without spans: then calls are taken as serial.
    public var groups: [CallGroup]?

    /// Calls to one other workload.
    public struct Call: Sendable, Hashable {
        /// Calls for each request, further tries not counted: what is asked for.
        public var count: Double
        /// Mean milliseconds of one try.
        public var time: Double
        /// Tries for each call: 1 without retries.
        public var attempts: Double

        /// Calls.
        public init(count: Double, time: Double, attempts: Double = 1) {
            self.count = count
            self.time = time
            self.attempts = attempts
        }
    }

    /// An observation.
    public init(
        name: String, rate: Double, requests: Double, response: Double, p99: Double, demand: Double? = nil,
        replicas: Int = 1, nodes: [String: Int] = [:], calls: [String: Call] = [:], groups: [CallGroup]? = nil
    ) {
        self.name = name
        self.rate = rate
        self.requests = requests
        self.response = response
        self.p99 = p99
        self.demand = demand
        self.replicas = replicas
        self.nodes = nodes
        self.calls = calls
        self.groups = groups
    }
}

/// Calls that a workload makes for a request, some of them at the same time.
public struct CallGroup: Sendable, Hashable {
    /// The called workloads.
    public var called: [String]
    /// The time in which at least one of the calls was open, divided by the sum of their times: 1 when one follows the other.
    public var share: Double

    /// A group.
    public init(_ called: [String], share: Double) {
        self.called = called
        self.share = share
    }
}

/// What was seen of one node: its processors are shared by all pods on it.
public struct NodeObservation: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// How many processors it has; nil when nobody measured them.
    public var processors: Double?
    /// The share of their time that was used while requests came, by anybody; nil when nobody measured it.
    public var busy: Double?

    /// An observation.
    public init(name: String, processors: Double? = nil, busy: Double? = nil) {
        self.name = name
        self.processors = processors
        self.busy = busy
    }
}

/// Why there is no prediction.
public struct PlanRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is missing or does not hold, and what to do.
    public var description: String

    /// A refusal with that text.
    init(_ description: String) { self.description = description }
}
