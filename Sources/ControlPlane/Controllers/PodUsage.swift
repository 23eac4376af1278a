public import Serialization

/// What a pod uses, as far as it was measured.
public struct PodUsage: Sendable, Hashable {
    /// What one container uses.
    public struct Container: Sendable, Hashable {
        /// Thousandths of a processor, over the time between two measurements.
        public var cpuMilli: Double
        /// Bytes that cannot be given up: without the file cache that nobody uses.
        public var memoryBytes: Double

        /// Figures of one container.
        public init(cpuMilli: Double, memoryBytes: Double) {
            self.cpuMilli = cpuMilli
            self.memoryBytes = memoryBytes
        }
    }

    /// The containers by name; the proxy is none of them.
    public var containers: [String: Container]
    /// Requests that its sidecar took in a second; nil without a sidecar that says so.
    public var requestsPerSecond: Double?
    /// Over how many seconds rates were taken; 0 when nobody says.
    public var seconds = 0.0

    /// Figures of one pod.
    public init(containers: [String: Container] = [:], requestsPerSecond: Double? = nil) {
        self.containers = containers
        self.requestsPerSecond = requestsPerSecond
    }
}

/// From counters that only grow to what pods use now.
///
/// Pure: pages of the node agent come in with their times, rates come out.
public struct PodUsageBook: Sendable {
    /// A rate over less than that would be noise; seconds.
    static let shortestSpan = 1.0
    /// Figures older than that say nothing about now; seconds.
    static let oldest = 60.0
    /// How far back a rate looks; seconds.
    static let window = 15.0
    /// More pods than that are not kept.
    static let podsMax = 5000

    private struct Sample: Sendable {
        var time: Double
        var cpuSeconds: [String: Double]
        var memoryBytes: [String: Double]
        var requests: Double?
    }
    private var samples: [String: [Sample]] = [:]

    /// Nothing measured yet.
    public init() {}

    /// Takes a page of the agent: `{"time": s, "pods": [{"uid", "containers": [{"name", "cpuSeconds", "memoryBytes"}], "requests"}]}`.
    public mutating func take(_ page: JSON) {
        guard let time = page["time"]?.double else { return }
        for pod in page["pods"]?.array ?? [] {
            guard let uid = pod["uid"]?.string, samples[uid] != nil || samples.count < Self.podsMax else { continue }
            var sample = Sample(time: time, cpuSeconds: [:], memoryBytes: [:], requests: pod["requests"]?.double)
            for container in pod["containers"]?.array ?? [] {
                guard let name = container["name"]?.string else { continue }
                sample.cpuSeconds[name] = container["cpuSeconds"]?.double
                sample.memoryBytes[name] = container["memoryBytes"]?.double
            }
            var known = samples[uid] ?? []
            if let last = known.last, last.time >= time { known = [] }  // The clock was set back.
            known.append(sample)
            // One that is older than the window is kept: rates begin there.
            while known.count > 2, let second = known.dropFirst().first, second.time <= time - Self.window {
                known.removeFirst()
            }
            samples[uid] = known
        }
        samples = samples.filter { $0.value.last.map { $0.time > time - Self.oldest } ?? false }
    }

    /// What a pod uses, judged at `now` (seconds since 1970); nil when it was not measured lately, or only once.
    public func usage(_ uid: String, now: Double) -> PodUsage? {
        guard let known = samples[uid], let last = known.last, last.time > now - Self.oldest,
            let first = known.first, last.time - first.time >= Self.shortestSpan
        else { return nil }
        let span = last.time - first.time
        var usage = PodUsage()
        usage.seconds = span
        for (name, memory) in last.memoryBytes {
            // A container that was started anew counts from nothing.
            let used = last.cpuSeconds[name].map { end in
                first.cpuSeconds[name].map { $0 <= end ? end - $0 : end } ?? end
            }
            usage.containers[name] = .init(cpuMilli: (used ?? 0) / span * 1000, memoryBytes: memory)
        }
        if let end = last.requests {
            let begin = first.requests ?? 0
            usage.requestsPerSecond = (begin <= end ? end - begin : end) / span
        }
        return usage
    }
}
