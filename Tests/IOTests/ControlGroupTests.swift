import Testing

@testable import IO

@Suite("Control groups")
struct ControlGroupTests {
    private func files(_ texts: [String: String], _ body: (String) throws -> Void) throws {
        let root = "/tmp/skein-groups-\(UInt64.random(in: 0...UInt64.max))"
        for (path, text) in texts {
            let folder = path.split(separator: "/").dropLast().joined(separator: "/")
            try File.makeDirectory(folder.isEmpty ? root : "\(root)/\(folder)")
            try File.write("\(root)/\(path)", Array(text.utf8))
        }
        defer { try? File.removeTree(root) }
        try body(root)
    }

    @Test("version 2: what a container that is a machine to us may use and uses")
    func second() throws {
        try files([
            "cgroup.controllers": "cpu memory\n", "cpu.max": "150000 100000\n",
            "cpu.stat": "usage_usec 1234\nuser_usec 1000\n", "memory.max": "1048576\n", "memory.current": "5000\n",
            "memory.stat": "anon 1\ninactive_file 2000\n",
        ]) { root in
            #expect(
                ControlGroup.machine(root: root)
                    == ControlGroup.Machine(
                        processorQuota: 1.5, processorMicroseconds: 1234, memoryLimit: 1_048_576, memoryBytes: 3000))
        }
        try files([
            "cgroup.controllers": "cpu memory\n", "cpu.max": "max 100000\n", "cpu.stat": "usage_usec 1234\n",
            "memory.max": "max\n",
        ]) { root in
            #expect(ControlGroup.machine(root: root) == ControlGroup.Machine(processorMicroseconds: 1234))
        }
    }

    @Test("version 1: what a container that is a machine to us may use and uses; the largest number is no limit")
    func first() throws {
        try files([
            "cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n",
            "cpuacct/cpuacct.usage": "9000000\n",
            "memory/memory.limit_in_bytes": "1048576\n", "memory/memory.usage_in_bytes": "5000\n",
            "memory/memory.stat": "inactive_file 7\ntotal_inactive_file 9000\n",
        ]) { root in
            #expect(
                ControlGroup.machine(root: root)
                    == ControlGroup.Machine(
                        processorQuota: 0.5, processorMicroseconds: 9000, memoryLimit: 1_048_576, memoryBytes: 0))
        }
        try files([
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/cpuacct.usage": "9000000\n", "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/memory.usage_in_bytes": "5000\n",
        ]) { root in
            #expect(
                ControlGroup.machine(root: root)
                    == ControlGroup.Machine(processorMicroseconds: 9000, memoryBytes: 5000))
        }
    }
}
