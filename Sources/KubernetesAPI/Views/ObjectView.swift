public import Serialization

/// Another form under which objects of a kind are served: stored is the kind's own, the view is made for each answer, and
/// taken apart when it is written back.
public enum ObjectView: Sendable, Hashable, CaseIterable {
    /// `autoscaling/v1` of what is stored as `autoscaling/v2`.
    case autoscalerV1
    /// `events.k8s.io/v1` of what is stored as an event of the core group.
    case eventV1

    /// The view that a version of a kind is; nil when it shows the object as it is stored.
    ///
    /// A version of another group is written with it: `events.k8s.io/v1`.
    public init?(_ kind: ResourceKind, version: String) {
        guard let found = Self.allCases.first(where: { $0.kind == kind && $0.version == version }) else { return nil }
        self = found
    }

    /// The kind that is stored.
    public var kind: ResourceKind {
        switch self {
        case .autoscalerV1: .horizontalPodAutoscaler
        case .eventV1: .event
        }
    }

    private var version: String {
        switch self {
        case .autoscalerV1: "v1"
        case .eventV1: "events.k8s.io/v1"
        }
    }

    /// The type of the view in the schema table, for OpenAPI documents.
    public var schema: String {
        switch self {
        case .autoscalerV1: "HorizontalPodAutoscalerV1"
        case .eventV1: "EventV1"
        }
    }

    /// What is stored for an object as clients write it.
    public func stored(_ json: JSON) -> JSON {
        switch self {
        case .autoscalerV1: AutoscalerView.stored(json)
        case .eventV1: EventView.stored(json)
        }
    }

    /// What clients see of a stored object.
    public func shown(_ json: JSON) -> JSON {
        switch self {
        case .autoscalerV1: AutoscalerView.shown(json)
        case .eventV1: EventView.shown(json)
        }
    }

    /// The fields of an object that the stored form has and the view has not: there they are unknown.
    public func foreignFields(_ json: JSON) -> [String] {
        switch self {
        case .autoscalerV1: ["metrics", "behavior"].filter { json["spec"]?[$0] != nil }.map { "spec." + $0 }
        case .eventV1: EventView.names.map(\.stored).filter { json[$0] != nil }
        }
    }

    /// The path in the stored form for one that a field selector names.
    public func storedField(_ path: String) -> String {
        switch self {
        case .autoscalerV1: path
        case .eventV1: EventView.storedField(path)
        }
    }
}
