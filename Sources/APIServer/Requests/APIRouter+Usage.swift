import KubernetesAPI
public import Serialization
import Store

/// What pods and machines use now, as the agents of the nodes have measured it.
public struct UsageReport: Sendable {
    /// What one container or machine uses.
    public struct Figures: Sendable, Hashable {
        /// Billionths of a processor, on average over `seconds`.
        public var cpuNano: Int64
        /// Bytes in memory that cannot be given up.
        public var memoryBytes: Int64
        /// Over how long the processor time was measured.
        public var seconds: Double

        /// Figures; what is no number counts as nothing.
        public init(cpuMilli: Double, memoryBytes: Double, seconds: Double) {
            func whole(_ value: Double) -> Int64 { Int64(exactly: max(0, value).rounded()) ?? 0 }
            cpuNano = whole(cpuMilli * 1e6)
            self.memoryBytes = whole(memoryBytes)
            self.seconds = max(0, seconds)
        }

        /// As `metrics.k8s.io` tells it: whole nanocores, and the memory in Ki.
        var quantities: JSON {
            ["cpu": .string("\(cpuNano)n"), "memory": .string("\(memoryBytes / 1024)Ki")]
        }
    }

    /// Containers by their names, of pods by their uids.
    public var pods: [String: [String: Figures]] = [:]
    /// Machines by their names.
    public var nodes: [String: Figures] = [:]
    /// When it was measured.
    public var time: Timestamp

    /// A report in which nothing is measured yet.
    public init(time: Timestamp) { self.time = time }
}

/// A question about what pods or machines use: it is answered when they have been measured.
public struct UsageQuestion: Sendable {
    let request: APIRequest
    let target: APIRouter.Target
}

// `kubectl top`: the group metrics.k8s.io, which Kubernetes has from an aggregated server.
extension APIRouter {
    /// Takes a question whose asker may ask it.
    func usage(_ request: APIRequest, _ target: Target) throws(StatusError) -> APIResponse {
        guard request.method == "GET" || request.method == "HEAD", !request.flag("watch") else {
            throw .methodNotAllowed()
        }
        _ = try form(request)
        _ = try Selection(request.query, target.kind)
        return APIResponse(
            contentType: "application/json", body: .usage(UsageQuestion(request: request, target: target)))
    }

    /// Answers a question with what was measured.
    ///
    /// Pods and machines that were not measured are left out of lists, and not found by their names.
    public func answer(_ question: UsageQuestion, _ report: UsageReport) -> APIResponse {
        do throws(StatusError) {
            return try measured(question.request, question.target, report)
        } catch {
            return .failure(error)
        }
    }

    private func measured(
        _ request: APIRequest, _ target: Target, _ report: UsageReport
    ) throws(StatusError) -> APIResponse {
        let base: ResourceKind = target.kind == .nodeMetrics ? .node : .pod
        let form = try form(request)
        if let name = target.name {
            guard let stored = registry.store.get(registry.key(base, target.namespace ?? "", name)),
                let object = Self.metrics(target.kind, stored.object, report)
            else {
                let shown = (target.namespace.map { $0 + "/" } ?? "") + name
                throw StatusError(
                    code: 404, reason: "NotFound",
                    message: "\(target.kind.kind.lowercased()).metrics.k8s.io \"\(shown)\" not found",
                    details: [
                        "name": .string(shown), "group": "metrics.k8s.io",
                        "kind": .string(target.kind.kind.lowercased()),
                    ])
            }
            return .json(form.one(object, columns: columns(target), now: registry.now()))
        }
        let selection = try Selection(request.query, target.kind)
        let found = registry.store.list(base.storeResource, namespace: target.namespace)
            .filter { selection.matches($0.object) }.compactMap { Self.metrics(target.kind, $0.object, report) }
        return .json(form.many(found, target.kind, columns: columns(target), now: registry.now()))
    }

    /// What an object uses; nil when it was not measured.
    private static func metrics(_ kind: ResourceKind, _ object: JSON, _ report: UsageReport) -> JSON? {
        let meta = ObjectMeta(json: object["metadata"] ?? .null)
        var metadata: JSON = ["name": .string(meta.name), "creationTimestamp": .string(report.time.secondsText)]
        metadata["labels"] = object["metadata"]?["labels"]
        var answer: JSON = [
            "kind": .string(kind.kind), "apiVersion": .string(kind.apiVersion),
            "timestamp": .string(report.time.secondsText),
        ]
        func window(_ seconds: Double) -> JSON {
            // As Go writes durations of seconds, to the millisecond.
            let milliseconds = Int64(exactly: (seconds * 1000).rounded()) ?? 0
            let rest = milliseconds % 1000
            var text = "\(milliseconds / 1000)"
            if rest > 0 {
                let digits = String(1000 + rest).dropFirst()
                text += "." + digits.reversed().drop { $0 == "0" }.reversed()
            }
            return .string(text + "s")
        }
        if kind == .nodeMetrics {
            guard let figures = report.nodes[meta.name] else { return nil }
            answer["window"] = window(figures.seconds)
            answer["usage"] = figures.quantities
        } else {
            guard let containers = report.pods[meta.uid], !containers.isEmpty else { return nil }
            metadata["namespace"] = .string(meta.namespace)
            answer["window"] = window(containers.values.map(\.seconds).max() ?? 0)
            answer["containers"] = .array(
                containers.sorted { $0.key < $1.key }.map { name, figures in
                    ["name": .string(name), "usage": figures.quantities]
                })
        }
        answer["metadata"] = metadata
        return answer
    }
}
