public import KubernetesAPI
internal import Serialization

/// A pod as the node understands it: read and checked once, so that nothing after it looks at JSON.
public struct PodManifest: Sendable, Hashable {
    /// `restartPolicy` of a pod.
    public enum RestartPolicy: String, Sendable, Hashable {
        /// After every end.
        case always = "Always"
        /// After an end with another code than 0.
        case onFailure = "OnFailure"
        /// Not at all.
        case never = "Never"
    }

    /// Identity over the pod's life.
    public var uid: String
    /// Namespace.
    public var namespace: String
    /// Name, which is the host name inside unless the pod says otherwise.
    public var name: String
    /// Labels, for field references and injection.
    public var labels: [String: String]
    /// Annotations, for field references, injection and capture.
    public var annotations: [String: String]
    /// Host name inside.
    public var hostname: String
    /// Second part of the pod's own DNS name; empty for none.
    public var subdomain: String
    /// Service account, for identity and field references.
    public var serviceAccount: String
    /// When containers are started again.
    public var restartPolicy: RestartPolicy
    /// Seconds between SIGTERM and SIGKILL.
    public var terminationGraceSeconds: Int
    /// Whether the pod uses the host's network.
    public var usesHostNetwork: Bool
    /// Further lines for /etc/hosts.
    public var hostAliases: [(ip: String, names: [String])] { hostAliasList.map { ($0.ip, $0.names) } }
    var hostAliasList: [HostAlias]
    /// Containers that run before the others, in order; a native sidecar among them goes on running.
    public var initContainers: [ContainerManifest]
    /// The pod's own containers.
    public var containers: [ContainerManifest]
    /// Containers that were added while it ran, in the order in which they came.
    public var ephemeralContainers: [ContainerManifest] = []
    /// Volumes by name.
    public var volumes: [String: VolumeManifest]
    /// Whether the sidecar or gateway proxy is the pod's only container and gets a bootstrap from us.
    public var isGateway: Bool

    struct HostAlias: Sendable, Hashable {
        var ip: String
        var names: [String]
    }

    /// `namespace/name`, for logs and errors.
    public var fullName: String { "\(namespace)/\(name)" }
}

extension PodManifest {
    /// Annotation that makes a pod of ours a gateway.
    static let gatewayAnnotation = "skein.dev/gateway"
    /// Seconds between SIGTERM and SIGKILL when the pod does not say.
    private static let graceSecondsDefault = 30

    /// Reads a Pod object.
    ///
    /// What it asks for and we cannot do is an error that names the field.
    public init(_ pod: KubernetesObject) throws(WorkloadError) {
        let spec = pod.spec
        let metadata = pod.metadata
        uid = metadata.uid
        namespace = metadata.namespace.isEmpty ? "default" : metadata.namespace
        name = metadata.name
        labels = metadata.labels
        annotations = metadata.annotations
        // The name becomes part of paths and of cgroup names.
        guard Self.isPlain(uid), Self.isPlain(name), Self.isPlain(namespace) else {
            throw .field("metadata", "name, namespace and uid must consist of letters, digits, '-' and '.'")
        }
        hostname = spec["hostname"]?.string.flatMap { $0.isEmpty ? nil : $0 } ?? String(metadata.name.prefix(63))
        subdomain = spec["subdomain"]?.string ?? ""
        serviceAccount = spec["serviceAccountName"]?.string ?? "default"
        let policy = spec["restartPolicy"]?.string ?? "Always"
        guard let restartPolicy = RestartPolicy(rawValue: policy) else {
            throw .field("spec.restartPolicy", "\(policy) is none of Always, OnFailure, Never")
        }
        self.restartPolicy = restartPolicy
        terminationGraceSeconds = max(0, spec["terminationGracePeriodSeconds"]?.int ?? Self.graceSecondsDefault)
        usesHostNetwork = spec["hostNetwork"]?.bool ?? false
        for field in ["hostPID", "hostIPC", "shareProcessNamespace"] where spec[field]?.bool == true {
            throw .field("spec.\(field)", "sharing this namespace is not supported")
        }
        hostAliasList = (spec["hostAliases"]?.array ?? []).map {
            HostAlias(ip: $0["ip"]?.string ?? "", names: ($0["hostnames"]?.array ?? []).compactMap(\.string))
        }
        var volumes: [String: VolumeManifest] = [:]
        for (index, volume) in (spec["volumes"]?.array ?? []).enumerated() {
            let parsed = try VolumeManifest(volume, path: "spec.volumes[\(index)]")
            volumes[parsed.name] = parsed
        }
        self.volumes = volumes
        let security = spec["securityContext"] ?? [:]
        var initContainers: [ContainerManifest] = []
        for (index, container) in (spec["initContainers"]?.array ?? []).enumerated() {
            initContainers.append(
                try ContainerManifest(container, pod: security, path: "spec.initContainers[\(index)]", isInit: true))
        }
        self.initContainers = initContainers
        var containers: [ContainerManifest] = []
        for (index, container) in (spec["containers"]?.array ?? []).enumerated() {
            containers.append(
                try ContainerManifest(container, pod: security, path: "spec.containers[\(index)]", isInit: false))
        }
        self.containers = containers
        for (index, container) in (spec["ephemeralContainers"]?.array ?? []).enumerated() {
            ephemeralContainers.append(
                try ContainerManifest(
                    container, pod: security, path: "spec.ephemeralContainers[\(index)]", isInit: false))
        }
        guard !containers.isEmpty else { throw .field("spec.containers", "a pod needs a container") }
        isGateway =
            metadata.annotations[Self.gatewayAnnotation] == "true" && namespace == "skein-system"
            && containers.contains { $0.image == "skein/proxy" }
        for container in initContainers + containers + ephemeralContainers {
            for mount in container.mounts where volumes[mount.volume] == nil {
                throw .field("\(container.path).volumeMounts", "there is no volume named \(mount.volume)")
            }
        }
        var names: Set<String> = []
        for container in initContainers + containers + ephemeralContainers {
            guard Self.isPlain(container.name), names.insert(container.name).inserted else {
                throw .field("\(container.path).name", "\(container.name) is not a name of its own")
            }
            guard container.name != SidecarPlan.containerName else {
                throw .field("\(container.path).name", "\(container.name) is the name of the injected sidecar")
            }
        }
    }

    /// The bare identity of a pod whose specification cannot be run, so that its status can still be written.
    static func isPlain(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 253 && !text.hasPrefix(".")
            && text.utf8.allSatisfy {
                (0x61...0x7A).contains($0) || (0x41...0x5A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D
                    || $0 == 0x2E
            }
    }
}
