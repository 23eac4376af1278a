internal import IO

/// Which limits this machine can keep.
struct MachineCgroups: Sendable, Hashable {
    var cpuQuota: Bool
    var cpuShares: Bool
    var memory: Bool
    var processes: Bool

    /// Looks at the mounted hierarchies, version 1 (also hybrid) or 2.
    static func inspect() -> MachineCgroups {
        let root = "/sys/fs/cgroup"
        if let text = try? File.text(root + "/cgroup.controllers") {
            let controllers = Set(text.split(whereSeparator: \.isWhitespace).map(String.init))
            return MachineCgroups(
                cpuQuota: controllers.contains("cpu"), cpuShares: controllers.contains("cpu"),
                memory: controllers.contains("memory"), processes: controllers.contains("pids"))
        }
        func controller(_ name: String, _ file: String) -> Bool {
            ["\(root)/\(name)", "\(root)/cpu,cpuacct"].contains { File.exists("\($0)/\(file)") }
        }
        return MachineCgroups(
            // The root group has no cfs_quota on some kernels, but a period wherever quotas are built in.
            cpuQuota: controller("cpu", "cpu.cfs_quota_us") || controller("cpu", "cpu.cfs_period_us"),
            cpuShares: controller("cpu", "cpu.shares"), memory: controller("memory", "memory.limit_in_bytes"),
            processes: File.isDirectory(root + "/pids"))
    }

    /// Removes our parent group from every hierarchy, where nobody uses it any more.
    static func removeEmpty(_ group: String) {
        let root = "/sys/fs/cgroup"
        for path in [root] + ((try? File.list(root)) ?? []).map({ "\(root)/\($0)" })
        where File.isDirectory(path + group) {
            for name in (try? File.list(path + group)) ?? [] where File.isDirectory("\(path)\(group)/\(name)") {
                try? File.removeDirectory("\(path)\(group)/\(name)")
            }
            try? File.removeDirectory(path + group)
        }
    }

    /// What of `wanted` can be kept, and the names of what cannot.
    func applicable(_ wanted: ContainerSpec.Resources) -> (ContainerSpec.Resources, missing: [String]) {
        var resources = wanted
        var missing: [String] = []
        if wanted.cpuLimitMillis != nil, !cpuQuota {
            resources.cpuLimitMillis = nil
            missing.append("limits.cpu")
        }
        if wanted.cpuRequestMillis != nil, !cpuShares {
            resources.cpuRequestMillis = nil
            missing.append("requests.cpu")
        }
        if wanted.memoryLimitBytes != nil, !memory {
            resources.memoryLimitBytes = nil
            missing.append("limits.memory")
        }
        if wanted.processesMax != nil, !processes { resources.processesMax = nil }
        return (resources, missing)
    }
}
