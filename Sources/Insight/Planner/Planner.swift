/// Why there is no prediction.
public struct PlanRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is missing or does not hold, and what to do.
    public var description: String

    /// A refusal with that text.
    init(_ description: String) { self.description = description }
}

/// What was seen of one workload over a span of time.
public struct WorkloadObservation: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// Requests a second that it took in.
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
    /// Mean calls for each of its requests, and their mean time in milliseconds as it saw them, by the called workload.
    public var calls: [String: Call]
    /// Mean milliseconds of a request in which it waited for at least one call; nil without spans: then calls are taken as serial.
    public var waited: Double?

    /// Calls to one other workload.
    public struct Call: Sendable, Hashable {
        /// Calls for each request, further tries not counted.
        public var count: Double
        /// Mean milliseconds of one.
        public var time: Double

        /// Calls.
        public init(count: Double, time: Double) {
            self.count = count
            self.time = time
        }
    }

    /// An observation.
    public init(
        name: String, rate: Double, requests: Double, response: Double, p99: Double, demand: Double? = nil,
        replicas: Int = 1, calls: [String: Call] = [:], waited: Double? = nil
    ) {
        self.name = name
        self.rate = rate
        self.requests = requests
        self.response = response
        self.p99 = p99
        self.demand = demand
        self.replicas = replicas
        self.calls = calls
        self.waited = waited
    }
}

/// Something that is not so yet.
public enum WhatIf: Sendable, Hashable {
    /// So many times as many requests come in from outside to a workload.
    case rate(String, factor: Double)
    /// Its own time is longer, in milliseconds.
    case add(String, milliseconds: Double)
    /// It has so many pods.
    case replicas(String, Int)
    /// It gets this share of the calls that go to it and to the other workloads of its service together.
    case split(service: [String], to: String, share: Double)

    /// Reads `rate web x2`, `add 50ms ratings`, `replicas orders=5`, `split reviews-v1,reviews-v2 reviews-v2=20%`.
    public init(_ text: String) throws(PlanRefusal) {
        let words = text.split(separator: " ").map(String.init)
        func number(_ text: Substring, _ suffix: String) -> Double? {
            guard text.hasSuffix(suffix), let value = Double(text.dropLast(suffix.count)), value.isFinite, value >= 0
            else {
                return nil
            }
            return value
        }
        switch (words.first, words.count) {
        case ("rate", 3) where words[2].hasPrefix("x"):
            guard let factor = number(words[2].dropFirst(), "") else { break }
            self = .rate(words[1], factor: factor)
            return
        case ("add", 3):
            guard let time = number(words[1][...], "ms") ?? number(words[1][...], "s").map({ $0 * 1000 }) else { break }
            self = .add(words[2], milliseconds: time)
            return
        case ("replicas", 2):
            let parts = words[1].split(separator: "=")
            guard parts.count == 2, let count = Int(parts[1]), count > 0, count <= 10_000 else { break }
            self = .replicas(String(parts[0]), count)
            return
        case ("split", 3):
            let parts = words[2].split(separator: "=")
            guard parts.count == 2, let share = number(parts[1], "%"), share <= 100 else { break }
            self = .split(
                service: words[1].split(separator: ",").map(String.init), to: String(parts[0]), share: share / 100)
            return
        default: break
        }
        throw PlanRefusal(
            "\"\(text)\": known are 'rate WORKLOAD x2', 'add 50ms WORKLOAD', 'replicas WORKLOAD=5', 'split W1,W2 W2=20%'"
        )
    }
}

/// What is predicted for one workload.
public struct WorkloadPrediction: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// Requests a second.
    public var rate: Double
    /// The share of its processors' time that is used; nil when its demand is not known.
    public var utilisation: Double?
    /// Mean time of its answers in milliseconds.
    public var response: Double
    /// The time for 99 %, as far from the mean as it was measured, in milliseconds.
    public var p99: Double
    /// Requests in it at a time (Little: N = X·R).
    public var inside: Double
    /// Requests a second at which it is saturated; nil when its demand is not known.
    public var capacity: Double?
}

