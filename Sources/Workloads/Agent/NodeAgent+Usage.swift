internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry

// What pods use, for who scales by it: counters of their control groups and of their sidecars.
extension NodeAgent {
    /// How long one sidecar is waited for.
    private static let usagePatience = Duration.seconds(1)
    /// Bytes of a sidecar's answer at most.
    private static let counterBytesMax = 1 << 20
    /// Pods in one answer at most.
    private static let measuredPodsMax = 500
    /// The requests that went to the pod's own ports: the metric `upstream_rq_total` of Envoy's inbound clusters.
    private static let requestCounters = "/stats?usedonly&filter=%5Ecluster%5C.inbound.*%5C.upstream_rq_total%24"

    /// The counters of the running pods of some namespaces (nil: of all), with the time at which they were read.
    func usagePage(namespaces: Set<String>?, countsRequests: Bool = true) async -> JSON {
        let measured = records.values
            .filter { namespaces?.contains($0.pod.namespace) ?? true && !$0.isRemoved && !$0.instances.isEmpty }
            .sorted { $0.pod.uid < $1.pod.uid }.prefix(Self.measuredPodsMax)
        let wanted = measured.map { record in
            (
                uid: record.pod.uid,
                containers: record.instances.filter { $0.key != SidecarPlan.containerName }.mapValues(\.pid)
            )
        }
        var requests: [String: Double] = [:]
        if countsRequests { for record in measured { requests[record.pod.uid] = await requestCount(record) } }
        let figures = await pool.run {
            let read = wanted.map { pod in
                (uid: pod.uid, containers: pod.containers.mapValues { (pid: $0, usage: ContainerUsage.read(pid: $0)) })
            }
            let rest = read.flatMap { $0.containers.values.filter { $0.usage == nil }.map(\.pid) }
            let counted = ProcessUsage.read(pids: Set(rest))
            return read.map { pod in
                (pod.uid, pod.containers.compactMapValues { $0.usage ?? counted[$0.pid] })
            }
        }
        let now = WallClock.now
        let pods = figures.map { uid, containers in
            var pod: JSON = [
                "uid": .string(uid),
                "containers": .array(
                    containers.sorted { $0.key < $1.key }.map { name, usage in
                        [
                            "name": .string(name), "cpuSeconds": .number(usage.cpuSeconds),
                            "memoryBytes": .number(usage.memoryBytes),
                        ]
                    }),
            ]
            if let count = requests[uid] { pod["requests"] = .number(count) }
            return pod
        }
        var page: JSON = [
            "time": .number(Double(now.seconds) + Double(now.nanoseconds) / 1e9), "pods": .array(pods),
        ]
        if !healthPlaces.isEmpty {
            page["healthChecks"] = ["turnedAway": .integer(Int64(clamping: healthChecksTurnedAway))]
        }
        if configuration.controlPlane != nil {
            page["dials"] = ["turnedAway": .integer(Int64(clamping: dialsTurnedAway))]
        }
        if let use = network.addressUse {
            page["addresses"] = ["used": .integer(Int64(use.used)), "size": .integer(Int64(use.size))]
        }
        return page
    }

    /// The requests that a pod's sidecar has let in since it was started; nil without a sidecar that answers.
    private func requestCount(_ record: PodRecord) async -> Double? {
        guard record.role == .sidecar, let path = record.place?.namespacePath,
            record.instances[SidecarPlan.containerName] != nil
        else { return nil }
        do throws(HTTPError) {
            let response = try await proxyAdmin(at: path, patience: Self.usagePatience)
                .send(HTTPClientRequest(.get, Self.requestCounters))
            let page = try await response.collect(limit: Self.counterBytesMax)
            guard response.status == 200 else { return nil }
            return ContainerUsage.sum(of: String(decoding: page, as: UTF8.self))
        } catch {
            log.debug("a sidecar's counters were not read", ["pod": record.pod.fullName, "error": "\(error)"])
            return nil
        }
    }
}

/// What this machine has used since it was started, by the kernel's word.
struct MachineUsage: Sendable, Hashable {
    /// Processor time of all processors: neither idle nor waiting for a disk.
    var cpuSeconds: Double
    /// Bytes in memory, without what is free and without the file cache that nobody has used for long.
    var memoryBytes: Double

