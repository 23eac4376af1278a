import KubernetesAPI
import Serialization

// The columns of what runs pods, as kubectl's users know them.
extension TableColumn {
    static let statefulSets: [TableColumn] =
        [
            name,
            text("Ready") {
                "\($0.status["readyReplicas"]?.int ?? 0)/\(StatefulSetSpec(json: $0.spec).replicas)"
            }, age,
        ] + template.prefix(2)

    static let daemonSets: [TableColumn] =
        [
            name, count("Desired", "desiredNumberScheduled"), count("Current", "currentNumberScheduled"),
            count("Ready", "numberReady"), count("Up-to-date", "updatedNumberScheduled"),
            count("Available", "numberAvailable"),
            text("Node Selector") { labels(DaemonSetSpec(json: $0.spec).template.spec.nodeSelector) }, age,
        ] + template

    private static func count(_ title: String, _ field: String) -> TableColumn {
        number(title) { $0.status[field]?.int ?? 0 }
    }

    static let jobs: [TableColumn] =
        [
            name, text("Status") { jobStatus($0) },
            text("Completions") { object in
                let spec = JobSpec(json: object.spec)
                let done = object.status["succeeded"]?.int ?? 0
                if let wanted = spec.completions { return "\(done)/\(wanted)" }
                return spec.parallelism > 1 ? "\(done)/1 of \(spec.parallelism)" : "\(done)/1"
            },
            TableColumn("Duration") { object, now in
                guard let start = object.status["startTime"]?.string.flatMap({ Timestamp($0) }) else {
                    return .string("")
                }
                let end = object.status["completionTime"]?.string.flatMap { Timestamp($0) } ?? now
                return .string(Age.since(start.secondsText, end))
            }, age,
        ] + template

    private static func jobStatus(_ object: KubernetesObject) -> String {
        func has(_ type: String) -> Bool {
            (object.status["conditions"]?.array ?? []).contains { $0["type"]?.string == type && $0["status"] == "True" }
        }
        if has("Complete") { return "Complete" }
        if has("Failed") { return "Failed" }
        if object.metadata.deletionTimestamp != nil { return "Terminating" }
        if has("Suspended") { return "Suspended" }
        if has("FailureTarget") { return "FailureTarget" }
        if has("SuccessCriteriaMet") { return "SuccessCriteriaMet" }
        return "Running"
    }

    static let autoscalers: [TableColumn] = [
        name,
        text("Reference") {
            let target = AutoscalerSpec(json: $0.spec).target
            return "\(target.kind)/\(target.name)"
        }, text("Targets") { targets($0) },
        text("MinPods") { "\(AutoscalerSpec(json: $0.spec).minReplicas)" },
        number("MaxPods") { AutoscalerSpec(json: $0.spec).maxReplicas },
        number("Replicas") { $0.status["currentReplicas"]?.int ?? 0 }, age,
    ]

    /// What is and what should be, of each metric: `cpu: 12%/80%, 3500m/5`.
    private static func targets(_ object: KubernetesObject) -> String {
        let spec = AutoscalerSpec(json: object.spec)
        let measured = object.status["currentMetrics"]?.array ?? []
        let parts = spec.metrics.enumerated().map { position, metric in
            let current =
                measured.indices.contains(position) ? AutoscalerMetric(json: measured[position]).source["current"] : nil
            let label = metric.type.hasSuffix("Resource") ? metric.name + ": " : ""
            if let percent = metric.averageUtilization {
                let now = current?["averageUtilization"]?.int.map { "\($0)%" } ?? "<unknown>"
                return "\(label)\(now)/\(percent)%"
            }
            let target = metric.source["target"] ?? .null
            if let each = target["averageValue"]?.string {
                let suffix = metric.type == "Object" ? " (avg)" : ""
                return "\(label)\(current?["averageValue"]?.string ?? "<unknown>")/\(each)\(suffix)"
            }
            return "\(label)\(current?["value"]?.string ?? "<unknown>")/\(target["value"]?.string ?? "<unset>")"
        }
        if parts.count > 2 { return parts.prefix(2).joined(separator: ", ") + " + \(parts.count - 2) more..." }
        return parts.isEmpty ? "<none>" : parts.joined(separator: ", ")
    }
}
