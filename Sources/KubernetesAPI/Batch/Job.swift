public import Serialization

/// What a Job wants: pods that run to their end.
public struct JobSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// How many pods may run at a time.
    public var parallelism: Int { int("parallelism") ?? 1 }
    /// How many pods must succeed; nil: one, and then all others end on their own.
    public var completions: Int? { int("completions") }
    /// Whether each completion has a number.
    public var isIndexed: Bool { string("completionMode") == "Indexed" }
    /// Seconds from the start after which the Job has failed.
    public var activeDeadlineSeconds: Int? { int("activeDeadlineSeconds") }
    /// How many failures are too many less one.
    public var backoffLimit: Int { int("backoffLimit") ?? 6 }
    /// Seconds after its end when the Job is deleted.
    public var ttlSecondsAfterFinished: Int? { int("ttlSecondsAfterFinished") }
    /// Whether nothing runs for now.
    public var suspend: Bool { bool("suspend") }
    /// Whether a pod is replaced only when it has ended, not already when it is being deleted.
    public var replacesEndedOnly: Bool { string("podReplacementPolicy") == "Failed" }
    /// Which pods are its own.
    public var selector: LabelSelector { view("selector") ?? LabelSelector(json: .object([:])) }
    /// What pods are made from.
    public var template: PodTemplate { view("template") ?? PodTemplate(json: .object([:])) }
    /// Who acts on it; empty: we.
    public var managedBy: String { string("managedBy") }
}
