public import Serialization

/// One container of a pod.
public struct Container: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Its name in the pod.
    public var name: String { string("name") }
    /// The image.
    public var image: String { string("image") }
    /// `Always`, `IfNotPresent` or `Never`.
    public var imagePullPolicy: String { string("imagePullPolicy") }
    /// Replaces the entry point of the image.
    public var command: [String] { strings("command") }
    /// Arguments; replaces those of the image.
    public var args: [String] { strings("args") }
    /// Working directory; empty means that of the image.
    public var workingDir: String { string("workingDir") }
    /// Ports it says it listens on.
    public var ports: [ContainerPort] { views("ports") }
    /// Environment variables.
    public var env: [EnvVar] { views("env") }
    /// Whole ConfigMaps and Secrets as environment.
    public var envFrom: [EnvFromSource] { views("envFrom") }
    /// Limits and requests.
    public var resources: ResourceRequirements { view("resources") ?? ResourceRequirements(json: .object([:])) }
    /// What is mounted where.
    public var volumeMounts: [VolumeMount] { views("volumeMounts") }
    /// Restarts the container when it fails.
    public var livenessProbe: Probe? { view("livenessProbe") }
    /// Takes the pod out of services when it fails.
    public var readinessProbe: Probe? { view("readinessProbe") }
    /// Holds back the other probes until it succeeds.
    public var startupProbe: Probe? { view("startupProbe") }
    /// Hooks after start and before stop.
    public var lifecycle: Lifecycle? { view("lifecycle") }
    /// Security settings.
    public var securityContext: SecurityContext { view("securityContext") ?? SecurityContext(json: .object([:])) }
    /// `Always` on an init container makes it a native sidecar.
    public var restartPolicy: String? { json["restartPolicy"]?.string }
    /// Whether standard input is kept open.
    public var stdin: Bool { bool("stdin") }
    /// Whether it gets a terminal.
    public var tty: Bool { bool("tty") }
    /// Where it leaves its last words.
    public var terminationMessagePath: String { json["terminationMessagePath"]?.string ?? "/dev/termination-log" }
    /// `File` or `FallbackToLogsOnError`.
    public var terminationMessagePolicy: String { json["terminationMessagePolicy"]?.string ?? "File" }
}

/// A port that a container says it listens on.
public struct ContainerPort: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Its name.
    public var name: String { string("name") }
    /// Its number.
    public var containerPort: Int { int("containerPort") ?? 0 }
    /// Port of the node that leads to it.
    public var hostPort: Int? { int("hostPort") }
    /// Address of the node for `hostPort`.
    public var hostIP: String { string("hostIP") }
    /// `TCP`, `UDP` or `SCTP`.
    public var `protocol`: String { json["protocol"]?.string ?? "TCP" }
}

/// An environment variable.
public struct EnvVar: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Its name.
    public var name: String { string("name") }
    /// Its value; `$(NAME)` is replaced.
    public var value: String { string("value") }
    /// Where the value comes from.
    public var valueFrom: EnvVarSource? { view("valueFrom") }
}

/// Where the value of a variable comes from.
public struct EnvVarSource: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// A field of the pod.
    public var fieldRef: ObjectFieldSelector? { view("fieldRef") }
    /// A limit or request.
    public var resourceFieldRef: ResourceFieldSelector? { view("resourceFieldRef") }
    /// A key of a ConfigMap.
    public var configMapKeyRef: KeySelector? { view("configMapKeyRef") }
    /// A key of a Secret.
    public var secretKeyRef: KeySelector? { view("secretKeyRef") }
}

/// A field of the pod.
public struct ObjectFieldSelector: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Version of the path.
    public var apiVersion: String { json["apiVersion"]?.string ?? "v1" }
    /// `metadata.name`, `status.podIP` and so on.
    public var fieldPath: String { string("fieldPath") }
}

