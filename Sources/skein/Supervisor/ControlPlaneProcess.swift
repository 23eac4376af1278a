internal import IO
internal import Telemetry

/// The unprivileged process with API server, controllers, xDS and DNS: started, watched, adopted, ended.
///
/// It outlives a supervisor that was killed, so that names and the API go on; the next supervisor adopts it.
final class ControlPlaneProcess: @unchecked Sendable {
    /// Its user and group: nobody else's, so that nobody else can touch its files.
    static let userID: UInt32 = 7533

    private let options: UpOptions
    private let loop: EventLoop
    private let log = Logger("supervisor")
    private var pid: Int32?
    private var isStopping = false
    private var failures = 0

    init(_ options: UpOptions, on loop: EventLoop) {
        self.options = options
        self.loop = loop
    }

    private static func pidFile(_ runDirectory: String) -> String { "\(runDirectory)/control-plane.pid" }

    /// The process of an earlier supervisor, when it still runs and is the same program.
    static func running(runDirectory: String) -> Int32? {
        guard let text = try? File.text(pidFile(runDirectory)), let pid = Int32(text.filter(\.isNumber)),
            let command = try? File.text("/proc/\(pid)/cmdline"), command.contains("control-plane"),
            command.contains(runDirectory)
        else { return nil }
        return pid
    }

    /// Adopts a running process, or starts one, and watches it from now on.
    func start() throws(CommandError) {
        if let running = Self.running(runDirectory: options.runDirectory) {
            self.log.info("adopted the control plane", ["pid": "\(running)"])
            pid = running
        } else {
            try launch()
        }
        Task(executorPreference: loop) { await self.watch() }
    }

    private func launch() throws(CommandError) {
        do throws(SystemError) {
            let program = try File.readLink("/proc/self/exe")
            var command = Child.Command([
                program, "control-plane", "--data-dir", options.dataDirectory, "--run-dir",
                options.runDirectory,
                "--api", options.apiAddress.description, "--metrics", options.metricsAddress.description,
                "--pool", options.podPool.description, "--log-level", "\(Logger.level)",
            ])
            command.user = (Self.userID, Self.userID)
            command.workingDirectory = "/"
            command.isSessionLeader = true
            let output = try Descriptor.append(options.dataDirectory + "/log/control-plane.log", mode: 0o640)
            command.descriptors = [1: output.number, 2: output.number]
            let child = try Child(command).release()
            Descriptor.close(child.pidfd)
            pid = child.pid
            try File.write(Self.pidFile(options.runDirectory), Array("\(child.pid)\n".utf8), mode: 0o644)
            log.info("started the control plane", ["pid": "\(child.pid)"])
        } catch {
            throw CommandError("the control plane cannot be started: \(error)")
        }
    }

    /// Starts the process again whenever it has ended, slower each time while it does not stay up.
    private func watch() async {
        while !isStopping {
            await loop.sleep(for: .milliseconds(100))
            guard let pid, !isStopping else { continue }
            Process.reap(pid)
            guard !Process.isAlive(pid) else {
                failures = 0
                continue
            }
            failures += 1
            log.error("the control plane has ended", ["pid": "\(pid)", "attempt": "\(self.failures)"])
            await loop.sleep(for: .milliseconds(min(5_000, 50 << min(failures, 7))))
            guard !isStopping else { return }
            do throws(CommandError) {
                try launch()
            } catch {
                log.error("\(error.message)")
            }
        }
    }

    /// Whether it has not ended since `start`.
    var isRunning: Bool { pid.map { Process.isAlive($0) } ?? false }

    /// Ends it: SIGTERM, after five seconds SIGKILL.
    func stop() async {
        isStopping = true
        guard let pid else { return }
        await Self.end(pid, on: loop)
        try? File.remove(Self.pidFile(options.runDirectory))
    }

    /// Ends the process of that number and waits until it is gone.
    static func end(_ pid: Int32, on loop: EventLoop) async {
        Process.signal(pid, Signals.terminate)
        for round in 0..<200 {
            Process.reap(pid)
            guard Process.isAlive(pid) else { return }
            if round == 100 { Process.signal(pid, Signals.kill) }
            await loop.sleep(for: .milliseconds(50))
        }
    }
}
