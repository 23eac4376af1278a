internal import Serialization

/// What an engine is told of one container: `POST /containers/create`.
///
/// Plain values: the same ones give the same object.
struct EngineContainer: Sendable, Hashable {
    /// Labels by which this node's containers are told from others.
    enum Label {
        static let node = "dev.skein.node"
        static let pod = "dev.skein.pod"
        static let kind = "dev.skein.kind"
        static let sandbox = "sandbox"
        static let container = "container"
    }

    var image: String
    var arguments: [String]
    var environment: [String] = []
    var directory = ""
    var user = ""
    var hostname = ""
    var labels: [String: String] = [:]
    /// `none`, `host`, or `container:ID`.
    var network: String
    /// The container whose processes this one sees (`container:ID`); nil: its own.
    var processes: String?
    var mounts: [ContainerSpec.Mount] = []
    var temporary: [String: String] = [:]
    var resources = ContainerSpec.Resources()
    var capabilities: Set<String> = []
    var groups: [UInt32] = []
    var isRootReadOnly = false
    var isConfined = true
    var allowsPrivilegeEscalation = false
    var hasTerminal = false
    var hasInput = false
    var endsInputOnce = false

    /// Bytes at which an engine throws the beginning of its own log away: ours is written from it as it grows.
    private static let logSize = "16m"

    var json: JSON {
        var host: JSON = [
            "NetworkMode": .string(network),
            "Mounts": .array(
                mounts.filter { $0.type == "bind" }.map {
                    [
                        "Type": "bind", "Source": .string($0.source), "Target": .string($0.destination),
                        "ReadOnly": .bool($0.options.contains("ro")),
                    ]
                }),
            "CapDrop": ["ALL"], "CapAdd": .array(capabilities.sorted().map { .string($0) }),
            "ReadonlyRootfs": .bool(isRootReadOnly), "GroupAdd": .array(groups.map { .string("\($0)") }),
            "LogConfig": ["Type": "json-file", "Config": ["max-size": .string(Self.logSize)]],
            "RestartPolicy": ["Name": "no"],
        ]
        if let processes { host["PidMode"] = .string(processes) }
        var security: [JSON] = []
        if !allowsPrivilegeEscalation { security.append("no-new-privileges") }
        if !isConfined { security.append("seccomp=unconfined") }
        host["SecurityOpt"] = .array(security)
        if !temporary.isEmpty { host["Tmpfs"] = .object(temporary.mapValues { .string($0) }) }
        if let memory = resources.memoryLimitBytes { host["Memory"] = .integer(Int64(memory)) }
        if let limit = resources.cpuLimitMillis { host["NanoCpus"] = .integer(Int64(limit) * 1_000_000) }
        if let request = resources.cpuRequestMillis {
            // 1024 shares are a processor; 2 are the least that the kernel knows.
            host["CpuShares"] = .integer(max(2, Int64(request) * 1024 / 1000))
        }
        if let processes = resources.processesMax { host["PidsLimit"] = .integer(Int64(processes)) }
        var json: JSON = [
            "Image": .string(image), "Entrypoint": .array(arguments.prefix(1).map { .string($0) }),
            "Cmd": .array(arguments.dropFirst().map { .string($0) }),
            "Env": .array(environment.map { .string($0) }), "Labels": .object(labels.mapValues { .string($0) }),
            "Tty": .bool(hasTerminal), "OpenStdin": .bool(hasInput), "StdinOnce": .bool(endsInputOnce),
            "HostConfig": host,
        ]
        if !directory.isEmpty { json["WorkingDir"] = .string(directory) }
        if !user.isEmpty { json["User"] = .string(user) }
        // A container in another's network has its name, too.
        if !hostname.isEmpty, !network.hasPrefix("container:") { json["Hostname"] = .string(hostname) }
        return json
    }
}

/// When an engine asks a registry for an image.
enum PullPolicy: String, Sendable {
    case always = "Always"
    case ifNotPresent = "IfNotPresent"
    case never = "Never"

    /// What Kubernetes means by saying nothing: images without a tag of their own are asked for each time.
    init(_ text: String, image: String) {
        self = PullPolicy(rawValue: text) ?? (PullPolicy.reference(image).tag == "latest" ? .always : .ifNotPresent)
    }

    /// A reference's repository and tag (or digest), as `POST /images/create` wants them.
    static func reference(_ image: String) -> (repository: String, tag: String) {
        if let at = image.firstIndex(of: "@") {
            return (String(image[..<at]), String(image[image.index(after: at)...]))
        }
        let last = image.split(separator: "/", omittingEmptySubsequences: false).last ?? ""
        guard let colon = last.lastIndex(of: ":") else { return (image, "latest") }
        return (
            String(image.dropLast(last.distance(from: colon, to: last.endIndex))),
            String(last[last.index(after: colon)...])
        )
    }
}
