/// What is predicted for one workload.
public struct WorkloadPrediction: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// Requests a second, further tries included.
    public var rate: Double
    /// Those of them that are further tries of its callers.
    public var retries: Double
    /// The share of its processors' time that is used; nil when its demand is not known.
    public var utilisation: Double?
    /// Mean time of its answers in milliseconds.
    public var response: Double
    /// The time for 99 %, as many times the mean as it was measured, in milliseconds.
    public var p99: Double
    /// The bounds of p99: as many milliseconds, or as many times the mean as it was measured above it.
    public var p99Bounds: ClosedRange<Double>
    /// Requests in it at a time (Little: N = X·R).
    public var inside: Double
    /// Requests a second at which it is saturated; nil when its demand is not known.
    public var capacity: Double?
}

/// What is predicted for one node.
public struct NodePrediction: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// The share of its processors' time that is used; nil when nobody measures it there.
    public var busy: Double?
    /// Pods on it of workloads that were observed.
    public var pods: Int
}

/// The response times of a mesh: R = P·R + L.
///
/// P has the mean calls for each request with their further tries, L a workload's own time: a part that does not depend on load, and a demand
/// of processor time that is stretched by its load as in an M/G/1 queue with processor sharing for each pod, D / (1 − λ·D / pods).
/// Calls that overlap take what their group was seen to take (`CallGroupModel`). Pure.
public struct Planner: Sendable {
    /// Requests of a workload below which means say too little.
    public static let requestsMin = 100.0
    /// Utilisation of a workload's pods above which a prediction is refused: a small error of the demand is a large one of the time there.
    public static let utilisationMax = 0.95
    /// The share of a node's processors above which a prediction is refused: services slow each other down there, which no call shows.
    public static let nodeBusyMax = 0.6
    /// By how much the model of one half of the window may miss the other before it is refused.
    public static let errorMax = 0.25
    /// Milliseconds that a workload's mean may be missed by in any case: what timers and a busy machine do.
    public static let errorFloor = 5.0
    /// By what share of a workload's requests its callers may count more than it does itself.
    static let missingMax = 0.25

    /// What a workload is made of.
    struct Station: Sendable {
        var name: String
        /// Requests a second from outside of the mesh.
        var external: Double
        /// Own milliseconds without load.
        var fixed: Double
        /// Milliseconds of processor time within its own answers.
        var demand: Double
        /// Milliseconds of processor time in all: what its node is kept busy with.
        var processor: Double
        var isDemandKnown: Bool
        var replicas: Double
        /// Its pods on each node; empty where that is not known.
        var nodes: [String: Double]
        /// The calls of a request, those that overlap together.
        var groups: [CallGroupModel] = []
        /// p99 divided by the mean.
        var tail: Double
        /// Measured.
        var response: Double
        /// Measured.
        var rate: Double

        /// Processors of a node that it keeps busy at a rate.
        func cores(on node: String, at rate: Double) -> Double {
            let all = nodes.values.reduce(0, +)
            guard all > 0, let here = nodes[node] else { return 0 }
            return rate * processor / 1000 * here / all
        }
    }

    var stations: [Station] = []
    /// Calls of each workload to each other one, for each request, without further tries.
    var calls: [[Double]] = []
    /// Tries for each call.
    var attempts: [[Double]] = []
    /// Processors of each node, and how many of them are busy with what is not among the stations.
    var nodes: [(name: String, processors: Double, others: Double)] = []
    /// What had to be assumed, for people.
    public internal(set) var notes: [String] = []

