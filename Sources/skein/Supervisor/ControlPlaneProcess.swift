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
    private var process: ProcessHandle?
    private var isStopping = false
    private var failures = 0
    private var launched = MonotonicTime.now
    private static let wellAfter = Duration.seconds(10)

    init(_ options: UpOptions, on loop: EventLoop) {
        self.options = options
        self.loop = loop
    }

    private static func pidFile(_ runDirectory: String) -> String { "\(runDirectory)/control-plane.pid" }

    /// The process of an earlier supervisor, when it still runs and is the same program.
    static func running(runDirectory: String) -> ProcessHandle? {
        // No file, or a number of nobody: then none runs.
        guard let text = try? File.text(pidFile(runDirectory)), let pid = Int32(text.filter(\.isNumber)),
            // The handle first: what is read afterwards is of this process, not of a later one with its number.
            let process = try? ProcessHandle(pid: pid), process.isRunning,
            isControlPlane(Process.commandLine(pid), runDirectory: runDirectory), process.isRunning
        else { return nil }
        return process
    }

    /// Whether a command line is that of a control plane of this run directory.
    static func isControlPlane(_ words: [String], runDirectory: String) -> Bool {
        words.dropFirst().first == "control-plane" && value(of: "--run-dir", in: words) == runDirectory
    }

    private static func value(of flag: String, in words: [String]) -> String? {
        guard let index = words.firstIndex(of: flag), words.indices.contains(index + 1) else { return nil }
        return words[index + 1]
    }

    /// What a running control plane must have been told to be adopted: it goes on with what it has.
    private static let deciding = [
        "--api", "--api-names", "--metrics", "--pool", "--service-pool", "--balancer-pool",
        "--store", "--certificate-lifetime", "--watches",
        "--registry", "--registry-domain", "--registry-datacenter",
    ]

    /// Refuses a run directory in which the control plane of another data directory still runs, before anything is touched;
    /// whether there is one to adopt.
    static func findAdoptable(_ options: UpOptions) throws(CommandError) -> Bool {
        guard let running = running(runDirectory: options.runDirectory) else { return false }
        let data = value(of: "--data-dir", in: Process.commandLine(running.pid))
        guard data == options.dataDirectory else {
            throw CommandError(
                "skein up: a control plane of the data directory \(data ?? "?") still runs in \(options.runDirectory) "
                    + "(process \(running.pid)); stop it with skein down")
        }
        return true
    }

    /// Adopts a running process, or starts one, and watches it from now on.
    ///
    /// One that was told something else, or whose program has been replaced, gives way to a new one.
    func start() async throws(CommandError) {
        if let running = Self.running(runDirectory: options.runDirectory) {
            let words = Process.commandLine(running.pid)
            if try isAsWanted(running.pid, words) {
                log.info("adopted the control plane", ["pid": "\(running.pid)"])
                process = running
            } else {
                log.info("the control plane is replaced", ["pid": "\(running.pid)"])
                await Self.end(running, on: loop)
            }
        }
        if process == nil { try launch() }
        Task(executorPreference: loop) { await self.watch() }
    }

    private func isAsWanted(_ pid: Int32, _ words: [String]) throws(CommandError) -> Bool {
        let wanted = try arguments()
        guard Self.deciding.allSatisfy({ Self.value(of: $0, in: words) == Self.value(of: $0, in: wanted) }) else {
            return false
        }
        let scripts = "--" + RegistryFlags.scripts.name
        guard words.contains(scripts) == wanted.contains(scripts) else { return false }
        // A program that was built anew has "(deleted)" behind its path.
        guard let program = try? File.readLink("/proc/\(pid)/exe") else { return false }
        return program == wanted.first
    }

    private func arguments() throws(CommandError) -> [String] {
        do throws(SystemError) {
            return [
                try File.readLink("/proc/self/exe"), "control-plane", "--data-dir", options.dataDirectory, "--run-dir",
                options.runDirectory,
                "--api", options.apiAddress.description, "--metrics", options.metricsAddress.description,
                "--log-level", options.logLevelName,
                "--certificate-lifetime", "\(options.certificateLifetime)s",
            ] + AddressFlags.arguments(pods: options.podPools, options.serviceRanges)
                + StoreFlags.arguments(options.store) + options.registry.arguments
                + (options.apiNames.isEmpty ? [] : ["--api-names", options.apiNames.joined(separator: ",")])
                + (options.discoveryAddress.map { ["--discovery", $0.description] } ?? [])
                + (options.metricsCollector.map { ["--metrics-otlp", $0] } ?? [])
                + ["--insight-memory", String(options.insightMebibytes)]
                + (options.mailProgram.map { ["--mail-program", $0] } ?? [])
                + (options.watchesMax.map { ["--watches", String($0)] } ?? [])
        } catch {
            throw CommandError(error)
        }
    }

    private func launch() throws(CommandError) {
        var command = Child.Command(try arguments())
        do throws(SystemError) {
            command.user = (Self.userID, Self.userID)
            command.workingDirectory = "/"
            command.isSessionLeader = true
            let output = try Descriptor.append(options.dataDirectory + "/log/control-plane.log", mode: 0o640)
            command.descriptors = [1: output.number, 2: output.number]
            let started = ProcessHandle(adopting: try Child(command))
            process = started
            launched = loop.now
            try File.write(Self.pidFile(options.runDirectory), Array("\(started.pid)\n".utf8), mode: 0o644)
            log.info("started the control plane", ["pid": "\(started.pid)"])
        } catch {
            throw CommandError("the control plane cannot be started: \(error)")
        }
    }

    /// Starts the process again whenever it has ended, slower each time while it does not stay up.
    private func watch() async {
        while !isStopping {
            await loop.sleep(for: .milliseconds(100))
            guard let process, !isStopping else { continue }
            guard !process.isRunning else {
                // One that ends a second after each start must not look well in between.
                if loop.now - launched >= Self.wellAfter { failures = 0 }
                continue
            }
            Process.reap(process.pid)
            failures += 1
            log.error("the control plane has ended", ["pid": "\(process.pid)", "attempt": "\(self.failures)"])
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
    var isRunning: Bool { process?.isRunning ?? false }

    /// Ends it: SIGTERM, after five seconds SIGKILL.
    func stop() async {
        isStopping = true
        guard let process else { return }
        await Self.end(process, on: loop)
        do throws(SystemError) { try File.remove(Self.pidFile(options.runDirectory)) } catch {
            log.warning("the process file stays", ["error": "\(error)"])  // It names a process that is gone.
        }
    }

    /// Ends the process and waits until it is gone: SIGTERM, after five seconds SIGKILL.
    static func end(_ process: ProcessHandle, on loop: EventLoop) async {
        func signal(_ number: Int32) {
            do throws(SystemError) { try process.signal(number) } catch {
                Logger("supervisor").error("the control plane is not signalled", ["error": "\(error)"])
            }
        }
        signal(Signals.terminate)
        for round in 0..<200 {
            guard process.isRunning else {
                Process.reap(process.pid)  // A child of ours would stay behind as a zombie.
                return
            }
            if round == 100 { signal(Signals.kill) }
            await loop.sleep(for: .milliseconds(50))
        }
    }
}
