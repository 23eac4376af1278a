public import Serialization

/// Keeps so many pods of a template running and replaces them gradually.
public struct Deployment: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// What is wanted.
    public var spec: DeploymentSpec { view("spec") ?? DeploymentSpec(json: .object([:])) }
    /// What is.
    public var status: DeploymentStatus { view("status") ?? DeploymentStatus(json: .object([:])) }
}

/// What a Deployment wants.
public struct DeploymentSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// How many pods.
    public var replicas: Int { int("replicas") ?? 1 }
    /// Which pods are its own.
    public var selector: LabelSelector { view("selector") ?? LabelSelector(json: .object([:])) }
    /// What pods are made from.
    public var template: PodTemplate { view("template") ?? PodTemplate(json: .object([:])) }
    /// How old pods are replaced.
    public var strategy: DeploymentStrategy { view("strategy") ?? DeploymentStrategy(json: .object([:])) }
    /// How long a pod must be ready to count.
    public var minReadySeconds: Int { int("minReadySeconds") ?? 0 }
    /// How many old ReplicaSets are kept.
    public var revisionHistoryLimit: Int { int("revisionHistoryLimit") ?? 10 }
    /// Whether nothing is rolled out.
    public var paused: Bool { bool("paused") }
    /// After how long without progress it has failed.
    public var progressDeadlineSeconds: Int { int("progressDeadlineSeconds") ?? 600 }
}

/// How old pods are replaced.
public struct DeploymentStrategy: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// `RollingUpdate` or `Recreate`.
    public var type: String { json["type"]?.string ?? "RollingUpdate" }
    /// Bounds of a rolling update.
    public var rollingUpdate: RollingUpdateDeployment {
        view("rollingUpdate") ?? RollingUpdateDeployment(json: .object([:]))
    }
}

/// Bounds of a rolling update.
public struct RollingUpdateDeployment: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// How many may be missing.
    public var maxUnavailable: IntOrString? { IntOrString(json: json["maxUnavailable"]) }
    /// How many more there may be.
    public var maxSurge: IntOrString? { IntOrString(json: json["maxSurge"]) }
}

/// What a Deployment has.
public struct DeploymentStatus: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The generation of the object it was made from.
    public var observedGeneration: Int { int("observedGeneration") ?? 0 }
    /// Pods.
    public var replicas: Int { int("replicas") ?? 0 }
    /// Pods of the present template.
    public var updatedReplicas: Int { int("updatedReplicas") ?? 0 }
    /// Ready pods.
    public var readyReplicas: Int { int("readyReplicas") ?? 0 }
    /// Pods ready for long enough.
    public var availableReplicas: Int { int("availableReplicas") ?? 0 }
    /// Pods still missing.
    public var unavailableReplicas: Int { int("unavailableReplicas") ?? 0 }
    /// `Available`, `Progressing`.
    public var conditions: [Condition] { views("conditions") }
    /// Hash collisions seen.
    public var collisionCount: Int? { int("collisionCount") }
}

/// Keeps so many pods of a template running.
public struct ReplicaSet: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// What is wanted.
    public var spec: ReplicaSetSpec { view("spec") ?? ReplicaSetSpec(json: .object([:])) }
    /// What is.
    public var status: ReplicaSetStatus { view("status") ?? ReplicaSetStatus(json: .object([:])) }
}

/// What a ReplicaSet wants.
public struct ReplicaSetSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// How many pods.
    public var replicas: Int { int("replicas") ?? 1 }
    /// How long a pod must be ready to count.
    public var minReadySeconds: Int { int("minReadySeconds") ?? 0 }
    /// Which pods are its own.
    public var selector: LabelSelector { view("selector") ?? LabelSelector(json: .object([:])) }
    /// What pods are made from.
    public var template: PodTemplate { view("template") ?? PodTemplate(json: .object([:])) }
}

/// What a ReplicaSet has.
public struct ReplicaSetStatus: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Pods.
    public var replicas: Int { int("replicas") ?? 0 }
    /// Pods with all labels of the template.
    public var fullyLabeledReplicas: Int { int("fullyLabeledReplicas") ?? 0 }
    /// Ready pods.
    public var readyReplicas: Int { int("readyReplicas") ?? 0 }
    /// Pods ready for long enough.
    public var availableReplicas: Int { int("availableReplicas") ?? 0 }
    /// The generation of the object it was made from.
    public var observedGeneration: Int { int("observedGeneration") ?? 0 }
    /// Conditions.
    public var conditions: [Condition] { views("conditions") }
}

extension KubernetesObject {
    /// The pods that an object with a template selects; a ReplicationController tells it as labels.
    public var podSelector: LabelSelector {
        let selector = spec["selector"] ?? .object([:])
        return LabelSelector(json: kind == "ReplicationController" ? ["matchLabels": selector] : selector)
    }
}
