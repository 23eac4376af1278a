public import Serialization

/// What the dashboard's planner shows: the table of `skein plan`, and latency over load.
///
/// Pure.
public enum PlanView {
    /// The loads of the curve, as multiples of the requests that come in now.
    static let loads = (1...30).map { Double($0) * 0.2 }
    /// Workloads in the plot at most: the slowest.
    static let curvesMax = 5

    /// The prediction after some changes, or why there is none.
    public static func json(
        _ observed: [WorkloadObservation], earlier: [WorkloadObservation], later: [WorkloadObservation],
        nodes: [NodeObservation] = [], changes: [String]
    ) -> JSON {
        do throws(PlanRefusal) {
            let planner = try Planner(observed, nodes: nodes)
            var changed = planner
            for change in changes { changed = try changed.changed(try WhatIf(change)) }
            let errors = try Planner.fit(earlier: earlier, later: later)
            let (now, then) = (try planner.predict(), try changed.predict())
            var members = table((planner, now), (changed, then), errors)
            members["refusal"] = .null
            members["curve"] = .array(curve(changed, observed, then))
            return .object(members)
        } catch {
            return ["refusal": .string("\(error)")]
        }
    }

    /// The members of `skein plan -o json`.
    public static func table(
        _ now: (planner: Planner, times: [WorkloadPrediction]), _ then: (planner: Planner, times: [WorkloadPrediction]),
        _ errors: [String: Double]
    ) -> [String: JSON] {
        let busy = Dictionary(
            now.planner.loads(now.times).map { ($0.name, $0.busy) }, uniquingKeysWith: { first, _ in first })
        return [
            "workloads": .array(
                zip(now.times, then.times).map { now, then in
                    [
                        "name": .string(now.name), "requestsPerSecond": .number(then.rate),
                        "retriesPerSecond": .number(then.retries),
                        "utilisation": then.utilisation.map { .number($0) } ?? .null,
                        "nowMilliseconds": .number(now.response), "meanMilliseconds": .number(then.response),
                        "p99Milliseconds": .number(then.p99),
                        "p99Bounds": [.number(then.p99Bounds.lowerBound), .number(then.p99Bounds.upperBound)],
                        "inside": .number(then.inside), "capacity": then.capacity.map { .number($0) } ?? .null,
                        "error": errors[now.name].map { .number($0) } ?? .null,
                    ]
                }),
            "nodes": .array(
                then.planner.loads(then.times).map { node in
                    [
                        "name": .string(node.name), "pods": .integer(Int64(node.pods)),
                        "nowBusy": busy[node.name].flatMap { $0 }.map { .number($0) } ?? .null,
                        "busy": node.busy.map { .number($0) } ?? .null,
                    ]
                }),
            "notes": .array(then.planner.notes.map { .string($0) }),
        ]
    }

    /// Mean times at each load up to where a workload is saturated.
    private static func curve(
        _ planner: Planner, _ observed: [WorkloadObservation], _ predicted: [WorkloadPrediction]
    ) -> [JSON] {
        let slowest = predicted.sorted { ($1.response, $0.name) < ($0.response, $1.name) }.prefix(curvesMax)
        var points: [String: [JSON]] = [:]
        for load in loads {
            let scaled = observed.map { one in
                var one = one
                one.rate *= load
                return one
            }
            guard let times = try? planner.withLoad(of: scaled).predict() else { break }
            for time in times { points[time.name, default: []].append([.number(load), .number(time.response)]) }
        }
        return slowest.map { ["name": .string($0.name), "points": .array(points[$0.name] ?? [])] }
    }
}
