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
        changes: [String]
    ) -> JSON {
        do throws(PlanRefusal) {
            let planner = try Planner(observed)
            var changed = planner
            for change in changes { changed = try changed.changed(try WhatIf(change)) }
            let errors = try? Planner(earlier).errors(at: later)
            let (now, then) = (try planner.predict(), try changed.predict())
            return [
                "refusal": .null,
                "workloads": .array(
                    zip(now, then).map { now, then in
                        [
                            "name": .string(now.name), "requestsPerSecond": .number(then.rate),
                            "utilisation": then.utilisation.map { .number($0) } ?? .null,
                            "nowMilliseconds": .number(now.response), "meanMilliseconds": .number(then.response),
                            "p99Milliseconds": .number(then.p99), "inside": .number(then.inside),
                            "capacity": then.capacity.map { .number($0) } ?? .null,
                            "error": errors?[now.name].map { .number($0) } ?? .null,
                        ]
                    }), "curve": .array(curve(changed, observed, then)),
                "notes": .array(changed.notes.map { .string($0) }),
            ]
        } catch {
            return ["refusal": .string("\(error)")]
        }
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
