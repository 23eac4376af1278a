/// The Linux capabilities that a container may hold.
public enum Capabilities {
    /// What Docker gives a container that says nothing about it.
    public static let standard: Set<String> = [
        "CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ]

    /// All names that capabilities(7) knows.
    public static let all: Set<String> = standard.union([
        "CAP_AUDIT_CONTROL", "CAP_AUDIT_READ", "CAP_BLOCK_SUSPEND", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
        "CAP_DAC_READ_SEARCH", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_LEASE", "CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN",
        "CAP_MAC_OVERRIDE", "CAP_NET_ADMIN", "CAP_NET_BROADCAST", "CAP_PERFMON", "CAP_SYSLOG", "CAP_SYS_ADMIN",
        "CAP_SYS_BOOT", "CAP_SYS_MODULE", "CAP_SYS_NICE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO",
        "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_WAKE_ALARM",
    ])

    /// The set that `securityContext.capabilities` asks for: drops first, then adds, as Kubernetes does, with `ALL`
    /// on both sides.
    ///
    /// An unknown name is returned as the failure.
    static func resolve(add: [String], drop: [String]) -> Result<Set<String>, UnknownCapability> {
        var set = standard
        func name(_ text: String) -> String {
            let upper = text.uppercased()
            return upper.hasPrefix("CAP_") ? upper : "CAP_" + upper
        }
        for entry in drop {
            if entry.uppercased() == "ALL" {
                set = []
            } else if all.contains(name(entry)) {
                set.remove(name(entry))
            } else {
                return .failure(UnknownCapability(field: "drop", name: entry))
            }
        }
        for entry in add {
            if entry.uppercased() == "ALL" {
                set = all
            } else if all.contains(name(entry)) {
                set.insert(name(entry))
            } else {
                return .failure(UnknownCapability(field: "add", name: entry))
            }
        }
        return .success(set)
    }

    struct UnknownCapability: Error, Hashable {
        var field: String
        var name: String
    }
}
