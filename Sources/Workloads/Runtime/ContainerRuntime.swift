internal import Glibc
internal import IO
internal import Serialization
internal import Telemetry

/// Runs containers with runc under conmon, which owns their stdio, log and exit status, so that they outlive the agent
/// (ARCHITECTURE decision 11).
///
/// Blocking: called on threads of a `BlockingPool`. Per start: conmon (which forks once and runs `runc create`) and
/// `runc start`.
public struct ContainerRuntime: PodRuntime {
    /// A container that runs, as the journal remembers it.
    struct Instance: Sendable, Hashable {
        var id: String
        /// The container's first process.
        var pid: Int32
        var pidStart: UInt64
        /// Its monitor.
        var monitor: Int32
        var monitorStart: UInt64
        var bundle: String
        var log: String
    }

    let layout: NodeLayout
    let runc: String
    let conmon: String
    /// Size at which conmon itself throws a log away: a bound for the time when no agent rotates it.
    private static let logSizeMax = 64 << 20

    /// Looks for the programs; an error says which is missing and how to get it.
    public init(layout: NodeLayout) throws(WorkloadError) {
        self.layout = layout
        runc = try Self.find("runc")
        conmon = try Self.find("conmon")
    }

    private static func find(_ name: String) throws(WorkloadError) -> String {
        for directory in ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        where File.isExecutable("\(directory)/\(name)") { return "\(directory)/\(name)" }
        throw WorkloadError("RuntimeMissing", "\(name) is not installed: apt-get install \(name)")
    }

    /// Makes the directories that all containers share.
    func prepare() throws(SystemError) {
        for directory in [layout.node, layout.pods, layout.logs, layout.images] {
            try File.makeDirectory(directory, mode: 0o700)
        }
        for directory in [layout.runtimeRoot, layout.exits, layout.attach, layout.runDirectory + "/skeletons"] {
            try File.makeDirectory(directory, mode: 0o700)
        }
    }

    /// Creates and starts the container whose bundle is written; `streams` are the monitor's words for its input and terminal.
    func start(
        id: String, bundle: String, log: String, streams: [String] = []
    ) throws(WorkloadError) -> Instance {
        let instance: Instance
        do throws(SystemError) { instance = try create(id: id, bundle: bundle, log: log, streams) } catch {
            remove(id: id)
            throw WorkloadError("CreateContainerError", "cannot create container \(id)", error)
        }
        do throws(SystemError) {
            let (status, output) = try Child.run(.init([runc, "--root", layout.runtimeRoot, "start", id]))
            guard status.isSuccess else {
                throw SystemError(ECANCELED, Self.runtimeMessage(output))
            }
        } catch {
            remove(id: id)
            throw WorkloadError("RunContainerError", error.operation)
        }
        return instance
    }

    private func create(
        id: String, bundle: String, log: String, _ streams: [String]
    ) throws(SystemError) -> Instance {
        let (reader, writer) = try Pipe.make()
        defer { close(reader) }
        let pidFile = bundle + "/pid"
        let monitorFile = bundle + "/conmon.pid"
        var command = Child.Command(
            [
                conmon, "--api-version", "1", "-c", id, "-u", id, "-n", id, "-r", runc,
                "--runtime-arg", "--root=\(layout.runtimeRoot)", "-b", bundle, "-p", pidFile, "-P", monitorFile,
                "-l", "k8s-file:\(log)", "--exit-dir", layout.exits, "--socket-dir-path", layout.attach,
                "--log-size-max", String(Self.logSizeMax), "--no-sync-log",
            ] + streams)
        // conmon reports the container's pid, or runc's failure, here.
        command.environment.append("_OCI_SYNCPIPE=3")
        command.descriptors[3] = writer
        command.isSessionLeader = true
        let child: Child
        do throws(SystemError) { child = try Child(command) } catch {
            close(writer)
            throw error
        }
        close(writer)
        _ = try child.wait()  // The part that forks the monitor.
        let report = Pipe.readAll(reader, upTo: 1 << 16, untilLine: true)
        let answer = try? JSON.parse(report)
        guard let number = answer?["data"]?.int, number > 0, let pid = Int32(exactly: number) else {
            let message = answer?["message"]?.string ?? String(decoding: report, as: UTF8.self)
            throw SystemError(ECANCELED, message.isEmpty ? "conmon ended without a word" : Self.shorten(message))
        }
        let text = String(decoding: try File.read(monitorFile), as: UTF8.self)
        let monitor = Int32(text.prefix { $0.isNumber }) ?? 0
        return Instance(
            id: id, pid: pid, pidStart: ProcessHandle.startTime(of: pid) ?? 0, monitor: monitor,
            monitorStart: ProcessHandle.startTime(of: monitor) ?? 0, bundle: bundle, log: log)
    }

    /// The container's first process, unless it has ended.
    static func handle(_ instance: Instance) -> ProcessHandle? {
        guard ProcessHandle.startTime(of: instance.pid) == instance.pidStart,
            let handle = try? ProcessHandle(pid: instance.pid),
            // Looked at again with the handle in hand: now the number cannot change its meaning.
            ProcessHandle.startTime(of: instance.pid) == instance.pidStart
        else { return nil }
        return handle
    }

