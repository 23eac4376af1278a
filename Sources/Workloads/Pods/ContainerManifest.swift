internal import Serialization

/// One container of a pod, read and checked.
public struct ContainerManifest: Sendable, Hashable {
    /// A volume at a place in the container.
    public struct VolumeMount: Sendable, Hashable {
        /// The volume's name.
        public var volume: String
        /// Where it appears.
        public var path: String
        /// The part of the volume that appears; empty for all.
        public var subPath: String
        /// Whether it cannot be written.
        public var isReadOnly: Bool
    }

    /// Where the field is, for errors: `spec.containers[0]`.
    public var path: String
    /// Name.
    public var name: String
    /// Image reference as written.
    public var image: String
    /// `Always`, `IfNotPresent` or `Never`, as written; nothing is ever pulled.
    public var imagePullPolicy: String
    /// Replaces the image's entry point.
    public var command: [String]
    /// Replaces the image's arguments.
    public var arguments: [String]
    /// Where the program starts; empty = as the image says.
    public var workingDirectory: String
    /// Variables, in order.
    public var environment: [EnvironmentEntry]
    /// Whole ConfigMaps and Secrets as variables.
    public var environmentSources: [EnvironmentSource]
    /// Volumes.
    public var mounts: [VolumeMount]
    /// Named ports, for probes.
    public var ports: [String: Int]
    /// Limits and requests.
    public var resources: ContainerSpec.Resources
    /// User, or as the image says.
    public var uid: UInt32?
    /// Group, or as the image says.
    public var gid: UInt32?
    /// Supplementary groups (`fsGroup` among them).
    public var groups: [UInt32]
    /// Capabilities that it may hold.
    public var capabilities: Set<String>
    /// Whether `/` cannot be written, where the image could be.
    public var hasReadOnlyRoot: Bool
    /// Whether the system call filter is on.
    public var isConfined: Bool
    /// Whether set-user-ID programs may raise privileges.
    public var allowsPrivilegeEscalation: Bool
    /// Whether it has an input, for those who attach to it.
    public var hasInput = false
    /// Whether its input ends when the first who attached goes.
    public var endsInputOnce = false
    /// Whether its streams are a terminal.
    public var hasTerminal = false
    /// Readiness, liveness and startup probe.
    public var probes: [Probe.Kind: Probe]
    /// Command to run before SIGTERM.
    public var preStop: Probe.Check?
    /// Whether this init container is a native sidecar.
    public var isSidecar: Bool
    /// Whether this is Istio's own init container, whose work Skein does.
    public var isCaptureInit: Bool
    /// The container whose processes this one sees; nil: its own only.
    public var target: String?
}

extension ContainerManifest {
    /// The proxy's user, which capture lets through: nobody else may have it.
    static let proxyUser: UInt32 = 1337