/// A limit or request of a container.
public struct ResourceFieldSelector: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The container.
    public var containerName: String { string("containerName") }
    /// `limits.cpu` and so on.
    public var resource: String { string("resource") }
    /// Unit of the result.
    public var divisor: String { json["divisor"]?.string ?? "1" }
}

/// A key of a ConfigMap or Secret.
public struct KeySelector: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The object.
    public var name: String { string("name") }
    /// The key.
    public var key: String { string("key") }
    /// Whether it may be missing.
    public var optional: Bool { bool("optional") }
}

/// A whole ConfigMap or Secret as environment.
public struct EnvFromSource: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Put before every name.
    public var prefix: String { string("prefix") }
    /// The ConfigMap.
    public var configMapRef: OptionalReference? { view("configMapRef") }
    /// The Secret.
    public var secretRef: OptionalReference? { view("secretRef") }
}

/// An object by name, which may be allowed to be missing.
public struct OptionalReference: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The object.
    public var name: String { string("name") }
    /// Whether it may be missing.
    public var optional: Bool { bool("optional") }
}

/// How much a container may and wants to use.
public struct ResourceRequirements: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// At most, by resource name.
    public var limits: [String: Quantity] { map("limits").compactMapValues(Quantity.init) }
    /// At least, by resource name.
    public var requests: [String: Quantity] { map("requests").compactMapValues(Quantity.init) }
}

/// What is mounted where in a container.
public struct VolumeMount: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The volume.
    public var name: String { string("name") }
    /// The place in the container.
    public var mountPath: String { string("mountPath") }
    /// A part of the volume.
    public var subPath: String { string("subPath") }
    /// The same with `$(NAME)` replaced.
    public var subPathExpr: String { string("subPathExpr") }
    /// Whether it cannot be written.
    public var readOnly: Bool { bool("readOnly") }
    /// `None`, `HostToContainer` or `Bidirectional`.
    public var mountPropagation: String? { json["mountPropagation"]?.string }
}

/// Hooks of a container.
public struct Lifecycle: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// After it started.
    public var postStart: LifecycleHandler? { view("postStart") }
    /// Before it is stopped.
    public var preStop: LifecycleHandler? { view("preStop") }
}

/// What a hook does.
public struct LifecycleHandler: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Runs a command inside.
    public var exec: ExecAction? { view("exec") }
    /// Makes a request.
    public var httpGet: HTTPGetAction? { view("httpGet") }
    /// Connects.
    public var tcpSocket: TCPSocketAction? { view("tcpSocket") }
    /// Waits.
    public var sleep: SleepAction? { view("sleep") }
}

/// A hook that waits.
public struct SleepAction: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// For how long.
    public var seconds: Int { int("seconds") ?? 0 }
}

/// Security settings of one container.
public struct SecurityContext: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Whether it has all rights on the node.
    public var privileged: Bool { bool("privileged") }
    /// User id.
    public var runAsUser: Int? { int("runAsUser") }
    /// Group id.
    public var runAsGroup: Int? { int("runAsGroup") }
    /// Whether user id 0 is refused.
    public var runAsNonRoot: Bool? { json["runAsNonRoot"]?.bool }
    /// Whether its root is read-only.
    public var readOnlyRootFilesystem: Bool { bool("readOnlyRootFilesystem") }
    /// Whether set-uid programs work.
    public var allowPrivilegeEscalation: Bool? { json["allowPrivilegeEscalation"]?.bool }
    /// Changes to the default capability set.
    public var capabilities: Capabilities { view("capabilities") ?? Capabilities(json: .object([:])) }
    /// System call filter.
    public var seccompProfile: SeccompProfile? { view("seccompProfile") }
    /// How /proc is masked.
    public var procMount: String? { json["procMount"]?.string }
}

/// Changes to the default capability set.
public struct Capabilities: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Added.
    public var add: [String] { strings("add") }
    /// Dropped; `ALL` drops all.
    public var drop: [String] { strings("drop") }
}