    /// conmon's word for "open the log anew".
    func reopenLog(_ instance: Instance) throws(SystemError) {
        try File.append(instance.bundle + "/ctl", Array("2 0 0\n".utf8))
    }

    func logs(of instance: Instance, on loop: EventLoop) -> EngineLogs? { nil }
    func image(of container: ContainerManifest) throws(WorkloadError) -> ContainerImage? { nil }

    /// Writes the bundle and starts what is in it.
    func run(_ plan: ContainerPlan, number: Int) throws(WorkloadError) -> (Instance, notApplied: [String]) {
        let (bundle, log, notApplied) = try plan.writeBundle(run: number)
        return (
            try start(id: plan.id, bundle: bundle, log: log, streams: plan.container.monitorWords), notApplied
        )
    }

    func removeAll() -> [String] { list().compactMap { remove(id: $0) } }

    func exitStatus(of instance: Instance) -> (code: Int, reason: String?, message: String) {
        exitStatus(id: instance.id, bundle: instance.bundle)
    }

    /// How the container ended, once its monitor is gone.
    func exitStatus(id: String, bundle: String) -> (code: Int, reason: String?, message: String) {
        guard let text = try? File.text("\(layout.exits)/\(id)"), let code = Int(text.prefix { $0.isNumber }) else {
            return (137, "ContainerStatusUnknown", "the container's monitor ended without leaving an exit status")
        }
        let isOutOfMemory = File.exists(bundle + "/oom") && code != 0
        return (code, isOutOfMemory ? "OOMKilled" : nil, "")
    }

    /// Removes what the runtime has of a container, killing it if need be.
    ///
    /// Harmless when there is nothing. What could not be removed comes back, in words.
    @discardableResult
    func remove(id: String) -> String? {
        do throws(SystemError) {
            let (status, output) = try Child.run(.init([runc, "--root", layout.runtimeRoot, "delete", "-f", id]))
            try File.remove("\(layout.exits)/\(id)")
            try File.removeTree(layout.skeleton(id))
            guard !status.isSuccess, File.exists("\(layout.runtimeRoot)/\(id)") else { return nil }
            return "container \(id): \(Self.runtimeMessage(output))"
        } catch { return "container \(id): \(error)" }
    }

    /// The containers that the runtime knows; none before the first was started.
    func list() -> [String] { (try? File.list(layout.runtimeRoot)) ?? [] }

    /// runc writes `time="…" level=error msg="…"`; the message is what people want.
    private static func runtimeMessage(_ output: [UInt8]) -> String {
        shorten(String(decoding: output, as: UTF8.self))
    }

    static func shorten(_ text: String) -> String {
        var line =
            text.split(whereSeparator: \.isNewline).last(where: { $0.contains("level=error") }).map(String.init) ?? text
        if let start = line.range(of: "msg=\"") { line = String(line[start.upperBound...]) }
        while let last = line.last, last == "\"" || last.isNewline { line.removeLast() }
        return String(line.replacing("\\\"", with: "\"").prefix(500))
    }
}

extension String {
    /// Where `text` stands first.
    fileprivate func range(of text: String) -> Range<String.Index>? { ranges(of: text).first }
}

/// Pipes between us and short programs.
enum Pipe {
    static func make() throws(SystemError) -> (reader: Int32, writer: Int32) { try Child.pipe() }

    /// What has been written until the end, or until a line is complete.
    ///
    /// Blocks.
    static func readAll(_ fd: Int32, upTo limit: Int, untilLine: Bool) -> [UInt8] {
        var result: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while result.count < limit {
            let count = piece.withUnsafeMutableBytes { read(fd, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            result += piece.prefix(count)
            if untilLine, result.contains(0x0A) { break }
        }
        return result
    }

    /// Takes what waits in the pipe without waiting for more; only the first `limit` bytes are kept.
    static func drain(_ fd: Int32, into output: inout [UInt8], keeping limit: Int) {
        var piece = [UInt8](repeating: 0, count: 4096)
        var descriptor = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        // Bounded, so that a command that never stops writing does not outlast its time.
        for _ in 0..<64 where poll(&descriptor, 1, 0) > 0 {
            let count = piece.withUnsafeMutableBytes { read(fd, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            output += piece.prefix(min(count, max(0, limit - output.count)))
        }
    }

    /// Waits until the process has ended or the pipe has bytes; a pipe that is at its end does not count.
    static func wait(_ pidfd: Int32, _ reader: Int32, milliseconds: Int32) {
        var descriptors = [
            pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0), pollfd(fd: reader, events: Int16(POLLIN), revents: 0),
        ]
        _ = poll(&descriptors, 2, milliseconds)
        if descriptors[0].revents == 0, descriptors[1].revents & Int16(POLLIN) == 0, descriptors[1].revents != 0 {
            wait(pidfd, milliseconds: milliseconds)
        }
    }

    static func wait(_ fd: Int32, milliseconds: Int32) {
        var descriptor = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        _ = poll(&descriptor, 1, milliseconds)
    }
}
