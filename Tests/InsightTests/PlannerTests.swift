import Testing

@testable import Insight

@Suite("The planner")
struct PlannerTests {
    static let requests = 6000

    @Test(
        "predicted means of simulated meshes are within 10 %, with calls in parallel and further tries: twice the rate, a delay, more pods",
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
            name: name, rate: rate, requests: rate * 100, response: response, p99: response * 3, demand: demand,
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
