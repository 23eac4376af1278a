extension Planner {
    /// Steps that calls which overlap are solved in at most; each comes nearer by the spectral radius of the calls.
    private static let stepsMax = 100_000

    /// Requests a second that each workload takes in: what comes from outside, and what is called for it, further tries included.
    func rates() throws(PlanRefusal) -> [Double] {
        let tries = tries
        var matrix: [[Double]] = []
        for row in calls.indices {
            matrix.append(calls.indices.map { (row == $0 ? 1 : 0) - tries[$0][row] })
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

    /// Times, loads and numbers of each workload; refused when one is saturated, or a node too busy.
    public func predict() throws(PlanRefusal) -> [WorkloadPrediction] {
        let predictions = try times()
        for node in loads(predictions) {
            guard let busy = node.busy, busy >= Self.nodeBusyMax else { continue }
            throw PlanRefusal(
                "the processors of node \(node.name), which all its pods share, would be busy to \(NumberText.fixed(busy * 100, 0)) %: above "
                    + "\(Int(Self.nodeBusyMax * 100)) % services slow each other down, and no prediction holds; use more processors or nodes"
            )
        }
        return predictions
    }

    /// How busy each node is then.
    public func loads(_ predictions: [WorkloadPrediction]) -> [NodePrediction] {
        let rates = Dictionary(predictions.map { ($0.name, $0.rate) }, uniquingKeysWith: { first, _ in first })
        return Set(stations.flatMap(\.nodes.keys)).union(nodes.map(\.name)).sorted().map { name in
            let node = nodes.first { $0.name == name }
            let cores = stations.reduce(0) { $0 + $1.cores(on: name, at: rates[$1.name] ?? $1.rate) }
            return NodePrediction(
                name: name, busy: node.map { ($0.others + cores) / $0.processors },
                pods: Int(exactly: stations.reduce(0) { $0 + ($1.nodes[name] ?? 0) }.rounded(.down)) ?? .max)
        }
    }

    /// The same without a look at the nodes.
    func times() throws(PlanRefusal) -> [WorkloadPrediction] {
        let rates = try rates()
        var own: [Double] = []
        for (station, rate) in zip(stations, rates) {
            let load = rate * station.demand / 1000 / station.replicas
            guard load < Self.utilisationMax else {
                throw PlanRefusal(
                    "\(station.name) is the bottleneck: \(NumberText.fixed(rate, 1)) requests a second would keep its \(NumberText.fixed(station.replicas, 0)) pods busy to "
                        + "\(NumberText.fixed(load * 100, 0)) %; at least \(NumberText.fixed((rate * station.demand / 1000 / 0.8).rounded(.up), 0)) pods are needed to stay below 80 %"
                )
            }
            own.append(station.fixed + station.demand / (1 - load))
        }
        let responses = try responses(own)
        return stations.enumerated().map { place, station in
            let response = responses[place]
            let (shifted, scaled) = (
                max(response, station.response * (station.tail - 1) + response), response * station.tail
            )
            let retries = calls.indices.reduce(0) {
                $0 + rates[$1] * calls[$1][place] * (attempts[$1][place] - 1)
            }
            return WorkloadPrediction(
                name: station.name, rate: rates[place], retries: retries,
                utilisation: station.isDemandKnown ? rates[place] * station.demand / 1000 / station.replicas : nil,
                response: response, p99: scaled, p99Bounds: min(shifted, scaled)...max(shifted, scaled),
                inside: rates[place] * response / 1000,
                capacity: station.isDemandKnown && station.demand > 0 ? 1000 * station.replicas / station.demand : nil)
        }
    }

    /// R of R = P·R + L; where calls overlap, of R = f(R) + L with an f that is at most P·R and grows with R.
    private func responses(_ own: [Double]) throws(PlanRefusal) -> [Double] {
        let tries = tries
        guard stations.contains(where: { $0.groups.contains { !$0.isSum } }) else {
            var matrix: [[Double]] = []
            for row in calls.indices {
                var numbers = calls.indices.map { row == $0 ? 1.0 : 0.0 }
                for group in stations[row].groups {
                    for place in group.members { numbers[place] -= group.factor * tries[row][place] }
                }
                matrix.append(numbers)
            }
            return try Self.solve(matrix, own)
        }
        var responses = own
        for _ in 0..<Self.stepsMax {
            var moved = 0.0
            for row in stations.indices where !stations[row].groups.isEmpty {
                let times = zip(tries[row], responses).map { $0 * $1 }
                let next = own[row] + stations[row].groups.reduce(0) { $0 + $1.time(times) }
                moved = max(moved, abs(next - responses[row]) / max(next, 1e-9))
                responses[row] = next
            }
            if moved < 1e-12 { return responses }
        }
        throw PlanRefusal("the calls have no solution: a circle of calls hardly dies out")
    }

    /// By how much the model misses what was observed at another time, as a share of it, for each workload.
    public func errors(at observations: [WorkloadObservation]) throws(PlanRefusal) -> [String: Double] {
        var errors: [String: Double] = [:]
        for predicted in try withLoad(of: observations).times() {
            guard let seen = observations.first(where: { $0.name == predicted.name }), seen.response > 0 else {
                continue
            }
            errors[predicted.name] = abs(predicted.response - seen.response) / seen.response
        }
        return errors
    }

    /// By how much the model of one half of the window misses the other.
    ///
    /// Empty when a half has too little for that; refused when the fit is bad.
    public static func fit(
        earlier: [WorkloadObservation], later: [WorkloadObservation]
    ) throws(PlanRefusal) -> [String: Double] {
        guard let planner = try? Planner(earlier), let errors = try? planner.errors(at: later) else { return [:] }
        for seen in later.sorted(by: { $0.name < $1.name }) where seen.requests >= requestsMin {
            guard let error = errors[seen.name], error > errorMax, error * seen.response > errorFloor else { continue }
            throw PlanRefusal(
                "\(seen.name): what the first half of the window says misses the second by \(NumberText.fixed(error * 100, 0)) %: something else changed its time; "
                    + "take a window in which nothing was changed (skein stat and skein traces show what it was)")
        }
        return errors
    }

    /// The pods of each workload with which the mean of one workload's answers is below a target (milliseconds), nothing added where it is not needed.
    public func replicas(for name: String, below target: Double, isP99: Bool) throws(PlanRefusal) -> [String: Int] {
        var planner = self
        for _ in 0..<200 {
            if let predictions = try? planner.times() {
                guard let found = predictions.first(where: { $0.name == name }) else {
                    throw PlanRefusal("\(name): no such workload")
                }
                if (isP99 ? found.p99 : found.response) < target {
                    // More pods do not make the processors of the nodes faster.
                    _ = try planner.predict()
                    return Dictionary(
                        planner.stations.map { ($0.name, Int(exactly: $0.replicas.rounded(.up)) ?? .max) },
                        uniquingKeysWith: { first, _ in first })
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
