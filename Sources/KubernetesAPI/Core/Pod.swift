public import Serialization

/// A pod: containers that share one network stack.
public struct Pod: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// What is to run.
    public var spec: PodSpec { view("spec") ?? PodSpec(json: .object([:])) }
    /// What runs.
    public var status: PodStatus { view("status") ?? PodStatus(json: .object([:])) }
}

/// `PodTemplateSpec`: what a controller makes pods from.
public struct PodTemplate: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name, namespace, labels and the rest.
    public var metadata: ObjectMeta { view("metadata") ?? ObjectMeta(json: .object([:])) }
    /// What each pod is to run.
    public var spec: PodSpec { view("spec") ?? PodSpec(json: .object([:])) }
}

/// What a pod is to run.
public struct PodSpec: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The containers, in order.
    public var containers: [Container] { views("containers") }
    /// Run one after another before `containers`; with restartPolicy Always a native sidecar.
    public var initContainers: [Container] { views("initContainers") }
    /// What containers may mount.
    public var volumes: [Volume] { views("volumes") }
    /// `Always`, `OnFailure` or `Never`.
    public var restartPolicy: String { json["restartPolicy"]?.string ?? "Always" }
    /// Seconds between SIGTERM and SIGKILL.
    public var terminationGracePeriodSeconds: Int { int("terminationGracePeriodSeconds") ?? 30 }
    /// Seconds after which the pod is failed.
    public var activeDeadlineSeconds: Int? { int("activeDeadlineSeconds") }
    /// `ClusterFirst`, `Default`, `ClusterFirstWithHostNet` or `None`.
    public var dnsPolicy: String { json["dnsPolicy"]?.string ?? "ClusterFirst" }
    /// Additions to `resolv.conf`.
    public var dnsConfig: PodDNSConfig? { view("dnsConfig") }
    /// Labels which the node must have.
    public var nodeSelector: [String: String] { map("nodeSelector") }
    /// The identity of the pod.
    public var serviceAccountName: String { json["serviceAccountName"]?.string ?? "default" }
    /// Whether a token is mounted.
    public var automountServiceAccountToken: Bool? { json["automountServiceAccountToken"]?.bool }
    /// The node that runs the pod; empty until bound.
    public var nodeName: String { string("nodeName") }
    /// Whether the pod lives in the network stack of the node.
    public var hostNetwork: Bool { bool("hostNetwork") }
    /// Whether the pod sees the processes of the node.
    public var hostPID: Bool { bool("hostPID") }
    /// Whether the pod shares the IPC namespace of the node.
    public var hostIPC: Bool { bool("hostIPC") }
    /// Whether containers see each other's processes.
    public var shareProcessNamespace: Bool { bool("shareProcessNamespace") }
    /// Defaults of the containers' security settings.
    public var securityContext: PodSecurityContext { view("securityContext") ?? PodSecurityContext(json: .object([:])) }
    /// Secrets with registry credentials.
    public var imagePullSecrets: [LocalObjectReference] { views("imagePullSecrets") }
    /// The host name inside; empty means the name of the pod.
    public var hostname: String { string("hostname") }
    /// The part of the name between host name and namespace.
    public var subdomain: String { string("subdomain") }
    /// Further lines of `/etc/hosts`.
    public var hostAliases: [HostAlias] { views("hostAliases") }
    /// Further conditions of readiness.
    public var readinessGates: [PodReadinessGate] { views("readinessGates") }
    /// Whether services appear as environment variables.
    public var enableServiceLinks: Bool { json["enableServiceLinks"]?.bool ?? true }
    /// Who binds the pod.
    public var schedulerName: String { json["schedulerName"]?.string ?? "default-scheduler" }
    /// The runtime class.
    public var runtimeClassName: String? { json["runtimeClassName"]?.string }
}

/// Additions to a pod's `resolv.conf`.
public struct PodDNSConfig: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Name servers.
    public var nameservers: [String] { strings("nameservers") }
    /// Search domains.
    public var searches: [String] { strings("searches") }
    /// Options.
    public var options: [PodDNSConfigOption] { views("options") }
}

/// One option of `resolv.conf`.
public struct PodDNSConfigOption: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The option.
    public var name: String { string("name") }
    /// Its value.
    public var value: String? { json["value"]?.string }
}

/// An object in the same namespace, by name.
public struct LocalObjectReference: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The name.
    public var name: String { string("name") }
}

/// One line of `/etc/hosts`.
public struct HostAlias: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The address.
    public var ip: String { string("ip") }
    /// The names.
    public var hostnames: [String] { strings("hostnames") }
}

/// A condition that must be true before the pod counts as ready.
public struct PodReadinessGate: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// The type of the condition.
    public var conditionType: String { string("conditionType") }
}

/// Security settings of all containers of a pod.
public struct PodSecurityContext: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// User id.
    public var runAsUser: Int? { int("runAsUser") }
    /// Group id.
    public var runAsGroup: Int? { int("runAsGroup") }
    /// Whether user id 0 is refused.
    public var runAsNonRoot: Bool? { json["runAsNonRoot"]?.bool }
    /// Group that owns volumes.
    public var fsGroup: Int? { int("fsGroup") }
    /// Further groups.
    public var supplementalGroups: [Int] { (json["supplementalGroups"]?.array ?? []).compactMap(\.int) }
    /// Kernel parameters of the pod's namespaces.
    public var sysctls: [Sysctl] { views("sysctls") }
    /// System call filter.
    public var seccompProfile: SeccompProfile? { view("seccompProfile") }
}

/// A kernel parameter.
public struct Sysctl: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// Its name.
    public var name: String { string("name") }
    /// Its value.
    public var value: String { string("value") }
}

/// A system call filter.
public struct SeccompProfile: JSONView {
    /// The value that is looked at.
    public var json: JSON
    /// Looks at `json`, whatever it is.
    public init(json: JSON) { self.json = json }

    /// `RuntimeDefault`, `Unconfined` or `Localhost`.
    public var type: String { string("type") }
    /// File of the profile.
    public var localhostProfile: String? { json["localhostProfile"]?.string }
}
