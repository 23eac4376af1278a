public import Serialization

/// What a HorizontalPodAutoscaler wants.
public struct AutoscalerSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// What it scales.
    public var target: ScaleTarget { view("scaleTargetRef") ?? ScaleTarget(json: .object([:])) }
    /// The fewest replicas.
    public var minReplicas: Int { int("minReplicas") ?? 1 }
    /// The most replicas.
    public var maxReplicas: Int { int("maxReplicas") ?? 1 }
    /// What is measured; the metric that asks for most decides.
    public var metrics: [AutoscalerMetric] { views("metrics") }
    /// How fast it may grow.
    public var scaleUp: ScalingRules? { (json["behavior"]?["scaleUp"]).map { ScalingRules(json: $0) } }
    /// How fast it may shrink.
    public var scaleDown: ScalingRules? { (json["behavior"]?["scaleDown"]).map { ScalingRules(json: $0) } }
}

/// `CrossVersionObjectReference`: an object in the same namespace.
public struct ScaleTarget: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Its API version.
    public var apiVersion: String { string("apiVersion") }
    /// Its kind.
    public var kind: String { string("kind") }
    /// Its name.
    public var name: String { string("name") }
}

/// One metric with its target.
public struct AutoscalerMetric: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// `Resource`, `ContainerResource`, `Pods` or `Object`.
    public var type: String { string("type") }
    /// The member that `type` names.
    public var source: JSON {
        json[
            ["Resource": "resource", "ContainerResource": "containerResource", "Pods": "pods", "Object": "object"][type]
                ?? ""] ?? .null
    }
    /// `cpu`, `memory` or the metric's name.
    public var name: String { source["name"]?.string ?? source["metric"]?["name"]?.string ?? "" }
    /// The container that is measured; nil: the pod.
    public var container: String? { source["container"]?.string }
    /// The object that is described, of an `Object` metric.
    public var describedObject: ScaleTarget { ScaleTarget(json: source["describedObject"] ?? .null) }
    /// Percent of what the pods ask for.
    public var averageUtilization: Int? { source["target"]?["averageUtilization"]?.int }
    /// The amount for each pod.
    public var averageValue: Quantity? { source["target"]?["averageValue"]?.string.flatMap { Quantity($0) } }
    /// The amount altogether.
    public var value: Quantity? { source["target"]?["value"]?.string.flatMap { Quantity($0) } }
}

/// How fast the number of replicas may change in one direction.
public struct ScalingRules: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Seconds over which the most careful recommendation counts.
    public var stabilizationWindowSeconds: Int? { int("stabilizationWindowSeconds") }
    /// `Max`, `Min` or `Disabled`.
    public var selectPolicy: String { json["selectPolicy"]?.string ?? "Max" }
    /// How much may change in which time.
    public var policies: [ScalingPolicy] { views("policies") }
    /// The ratio of measured to wanted that changes nothing: 0.1 unless told.
    public var tolerance: Quantity? { json["tolerance"]?.string.flatMap { Quantity($0) } }
}

/// How much may change in which time.
public struct ScalingPolicy: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Whether `value` is percent, not pods.
    public var isPercent: Bool { string("type") == "Percent" }
    /// Pods or percent.
    public var value: Int { int("value") ?? 0 }
    /// Seconds.
    public var periodSeconds: Int { int("periodSeconds") ?? 15 }
}
