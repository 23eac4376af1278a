internal import HTTP
package import IO
internal import Serialization

/// A command in an engine's container, or the container's own streams, as a process of its own: what `runc exec` is for runc.
///
/// `@unchecked Sendable`: touched on its loop only.
package final class EngineExec: @unchecked Sendable {
    /// What is to be run, and how.
    package struct Wish: Sendable {
        /// The engine's socket.
        package var socket: String
        /// The container.
        package var container: String
        /// The command; none: the container's own streams.
        package var command: [String]
        /// Where the number of the command's process is written.
        package var pidFile: String?
        /// Whether our input is passed on.
        package var hasInput: Bool
        /// Whether the command gets a terminal; ours is then made raw.
        package var hasTerminal: Bool

        /// A command in that container.
        package init(
            socket: String, container: String, command: [String], pidFile: String?, hasInput: Bool, hasTerminal: Bool
        ) {
            self.socket = socket
            self.container = container
            self.command = command
            self.pidFile = pidFile
            self.hasInput = hasInput
            self.hasTerminal = hasTerminal
        }
    }

    private static let blockBytes = 32 * 1024
    /// The status of a command that could not be run.
    private static let failure: Int32 = 126
    /// What an engine says of a program that it could not start.
    private static let notRun: Set<Int32> = [126, 127]
    private static let sizeInterval = Duration.milliseconds(250)

    private let wish: Wish
    private let loop: EventLoop
    private var isOver = false
    private var frames = EngineFrames()

    /// Prepares it on that loop.
    package init(_ wish: Wish, on loop: EventLoop) {
        self.wish = wish
        self.loop = loop
    }

    /// Runs it until it has ended; its exit status.
    package func run() async -> Int32 {
        let mode = wish.hasTerminal && Terminal.isTerminal(0) ? try? Terminal.RawMode(0) : nil
        defer { mode?.restore() }
        do { return try await wish.command.isEmpty ? attach() : execute() } catch {
            Console.error("\(error)\n")
            return Self.failure
        }
    }

    private func execute() async throws -> Int32 {
        let made = try await call(
            .post, "/containers/\(PercentEncoding.encoded(wish.container))/exec",
            [
                "AttachStdin": .bool(wish.hasInput), "AttachStdout": true, "AttachStderr": true,
                "Tty": .bool(wish.hasTerminal), "Cmd": .array(wish.command.map { .string($0) }),
                "Env": wish.hasTerminal ? ["TERM=xterm"] : [],
            ])
        guard let id = made["Id"]?.string else { throw EngineError(status: 0, message: "the engine made no command") }
        let path = "/exec/\(PercentEncoding.encoded(id))"
        let (rest, stream) = try await upgraded(path + "/start", ["Detach": false, "Tty": .bool(wish.hasTerminal)])
        let sizes = Task(executorPreference: loop) { await self.sendSizes(path) }
        if let pidFile = wish.pidFile, let pid = try await call(.get, path + "/json")["Pid"]?.int, pid > 0 {
            try File.write(pidFile, Array("\(pid)".utf8), mode: 0o600)
        }
        await carry(rest, stream)
        sizes.cancel()
        while true {
            let state = try await call(.get, path + "/json")
            guard state["Running"]?.bool != true else {
                await loop.sleep(for: .milliseconds(10))
                continue
            }
            let code = Int32(clamping: state["ExitCode"]?.int ?? Int(Self.failure))
            // One that has ended at once had a process, too; one that could not be run had none.
            if let pidFile = wish.pidFile, !File.exists(pidFile), !Self.notRun.contains(code) {
                try File.write(pidFile, Array("0".utf8), mode: 0o600)
            }
            return code
        }
    }

    private func attach() async throws -> Int32 {
        let path = "/containers/\(PercentEncoding.encoded(wish.container))"
        let (rest, stream) = try await upgraded(
            "\(path)/attach?stream=1&stdin=\(wish.hasInput ? 1 : 0)&stdout=1&stderr=1", nil)
        let sizes = Task(executorPreference: loop) { await self.sendSizes(path) }
        await carry(rest, stream)
        sizes.cancel()
        return 0
    }

    // MARK: Streams

    private func carry(_ rest: [UInt8], _ stream: any ByteStream) async {
        let input = wish.hasInput ? Task(executorPreference: loop) { await self.sendInput(stream) } : nil
        show(rest)
        while let bytes = try? await stream.read(upTo: Self.blockBytes), !bytes.isEmpty { show(bytes) }
        isOver = true
        input?.cancel()
        stream.close()
    }

    private func show(_ bytes: [UInt8]) {
        guard !wish.hasTerminal else { return Console.out(bytes) }
        for (stream, text) in frames.take(bytes) { if stream == 2 { Console.error(text) } else { Console.out(text) } }
    }

    /// A thread of its own waits for our input, which may be a file: files are never not ready.
    private func sendInput(_ stream: any ByteStream) async {
        let pool = BlockingPool(name: "skein-input", width: 1)
        while let bytes = try? await pool.run({ () throws(SystemError) in try Console.read(upTo: Self.blockBytes) }),
            !bytes.isEmpty
        {
            guard !isOver, (try? await stream.write(bytes)) != nil else { return }
        }
        if !isOver { (stream as? SocketStream)?.socket.shutdownWrite() }
    }

    private func sendSizes(_ path: String) async {
        guard wish.hasTerminal else { return }
        var last: (columns: UInt16, rows: UInt16) = (0, 0)
        while !Task.isCancelled {
            if let size = Terminal.size(0), size != last, size.columns > 0 {
                last = size
                _ = try? await call(.post, "\(path)/resize?h=\(size.rows)&w=\(size.columns)", nil)
            }
            await loop.sleep(for: Self.sizeInterval)
        }
    }

    // MARK: Calls

    private func call(_ method: HTTPMethod, _ path: String, _ body: JSON? = nil) async throws -> JSON {
        let client = HTTPClient(to: .unix(wish.socket), on: loop)
        var request = HTTPClientRequest(method, path, body: body?.bytes ?? [])
        if body != nil { try request.headers.append("content-type", "application/json") }
        let response = try await client.send(request)
        return try EngineClient.read(Int(response.status), try await response.collect()).get()
    }

    private func upgraded(_ path: String, _ body: JSON?) async throws -> (rest: [UInt8], stream: any ByteStream) {
        let client = HTTPClient(to: .unix(wish.socket), on: loop)
        var request = HTTPClientRequest(.post, path, body: body?.bytes ?? [])
        if body != nil { try request.headers.append("content-type", "application/json") }
        try request.headers.append("connection", "Upgrade")
        try request.headers.append("upgrade", "tcp")
        let response = try await client.send(request)
        guard response.status == 101 else {
            throw EngineClient.problem(Int(response.status), try await response.collect())
        }
        return response.upgradedStream()
    }
}

/// Frames of an engine's stream: eight bytes (which stream, how many bytes), and the bytes.
///
/// Pure.
struct EngineFrames: Sendable {
    private var rest: [UInt8] = []

    /// The whole and partial texts that have come, with the stream each belongs to.
    mutating func take(_ bytes: [UInt8]) -> [(stream: UInt8, bytes: [UInt8])] {
        rest += bytes
        var result: [(UInt8, [UInt8])] = []
        var start = 0
        while rest.count - start >= 8 {
            let count = rest[start + 4..<start + 8].reduce(0) { $0 << 8 | Int($1) }
            guard rest.count - start - 8 >= count else { break }
            result.append((rest[start], Array(rest[start + 8..<start + 8 + count])))
            start += 8 + count
        }
        rest.removeFirst(start)
        return result
    }
}
