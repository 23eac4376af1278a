internal import IO

/// Where the node agent keeps things.
public struct NodeLayout: Sendable, Hashable {
    /// `--data-dir`: what lasts.
    ///
    /// Only root can look into it.
    public var dataDirectory: String
    /// `--run-dir`: sockets and what a reboot may take away.
    public var runDirectory: String

    /// The layout below those two directories.
    public init(dataDirectory: String, runDirectory: String) {
        self.dataDirectory = dataDirectory
        self.runDirectory = runDirectory
    }

    /// What no container may see: our own state, and the host's processes, through whose roots it could be reached.
    var protected: [String] { [dataDirectory, runDirectory].map { File.realPath($0) ?? $0 } + ["/proc"] }

    /// The agent's part of the data directory (0700).
    var node: String { dataDirectory + "/node" }
    /// One directory per pod: journal, bundles, volumes.
    var pods: String { node + "/pods" }
    /// One directory per pod, one file per run of a container.
    var logs: String { node + "/logs" }
    /// Imported images.
    public var images: String { node + "/images" }
    /// One directory per volume of our own storage class: they outlive pods.
    var claims: String { node + "/claims" }
    /// Networks of `skein network create`: they outlive their containers.
    package var networks: String { node + "/networks" }
    func claim(_ handle: String) -> String { "\(claims)/\(handle)" }
    func pod(_ uid: String) -> String { "\(pods)/\(uid)" }
    func journal(_ uid: String) -> String { "\(pod(uid))/journal.json" }
    func volumes(_ uid: String) -> String { "\(pod(uid))/volumes" }
    func bundle(_ uid: String, _ id: String) -> String { "\(pod(uid))/bundles/\(id)" }
    func logDirectory(_ pod: PodManifest, _ container: String) -> String {
        "\(logs)/\(pod.namespace)_\(pod.name)_\(pod.uid)/\(container)"
    }

    /// runc's state.
    var runtimeRoot: String { runDirectory + "/runc" }
    /// Exit codes by container, written by conmon.
    var exits: String { runDirectory + "/exits" }
    /// conmon's attach sockets.
    var attach: String { runDirectory + "/attach" }
    /// Mount points that the host lacks, by container; outside every directory that containers see.
    func skeleton(_ id: String) -> String { "\(runDirectory)/skeletons/\(id)" }
    /// The pod's own sockets (0700, the proxy's user).
    func sockets(_ uid: String) -> String { "\(runDirectory)/pods/\(uid)" }
    /// What the pod's proxy keeps: its last good configuration (0700, the proxy's user).
    func proxyState(_ uid: String) -> String { "\(pod(uid))/proxy" }
    /// Files of Secrets: on a tmpfs, so that they never reach a disk.
    var secrets: String { runDirectory + "/secrets" }

    /// A pod's key and certificate (0600), on the same tmpfs: it outlives the agent, not the machine.
    func identity(_ uid: String) -> String { "\(secrets)/\(uid)/.identity/identity.json" }

    /// Parent of every container's cgroup.
    static let cgroup = "/skein"

    /// A short name for a pod that is safe in paths of limited length: 64 bits of FNV-1a.
    static func shortName(_ uid: String) -> String {
        let hash = uid.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        let text = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }

    static func containerID(_ uid: String, _ container: String, run: Int) -> String {
        "sk-\(shortName(uid))-\(container.prefix(30))-\(run)"
    }
}
