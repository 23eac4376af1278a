internal import Glibc

/// What the control groups of this process allow it (cgroup v2, and v1 where there is no v2).
public enum ControlGroup {
    /// The directories of this process' groups, innermost first.
    private static func directories(_ controller: String) -> [String] {
        guard let text = try? File.text("/proc/self/cgroup") else { return [] }
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let root: String
            if parts[0] == "0", parts[1].isEmpty {
                root = "/sys/fs/cgroup"
            } else if parts[1].split(separator: ",").contains(Substring(controller)) {
                root = "/sys/fs/cgroup/" + controller
            } else {
                continue
            }
            var path = parts[2] == "/" ? "" : String(parts[2])
            var result: [String] = []
            // In a container the path may be the host's, and the mount shows only our part: the root counts too.
            while !path.isEmpty, let slash = path.lastIndex(of: "/") {
                result.append(root + path)
                path = String(path[..<slash])
            }
            result.append(root)
            if File.exists(result[result.count - 1] + "/cgroup.procs") || parts[1].isEmpty { return result }
        }
        return []
    }

    private static func number(_ path: String) -> UInt64? {
        guard let text = try? File.text(path) else { return nil }
        return UInt64(text.prefix { $0.isNumber })
    }

    /// Processors' worth of time that the groups allow; nil without a limit.
    public static var processorQuota: Double? {
        var quota: Double?
        func take(_ value: Double) { quota = min(quota ?? value, value) }
        for directory in directories("cpu") {
            if let allowed = Self.quota(directory) { take(allowed) }
        }
        return quota
    }

    /// Processor time that the innermost group has used, in microseconds.
    public static var processorMicroseconds: UInt64? {
        for directory in directories("cpu") {
            if let used = field("usage_usec", of: directory + "/cpu.stat") { return used }
        }
        for directory in directories("cpuacct") {
            if let nanoseconds = number(directory + "/cpuacct.usage") { return nanoseconds / 1000 }
        }
        return nil
    }

    /// Bytes of memory that the innermost group uses.
    public static var memoryBytes: UInt64? {
        for directory in directories("memory") {
            if let bytes = number(directory + "/memory.current") ?? number(directory + "/memory.usage_in_bytes") {
                return bytes
            }
        }
        return nil
    }

    /// Bytes of memory that the groups allow; nil without a limit.
    public static var memoryLimit: UInt64? {
        directories("memory").compactMap {
            number($0 + "/memory.max") ?? number($0 + "/memory.limit_in_bytes")
        }.filter { $0 < unlimited }.min()
    }

    // MARK: Machine

    /// What a machine that is a container itself may use, and uses: of all its processes and pods.
    public struct Machine: Sendable, Hashable {
        /// Processors' worth of time that is allowed; nil: all of them.
        public var processorQuota: Double?
        /// Processor time that was used, in microseconds since the groups were made; nil where the kernel does not tell.
        public var processorMicroseconds: UInt64?
        /// Bytes of memory that are allowed; nil: all of it.
        public var memoryLimit: UInt64?
        /// Bytes of memory that are in use, without the file cache that nobody has used for long; nil where the kernel does not tell.
        public var memoryBytes: UInt64?

        /// Known figures.
        public init(
            processorQuota: Double? = nil, processorMicroseconds: UInt64? = nil, memoryLimit: UInt64? = nil,
            memoryBytes: UInt64? = nil
        ) {
            self.processorQuota = processorQuota
            self.processorMicroseconds = processorMicroseconds
            self.memoryLimit = memoryLimit
            self.memoryBytes = memoryBytes
        }
    }

    /// The limits and figures at the top of the hierarchies that are mounted.
    ///
    /// A real machine has no limits there; of a container that is a machine to us they are its own. Reads some files; any thread.
    public static func machine(root: String = "/sys/fs/cgroup") -> Machine {
        var machine = Machine()
        if File.exists(root + "/cgroup.controllers") {
            machine.processorQuota = quota(root)
            machine.processorMicroseconds = field("usage_usec", of: root + "/cpu.stat")
            machine.memoryLimit = number(root + "/memory.max")
            let cache = field("inactive_file", of: root + "/memory.stat") ?? 0
            machine.memoryBytes = number(root + "/memory.current").map { $0 - min($0, cache) }
            return machine
        }
        for name in ["cpu", "cpu,cpuacct"] where machine.processorQuota == nil {
            machine.processorQuota = quota("\(root)/\(name)")
        }
        for name in ["cpuacct", "cpu,cpuacct"] where machine.processorMicroseconds == nil {
            machine.processorMicroseconds = number("\(root)/\(name)/cpuacct.usage").map { $0 / 1000 }
        }
        machine.memoryLimit = number(root + "/memory/memory.limit_in_bytes").flatMap { $0 < unlimited ? $0 : nil }
        let cache = field("total_inactive_file", of: root + "/memory/memory.stat") ?? 0
        machine.memoryBytes = number(root + "/memory/memory.usage_in_bytes").map { $0 - min($0, cache) }
        return machine
    }

    /// Version 1 tells the largest number there is for "no limit".
    private static let unlimited: UInt64 = 1 << 60

    /// Processors' worth of time that one group is allowed; nil without a limit.
    private static func quota(_ directory: String) -> Double? {
        if let text = try? File.text(directory + "/cpu.max") {
            let parts = text.split { $0 == " " || $0 == "\n" }
            guard parts.count == 2, let time = Double(parts[0]), let period = Double(parts[1]), period > 0 else {
                return nil
            }
            return time / period
        }
        guard let time = number(directory + "/cpu.cfs_quota_us"),
            let period = number(directory + "/cpu.cfs_period_us"), period > 0
        else { return nil }
        return Double(time) / Double(period)
    }

    /// The number after a name in a file of lines of both.
    private static func field(_ name: String, of path: String) -> UInt64? {
        guard let text = try? File.text(path) else { return nil }
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == name { return UInt64(words[1]) }
        }
        return nil
    }
}