    /// As a page tells it.
    var json: JSON { ["cpuSeconds": .number(cpuSeconds), "memoryBytes": .number(memoryBytes)] }

    static func read() -> MachineUsage? {
        guard let stat = try? File.text("/proc/stat"), let memory = try? File.text("/proc/meminfo") else { return nil }
        return MachineUsage(stat: stat, memory: memory)
    }

    /// From the texts of proc_stat(5) and proc_meminfo(5).
    init?(stat: String, memory: String) {
        guard let line = stat.split(separator: "\n").first(where: { $0.hasPrefix("cpu ") }) else { return nil }
        let ticks = line.split(separator: " ").dropFirst().compactMap { Double(String($0)) }
        guard ticks.count >= 7 else { return nil }
        // user, nice, system, idle, iowait, irq, softirq, steal: a tick is a hundredth of a second (USER_HZ).
        let used = ticks.enumerated().filter { ![3, 4].contains($0.offset) && $0.offset < 8 }.map(\.element)
        cpuSeconds = used.reduce(0, +) / 100
        var fields: [Substring: Double] = [:]
        for line in memory.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard let name = parts.first, let text = parts.last?.split(separator: " ").first else { continue }
            fields[name] = Double(String(text))
        }
        guard let total = fields["MemTotal"], let free = fields["MemFree"] else { return nil }
        memoryBytes = max(0, total - free - (fields["Inactive(file)"] ?? 0)) * 1024
    }
}

/// What a container has used, by the kernel's word.
struct ContainerUsage: Sendable, Hashable {
    /// Processor time since it was started.
    var cpuSeconds: Double
    /// Bytes in memory now, without the file cache that nobody has used for long.
    var memoryBytes: Double

    private static let root = "/sys/fs/cgroup"

    /// Reads the control groups of a container's first process; nil when it is gone or has none of its own.
    static func read(pid: Int32) -> ContainerUsage? {
        guard let text = try? File.text("/proc/\(pid)/cgroup") else { return nil }
        let groups = groups(text)
        if let own = groups["cpuacct"], let memory = groups["memory"], own != "/", memory != "/" {
            guard let used = firstExisting(["cpuacct", "cpu,cpuacct"], "\(own)/cpuacct.usage").flatMap(Double.init)
            else {
                return nil
            }
            let held = number("memory\(memory)/memory.usage_in_bytes") ?? 0
            let unused = field("total_inactive_file", of: "memory\(memory)/memory.stat") ?? 0
            return ContainerUsage(cpuSeconds: used / 1e9, memoryBytes: max(0, held - unused))
        }
        guard let own = groups[""], own != "/", let used = field("usage_usec", of: "\(own)/cpu.stat") else {
            return nil
        }
        let held = number("\(own)/memory.current") ?? 0
        let unused = field("inactive_file", of: "\(own)/memory.stat") ?? 0
        return ContainerUsage(cpuSeconds: used / 1e6, memoryBytes: max(0, held - unused))
    }

    /// The group of each controller in `/proc/PID/cgroup`; version 2's stands under the empty name.
    static func groups(_ text: String) -> [String: String] {
        var groups: [String: String] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            for controller in parts[1].split(separator: ",", omittingEmptySubsequences: false) {
                groups[String(controller)] = String(parts[2])
            }
        }
        return groups
    }

    /// The sum of the numbers in lines of `name: number`.
    static func sum(of page: String) -> Double {
        page.split(separator: "\n").reduce(0) { sum, line in
            let value = line.split(separator: ":").last.flatMap {
                Double(String($0.filter { !$0.isWhitespace }))
            }
            return sum + (value ?? 0)
        }
    }

    private static func firstExisting(_ hierarchies: [String], _ path: String) -> String? {
        for hierarchy in hierarchies {
            if let text = try? File.text("\(root)/\(hierarchy)\(path)") { return text.filter { !$0.isWhitespace } }
        }
        return nil
    }

    private static func number(_ path: String) -> Double? {
        (try? File.text("\(root)/\(path)")).flatMap { Double($0.filter { !$0.isWhitespace }) }
    }

    private static func field(_ name: String, of path: String) -> Double? {
        guard let text = try? File.text("\(root)/\(path)") else { return nil }
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == name { return Double(String(words[1])) }
        }
        return nil
    }
}