/// The response times of a mesh: R = P·R + L.
///
/// P has the mean calls for each request, L a workload's own time: a part that does not depend on load, and a demand of processor time that
/// is stretched by its load as in an M/G/1 queue with processor sharing for each pod, D / (1 − λ·D / pods).
/// Calls that overlap count with the share of their time that was waited for. Pure.
public struct Planner: Sendable {
    /// Requests of a workload below which means say too little.
    public static let requestsMin = 100.0
    /// Utilisation above which a prediction is refused: a small error of the demand is a large one of the time there.
    public static let utilisationMax = 0.95

    /// What a workload is made of.
    struct Station: Sendable {
        var name: String
        /// Requests a second from outside of the mesh.
        var external: Double
        /// Own milliseconds without load.
        var fixed: Double
        /// Milliseconds of processor time.
        var demand: Double
        var isDemandKnown: Bool
        var replicas: Double
        /// The share of the calls' time that is waited for.
        var overlap: Double
        /// p99 divided by the mean.
        var tail: Double
        /// Measured.
        var response: Double
    }

    private(set) var stations: [Station] = []
    /// Calls of each workload to each other one, for each request.
    private(set) var calls: [[Double]] = []
    /// What had to be assumed, for people.
    public private(set) var notes: [String] = []

    /// A model of what was observed; refused when that is too little or does not fit.
    public init(_ observations: [WorkloadObservation]) throws(PlanRefusal) {
        let sorted = observations.filter { $0.requests > 0 }.sorted { $0.name < $1.name }
        guard !sorted.isEmpty else { throw PlanRefusal("no requests were seen: send some, and ask again") }
        let places = Dictionary(sorted.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        for observed in sorted where observed.requests < Self.requestsMin {
            throw PlanRefusal(
                "\(observed.name): \(Int(observed.requests)) requests are too few for a mean: \(Int(Self.requestsMin)) are needed; take a longer window"
            )
        }
        for observed in sorted {
            guard observed.rate.isFinite, observed.rate >= 0, observed.response.isFinite, observed.response >= 0 else {
                throw PlanRefusal("\(observed.name): no numbers")
            }
            var row = Array(repeating: 0.0, count: sorted.count)
            for (name, call) in observed.calls {
                if let place = places[name] { row[place] = call.count }
            }
            calls.append(row)
        }
        let radius = Self.spectralRadius(calls)
        guard radius < 1 else {
            throw PlanRefusal(
                "each request makes more requests without end (spectral radius of the calls \(NumberText.fixed(radius, 2)), at least 1): "
                    + "workloads call each other in a circle that does not die out, or retries were counted as calls")
        }
        for (place, observed) in sorted.enumerated() { stations.append(try station(observed, place, sorted)) }
    }

    private mutating func station(
        _ observed: WorkloadObservation, _ place: Int, _ all: [WorkloadObservation]
    ) throws(PlanRefusal) -> Station {
        // What is called and not observed stays a part of the own time; so does the way to those that are.
        let called = zip(calls[place], all).reduce(0) { $0 + $1.0 * $1.1.response }
        var overlap = 1.0
        if called > 0, let waited = observed.waited { overlap = min(1, max(0, waited / called)) }
        if called > 0, observed.waited == nil, called > observed.response {
            // Serial calls cannot take longer than the answer.
            overlap = max(0, observed.response - (observed.demand ?? 0)) / called
            notes.append(
                "\(observed.name): its calls take longer together than its answer, so they overlap; their share is assumed to stay"
            )
        }
        let own = max(0, observed.response - overlap * called)
        let replicas = Double(max(1, observed.replicas))
        let demand = observed.demand ?? 0
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
        let incoming = all.enumerated().reduce(0.0) { $0 + $1.element.rate * calls[$1.offset][place] }
        return Station(
            name: observed.name, external: max(0, observed.rate - incoming), fixed: max(0, own - stretched),
            demand: min(demand, own * (1 - load)), isDemandKnown: observed.demand != nil, replicas: replicas,
            overlap: overlap, tail: observed.response > 0 ? max(1, observed.p99 / observed.response) : 1,
            response: observed.response)
    }

    // MARK: What if

    /// The model after a change.
    public func changed(_ change: WhatIf) throws(PlanRefusal) -> Planner {
        var planner = self
        func place(_ name: String) throws(PlanRefusal) -> Int {
            guard let place = stations.firstIndex(where: { $0.name == name }) else {
                throw PlanRefusal(
                    "\(name): no such workload; known are \(stations.map(\.name).joined(separator: ", "))")
            }
            return place
        }
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
        case .split(let service, let to, let share):
            var members: [Int] = []
            for name in service { members.append(try place(name)) }
            let target = try place(to)
            guard members.contains(target), members.count > 1 else {
                throw PlanRefusal("\(to) must be one of \(service.joined(separator: ",")), and not the only one")
            }
            for row in calls.indices {
                let all = members.reduce(0) { $0 + calls[row][$1] }
                let others = all - calls[row][target]
                planner.calls[row][target] = all * share
                for member in members where member != target {
                    let part = others > 0 ? calls[row][member] / others : 1 / Double(members.count - 1)
                    planner.calls[row][member] = all * (1 - share) * part
                }
            }
        }
        return planner
    }

