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
            if let text = try? File.text(directory + "/cpu.max") {
                let parts = text.split { $0 == " " || $0 == "\n" }
                if parts.count == 2, let time = Double(parts[0]), let period = Double(parts[1]), period > 0 {
                    take(time / period)
                }
            } else if let time = number(directory + "/cpu.cfs_quota_us"),
                let period = number(directory + "/cpu.cfs_period_us"), period > 0
            {
                take(Double(time) / Double(period))
            }
        }
        return quota
    }

    /// Processor time that the innermost group has used, in microseconds.
    public static var processorMicroseconds: UInt64? {
        for directory in directories("cpu") {
            if let text = try? File.text(directory + "/cpu.stat") {
                for line in text.split(separator: "\n") where line.hasPrefix("usage_usec ") {
                    return UInt64(line.dropFirst("usage_usec ".utf8.count))
                }
            }
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
        }.filter { $0 < 1 << 60 }.min()
    }
}
