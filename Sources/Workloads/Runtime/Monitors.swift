internal import Glibc
internal import IO

/// The conmon processes of an agent, found by what they were started with.
enum Monitors {
    /// The monitors that write into that exit directory.
    ///
    /// Under the same path another mount namespace has another directory: what runs there is another agent's.
    static func find(exitDirectory: String) -> [Int32] {
        let own = try? File.readLink("/proc/self/ns/mnt")
        return ((try? File.list("/proc")) ?? []).compactMap { Int32($0) }.filter { pid in
            guard let own, (try? File.readLink("/proc/\(pid)/ns/mnt")) == own else { return false }
            guard let bytes = try? File.read("/proc/\(pid)/cmdline", limit: 1 << 16) else { return false }
            let words = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            guard words.first?.hasSuffix("conmon") == true, let index = words.firstIndex(of: "--exit-dir") else {
                return false
            }
            return words.indices.contains(index + 1) && words[index + 1] == exitDirectory
        }
    }

    /// Ends those that have not ended by themselves after their containers were killed.
    static func end(exitDirectory: String) {
        let handles = find(exitDirectory: exitDirectory).compactMap { try? ProcessHandle(pid: $0) }
        let deadline = MonotonicTime.now + .seconds(2)
        for handle in handles {
            let left = deadline - .now
            Pipe.wait(handle.pidfd, milliseconds: Int32(clamping: left.wholeMilliseconds))
            if handle.isRunning { try? handle.signal(SIGKILL) }
        }
    }
}
