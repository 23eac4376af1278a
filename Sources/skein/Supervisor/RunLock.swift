internal import IO

/// The lock of a run directory: one Skein at a time.
final class RunLock: Sendable {
    private let lock: FileLock
    private let runDirectory: String

    private static let wouldBlock: Int32 = 11  // EWOULDBLOCK

    private static func path(_ runDirectory: String) -> String { runDirectory + "/lock" }

    init(_ options: UpOptions) throws(CommandError) {
        runDirectory = options.runDirectory
        do throws(SystemError) {
            lock = try FileLock(Self.path(options.runDirectory))
        } catch {
            guard error.errno == Self.wouldBlock else { throw CommandError(error) }
            let owner = Owner.read(options.runDirectory)
            let what = owner.map { " (process \($0.pid), data directory \($0.dataDirectory))" } ?? ""
            throw CommandError(
                "skein up: Skein is running already\(what); use skein apply -f FILE to add to it, or skein down to stop it"
            )
        }
        lock.write("\(Environment.processID) \(options.dataDirectory)\n")
    }

    /// Takes the files away that make the run directory look used.
    func end() { lock.write("") }

    /// Who holds, or held, the lock.
    struct Owner {
        let pid: Int32
        let dataDirectory: String

        static func read(_ runDirectory: String) -> Owner? {
            guard let text = try? File.text(RunLock.path(runDirectory)) else { return nil }
            let words = text.split(separator: " ", maxSplits: 1)
            guard words.count == 2, let pid = Int32(words[0]) else { return nil }
            return Owner(pid: pid, dataDirectory: words[1].split(separator: "\n").first.map(String.init) ?? "")
        }
    }

    /// Whether a supervisor holds the lock now.
    static func isHeld(_ runDirectory: String) -> Bool {
        guard File.exists(path(runDirectory)) else { return false }
        do throws(SystemError) {
            _ = try FileLock(path(runDirectory))
            return false
        } catch {
            return error.errno == Self.wouldBlock
        }
    }
}
