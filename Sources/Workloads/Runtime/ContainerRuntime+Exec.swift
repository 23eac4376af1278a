internal import Glibc
internal import IO

/// A command that is being run in a container for somebody who watches it.
///
/// The runtime's own process waits for it; what is held here are its pidfd and our ends of the command's streams, each
/// to be closed by whoever takes it over. Dropping it closes what nobody took.
struct ExecProcess: ~Copyable, Sendable {
    /// The runtime, whose exit status is the command's.
    let child: Child
    /// Where the runtime writes the number of the command's process.
    let pidFile: String
    /// Our ends: standard input, output and error; the terminal is both of the first two.
    let ends: [Int32: Int32]
}

extension ContainerRuntime {
    /// How a command is to be run.
    struct ExecOptions: Sendable, Hashable {
        var command: [String] = []
        var hasInput = false
        var hasOutput = true
        var hasErrors = true
        /// Whether the command gets a terminal; its errors then come with its output.
        var hasTerminal = false
    }

    /// Starts a command in a running container.
    ///
    /// Blocks for the time of a fork.
    func begin(_ id: String, _ options: ExecOptions) throws(SystemError) -> ExecProcess {
        let pidFile = "\(layout.runDirectory)/exec-\(id)-\(UInt32.random(in: 0 ... .max))"
        var words = [runc, "--root", layout.runtimeRoot, "exec", "--pid-file", pidFile]
        if options.hasTerminal { words += ["--tty", "--env", "TERM=xterm"] }
        // What begins with a dash behind the container's name is the command's.
        var start = Child.Command(words + [id] + options.command)
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

    /// The socket at which conmon gives out what the container writes.
    func attachPath(_ id: String) -> String { "\(layout.attach)/\(id)/attach" }
}

extension ContainerManifest {
    /// What the monitor is told about the container's input and terminal.
    var monitorWords: [String] {
        (hasTerminal ? ["-t"] : []) + (hasInput ? ["-i"] + (endsInputOnce ? [] : ["--leave-stdin-open"]) : [])
    }
}