    /// The model with the requests from outside that were observed at another time; workloads that were not are as before.
    public func withLoad(of observations: [WorkloadObservation]) -> Planner {
        var planner = self
        let rates = Dictionary(observations.map { ($0.name, $0.rate) }, uniquingKeysWith: { first, _ in first })
        for place in stations.indices {
            guard let rate = rates[stations[place].name] else { continue }
            let incoming = stations.indices.reduce(0) { $0 + (rates[stations[$1].name] ?? 0) * calls[$1][place] }
            planner.stations[place].external = max(0, rate - incoming)
        }
        return planner
    }

    // MARK: Solving

    /// Requests a second that each workload takes in: what comes from outside, and what is called for it.
    func rates() throws(PlanRefusal) -> [Double] {
        var matrix: [[Double]] = []
        for row in calls.indices {
            matrix.append(calls.indices.map { (row == $0 ? 1 : 0) - calls[$0][row] })
        }
        return try Self.solve(matrix, stations.map(\.external))
    }

    /// How often each workload is asked for one request that comes in at the place.
    public func visits(from name: String) throws(PlanRefusal) -> [String: Double] {
        var planner = self
        for place in stations.indices { planner.stations[place].external = stations[place].name == name ? 1 : 0 }
        return Dictionary(
            zip(stations.map(\.name), try planner.rates()), uniquingKeysWith: { first, _ in first })
    }

    /// Times, loads and numbers of each workload; refused when one is saturated.
    public func predict() throws(PlanRefusal) -> [WorkloadPrediction] {
        let rates = try rates()
        var own: [Double] = []
        for (station, rate) in zip(stations, rates) {
            let load = rate * station.demand / 1000 / station.replicas
            guard load < Self.utilisationMax else {
                throw PlanRefusal(
                    "\(station.name) is the bottleneck: \(NumberText.fixed(rate, 1)) requests a second would keep its \(Int(station.replicas)) pods busy to "
                        + "\(NumberText.fixed(load * 100, 0)) %; at least \(Int((rate * station.demand / 1000 / 0.8).rounded(.up))) pods are needed to stay below 80 %"
                )
            }
            own.append(station.fixed + station.demand / (1 - load))
        }
        var matrix: [[Double]] = []
        for row in calls.indices {
            matrix.append(calls.indices.map { (row == $0 ? 1 : 0) - stations[row].overlap * calls[row][$0] })
        }
        let responses = try Self.solve(matrix, own)
        return stations.enumerated().map { place, station in
            WorkloadPrediction(
                name: station.name, rate: rates[place],
                utilisation: station.isDemandKnown ? rates[place] * station.demand / 1000 / station.replicas : nil,
                response: responses[place], p99: responses[place] * station.tail,
                inside: rates[place] * responses[place] / 1000,
                capacity: station.isDemandKnown && station.demand > 0 ? 1000 * station.replicas / station.demand : nil)
        }
    }

