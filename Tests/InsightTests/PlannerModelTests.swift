import Testing

@testable import Insight

/// What the planner's model says, against numbers that are computed by hand.
@Suite("The planner's model")
struct PlannerModelTests {
    static func workload(
        _ name: String, rate: Double = 10, response: Double, demand: Double? = 0, replicas: Int = 1,
        nodes: [String: Int] = [:], calls: [String: (count: Double, attempts: Double)] = [:],
        groups: [CallGroup]? = []
    ) -> WorkloadObservation {
        WorkloadObservation(
            name: name, rate: rate, requests: rate * 100, response: response, p99: response * 2, demand: demand,
            replicas: replicas, nodes: nodes,
            calls: calls.mapValues { .init(count: $0.count, time: 0, attempts: $0.attempts) }, groups: groups)
    }

    static func time(_ planner: Planner, _ name: String) throws -> Double {
        try #require(try planner.predict().first { $0.name == name }).response
    }

    /// Whether a workload's mean time is that, in milliseconds.
    static func takes(_ planner: Planner, _ name: String, _ expected: Double) throws -> Bool {
        abs(try time(planner, name) - expected) < 1e-6
    }

    @Test("further tries are load and time, and stand apart from what was asked for")
    func retries() throws {
        // Each request calls db twice, each call is tried 1.5 times: 100 ms = 70 ms + 3 * 10 ms.
        let planner = try Planner([
            Self.workload("web", response: 100, calls: ["db": (2, 1.5)]), Self.workload("db", rate: 30, response: 10),
        ])
        let now = try #require(try planner.predict().first { $0.name == "db" })
        #expect(abs(now.rate - 30) < 1e-9 && abs(now.retries - 10) < 1e-9)
        #expect(try Self.takes(planner.changed(.add("db", milliseconds: 10)), "web", 130))
        let twice = try #require(try planner.changed(.rate("web", factor: 2)).predict().first { $0.name == "db" })
        #expect(abs(twice.rate - 60) < 1e-9 && abs(twice.retries - 20) < 1e-9)
        #expect(planner.notes.contains { $0.contains("each call to db is tried 1.50 times") })
    }

    @Test("a circle that only further tries keep going is refused")
    func endlessRetries() throws {
        func circle(_ attempts: Double) throws -> Planner {
            try Planner([
                Self.workload("a", response: 100, calls: ["b": (0.8, attempts)]),
                Self.workload("b", response: 50, calls: ["a": (0.8, 1)]),
            ])
        }
        _ = try circle(1)
        let error = #expect(throws: PlanRefusal.self) { try circle(2) }
        #expect(error?.description.contains("spectral radius") ?? false)
    }

    @Test("of calls that are made together the longest counts, and calls after each other add up")
    func overlap() throws {
        // 70 ms = 10 ms of its own, 50 ms for a and b together (50 ms and 30 ms), 10 ms for c after them.
        let groups = [CallGroup(["a", "b"], share: 50 / 80), CallGroup(["c"], share: 1)]
        let planner = try Planner([
            Self.workload("web", response: 70, calls: ["a": (1, 1), "b": (1, 1), "c": (1, 1)], groups: groups),
            Self.workload("a", response: 50), Self.workload("b", response: 30), Self.workload("c", response: 10),
        ])
        #expect(try Self.takes(planner, "web", 70))
        for (change, expected) in [
            (WhatIf.add("b", milliseconds: 10), 70.0), (.add("b", milliseconds: 30), 80),
            (.add("a", milliseconds: 5), 75),
            (.add("c", milliseconds: 5), 75),
        ] {
            #expect(try Self.takes(planner.changed(change), "web", expected), "\(change)")
        }
    }

    @Test(
        "two times that vary take longer together than the longer one: exponential times, within 2 % of what is exact")
    func varying() throws {
        // The mean of the later of two exponential times with means x and y is x + y - 1 / (1/x + 1/y).
        func exact(_ x: Double, _ y: Double) -> Double { x + y - 1 / (1 / x + 1 / y) }
        let share = exact(40, 10) / 50
        let planner = try Planner([
            Self.workload(
                "web", response: 8 + exact(40, 10), calls: ["a": (1, 1), "b": (1, 1)],
                groups: [CallGroup(["a", "b"], share: share)]),
            Self.workload("a", response: 40), Self.workload("b", response: 10),
        ])
        for more in [10.0, 30, 90] {
            let time = try Self.time(planner.changed(.add("b", milliseconds: more)), "web")
            #expect(abs(time - 8 - exact(40, 10 + more)) / exact(40, 10 + more) < 0.02, "\(more): \(time)")
        }
    }

