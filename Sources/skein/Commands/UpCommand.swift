internal import IO
internal import Telemetry

extension Command {
    static let up = Command(
        "up", "", "Start Skein on this machine, with the objects of files",
        details: """
            Starts the control plane, the network and an ingress gateway, applies the files, waits until everything is ready and
            runs until Ctrl-C or skein down. What was applied before in the same data directory is there again.
            Needs root. Without -f nothing but Skein itself is started.
            """,
        flags: UpOptions.flags + [UpOptions.report]
    ) { invocation throws(CommandError) in
        let options = try UpOptions(invocation)
        if let name = invocation.value(UpOptions.logLevel) {
            guard let level = LogLevel(name: name) else {
                throw CommandError.usage("up", "--log-level \(name): not a level")
            }
            Logger.level = level
        } else if options.reportDescriptor == nil, Environment.isTerminal(2) {
            // The progress line and the log would write over each other.
            Logger.level = .warning
        }
        // Everything that can be known to be wrong is said before anything is touched.
        try Preflight.check(options)
        let manifests = options.files.isEmpty ? [] : try Manifest.load(options.files, namespace: options.namespace)
        if options.isDetached, options.reportDescriptor == nil {
            return try Detached.start(options, arguments: CommandLine.arguments)
        }
        return try supervise(options, manifests)
    }

    private static func supervise(_ options: UpOptions, _ manifests: [Manifest]) throws(CommandError) -> Int32 {
        let reporter = Reporter(descriptor: options.reportDescriptor)
        Environment.raiseDescriptorLimit()
        Signals.block([Signals.interrupt, Signals.terminate, Signals.hangup])
        do throws(CommandError) {
            return try onLoop { loop throws(CommandError) in
                let stop = StopRequest()
                let source: SignalSource
                do throws(SystemError) {
                    source = try SignalSource([Signals.interrupt, Signals.terminate], on: loop) { _ in stop.request() }
                } catch {
                    throw CommandError(error)
                }
                defer { source.cancel() }
                return try await Supervisor(options, reporter: reporter, on: loop).run(manifests, stop: stop)
            }
        } catch {
            reporter.error(error.message)
            reporter.done(error.status)
            return error.status
        }
    }
}

/// `--detach`: a supervisor of its own session, whose progress the typed command shows until everything is ready.
enum Detached {
    static func start(_ options: UpOptions, arguments: [String]) throws(CommandError) -> Int32 {
        do throws(SystemError) {
            try File.makeDirectory(options.dataDirectory + "/log", mode: 0o700)
            let log = try Descriptor.append(options.dataDirectory + "/log/skein.log", mode: 0o600)
            let (input, output) = try Descriptor.pipe()
            let program = try File.readLink("/proc/self/exe")
            var command = Child.Command(
                [program] + arguments.dropFirst() + ["--report-fd", "3"],
                environment: [Child.Command.standardPath]
                    + (Environment.variable("SKEIN_PATH").map { ["SKEIN_PATH=\($0)"] } ?? []))
            command.descriptors = [1: log.number, 2: log.number, 3: output.number]
            command.isSessionLeader = true
            let child = try Child(command).release()
            Descriptor.close(child.pidfd)
            output.close()  // The end of the supervisor is then the end of the pipe.
            return try relay(input, logFile: options.dataDirectory + "/log/skein.log")
        } catch {
            throw CommandError("skein up: \(error)")
        }
    }

    /// Shows what the supervisor reports; its last word is the exit status.
    private static func relay(_ input: Descriptor, logFile: String) throws(SystemError) -> Int32 {
        let reporter = Reporter(descriptor: nil)
        var lines = LineBuffer()
        while true {
            let piece = try input.read(upTo: 4096)
            guard !piece.isEmpty else {
                reporter.error("skein up: the supervisor has ended early; see \(logFile)")
                return 1
            }
            for line in lines.append(piece) {
                let text = String(decoding: line.dropFirst(), as: UTF8.self)
                switch line.first {
                case UInt8(ascii: "o"): reporter.out(text)
                case UInt8(ascii: "p"): reporter.progress(text)
                case UInt8(ascii: "e"): reporter.error(text)
                case UInt8(ascii: "q"):
                    reporter.done(0)
                    return Int32(text) ?? 1
                default: break
                }
            }
        }
    }
}
