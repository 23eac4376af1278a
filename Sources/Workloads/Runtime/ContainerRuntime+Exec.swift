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

    /// The words that run a command in a container, and end with its exit status.
    func execWords(_ id: String, pidFile: String, _ options: ExecOptions) -> [String] {
        var words = [runc, "--root", layout.runtimeRoot, "exec", "--pid-file", pidFile]
        if options.hasTerminal { words += ["--tty", "--env", "TERM=xterm"] }
        // What begins with a dash behind the container's name is the command's.
        return words + [id] + options.command
    }

    func attachWords(_ id: String, _ options: ExecOptions) -> [String]? { nil }
}

extension ContainerManifest {
    /// What the monitor is told about the container's input and terminal.
    var monitorWords: [String] {
        (hasTerminal ? ["-t"] : []) + (hasInput ? ["-i"] + (endsInputOnce ? [] : ["--leave-stdin-open"]) : [])
    }
}
