import Glibc

@testable import Insight

/// A mesh that is simulated: requests come at random, wait, use processors that are shared by all in a pod, and call others.
struct SimulatedMesh {
    struct Service {
        /// Mean milliseconds of sleep, of processor time.
        var sleep: Double
        var demand: Double
        var replicas: Int
        /// The share of its answers that fail, so that its callers try again at once.
        var failing = 0.0
        /// Stages one after the other; the calls of a stage at the same time, each with its probability.
        var stages: [[(service: Int, probability: Double)]] = []
    }

    var services: [Service]
    var numbers: Numbers
    /// Milliseconds between requests to service 0, in the mean.
    var gap: Double

    /// Sums of what happened to the requests of a service.
    struct Sums {
        var count = 0.0
        var response = 0.0
        var work = 0.0
        var calls: [Int: (count: Double, time: Double, tries: Double)] = [:]
    }

    /// Of so many requests one is traced.
    static let traced = 10

    /// What the one call of another goes through, until a try does not fail.
    private final class Call {
        let id: UInt64
        let begin: Double
        init(_ id: UInt64, _ begin: Double) { (self.id, self.begin) = (id, begin) }
    }

    private final class Job {
        let service: Int
        let parent: Job?
        let begin: Double
        var stage = -1
        var open = 0
        var work = 0.0
        let id: UInt64
        let trace: TraceID?
        let call: Call?
        init(_ service: Int, _ begin: Double, _ id: UInt64, parent: Job? = nil, call: Call? = nil, trace: TraceID?) {
            (self.service, self.parent, self.begin) = (service, parent, begin)
            (self.id, self.call, self.trace) = (id, call, trace)
        }
    }
    private final class Pod {
        var jobs: [(job: Job, left: Double)] = []
        var updated = 0.0
        var version = 0
    }
    private enum Event { case arrival, slept(Job), done(Pod, Int) }

    private func exponential(_ mean: Double, _ numbers: inout Numbers) -> Double { -mean * log(1 - numbers.share()) }

    /// What was seen of so many requests.
    func run(_ requests: Int) -> (sums: [Sums], seconds: Double, traces: [[TraceSpan]]) {
        var numbers = numbers
        var traces: [TraceID: [TraceSpan]] = [:]
        var ids: UInt64 = 0
        func newID() -> UInt64 {
            ids += 1
            return ids
        }
        func tell(_ job: Job, _ now: Double) {
            guard let trace = job.trace else { return }
            let start = Int64(job.begin * 1e6) + 1
            traces[trace, default: []].append(
                TraceSpan(
                    trace: trace, id: job.id, parent: job.call?.id, name: "", kind: .server, service: "s\(job.service)",
                    start: start, duration: Int64(now * 1e6) + 1 - start))
        }
        func tellCall(_ job: Job, _ now: Double) {
            guard let trace = job.trace, let call = job.call, let parent = job.parent else { return }
            let start = Int64(call.begin * 1e6) + 1
            traces[trace, default: []].append(
                TraceSpan(
                    trace: trace, id: call.id, parent: parent.id, name: "", kind: .client,
                    service: "s\(parent.service)",
                    start: start, duration: Int64(now * 1e6) + 1 - start))
        }
        var heap: [(time: Double, event: Event)] = []
        func push(_ time: Double, _ event: Event) {
            heap.append((time, event))
            var child = heap.count - 1
            while child > 0, heap[(child - 1) / 2].time > heap[child].time {
                heap.swapAt(child, (child - 1) / 2)
                child = (child - 1) / 2
            }
        }
        func pop() -> (time: Double, event: Event)? {
            guard let first = heap.first, let last = heap.popLast() else { return nil }
            guard !heap.isEmpty else { return first }
            heap[0] = last
            var parent = 0
            while true {
                let (left, right) = (2 * parent + 1, 2 * parent + 2)
                var least = parent
                if left < heap.count, heap[left].time < heap[least].time { least = left }
                if right < heap.count, heap[right].time < heap[least].time { least = right }
                if least == parent { return first }
                heap.swapAt(parent, least)
                parent = least
            }
        }
        let pods = services.map { service in (0..<service.replicas).map { _ in Pod() } }
        var sums = services.map { _ in Sums() }
        func progress(_ pod: Pod, _ now: Double) {
            let done = (now - pod.updated) / Double(max(1, pod.jobs.count))
            for index in pod.jobs.indices { pod.jobs[index].left -= done }
            pod.updated = now
        }
        func plan(_ pod: Pod, _ now: Double) {
            pod.version += 1
            guard let least = pod.jobs.map(\.left).min() else { return }
            push(now + max(0, least) * Double(pod.jobs.count), .done(pod, pod.version))
        }
        func next(_ job: Job, _ now: Double) {
            job.stage += 1
            while job.stage < services[job.service].stages.count {
                let called = services[job.service].stages[job.stage].filter { numbers.share() < $0.probability }
                if called.isEmpty {
                    job.stage += 1
                    continue
                }
                job.open = called.count
                for call in called {
                    let trace = job.trace
                    start(Job(call.service, now, newID(), parent: job, call: Call(newID(), now), trace: trace), now)
                }
                return
            }
            sums[job.service].count += 1
            sums[job.service].response += now - job.begin
            sums[job.service].work += job.work
            tell(job, now)
            guard let parent = job.parent else { return }
            sums[parent.service].calls[job.service, default: (0, 0, 0)].tries += 1
            if numbers.share() < services[job.service].failing {
                start(Job(job.service, now, newID(), parent: parent, call: job.call, trace: job.trace), now)
                return
            }
            sums[parent.service].calls[job.service]?.count += 1
            sums[parent.service].calls[job.service]?.time += now - job.begin
            tellCall(job, now)
            parent.open -= 1
            if parent.open == 0 { next(parent, now) }
        }
        func start(_ job: Job, _ now: Double) {
            push(now + exponential(services[job.service].sleep, &numbers), .slept(job))
        }
        var arrived = 0
        var now = 0.0
        push(0, .arrival)
        while let (time, event) = pop() {
            now = time
            switch event {
            case .arrival:
                let id = newID()
                start(Job(0, now, id, trace: arrived % Self.traced == 0 ? TraceID(high: 1, low: id) : nil), now)
                arrived += 1
                if arrived < requests { push(now + exponential(gap, &numbers), .arrival) }
            case .slept(let job):
                let all = pods[job.service]
                let pod = all[Int(numbers.next() % UInt64(all.count))]
                job.work = exponential(services[job.service].demand, &numbers)
                progress(pod, now)
                pod.jobs.append((job, job.work))
                plan(pod, now)
            case .done(let pod, let version):
                guard version == pod.version else { continue }
                progress(pod, now)
                let done = pod.jobs.filter { $0.left <= 1e-9 }.map(\.job)
                pod.jobs.removeAll { $0.left <= 1e-9 }
                plan(pod, now)
                for job in done { next(job, now) }
            }
        }
        return (sums, now / 1000, Array(traces.values))
    }