    /// By how much the model misses what was observed at another time, as a share of it, for each workload.
    public func errors(at observations: [WorkloadObservation]) throws(PlanRefusal) -> [String: Double] {
        var errors: [String: Double] = [:]
        for predicted in try withLoad(of: observations).predict() {
            guard let seen = observations.first(where: { $0.name == predicted.name }), seen.response > 0 else {
                continue
            }
            errors[predicted.name] = abs(predicted.response - seen.response) / seen.response
        }
        return errors
    }

    /// The pods of each workload with which the mean of one workload's answers is below a target (milliseconds), nothing added where it is not needed.
    public func replicas(for name: String, below target: Double, isP99: Bool) throws(PlanRefusal) -> [String: Int] {
        var planner = self
        for _ in 0..<200 {
            if let predictions = try? planner.predict() {
                guard let found = predictions.first(where: { $0.name == name }) else {
                    throw PlanRefusal("\(name): no such workload")
                }
                if (isP99 ? found.p99 : found.response) < target {
                    return Dictionary(
                        planner.stations.map { ($0.name, Int($0.replicas)) }, uniquingKeysWith: { first, _ in first })
                }
            }
            // The pod that takes most of the time that load adds.
            let rates = try planner.rates()
            func gain(_ place: Int) -> Double {
                let station = planner.stations[place]
                let load = rates[place] * station.demand / 1000
                let (now, then) = (load / station.replicas, load / (station.replicas + 1))
                guard now < 1 else { return .infinity }
                return rates[place] * station.demand * (1 / (1 - now) - 1 / (1 - then))
            }
            guard let place = planner.stations.indices.max(by: { gain($0) < gain($1) }), gain(place) > 1e-3 else {
                break
            }
            planner.stations[place].replicas += 1
        }
        throw PlanRefusal(
            "no number of pods brings \(name) below \(NumberText.fixed(target, 0)) ms: what it waits for is not the processor"
        )
    }

    /// The largest eigenvalue's size of a matrix without negative numbers.
    static func spectralRadius(_ matrix: [[Double]]) -> Double {
        guard !matrix.isEmpty else { return 0 }
        // One more on the diagonal: otherwise the iteration would not settle where calls go round in a circle.
        var vector = Array(repeating: 1.0, count: matrix.count)
        var radius = 1.0
        for _ in 0..<2000 {
            let next = matrix.enumerated().map { row, numbers in
                vector[row] + zip(numbers, vector).reduce(0) { $0 + $1.0 * $1.1 }
            }
            let largest = next.max() ?? 0
            guard largest.isFinite, largest > 0 else { return .infinity }
            radius = largest
            vector = next.map { $0 / largest }
        }
        return radius - 1
    }

    /// Gauss' elimination with the largest pivot.
    static func solve(_ matrix: [[Double]], _ right: [Double]) throws(PlanRefusal) -> [Double] {
        var rows = zip(matrix, right).map { $0 + [$1] }
        let count = rows.count
        for column in 0..<count {
            let pivot = (column..<count).max { abs(rows[$0][column]) < abs(rows[$1][column]) } ?? column
            guard abs(rows[pivot][column]) > 1e-12 else {
                throw PlanRefusal("the calls have no solution: a circle of calls does not die out")
            }
            rows.swapAt(pivot, column)
            for row in (column + 1)..<max(count, column + 1) {
                let factor = rows[row][column] / rows[column][column]
                guard factor != 0 else { continue }
                for place in column...count { rows[row][place] -= factor * rows[column][place] }
            }
        }
        var solution = Array(repeating: 0.0, count: count)
        for row in stride(from: count - 1, through: 0, by: -1) {
            let known = ((row + 1)..<max(count, row + 1)).reduce(0) { $0 + rows[row][$1] * solution[$1] }
            solution[row] = (rows[row][count] - known) / rows[row][row]
        }
        guard solution.allSatisfy(\.isFinite) else { throw PlanRefusal("the calls have no solution") }
        return solution
    }
}
