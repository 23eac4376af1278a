import Glibc
import Testing

@testable import Insight

/// A mesh that is simulated: requests come at random, wait, use processors that are shared by all in a pod, and call others.
struct SimulatedMesh {
    struct Service {
        /// Mean milliseconds of sleep, of processor time.
        var sleep: Double
        var demand: Double
        var replicas: Int
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
        var waited = 0.0
        var work = 0.0
        var calls: [Int: (count: Double, time: Double)] = [:]
    }

    private final class Job {
        let service: Int
        let parent: Job?
        let begin: Double
        var stage = -1
        var open = 0
        var stageBegin = 0.0
        var work = 0.0
        init(_ service: Int, _ parent: Job?, _ begin: Double) {
            (self.service, self.parent, self.begin) = (service, parent, begin)
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
    func run(_ requests: Int) -> (sums: [Sums], seconds: Double) {
        var numbers = numbers
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
            if job.stage >= 0 { sums[job.service].waited += now - job.stageBegin }
            job.stage += 1
            while job.stage < services[job.service].stages.count {
                let called = services[job.service].stages[job.stage].filter { numbers.share() < $0.probability }
                if called.isEmpty {
                    job.stage += 1
                    continue
                }
                job.open = called.count
                job.stageBegin = now
                for call in called { start(Job(call.service, job, now), now) }
                return
            }
            sums[job.service].count += 1
            sums[job.service].response += now - job.begin
            sums[job.service].work += job.work
            guard let parent = job.parent else { return }
            sums[parent.service].calls[job.service, default: (0, 0)].count += 1
            sums[parent.service].calls[job.service]?.time += now - job.begin
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
                start(Job(0, nil, now), now)
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
        return (sums, now / 1000)
    }

    /// The same as the planner would get it.
    func observe(_ requests: Int) -> [WorkloadObservation] {
        let (sums, seconds) = run(requests)
        return sums.enumerated().filter { $0.element.count > 0 }.map { place, sum in
            WorkloadObservation(
                name: "s\(place)", rate: sum.count / seconds, requests: sum.count, response: sum.response / sum.count,
                p99: 3 * sum.response / sum.count, demand: sum.work / sum.count, replicas: services[place].replicas,
                calls: Dictionary(
                    sum.calls.map {
                        ("s\($0.key)", .init(count: $0.value.count / sum.count, time: $0.value.time / $0.value.count))
                    },
                    uniquingKeysWith: { first, _ in first }),
                waited: sum.waited / sum.count)
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
        self.numbers = numbers
        gap = 1
        // So many requests that the busiest pod is busy to 20 %.
        var visits = Array(repeating: 0.0, count: count)
        visits[0] = 1
        for place in 0..<count {
            for call in services[place].stages.joined() { visits[call.service] += visits[place] * call.probability }
        }
        let busiest = zip(services, visits).map { $0.demand * $1 / Double($0.replicas) }.max() ?? 1
        gap = busiest / 0.2
    }
}

@Suite("The planner")
struct PlannerTests {
    static let requests = 2000

    @Test(
        "predicted means of simulated meshes are within 10 %: twice the rate, a delay, more pods",
        arguments: UInt64(1)...20)
    func simulated(_ seed: UInt64) throws {
        let mesh = SimulatedMesh(seed: seed)
        let observed = mesh.observe(Self.requests)
        let planner = try Planner(observed)
        #expect(try planner.errors(at: observed).values.allSatisfy { $0 < 0.02 })
        var changed = mesh
        changed.numbers = Numbers(state: seed &+ 1000)
        let change: WhatIf
        switch seed % 3 {
        case 0:
            change = .rate("s0", factor: 2)
            changed.gap /= 2
        case 1:
            let place = Int(observed[1].name.dropFirst()) ?? 0
            change = .add("s\(place)", milliseconds: 25)
            changed.services[place].sleep += 25
        default:
            change = .replicas("s0", mesh.services[0].replicas * 2)
            changed.services[0].replicas *= 2
        }
        let predicted = try planner.changed(change).predict()
        let measured = changed.observe(2 * Self.requests)
        for prediction in predicted {
            let truth = try #require(measured.first { $0.name == prediction.name })
            let error = abs(prediction.response - truth.response) / truth.response
            #expect(
                error < 0.1, "\(prediction.name): \(prediction.response) ms predicted, \(truth.response) ms measured")
            #expect(abs(prediction.rate - truth.rate) / truth.rate < 0.1)
        }
    }

    static func observation(
        _ name: String, rate: Double = 10, response: Double = 20, demand: Double? = 2, calls: [String: Double] = [:]
    ) -> WorkloadObservation {
        WorkloadObservation(
            name: name, rate: rate, requests: 1000, response: response, p99: response * 3, demand: demand,
            calls: calls.mapValues { .init(count: $0, time: 5) })
    }

    @Test("R = P·R + L: visits, times, Little's law and the load by hand")
    func byHand() throws {
        let planner = try Planner([
            Self.observation("web", response: 30, calls: ["db": 2]),
            Self.observation("db", rate: 20, response: 5, demand: 1),
        ])
        #expect(try planner.visits(from: "web") == ["web": 1, "db": 2])
        let web = try #require(try planner.predict().first { $0.name == "web" })
        #expect(
            abs(web.response - 30) < 1e-9 && abs(web.inside - 0.3) < 1e-9 && abs((web.utilisation ?? 0) - 0.02) < 1e-9)
        #expect(web.capacity == 500 && web.p99 == web.response * 3)
        let slow = try planner.changed(.add("db", milliseconds: 10)).predict()
        #expect(abs((slow.first { $0.name == "web" }?.response ?? 0) - 50) < 1e-9)
    }