    init(_ json: JSON, pod: JSON, path: String, isInit: Bool) throws(WorkloadError) {
        self.path = path
        name = json["name"]?.string ?? ""
        image = json["image"]?.string ?? ""
        target = json["targetContainerName"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        imagePullPolicy = json["imagePullPolicy"]?.string ?? ""
        command = Self.strings(json["command"])
        arguments = Self.strings(json["args"])
        workingDirectory = json["workingDir"]?.string ?? ""
        var environment: [EnvironmentEntry] = []
        for (index, entry) in (json["env"]?.array ?? []).enumerated() {
            environment.append(try EnvironmentEntry(entry, path: "\(path).env[\(index)]"))
        }
        self.environment = environment
        environmentSources = (json["envFrom"]?.array ?? []).map { EnvironmentSource($0) }
        mounts = try Self.mounts(json, path: path)
        var ports: [String: Int] = [:]
        for (index, port) in (json["ports"]?.array ?? []).enumerated() {
            guard port["hostPort"]?.int ?? 0 == 0 else {
                throw .field("\(path).ports[\(index)].hostPort", "is not supported; use a Service or a Gateway")
            }
            if let name = port["name"]?.string, let number = port["containerPort"]?.int { ports[name] = number }
        }
        self.ports = ports
        resources = try Self.resources(json["resources"] ?? [:], path: "\(path).resources")

        let own = json["securityContext"] ?? [:]
        func setting(_ name: String) -> JSON? { own[name] ?? pod[name] }
        uid = setting("runAsUser")?.int.flatMap { UInt32(exactly: $0) }
        gid = setting("runAsGroup")?.int.flatMap { UInt32(exactly: $0) }
        groups = ((pod["supplementalGroups"]?.array ?? []) + [pod["fsGroup"] ?? .null])
            .compactMap { $0.int.flatMap { UInt32(exactly: $0) } }
        if setting("runAsNonRoot")?.bool == true, uid == 0 {
            throw .field("\(path).securityContext", "runAsNonRoot and runAsUser 0 exclude each other")
        }
        if own["privileged"]?.bool == true {
            throw .field("\(path).securityContext.privileged", "privileged containers are not supported")
        }
        let add = Self.strings(own["capabilities"]?["add"])
        let drop = Self.strings(own["capabilities"]?["drop"])
        switch Capabilities.resolve(add: add, drop: drop) {
        case .success(let set): capabilities = set
        case .failure(let unknown):
            throw .field(
                "\(path).securityContext.capabilities.\(unknown.field)", "unknown capability \(unknown.name)")
        }
        hasReadOnlyRoot = own["readOnlyRootFilesystem"]?.bool ?? false
        let seccomp = (own["seccompProfile"] ?? pod["seccompProfile"])?["type"]?.string ?? "RuntimeDefault"
        guard seccomp == "RuntimeDefault" || seccomp == "Unconfined" else {
            throw .field("\(path).securityContext.seccompProfile.type", "\(seccomp) is not supported")
        }
        isConfined = seccomp == "RuntimeDefault"
        // Stricter than Docker's default: set-user-ID programs gain nothing unless the pod asks for it.
        allowsPrivilegeEscalation = own["allowPrivilegeEscalation"]?.bool ?? false
        hasInput = json["stdin"]?.bool ?? false
        endsInputOnce = json["stdinOnce"]?.bool ?? false
        hasTerminal = json["tty"]?.bool ?? false

        var probes: [Probe.Kind: Probe] = [:]
        for kind in Probe.Kind.allCases {
            guard let probe = json[kind.field] else { continue }
            probes[kind] = try Probe(probe, kind: kind, ports: ports, path: "\(path).\(kind.field)")
        }
        self.probes = probes
        if let hook = json["lifecycle"]?["preStop"] {
            if let seconds = hook["sleep"]?["seconds"]?.int {
                preStop = .sleep(seconds: seconds)
            } else {
                preStop = try Probe.Check(hook, ports: ports, path: "\(path).lifecycle.preStop")
            }
        }
        if json["lifecycle"]?["postStart"] != nil {
            throw .field("\(path).lifecycle.postStart", "is not supported; use an init container")
        }
        isSidecar = isInit && json["restartPolicy"]?.string == "Always"
        let base = image.split(separator: "/").last ?? ""
        isCaptureInit =
            isInit
            && (image.hasPrefix("istio/proxy_init") || base.hasPrefix("proxy_init")
                || name == "istio-init" && base.hasPrefix("proxyv2"))
        if uid == Self.proxyUser, !isCaptureInit, image != "skein/proxy" {
            throw .field(
                "\(path).securityContext.runAsUser",
                "1337 is the proxy's user, whose traffic is not captured; choose another")
        }
    }

    private static func strings(_ json: JSON?) -> [String] { (json?.array ?? []).compactMap(\.string) }

    private static func mounts(_ json: JSON, path: String) throws(WorkloadError) -> [VolumeMount] {
        var mounts: [VolumeMount] = []
        for (index, mount) in (json["volumeMounts"]?.array ?? []).enumerated() {
            let field = "\(path).volumeMounts[\(index)]"
            let target = mount["mountPath"]?.string ?? ""
            let parts = target.split(separator: "/")
            guard target.hasPrefix("/"), !parts.isEmpty, !parts.contains(".."), !target.contains("\0") else {
                throw .field("\(field).mountPath", "must be an absolute path below / without '..'")
            }
            let subPath = mount["subPath"]?.string ?? ""
            guard !subPath.hasPrefix("/"), !subPath.split(separator: "/").contains("..") else {
                throw .field("\(field).subPath", "must be a relative path without '..'")
            }
            guard mount["subPathExpr"] == nil else { throw .field("\(field).subPathExpr", "is not supported") }
            mounts.append(
                VolumeMount(
                    volume: mount["name"]?.string ?? "", path: "/" + parts.joined(separator: "/"), subPath: subPath,
                    isReadOnly: mount["readOnly"]?.bool ?? false))
        }
        // A mount inside another must come after it.
        return mounts.sorted { $0.path.split(separator: "/").count < $1.path.split(separator: "/").count }
    }

    private static func resources(_ json: JSON, path: String) throws(WorkloadError) -> ContainerSpec.Resources {
        func quantity(_ kind: String, _ name: String) throws(WorkloadError) -> Quantity? {
            guard let value = json[kind]?[name] else { return nil }
            let text = value.string ?? value.int.map(String.init) ?? value.double.map { "\($0)" } ?? ""
            guard let quantity = Quantity(text) else {
                throw .field("\(path).\(kind).\(name)", "\(text) is not a quantity such as 500m, 0.5 or 64Mi")
            }
            return quantity
        }
        var resources = ContainerSpec.Resources()
        resources.cpuLimitMillis = try quantity("limits", "cpu")?.millis
        resources.cpuRequestMillis = try quantity("requests", "cpu")?.millis
        resources.memoryLimitBytes = try quantity("limits", "memory")?.whole
        return resources
    }
}
