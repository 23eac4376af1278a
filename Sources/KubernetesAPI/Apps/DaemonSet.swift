public import Serialization

/// What a DaemonSet wants: a pod on every node.
public struct DaemonSetSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Which pods are its own.
    public var selector: LabelSelector { view("selector") ?? LabelSelector(json: .object([:])) }
    /// What pods are made from.
    public var template: PodTemplate { view("template") ?? PodTemplate(json: .object([:])) }
    /// Whether old pods are replaced only when somebody deletes them.
    public var isOnDelete: Bool { json["updateStrategy"]?["type"] == "OnDelete" }
    /// How many nodes may be without a pod during an update.
    public var maxUnavailable: IntOrString? {
        IntOrString(json: json["updateStrategy"]?["rollingUpdate"]?["maxUnavailable"])
    }
    /// How many nodes may have an old and a new pod during an update.
    public var maxSurge: IntOrString? { IntOrString(json: json["updateStrategy"]?["rollingUpdate"]?["maxSurge"]) }
    /// How long a pod must be ready to count.
    public var minReadySeconds: Int { int("minReadySeconds") ?? 0 }
    /// How many old templates are kept.
    public var revisionHistoryLimit: Int { int("revisionHistoryLimit") ?? 10 }
}
