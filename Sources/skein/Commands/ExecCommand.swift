internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Workloads

extension Command {
    private static let container = Flag(
        "container", short: "c", value: "NAME", "the container (default: the pod's first)")
    private static let input = Flag("stdin", short: "i", "pass our input to the command")
    private static let terminal = Flag("tty", short: "t", "give the command a terminal")

    static let exec = Command(
        "exec", "POD -- COMMAND [ARGUMENT]...", "Run a command in a container",
        details: "Ends with the command's own exit status.",
        flags: [.namespace, container, input, terminal, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard let pod = invocation.operands.first, invocation.operands.count > 1 else {
            throw CommandError.usage("exec", "needs a pod and a command: skein exec POD -- COMMAND")
        }
        let namespace = invocation.value(.namespace) ?? "default"
        var query = invocation.operands.dropFirst().map { ("command", $0) }
        if let name = invocation.value(container) { query.append(("container", name)) }
        let hasInput = invocation.has(input)
        let hasTerminal = invocation.has(terminal) && Terminal.isTerminal(0)
        query.append(("stdout", "true"))
        if hasInput { query.append(("stdin", "true")) }
        query.append(hasTerminal ? ("tty", "true") : ("stderr", "true"))
        let path = ResourceKind.pod.path(namespace: namespace, name: pod) + "/exec"
        return try onLoop { [query] loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let socket = try await client.webSocket(path, query: query, protocols: ["v5.channel.k8s.io"])
            return try await ExecClient(socket, on: loop).run(hasInput: hasInput, hasTerminal: hasTerminal)
        }
    }
}

/// Our own input and output as the streams of a command in a container.
///
/// `@unchecked Sendable`: touched on its loop only.
private final class ExecClient: @unchecked Sendable {
    private static let blockBytes = 32 * 1024
    /// How often the terminal is asked for its size.
    private static let sizeInterval = Duration.milliseconds(250)

    private let socket: WebSocketConnection
    private let loop: EventLoop
    private var status: JSON?
    private var isOver = false

    init(_ socket: WebSocketConnection, on loop: EventLoop) {
        self.socket = socket
        self.loop = loop
    }

    /// The command's exit status.
    func run(hasInput: Bool, hasTerminal: Bool) async throws(CommandError) -> Int32 {
        let mode = hasTerminal && hasInput ? try? Terminal.RawMode(0) : nil
        defer { mode?.restore() }
        let input = hasInput ? Task(executorPreference: loop) { await self.sendInput() } : nil
        let sizes = hasTerminal ? Task(executorPreference: loop) { await self.sendSizes() } : nil
        do throws(WebSocketError) {
            while let message = try await socket.next() {
                let bytes = Array(message.payload.dropFirst())
                switch message.payload.first {
                case 1: Console.out(bytes)
                case 2: Console.error(bytes)
                case 3 where !bytes.isEmpty: status = try? JSON.parse(bytes)
                default: continue
                }
            }
        } catch {
            if status == nil { throw CommandError("the connection to the command ended: \(error)") }
        }
        isOver = true
        input?.cancel()
        sizes?.cancel()
        guard let status, status["status"]?.string != "Success" else { return 0 }
        let causes = status["details"]?["causes"]?.array ?? []
        let code = causes.first { $0["reason"] == "ExitCode" }?["message"]?.string.flatMap { Int32($0) }
        guard let code else { throw CommandError(status["message"]?.string ?? "the command could not be run") }
        return code
    }

    /// A thread of its own waits for our input, which may be a file: files are never not ready.
    private func sendInput() async {
        let pool = BlockingPool(name: "skein-input", width: 1)
        while let bytes = try? await pool.run({ () throws(SystemError) in try Console.read(upTo: Self.blockBytes) }),
            !bytes.isEmpty
        {
            guard !isOver, (try? await socket.send([0] + bytes)) != nil else { return }
        }
        if !isOver { try? await socket.send([255, 0]) }
    }

    private func sendSizes() async {
        var last: (columns: UInt16, rows: UInt16) = (0, 0)
        while !Task.isCancelled, !isOver {
            if let size = Terminal.size(0), size != last {
                last = size
                let json: JSON = ["Width": .integer(Int64(size.columns)), "Height": .integer(Int64(size.rows))]
                try? await socket.send([4] + json.bytes)
            }
            await loop.sleep(for: Self.sizeInterval)
        }
    }
}
