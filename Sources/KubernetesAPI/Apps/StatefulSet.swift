public import Serialization

/// What a StatefulSet wants: pods with a number and a name that stay.
public struct StatefulSetSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// How many pods.
    public var replicas: Int { int("replicas") ?? 1 }
    /// Which pods are its own.
    public var selector: LabelSelector { view("selector") ?? LabelSelector(json: .object([:])) }
    /// The headless service under which the pods have names.
    public var serviceName: String { string("serviceName") }
    /// Whether pods come and go all at once instead of one after another.
    public var isParallel: Bool { string("podManagementPolicy") == "Parallel" }
    /// Whether old pods are replaced only when somebody deletes them.
    public var isOnDelete: Bool { json["updateStrategy"]?["type"] == "OnDelete" }
    /// Pods with smaller numbers keep the old template.
    public var partition: Int { json["updateStrategy"]?["rollingUpdate"]?["partition"]?.int ?? 0 }
    /// How many pods may be missing during an update.
    public var maxUnavailable: IntOrString? {
        IntOrString(json: json["updateStrategy"]?["rollingUpdate"]?["maxUnavailable"])
    }
    /// How long a pod must be ready to count.
    public var minReadySeconds: Int { int("minReadySeconds") ?? 0 }
    /// How many old templates are kept.
    public var revisionHistoryLimit: Int { int("revisionHistoryLimit") ?? 10 }
    /// The number of the first pod.
    public var firstOrdinal: Int { max(0, json["ordinals"]?["start"]?.int ?? 0) }
}
