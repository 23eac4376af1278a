public import Serialization

/// From the series to what the planner is told.
public enum PlanObservations {
    /// What was seen in so many ticks up to one.
    ///
    /// - Parameter workloads: the workloads behind a host, keys `namespace/workload`, with the number of their pods.
    public static func observe(
        _ store: SeriesStore, now tick: Int64, ticks: Int64, workloads: (String) -> [String: Int]
    ) -> [WorkloadObservation] {
        let view = TrafficView(store, now: tick, ticks: ticks)
        var cpu: [String: Double] = [:]
        for (labels, value) in store.increases("skein_pod_cpu_seconds_total", after: tick - ticks, upTo: tick) {
            cpu["\(labels["namespace"])/\(labels["workload"])", default: 0] += value
        }
        var pods: [String: Int] = [:]
        var calls: [String: [String: (count: Double, time: Double)]] = [:]
        for (edge, figures) in view.edges {
            let behind = workloads(edge.host)
            pods.merge(behind) { _, new in new }
            // Callers share the workloads of a service as these have shared all requests.
            let rates = behind.keys.map { ($0, view.workloads[$0]?.requests ?? 0) }
            let all = rates.reduce(0) { $0 + $1.1 }
            guard all > 0 else { continue }
            for (name, requests) in rates {
                let share = figures.requests * requests / all
                calls["\(edge.sourceNamespace)/\(edge.source)", default: [:]][name, default: (0, 0)].count += share
                calls["\(edge.sourceNamespace)/\(edge.source)"]?[name]?.time += share * (figures.times.mean ?? 0)
            }
        }
        return view.workloads.sorted { $0.key < $1.key }.filter { $0.value.requests > 0 }.map { key, figures in
            let own = calls[key] ?? [:]
            return WorkloadObservation(
                name: key, rate: figures.rate, requests: figures.requests, response: figures.times.mean ?? 0,
                p99: figures.times.quantile(0.99) ?? 0, demand: cpu[key].map { $0 * 1000 / figures.requests },
                replicas: pods[key] ?? 1,
                calls: own.mapValues {
                    .init(count: $0.count / figures.requests, time: $0.count > 0 ? $0.time / $0.count : 0)
                })
        }
    }

    /// As an object, for `skein plan`.
    public static func json(_ observations: [WorkloadObservation]) -> JSON {
        .array(
            observations.map { observed in
                [
                    "name": .string(observed.name), "rate": .number(observed.rate),
                    "requests": .number(observed.requests),
                    "response": .number(observed.response), "p99": .number(observed.p99),
                    "demand": observed.demand.map { .number($0) } ?? .null,
                    "replicas": .integer(Int64(observed.replicas)),
                    "calls": .object(
                        observed.calls.mapValues { ["count": .number($0.count), "time": .number($0.time)] }),
                ]
            })
    }

    /// From such an object; names without their namespace where that is clear.
    public static func read(_ json: JSON) -> [WorkloadObservation] {
        let items = json.array ?? []
        let names = items.compactMap { $0["name"]?.string }
        func short(_ name: String) -> String {
            let last = name.split(separator: "/").last.map(String.init) ?? name
            return names.count { $0.hasSuffix("/\(last)") } > 1 ? name : last
        }
        return items.compactMap { item in
            guard let name = item["name"]?.string else { return nil }
            var calls: [String: WorkloadObservation.Call] = [:]
            for (called, figures) in item["calls"]?.object ?? [:] {
                calls[short(called)] = .init(
                    count: figures["count"]?.double ?? 0, time: figures["time"]?.double ?? 0)
            }
            return WorkloadObservation(
                name: short(name), rate: item["rate"]?.double ?? 0, requests: item["requests"]?.double ?? 0,
                response: item["response"]?.double ?? 0, p99: item["p99"]?.double ?? 0,
                demand: item["demand"]?.double, replicas: max(1, item["replicas"]?.int ?? 1), calls: calls)
        }
    }
}
