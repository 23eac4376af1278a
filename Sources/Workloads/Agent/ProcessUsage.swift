internal import IO

/// What containers use by the count of their processes, where they have no control groups of their own.
///
/// The processes of a container are those in the mount namespace of its first one.
enum ProcessUsage {
    /// Bytes of a page of memory (getpagesize(3) of the machines that there are).
    private static let pageBytes = 4096.0
    /// Ticks of a second (USER_HZ).
    private static let ticks = 100.0

    /// What the containers of these first processes use; blocks, as long as it takes to look at every process once.
    static func read(pids: Set<Int32>) -> [Int32: ContainerUsage] {
        guard !pids.isEmpty else { return [:] }
        var firsts: [String: Int32] = [:]
        for pid in pids { if let place = place(of: "\(pid)") { firsts[place] = pid } }
        var found: [Int32: ContainerUsage] = [:]
        for entry in (try? File.list("/proc")) ?? [] where entry.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            guard let place = place(of: entry), let first = firsts[place],
                let text = try? File.text("/proc/\(entry)/stat"), let own = usage(stat: text)
            else { continue }
            let known = found[first]
            found[first] = ContainerUsage(
                cpuSeconds: (known?.cpuSeconds ?? 0) + own.cpuSeconds,
                memoryBytes: (known?.memoryBytes ?? 0) + own.memoryBytes)
        }
        return found
    }

    private static func place(of process: String) -> String? { try? File.readLink("/proc/\(process)/ns/mnt") }

    /// From proc_pid_stat(5): own time and that of children that were waited for; the memory that is resident.
    static func usage(stat: String) -> ContainerUsage? {
        guard let end = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        guard fields.count > 21 else { return nil }
        let times = fields[11...14].compactMap { Double(String($0)) }
        guard times.count == 4, let pages = Double(String(fields[21])) else { return nil }
        return ContainerUsage(cpuSeconds: times.reduce(0, +) / ticks, memoryBytes: pages * pageBytes)
    }
}
