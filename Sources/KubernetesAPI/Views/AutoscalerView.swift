internal import Serialization

/// `autoscaling/v1` as another view of `autoscaling/v2`, which is what is stored: older clients write and describe that.
///
/// What v1 cannot say stands in an annotation of its view, so that nothing is lost when the view is written back.
enum AutoscalerView {
    static let annotation = "skein.dev/autoscaling-v2"

    /// What is stored for an object as clients write it.
    static func stored(_ json: JSON) -> JSON {
        var json = json
        var spec = json["spec"] ?? .object([:])
        let kept =
            (json["metadata"]?["annotations"]?[annotation]?.string).flatMap { try? JSON.parse($0) } ?? .object([:])
        var metrics = kept["metrics"]?.array ?? []
        if let percent = spec["targetCPUUtilizationPercentage"], !percent.isNull {
            let cpu: JSON = [
                "type": "Resource",
                "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": percent]],
            ]
            metrics.insert(cpu, at: 0)
        }
        spec["targetCPUUtilizationPercentage"] = nil
        spec["metrics"] = metrics.isEmpty ? JSON?.none : .array(metrics)
        spec["behavior"] = kept["behavior"]
        json["spec"] = spec
        if json["metadata"]?["annotations"]?[annotation] != nil {
            json["metadata"]?["annotations"]?[annotation] = nil
        }
        // Of the status of v1 nothing could be made; it is written in the stored version only.
        json["status"] = nil
        return json
    }

    /// What clients see of a stored object.
    static func shown(_ json: JSON) -> JSON {
        var json = json
        var spec = json["spec"] ?? .object([:])
        var metrics = spec["metrics"]?.array ?? []
        func isProcessor(_ metric: JSON) -> Bool {
            metric["resource"]?["name"] == "cpu"
                && (metric["resource"]?["target"]?["averageUtilization"] != nil
                    || metric["resource"]?["current"]?["averageUtilization"] != nil)
        }
        if let position = metrics.firstIndex(where: isProcessor) {
            spec["targetCPUUtilizationPercentage"] = metrics[position]["resource"]?["target"]?["averageUtilization"]
            metrics.remove(at: position)
        }
        var kept: JSON = [:]
        if !metrics.isEmpty { kept["metrics"] = .array(metrics) }
        if let behavior = spec["behavior"] { kept["behavior"] = behavior }
        spec["metrics"] = nil
        spec["behavior"] = nil
        json["spec"] = spec
        if kept != [:] {
            var metadata = json["metadata"] ?? .object([:])
            var annotations = metadata["annotations"] ?? .object([:])
            annotations[annotation] = .string(kept.text)
            metadata["annotations"] = annotations
            json["metadata"] = metadata
        }
        guard let status = json["status"] else { return json }
        var view: JSON = [:]
        for name in ["observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas"] {
            if let value = status[name] { view[name] = value }
        }
        let current = (status["currentMetrics"]?.array ?? []).first(where: isProcessor)
        if let percent = current?["resource"]?["current"]?["averageUtilization"] {
            view["currentCPUUtilizationPercentage"] = percent
        }
        json["status"] = view
        return json
    }
}