    @Test("calls that go round without end are refused, those that die out are not")
    func circles() throws {
        let error = #expect(throws: PlanRefusal.self) {
            try Planner([Self.observation("a", calls: ["b": 1]), Self.observation("b", calls: ["a": 1])])
        }
        #expect(error?.description.contains("spectral radius") ?? false)
        let planner = try Planner([Self.observation("a", calls: ["b": 0.5]), Self.observation("b", calls: ["a": 0.5])])
        #expect(abs((try planner.visits(from: "a")["a"] ?? 0) - 4 / 3) < 1e-9)
    }

    @Test("too little data, a saturated workload and unknown names are refused, and say what to do")
    func refusals() throws {
        var few = Self.observation("a")
        few.requests = 30
        #expect(throws: PlanRefusal.self) { try Planner([few]) }
        #expect(throws: PlanRefusal.self) { try Planner([]) }
        #expect(throws: PlanRefusal.self) { try Planner([Self.observation("a", rate: 490)]) }
        let planner = try Planner([Self.observation("a", rate: 100)])
        let error = #expect(throws: PlanRefusal.self) { try planner.changed(.rate("a", factor: 6)).predict() }
        #expect(error?.description.contains("a is the bottleneck") ?? false)
        #expect(throws: PlanRefusal.self) { try planner.changed(.replicas("x", 2)) }
        for text in ["rate web", "rate web 2", "add 5 web", "replicas web=0", "split a b=200%", ""] {
            #expect(throws: PlanRefusal.self, "\(text)") { try WhatIf(text) }
        }
        #expect(try WhatIf("rate web x2") == .rate("web", factor: 2))
        #expect(try WhatIf("add 50ms ratings") == .add("ratings", milliseconds: 50))
        #expect(try WhatIf("split a,b b=20%") == .split(service: ["a", "b"], to: "b", share: 0.2))
    }

    @Test("the pods for a target are those that load needs, and a target below what is waited for is refused")
    func target() throws {
        let planner = try Planner([Self.observation("a", rate: 400, response: 20, demand: 2)])
        let replicas = try planner.replicas(for: "a", below: 13, isP99: false)
        #expect((replicas["a"] ?? 0) > 1 && (replicas["a"] ?? 0) < 20)
        #expect(throws: PlanRefusal.self) { try planner.replicas(for: "a", below: 5, isP99: false) }
    }

    @Test("a split moves calls and leaves their number")
    func split() throws {
        let planner = try Planner([
            Self.observation("web", calls: ["v1": 0.9, "v2": 0.1]), Self.observation("v1", rate: 9),
            Self.observation("v2", rate: 1),
        ])
        let changed = try planner.changed(.split(service: ["v1", "v2"], to: "v2", share: 0.5))
        let visits = try changed.visits(from: "web")
        #expect(abs((visits["v1"] ?? 0) - 0.5) < 1e-9 && abs((visits["v2"] ?? 0) - 0.5) < 1e-9)
    }
}
