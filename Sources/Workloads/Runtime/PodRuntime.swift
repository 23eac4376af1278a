internal import Glibc
internal import IO
internal import Telemetry

/// What makes containers for the node agent.
///
/// Calls block and may come from any thread.
protocol PodRuntime: Sendable {
    /// Where things are kept.
    var layout: NodeLayout { get }
    /// Makes the directories that all containers share.
    func prepare() throws(SystemError)
    /// The image of a container; nil when the agent's own store is to be asked.
    func image(of container: ContainerManifest) throws(WorkloadError) -> ContainerImage?
    /// Makes and starts a container; also the limits that this machine cannot keep.
    func run(_ plan: ContainerPlan, number: Int) throws(WorkloadError) -> (
        ContainerRuntime.Instance, notApplied: [String]
    )
    /// How a container ended, once its monitor is gone.
    func exitStatus(of instance: ContainerRuntime.Instance) -> (code: Int, reason: String?, message: String)
    /// Removes what the runtime has of a container, killing it if need be; what could not be removed, in words.
    func remove(id: String) -> String?
    /// The containers of this node that the runtime knows.
    func list() -> [String]
    /// Removes everything of this node that the runtime has; what could not be removed, in words.
    func removeAll() -> [String]
    /// The words that run a command in a container, and end with its exit status.
    func execWords(_ id: String, pidFile: String, _ options: ContainerRuntime.ExecOptions) -> [String]
    /// The words that carry a container's own streams; nil when its monitor has a socket for them.
    func attachWords(_ id: String, _ options: ContainerRuntime.ExecOptions) -> [String]?
    /// Makes a container's log go on in a new file, the old one having been moved.
    func reopenLog(_ instance: ContainerRuntime.Instance) throws(SystemError)
    /// What carries a container's output into its log; nil when its monitor does.
    func logs(of instance: ContainerRuntime.Instance, on loop: EventLoop) -> EngineLogs?
}

extension PodRuntime {
    /// Sends a signal to the container's first process; one that has ended is no failure.
    func signal(_ instance: ContainerRuntime.Instance, _ number: Int32) {
        guard let handle = ContainerRuntime.handle(instance) else { return }
        do throws(SystemError) { try handle.signal(number) } catch {
            Logger("runtime").error("container not signalled", ["container": instance.id, "error": "\(error)"])
        }
    }

    /// A file for the number of a command's process.
    private func pidFile(_ id: String) -> String {
        "\(layout.runDirectory)/exec-\(id)-\(UInt32.random(in: 0 ... .max))"
    }

    /// Runs a command in the container; its exit status and output, or nil after `timeout`.
    func execute(_ id: String, _ command: [String], timeout: Duration) -> (ExitStatus, [UInt8])? {
        let pidFile = pidFile(id)
        defer { try? File.remove(pidFile) }
        guard let (reader, writer) = try? Pipe.make() else { return nil }
        defer { close(reader) }
        var start = Child.Command(execWords(id, pidFile: pidFile, .init(command: command)))
        start.descriptors = [1: writer, 2: writer]
        guard let child = try? Child(start) else {
            close(writer)
            return nil
        }
        close(writer)
        let deadline = MonotonicTime.now + timeout
        // Read as it comes, so that a command that says much does not wait for us until its time is over.
        var output: [UInt8] = []
        while true {
            let status = try? child.poll()
            Pipe.drain(reader, into: &output, keeping: 10_240)
            if let status { return (status, output) }
            let left = deadline - .now
            guard left > .zero else { break }
            Pipe.wait(child.pidfd, reader, milliseconds: Int32(clamping: left.wholeMilliseconds))
        }
        if let text = try? File.text(pidFile), let pid = Int32(text.prefix { $0.isNumber }), pid > 1 {
            if let handle = try? ProcessHandle(pid: pid) { try? handle.signal(SIGKILL) }
        }
        try? child.signal(SIGKILL)
        _ = try? child.wait()
        return nil
    }

    /// Starts a command in a running container.
    ///
    /// Blocks for the time of a fork.
    func begin(_ id: String, _ options: ContainerRuntime.ExecOptions) throws(SystemError) -> ExecProcess {
        let pidFile = pidFile(id)
        return try ExecProcess.start(execWords(id, pidFile: pidFile, options), options, pidFile: pidFile)
    }

    /// Carries the container's own streams by a process; nil when its monitor has a socket for them.
    func attach(_ id: String, _ options: ContainerRuntime.ExecOptions) throws(SystemError) -> ExecProcess? {
        guard let words = attachWords(id, options) else { return nil }
        return try ExecProcess.start(words, options, pidFile: pidFile(id))
    }
}

extension ExecProcess {
    /// Starts a program with streams of its own.
    static func start(
        _ words: [String], _ options: ContainerRuntime.ExecOptions, pidFile: String
    ) throws(SystemError) -> ExecProcess {
        var start = Child.Command(words)
        start.isSessionLeader = true
        var ours: [Int32: Int32] = [:]
        var theirs: [Int32] = []
        defer { for fd in theirs { close(fd) } }
        do throws(SystemError) {
            if options.hasTerminal {
                let (main, replica) = try Terminal.open()
                theirs.append(replica)
                ours[0] = main
                start.descriptors = [0: replica, 1: replica, 2: replica]
            } else {
                for (number, isWanted) in [options.hasInput, options.hasOutput, options.hasErrors].enumerated()
                where isWanted {
                    let (reader, writer) = try Pipe.make()
                    theirs.append(number == 0 ? reader : writer)
                    ours[Int32(number)] = number == 0 ? writer : reader
                    start.descriptors[Int32(number)] = number == 0 ? reader : writer
                }
            }
            return ExecProcess(child: try Child(start), pidFile: pidFile, ends: ours)
        } catch {
            for fd in ours.values { close(fd) }
            throw error
        }
    }
}
