public import Serialization

/// From the series to what the planner is told.
public enum PlanObservations {
    /// What was seen in so many ticks up to one.
    ///
    /// - Parameter workloads: the workloads behind a host, keys `namespace/workload`, with the number of their pods on each node.
    /// - Parameter groups: which calls of a workload overlap, by the same names.
    public static func observe(
        _ store: SeriesStore, now tick: Int64, ticks: Int64, workloads: (String) -> [String: [String: Int]],
        groups: [String: [CallGroup]] = [:]
    ) -> [WorkloadObservation] {
        let view = TrafficView(store, now: tick, ticks: ticks)
        var cpu: [String: Double] = [:]
        for (labels, value) in store.increases("skein_pod_cpu_seconds_total", after: tick - ticks, upTo: tick) {
            cpu["\(labels["namespace"])/\(labels["workload"])", default: 0] += value
        }
        var retries: [TrafficEdge: Double] = [:]
        for (labels, value) in store.increases("skein_edge_retries_total", after: tick - ticks, upTo: tick)
        where labels["reporter"] == "source" {
            retries[TrafficEdge(labels), default: 0] += value
        }
        var pods: [String: [String: Int]] = [:]
        var calls: [String: [String: (count: Double, time: Double, retries: Double)]] = [:]
        for (edge, figures) in view.edges {
            let behind = workloads(edge.host)
            pods.merge(behind) { _, new in new }
            // Callers share the workloads of a service as these have shared all requests.
            let rates = behind.keys.map { ($0, view.workloads[$0]?.requests ?? 0) }
            let all = rates.reduce(0) { $0 + $1.1 }
            guard all > 0 else { continue }
            let caller = "\(edge.sourceNamespace)/\(edge.source)"
            for (name, requests) in rates where requests > 0 {
                let share = requests / all
                var call = calls[caller]?[name] ?? (0, 0, 0)
                call.count += share * figures.requests
                call.time += share * figures.requests * (figures.times.mean ?? 0)
                call.retries += share * (retries[edge] ?? 0)
                calls[caller, default: [:]][name] = call
            }
        }
        return view.workloads.sorted { $0.key < $1.key }.filter { $0.value.requests > 0 }.map { key, figures in
            let own = calls[key] ?? [:]
            let nodes = pods[key] ?? [:]
            return WorkloadObservation(
                name: key, rate: figures.rate, requests: figures.requests, response: figures.times.mean ?? 0,
                p99: figures.times.quantile(0.99) ?? 0, demand: cpu[key].map { $0 * 1000 / figures.requests },
                replicas: nodes.isEmpty ? 1 : nodes.values.reduce(0, +), nodes: nodes.filter { !$0.key.isEmpty },
                calls: own.mapValues {
                    .init(
                        count: $0.count / figures.requests, time: $0.count > 0 ? $0.time / $0.count : 0,
                        attempts: $0.count > 0 ? 1 + $0.retries / $0.count : 1)
                }, groups: groups[key])
        }
    }

    /// How busy the processors of each node were in so many ticks up to one, each tick as much as requests came in it.
    ///
    /// Without requests all ticks count alike.
    public static func nodes(_ store: SeriesStore, now tick: Int64, ticks: Int64) -> [NodeObservation] {
        let requests =
            store.growth("skein_edge_requests_total", after: tick - ticks, upTo: tick) { labels in
                labels["reporter"] == "destination" ? true : nil
            }[true] ?? [:]
        let modes = store.growth("skein_node_cpu_seconds_total", after: tick - ticks, upTo: tick) { labels in
            [labels["node"], ["idle", "iowait"].contains(labels["mode"]) ? "idle" : "busy"]
        }
        return store.newest("skein_node_processors", since: tick - 2).map { labels, processors in
            let node = labels["node"]
            let (busy, idle) = (modes[[node, "busy"]] ?? [:], modes[[node, "idle"]] ?? [:])
            var (sum, weights) = (0.0, 0.0)
            for tick in Set(busy.keys).union(idle.keys) {
                let all = (busy[tick] ?? 0) + (idle[tick] ?? 0)
                let weight = requests.isEmpty ? 1 : requests[tick] ?? 0
                guard all > 0, weight > 0 else { continue }
                sum += weight * (busy[tick] ?? 0) / all
                weights += weight
            }
            return NodeObservation(name: node, processors: processors, busy: weights > 0 ? sum / weights : nil)
        }.sorted { $0.name < $1.name }
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
                    "nodes": .object(observed.nodes.mapValues { .integer(Int64($0)) }),
                    "calls": .object(
                        observed.calls.mapValues {
                            ["count": .number($0.count), "time": .number($0.time), "attempts": .number($0.attempts)]
                        }),
                    "groups": observed.groups.map { groups in
                        .array(
                            groups.map {
                                ["called": .array($0.called.map { .string($0) }), "share": .number($0.share)]
                            })
                    } ?? .null,
                ]
            })
    }

    /// Nodes as an object.
    public static func json(_ nodes: [NodeObservation]) -> JSON {
        .array(
            nodes.map {
                [
                    "name": .string($0.name), "processors": $0.processors.map { .number($0) } ?? .null,
                    "busy": $0.busy.map { .number($0) } ?? .null,
                ]
            })
    }

    /// Nodes from such an object.
    public static func readNodes(_ json: JSON) -> [NodeObservation] {
        (json.array ?? []).compactMap { item in
            item["name"]?.string.map {
                NodeObservation(name: $0, processors: item["processors"]?.double, busy: item["busy"]?.double)
            }
        }
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
                    count: figures["count"]?.double ?? 0, time: figures["time"]?.double ?? 0,
                    attempts: max(1, figures["attempts"]?.double ?? 1))
            }
            let groups = item["groups"]?.array?.map { group in
                CallGroup(
                    (group["called"]?.array ?? []).compactMap { $0.string.map(short) },
                    share: group["share"]?.double ?? 1)
            }
            return WorkloadObservation(
                name: short(name), rate: item["rate"]?.double ?? 0, requests: item["requests"]?.double ?? 0,
                response: item["response"]?.double ?? 0, p99: item["p99"]?.double ?? 0,
                demand: item["demand"]?.double, replicas: max(1, item["replicas"]?.int ?? 1),
                nodes: (item["nodes"]?.object ?? [:]).compactMapValues(\.int), calls: calls, groups: groups)
        }
    }
}
