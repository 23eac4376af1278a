internal import IO
internal import Workloads

extension Command {
    private static let engine = Flag("engine", value: "SOCKET", "the engine's socket")
    private static let pidFile = Flag("pid-file", value: "FILE", "where the number of the command's process is written")
    private static let input = Flag("stdin", "pass our input on")
    private static let terminal = Flag("tty", "give the command a terminal")

    /// What the node agent starts for each command in a container of `--runtime docker`.
    static let engineExec = Command(
        "engine-exec", "-- CONTAINER [COMMAND] [ARGUMENT]...", "Used by the node agent itself",
        flags: [engine, pidFile, input, terminal], isHidden: true
    ) { invocation throws(CommandError) in
        guard let socket = invocation.value(engine), let container = invocation.operands.first else {
            throw CommandError.usage("engine-exec", "needs --engine and a container")
        }
        let wish = EngineExec.Wish(
            socket: socket, container: container, command: Array(invocation.operands.dropFirst()),
            pidFile: invocation.value(pidFile), hasInput: invocation.has(input), hasTerminal: invocation.has(terminal))
        return try onLoop { loop throws(CommandError) in await EngineExec(wish, on: loop).run() }
    }
}