    @Test("calls to one workload that overlap take their share of the sum")
    func fanOut() throws {
        let planner = try Planner([
            Self.workload(
                "web", response: 30, calls: ["shard": (4, 1)], groups: [CallGroup(["shard"], share: 0.25)]),
            Self.workload("shard", rate: 40, response: 20),
        ])
        #expect(try Self.takes(planner.changed(.add("shard", milliseconds: 20)), "web", 50))
    }

    @Test("which calls overlap is read from spans")
    func spans() throws {
        func trace(_ number: UInt64) -> [TraceSpan] {
            let id = TraceID(high: 0, low: number)
            func span(
                _ id64: UInt64, _ parent: UInt64?, _ kind: TraceSpan.Kind, _ service: String, _ from: Int64, _ to: Int64
            ) -> TraceSpan {
                TraceSpan(
                    trace: id, id: id64, parent: parent, name: "", kind: kind, service: service,
                    start: 1 + from * 1_000_000, duration: (to - from) * 1_000_000)
            }
            var spans = [span(1, nil, .server, "web", 0, 80)]
            for (place, call) in [("a", 0, 50), ("b", 10, 40), ("c", 60, 70)].enumerated() {
                let id = UInt64(10 + 10 * place)
                spans.append(span(id, 1, .client, "web", Int64(call.1), Int64(call.2)))
                spans.append(span(id + 1, id, .server, call.0, Int64(call.1) + 1, Int64(call.2) - 1))
            }
            return spans
        }
        var overlap = CallOverlap()
        for number in 1...4 { overlap.add(trace(UInt64(number))) { $0.service } }
        #expect(overlap.groups.isEmpty)
        overlap.add(trace(5)) { $0.service }
        #expect(
            overlap.groups == ["web": [CallGroup(["a", "b"], share: 50.0 / 80), CallGroup(["c"], share: 1)]])
        var store = TraceStore()
        for number in 1...5 { for span in trace(UInt64(number)) { store.add(span, at: 1000) } }
        #expect(store.callGroups(from: 0, to: 2000) { $0.service }["web"]?.count == 2)
        #expect(store.callGroups(from: 1001, to: 2000) { $0.service }.isEmpty)
    }

    // MARK: Nodes

    @Test("a node's processors are shared: above 60 % now or then nothing is predicted, and the node is named")
    func sharedProcessors() throws {
        // 0.6 processors of 2 are busy, 0.2 of them with a (100 requests of 2 ms in a second).
        let a = [Self.workload("a", rate: 100, response: 20, demand: 2, replicas: 4, nodes: ["n1": 4])]
        let planner = try Planner(a, nodes: [NodeObservation(name: "n1", processors: 2, busy: 0.3)])
        let twice = try planner.changed(.rate("a", factor: 2))
        let load = try #require(twice.loads(try twice.predict()).first)
        #expect(load.name == "n1" && load.pods == 4 && abs((load.busy ?? 0) - 0.4) < 1e-9)
        // (0.4 + 5 * 0.2) / 2 = 70 %.
        let then = #expect(throws: PlanRefusal.self) { try planner.changed(.rate("a", factor: 5)).predict() }
        #expect(then?.description.contains("processors of node n1") ?? false)
        #expect(then?.description.contains("70 %") ?? false)
        let now = #expect(throws: PlanRefusal.self) {
            try Planner(a, nodes: [NodeObservation(name: "n1", processors: 2, busy: 0.65)])
        }
        #expect(
            now?.description.contains("processors of node n1, which all its pods share, were busy to 65 %") ?? false)
        #expect(throws: PlanRefusal.self) {
            try planner.changed(.rate("a", factor: 5)).replicas(for: "a", below: 30, isP99: false)
        }
        let blind = try Planner(a)
        let loads = blind.loads(try blind.predict())
        #expect(
            blind.notes.contains { $0.contains("node n1") } && loads.first?.name == "n1" && loads.first?.busy == nil)
    }

    @Test("without a node its pods' work is done by the others, and what ran there alone is named")
    func lostNode() throws {
        let planner = try Planner(
            [
                Self.workload("a", rate: 100, response: 20, demand: 2, replicas: 2, nodes: ["n1": 1, "n2": 1]),
                Self.workload("b", response: 5, nodes: ["n1": 1]),
            ],
            nodes: [
                NodeObservation(name: "n1", processors: 2, busy: 0.3),
                NodeObservation(name: "n2", processors: 2, busy: 0.1),
            ])
        let changed = try planner.changed(.loseNode("n2"))
        let predictions = try changed.predict()
        let a = try #require(predictions.first { $0.name == "a" })
        // 20 ms = 17.78 ms + 2 ms / (1 - 0.1); then 2 ms / (1 - 0.2).
        #expect(abs(a.response - (20 - 2 / 0.9 + 2 / 0.8)) < 1e-9 && abs((a.utilisation ?? 0) - 0.2) < 1e-9)
        // n1 had 0.6 processors busy, 0.1 of them with its half of a; now it has all of it.
        #expect(changed.loads(predictions).map(\.name) == ["n1"])
        #expect(abs((changed.loads(predictions).first?.busy ?? 0) - 0.35) < 1e-9)
        let alone = #expect(throws: PlanRefusal.self) { try planner.changed(.loseNode("n1")) }
        #expect(alone?.description.contains("all pods of b are on node n1") ?? false)
        let unknown = #expect(throws: PlanRefusal.self) { try planner.changed(.loseNode("n3")) }
        #expect(unknown?.description.contains("known are n1, n2") ?? false)
        #expect(try WhatIf("lose node n2") == .loseNode("n2"))
    }

    @Test("without a pod the others of its workload have its load; the last one cannot be lost")
    func lostPod() throws {
        let planner = try Planner([Self.workload("a", rate: 100, response: 20, demand: 2, replicas: 2)])
        #expect(try Self.takes(planner.changed(WhatIf("lose pod a")), "a", 20 - 2 / 0.9 + 2 / 0.8))
        let error = #expect(throws: PlanRefusal.self) {
            try planner.changed(.losePod("a")).changed(.losePod("a"))
        }
        #expect(error?.description.contains("a has one pod only") ?? false)
    }

    // MARK: What does not fit

    @Test("callers that tell of more calls than arrive are refused: a part of the data is missing")
    func missing() throws {
        let error = #expect(throws: PlanRefusal.self) {
            try Planner([
                Self.workload("web", response: 30, calls: ["db": (2, 1)]), Self.workload("db", rate: 12, response: 5),
            ])
        }
        #expect(error?.description.contains("db was called 2000 times and tells of 1200 requests") ?? false)
    }

    @Test("halves of a window that do not fit are refused, with the workload; one that is too short has no error")
    func badFit() throws {
        let (fast, slow) = ([Self.workload("a", response: 20)], [Self.workload("a", response: 40)])
        let error = #expect(throws: PlanRefusal.self) { try Planner.fit(earlier: fast, later: slow) }
        #expect(
            error?.description.contains("a: what the first half of the window says misses the second by 50 %") ?? false)
        #expect(try Planner.fit(earlier: fast, later: fast) == ["a": 0])
        #expect(try Planner.fit(earlier: [], later: slow).isEmpty)
        // 2 ms more or less are what a busy machine does.
        let small = try Planner.fit(
            earlier: [Self.workload("a", response: 2)], later: [Self.workload("a", response: 4)])
        #expect(small == ["a": 0.5])
    }

    @Test("p99 lies between as many milliseconds above the mean as was measured, and as many times it")
    func tail() throws {
        let planner = try Planner([Self.workload("a", response: 20)]).changed(.add("a", milliseconds: 10))
        let bounds = try #require(try planner.predict().first).p99Bounds
        #expect(abs(bounds.lowerBound - 50) < 1e-9 && abs(bounds.upperBound - 60) < 1e-9)
    }
}