    /// A model of what was observed; refused when that is too little or does not fit.
    public init(
        _ observations: [WorkloadObservation], nodes observedNodes: [NodeObservation] = []
    ) throws(PlanRefusal) {
        let sorted = observations.filter { $0.requests > 0 }.sorted { $0.name < $1.name }
        guard !sorted.isEmpty else { throw PlanRefusal("no requests were seen: send some, and ask again") }
        for node in observedNodes {
            guard let busy = node.busy, busy >= Self.nodeBusyMax else { continue }
            throw PlanRefusal(
                "the processors of node \(node.name), which all its pods share, were busy to \(NumberText.fixed(busy * 100, 0)) %: above "
                    + "\(Int(Self.nodeBusyMax * 100)) % services slow each other down, and their times say nothing about another load; send less, or use more processors"
            )
        }
        let places = Dictionary(sorted.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        for observed in sorted where observed.requests < Self.requestsMin {
            throw PlanRefusal(
                "\(observed.name): \(NumberText.fixed(observed.requests, 0)) requests are too few for a mean: \(Int(Self.requestsMin)) are needed; take a longer window"
            )
        }
        for observed in sorted {
            guard observed.rate.isFinite, observed.rate >= 0, observed.response.isFinite, observed.response >= 0 else {
                throw PlanRefusal("\(observed.name): no numbers")
            }
            var row = Array(repeating: 0.0, count: sorted.count)
            var tries = Array(repeating: 1.0, count: sorted.count)
            for (name, call) in observed.calls.sorted(by: { $0.key < $1.key }) {
                guard call.count.isFinite, call.count >= 0, call.attempts.isFinite, call.attempts >= 1 else {
                    throw PlanRefusal("\(observed.name): no numbers for its calls to \(name)")
                }
                if let place = places[name] { (row[place], tries[place]) = (call.count, call.attempts) }
                if call.count > 0, call.attempts > 1.01 {
                    notes.append(
                        "\(observed.name): each call to \(name) is tried \(NumberText.fixed(call.attempts, 2)) times in the mean; that is assumed to stay"
                    )
                }
            }
            calls.append(row)
            attempts.append(tries)
        }
        let radius = Self.spectralRadius(tries)
        guard radius < 1 else {
            throw PlanRefusal(
                "each request makes more requests without end (spectral radius of the calls \(NumberText.fixed(radius, 2)), at least 1): "
                    + "workloads call each other in a circle that does not die out, or are tried again without end")
        }
        try refuseMissing(sorted)
        for (place, observed) in sorted.enumerated() { stations.append(try station(observed, place, sorted)) }
        take(observedNodes)
    }

    /// Calls of each workload to each other one for each request, further tries included: P.
    var tries: [[Double]] { zip(calls, attempts).map { zip($0, $1).map { $0 * $1 } } }

    /// Callers that count more calls than who is called has seen requests: a proxy is missing, or calls do not arrive.
    private func refuseMissing(_ all: [WorkloadObservation]) throws(PlanRefusal) {
        for (place, called) in all.enumerated() {
            let told = all.enumerated().reduce(0.0) { $0 + $1.element.requests * calls[$1.offset][place] }
            guard told - called.requests > max(Self.requestsMin, Self.missingMax * called.requests) else { continue }
            throw PlanRefusal(
                "\(called.name) was called \(NumberText.fixed(told, 0)) times and tells of \(NumberText.fixed(called.requests, 0)) requests: calls fail before they arrive, or a proxy does not "
                    + "tell its metrics (skein edges and skein top pods show it)")
        }
    }

    private mutating func station(
        _ observed: WorkloadObservation, _ place: Int, _ all: [WorkloadObservation]
    ) throws(PlanRefusal) -> Station {
        // What is called and not observed stays a part of the own time; so does the way to those that are.
        let groups = groups(observed, place, all)
        let waited = groups.reduce(0) { $0 + $1.seen }
        let own = max(0, observed.response - waited)
        let replicas = Double(max(1, observed.replicas))
        let demand = max(0, observed.demand ?? 0)
        let load = observed.rate * demand / 1000 / replicas
        guard load < Self.utilisationMax else {
            throw PlanRefusal(
                "\(observed.name) is busy to \(NumberText.fixed(load * 100, 0)) % now: above \(Int(Self.utilisationMax * 100)) % times say nothing about another load"
            )
        }
        let stretched = demand / (1 - load)
        if stretched > own * 1.2 + 0.5 {
            notes.append(
                "\(observed.name): it used more processor time than its own answers took; it works beside them")
        }
        if observed.demand == nil {
            notes.append(
                "\(observed.name): its processor time is not known: its own time is taken as the same at any load")
        }
        let tries = tries
        let incoming = all.enumerated().reduce(0.0) { $0 + $1.element.rate * tries[$1.offset][place] }
        return Station(
            name: observed.name, external: max(0, observed.rate - incoming), fixed: max(0, own - stretched),
            demand: min(demand, own * (1 - load)), processor: demand, isDemandKnown: observed.demand != nil,
            replicas: replicas, nodes: observed.nodes.mapValues(Double.init), groups: groups,
            tail: observed.response > 0 ? max(1, observed.p99 / observed.response) : 1, response: observed.response,
            rate: observed.rate)
    }

    /// The calls of a workload, those that overlap together; as long as they were seen to take.
    private mutating func groups(
        _ observed: WorkloadObservation, _ place: Int, _ all: [WorkloadObservation]
    ) -> [CallGroupModel] {
        let called = calls[place].indices.filter { calls[place][$0] > 0 }
        let times = all.indices.map { calls[place][$0] * attempts[place][$0] * all[$0].response }
        var groups: [CallGroupModel] = []
        var rest = Set(called)
        for group in observed.groups ?? [] {
            let members = called.filter { rest.contains($0) && group.called.contains(all[$0].name) }
            rest.subtract(members)
            if !members.isEmpty { groups.append(CallGroupModel(members, share: group.share, of: times)) }
        }
        let sum = rest.reduce(0) { $0 + times[$1] }
        if observed.groups == nil, sum > observed.response {
            // Serial calls cannot take longer than the answer.
            notes.append(
                "\(observed.name): its calls take longer together than its answer, so they overlap; without traces they are taken as one group"
            )
            let share = max(0, observed.response - (observed.demand ?? 0)) / sum
            return [CallGroupModel(rest.sorted(), share: share, of: times)]
        }
        if observed.groups == nil, called.count > 1 {
            notes.append(
                "\(observed.name): there are too few traces of its calls: they are taken as one after the other")
        }
        for place in rest.sorted() { groups.append(CallGroupModel([place], share: 1, of: times)) }
        let waited = groups.reduce(0) { $0 + $1.seen }
        if waited > observed.response {
            for index in groups.indices { groups[index].scale(observed.response / waited) }
        }
        return groups
    }

    private mutating func take(_ observed: [NodeObservation]) {
        for node in observed {
            guard let processors = node.processors, processors > 0, let busy = node.busy else { continue }
            let ours = stations.reduce(0) { $0 + $1.cores(on: node.name, at: $1.rate) }
            nodes.append((node.name, processors, max(0, busy * processors - ours)))
        }
        for name in Set(stations.flatMap(\.nodes.keys)).subtracting(nodes.map(\.name)).sorted() {
            notes.append("node \(name): how busy its processors are is not known, so that it is not watched")
        }
    }

    // MARK: What if

    private func place(_ name: String) throws(PlanRefusal) -> Int {
        guard let place = stations.firstIndex(where: { $0.name == name }) else {
            throw PlanRefusal(
                "\(name): no such workload; known are \(stations.map(\.name).joined(separator: ", "))")
        }
        return place
    }

    /// The model after a change.
    public func changed(_ change: WhatIf) throws(PlanRefusal) -> Planner {
        var planner = self
        switch change {
        case .rate(let name, let factor):
            let place = try place(name)
            guard stations[place].external > 0 else {
                throw PlanRefusal(
                    "\(name) gets its requests from other workloads only: change the rate where they come in")
            }
            planner.stations[place].external *= factor
        case .add(let name, let time): planner.stations[try place(name)].fixed += time
        case .replicas(let name, let count): planner.stations[try place(name)].replicas = Double(count)
        case .losePod(let name):
            let place = try place(name)
            guard stations[place].replicas > 1 else {
                throw PlanRefusal("\(name) has one pod only: without it, its requests find nobody")
            }
            planner.stations[place].replicas -= 1
        case .loseNode(let name): try planner.lose(name)
        case .split(let service, let to, let share): try planner.split(service, to, share)
        }
        return planner
    }

    private mutating func lose(_ node: String) throws(PlanRefusal) {
        let known = Set(stations.flatMap(\.nodes.keys))
        guard known.contains(node) else {
            throw PlanRefusal(
                "no pod with requests is on a node \(node); known are \(known.sorted().joined(separator: ", "))")
        }
        let alone = stations.filter { $0.nodes[node] != nil && $0.nodes.count == 1 }.map(\.name)
        guard alone.isEmpty else {
            throw PlanRefusal(
                "all pods of \(alone.joined(separator: ", ")) are on node \(node): without it, their requests find nobody"
            )
        }
        for place in stations.indices {
            guard let pods = stations[place].nodes[node] else { continue }
            let all = stations[place].nodes.values.reduce(0, +)
            stations[place].replicas = max(1, stations[place].replicas * (all - pods) / all)
            stations[place].nodes[node] = nil
        }
        nodes.removeAll { $0.name == node }
    }

    private mutating func split(_ service: [String], _ to: String, _ share: Double) throws(PlanRefusal) {
        var members: [Int] = []
        for name in service { members.append(try place(name)) }
        let target = try place(to)
        guard members.contains(target), members.count > 1 else {
            throw PlanRefusal("\(to) must be one of \(service.joined(separator: ",")), and not the only one")
        }
        for row in calls.indices {
            let all = members.reduce(0) { $0 + calls[row][$1] }
            guard all > 0 else { continue }
            let others = all - calls[row][target]
            let tried = members.reduce(0) { $0 + calls[row][$1] * attempts[row][$1] } / all
            stations[row].join(members)
            for member in members where calls[row][member] == 0 { attempts[row][member] = tried }
            let before = calls[row]
            calls[row][target] = all * share
            for member in members where member != target {
                let part = others > 0 ? before[member] / others : 1 / Double(members.count - 1)
                calls[row][member] = all * (1 - share) * part
            }
        }
    }

    /// The model with the requests from outside that were observed at another time; workloads that were not are as before.
    public func withLoad(of observations: [WorkloadObservation]) -> Planner {
        var planner = self
        let rates = Dictionary(observations.map { ($0.name, $0.rate) }, uniquingKeysWith: { first, _ in first })
        let tries = tries
        for place in stations.indices {
            guard let rate = rates[stations[place].name] else { continue }
            let incoming = stations.indices.reduce(0) { $0 + (rates[stations[$1].name] ?? 0) * tries[$1][place] }
            planner.stations[place].external = max(0, rate - incoming)
        }
        return planner
    }
}

extension Planner.Station {
    /// Puts workloads that stand for each other into the group where one of them is called.
    mutating func join(_ members: [Int]) {
        guard let home = groups.firstIndex(where: { $0.members.contains { members.contains($0) } }) else { return }
        let known = Set(groups.flatMap(\.members))
        groups[home].members += members.filter { !known.contains($0) }
    }
}