    /// The same as the planner would get it.
    func observe(_ requests: Int) -> [WorkloadObservation] {
        let (sums, seconds, traces) = run(requests)
        var overlap = CallOverlap()
        for trace in traces { overlap.add(trace) { $0.service } }
        let groups = overlap.groups
        return sums.enumerated().filter { $0.element.count > 0 }.map { place, sum in
            let calls = sum.calls.map { called, figures in
                (
                    "s\(called)",
                    WorkloadObservation.Call(
                        count: figures.count / sum.count, time: figures.time / figures.count,
                        attempts: figures.tries / figures.count)
                )
            }
            return WorkloadObservation(
                name: "s\(place)", rate: sum.count / seconds, requests: sum.count, response: sum.response / sum.count,
                p99: 3 * sum.response / sum.count, demand: sum.work / sum.count, replicas: services[place].replicas,
                calls: Dictionary(calls, uniquingKeysWith: { first, _ in first }), groups: groups["s\(place)"])
        }
    }

    /// A mesh of a seed: three to five services, calls serial and parallel to those behind.
    init(seed: UInt64) {
        var numbers = Numbers(state: seed &* 7919)
        let count = 3 + Int(numbers.next() % 3)
        services = (0..<count).map { _ in
            Service(
                sleep: 2 + 20 * numbers.share(), demand: 1 + 5 * numbers.share(), replicas: 1 + Int(numbers.next() % 3))
        }
        for place in 0..<(count - 1) {
            for _ in 0..<(1 + Int(numbers.next() % 2)) {
                var stage: [(Int, Double)] = []
                for _ in 0..<(1 + Int(numbers.next() % 2)) {
                    stage.append(
                        (place + 1 + Int(numbers.next() % UInt64(count - place - 1)), 0.3 + 0.5 * numbers.share()))
                }
                services[place].stages.append(stage.map { (service: $0.0, probability: $0.1) })
            }
        }
        // Every second mesh has a service whose answers fail now and then.
        if seed % 2 == 0 { services[count - 1].failing = 0.1 + 0.2 * numbers.share() }
        self.numbers = numbers
        gap = 1
        // So many requests that the busiest pod is busy to 20 %.
        var visits = Array(repeating: 0.0, count: count)
        visits[0] = 1
        for place in 0..<count {
            for call in services[place].stages.joined() {
                visits[call.service] += visits[place] * call.probability / (1 - services[call.service].failing)
            }
        }
        let busiest = zip(services, visits).map { $0.demand * $1 / Double($0.replicas) }.max() ?? 1
        gap = busiest / 0.2
    }
}
