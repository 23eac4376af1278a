/// Everything that decides how one container is run; `runtimeConfiguration` is its OCI form.
///
/// Plain values, no look at the machine: the same specification gives the same `config.json`.
public struct ContainerSpec: Sendable, Hashable {
    /// A file system in the container.
    public struct Mount: Sendable, Hashable {
        /// Absolute path in the container.
        public var destination: String
        /// The kind of file system (`bind`, `tmpfs`, `overlay`).
        public var type: String
        /// Path on the host for a bind mount, the file system's name otherwise.
        public var source: String
        /// Options of mount(8).
        public var options: [String]

        /// A file system at `destination`.
        public init(_ destination: String, type: String, source: String, options: [String]) {
            self.destination = destination
            self.type = type
            self.source = source
            self.options = options
        }

        /// A file or directory of the host.
        public static func bind(_ source: String, to destination: String, readOnly: Bool) -> Mount {
            Mount(
                destination, type: "bind", source: source,
                options: ["bind", readOnly ? "ro" : "rw", "nosuid", "nodev", "rprivate"])
        }

        /// An empty file system in memory.
        public static func temporary(_ destination: String, mode: String, size: String, executable: Bool = false)
            -> Mount
        {
            Mount(
                destination, type: "tmpfs", source: "tmpfs",
                options: ["nosuid", "nodev"] + (executable ? [] : ["noexec"]) + ["mode=\(mode)", "size=\(size)"])
        }
    }

    /// Limits, as far as the machine can keep them.
    public struct Resources: Sendable, Hashable {
        /// Thousandths of a processor that it may use; `nil` = all.
        public var cpuLimitMillis: Int?
        /// Its weight against others, in thousandths of a processor.
        public var cpuRequestMillis: Int?
        /// Memory that it may use; `nil` = all.
        public var memoryLimitBytes: Int?
        /// Processes and threads that it may have.
        public var processesMax: Int?

        /// No limit at all.
        public init() {}
    }

    /// Host name inside; the namespace is the container's own.
    public var hostname = ""
    /// Program and arguments.
    public var arguments: [String] = []
    /// `NAME=value` entries.
    public var environment: [String] = []
    /// Where the program starts.
    public var workingDirectory = "/"
    /// Whether its streams are a terminal.
    public var hasTerminal = false
    /// User.
    public var uid: UInt32 = 0
    /// Group.
    public var gid: UInt32 = 0
    /// Supplementary groups.
    public var groups: [UInt32] = []
    /// Directory that becomes `/`.
    public var rootPath = "rootfs"
    /// Whether `/` cannot be written.
    public var isRootReadOnly = true
    /// File systems, in the order in which they are mounted.
    public var mounts: [Mount] = []
    /// Path of the network namespace; `nil` = the host's.
    public var networkNamespace: String?
    /// Path of an IPC namespace to share; `nil` = its own.
    public var ipcNamespace: String?
    /// Path of a process namespace to share; `nil` = its own.
    public var processNamespace: String?
    /// Capabilities, `CAP_…`.
    public var capabilities: Set<String> = Capabilities.standard
    /// Whether the system call filter is on (`seccompProfile.type: Unconfined` turns it off).
    public var isConfined = true
    /// Whether set-user-ID programs may raise privileges.
    public var allowsPrivilegeEscalation = false
    /// Paths that read as empty.
    public var maskedPaths: [String] = []
    /// Paths that cannot be written.
    public var readonlyPaths: [String] = ContainerSpec.standardReadonlyPaths
    /// Limits.
    public var resources = Resources()
    /// The container's cgroup below each hierarchy's root.
    public var cgroupPath = ""

    /// A container of that program.
    public init(arguments: [String]) { self.arguments = arguments }

    /// Windows into the kernel that tell about the machine, as Docker masks them.
    public static let standardMaskedPaths = [
        "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
        "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
        "/sys/firmware", "/sys/fs/cgroup",
    ]

    /// Kernel switches, as Docker protects them.
    public static let standardReadonlyPaths = [
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
    ]

    /// `/proc`, `/dev` and `/sys` as every container has them.
    public static let standardMounts: [Mount] = [
        Mount("/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"]),
        Mount("/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        Mount(
            "/dev/pts", type: "devpts", source: "devpts",
            options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        Mount(
            "/dev/shm", type: "tmpfs", source: "shm",
            options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        Mount("/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"]),
        Mount("/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"]),
    ]
}
