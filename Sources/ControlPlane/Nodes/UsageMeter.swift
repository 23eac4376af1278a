import APIServer
import IO
import Serialization

/// Measures what pods and machines use when somebody asks for it (`kubectl top`), and not otherwise.
///
/// A rate needs two looks: who asks first, or about something new, waits a little longer than `PodUsageBook.shortestSpan`. Who asks while it is being
/// measured gets that answer too.
///
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class UsageMeter: @unchecked Sendable {
    /// A report so young is given again: seconds.
    static let freshness = 1.0
    /// How long it is waited between two looks.
    static let span = Duration.milliseconds(1200)
    /// The name under which a machine's own figures are kept.
    private static let machine = "machine"

    private let loop: EventLoop
    private let now: () -> Timestamp
    private let pages: () async -> [(node: String, page: JSON)]
    private var pods = PodUsageBook()
    private var nodes = PodUsageBook()
    private var last: UsageReport?
    private var running: Task<UsageReport, Never>?
    private var seenPods: [String] = []
    private var seenNodes: [String] = []

    /// - Parameter pages: asks all agents.
    init(
        on loop: EventLoop, now: @escaping () -> Timestamp,
        pages: @escaping () async -> [(node: String, page: JSON)]
    ) {
        self.loop = loop
        self.now = now
        self.pages = pages
    }

    /// What is used now.
    func report() async -> UsageReport {
        if let running { return await running.value }
        if let last, abs(Self.seconds(now()) - Self.seconds(last.time)) < Self.freshness { return last }
        let task = Task(executorPreference: loop) { [self] in
            let report = await measure()
            running = nil
            last = report
            return report
        }
        running = task
        return await task.value
    }

    private func measure() async -> UsageReport {
        if await !look() {
            await loop.sleep(for: Self.span)
            _ = await look()
        }
        return known()
    }

    /// Asks all agents once; whether everything that they told of has a rate now.
    private func look() async -> Bool {
        let answers = await pages()
        seenPods = []
        seenNodes = []
        for (node, page) in answers {
            pods.take(page)
            seenPods += (page["pods"]?.array ?? []).compactMap { $0["uid"]?.string }
            guard var own = page["node"], let time = page["time"] else { continue }
            own["name"] = .string(Self.machine)
            nodes.take(["time": time, "pods": [["uid": .string(node), "containers": [own]]]])
            seenNodes.append(node)
        }
        let time = Self.seconds(now())
        return seenPods.allSatisfy { pods.usage($0, now: time) != nil }
            && seenNodes.allSatisfy { nodes.usage($0, now: time) != nil }
    }

    private func known() -> UsageReport {
        let time = now()
        let seconds = Self.seconds(time)
        var report = UsageReport(time: time)
        for uid in seenPods {
            guard let usage = pods.usage(uid, now: seconds) else { continue }
            report.pods[uid] = usage.containers.mapValues {
                .init(cpuMilli: $0.cpuMilli, memoryBytes: $0.memoryBytes, seconds: usage.seconds)
            }
        }
        for node in seenNodes {
            guard let usage = nodes.usage(node, now: seconds), let own = usage.containers[Self.machine] else {
                continue
            }
            report.nodes[node] = .init(cpuMilli: own.cpuMilli, memoryBytes: own.memoryBytes, seconds: usage.seconds)
        }
        return report
    }

    private static func seconds(_ time: Timestamp) -> Double { Double(time.seconds) + Double(time.nanoseconds) / 1e9 }
}
