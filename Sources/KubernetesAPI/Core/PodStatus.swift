public import Serialization

/// What runs of a pod.
public struct PodStatus: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    public var phase: String { string("phase") }
    /// `PodScheduled`, `Initialized`, `ContainersReady`, `Ready`.
    public var conditions: [Condition] { views("conditions") }
    /// Why, for people.
    public var message: String { string("message") }
    /// Why, in one word.
    public var reason: String { string("reason") }
    /// Address of the node.
    public var hostIP: String { string("hostIP") }
    /// Address of the pod.
    public var podIP: String { string("podIP") }
    /// All addresses of the pod.
    public var podIPs: [PodIP] { views("podIPs") }
    /// When the node took the pod.
    public var startTime: String? { json["startTime"]?.string }
    /// `Guaranteed`, `Burstable` or `BestEffort`.
    public var qosClass: String { string("qosClass") }
    /// One for each of `spec.containers`.
    public var containerStatuses: [ContainerStatus] { views("containerStatuses") }
    /// One for each of `spec.initContainers`.
    public var initContainerStatuses: [ContainerStatus] { views("initContainerStatuses") }
}

/// One address of a pod.
public struct PodIP: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The address.
    public var ip: String { string("ip") }
}

/// One condition of an object.
public struct Condition: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// What it is about.
    public var type: String { string("type") }
    /// `True`, `False` or `Unknown`.
    public var status: String { string("status") }
    /// Why, in one word.
    public var reason: String { string("reason") }
    /// Why, for people.
    public var message: String { string("message") }
    /// When `status` changed.
    public var lastTransitionTime: String { string("lastTransitionTime") }
    /// The generation of the object it was made from.
    public var observedGeneration: Int? { int("observedGeneration") }
}

/// What runs of a container.
public struct ContainerStatus: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The container.
    public var name: String { string("name") }
    /// Whether it passes its readiness probe.
    public var ready: Bool { bool("ready") }
    /// Whether it passed its startup probe.
    public var started: Bool? { json["started"]?.bool }
    /// How often it was started again.
    public var restartCount: Int { int("restartCount") ?? 0 }
    /// The image.
    public var image: String { string("image") }
    /// The image by digest.
    public var imageID: String { string("imageID") }
    /// `runtime://id`.
    public var containerID: String { string("containerID") }
    /// What it does now.
    public var state: ContainerState { view("state") ?? ContainerState(json: .object([:])) }
    /// How its former run ended.
    public var lastState: ContainerState { view("lastState") ?? ContainerState(json: .object([:])) }
}

/// Exactly one of three states.
public struct ContainerState: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Not started, with the reason.
    public var waiting: ContainerStateWaiting? { view("waiting") }
    /// Running.
    public var running: ContainerStateRunning? { view("running") }
    /// Ended.
    public var terminated: ContainerStateTerminated? { view("terminated") }
}

/// A container that does not run yet.
public struct ContainerStateWaiting: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// In one word.
    public var reason: String { string("reason") }
    /// For people.
    public var message: String { string("message") }
}

/// A container that runs.
public struct ContainerStateRunning: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Since when.
    public var startedAt: String { string("startedAt") }
}

/// A container that ended.
public struct ContainerStateTerminated: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Exit status.
    public var exitCode: Int { int("exitCode") ?? 0 }
    /// Signal that ended it.
    public var signal: Int? { int("signal") }
    /// In one word.
    public var reason: String { string("reason") }
    /// For people.
    public var message: String { string("message") }
    /// When it began.
    public var startedAt: String { string("startedAt") }
    /// When it ended.
    public var finishedAt: String { string("finishedAt") }
    /// `runtime://id`.
    public var containerID: String { string("containerID") }
}
