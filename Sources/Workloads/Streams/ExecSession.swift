internal import Glibc
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry

/// A command in a container and the client that watches it.
///
/// `@unchecked Sendable`: touched on the agent's loop only.
final class ExecSession: ReadinessHandler, @unchecked Sendable {
    private static let blockBytes = 32 * 1024
    /// How long the runtime may live on when the client has gone and the command was killed.
    private static let killTime = Duration.seconds(5)
    private static let messageBytesMax = 4096

    private let socket: WebSocketConnection
    private let loop: EventLoop
    private let child: Child
    private let pidFile: String
    private let terminal: DescriptorStream?
    private var input: DescriptorStream?
    private var outputs: [(channel: UInt8, stream: DescriptorStream)] = []
    private var registration: Registration?
    private var exit: ExitStatus?
    private var waiter: CheckedContinuation<Void, Never>?
    /// The beginning of what came as errors: the runtime's own words, when it could not run the command.
    private var firstErrors: [UInt8] = []
    private var hasWritten = false

    init(
        _ process: consuming ExecProcess, _ options: ContainerRuntime.ExecOptions, _ socket: WebSocketConnection,
        on loop: EventLoop
    ) throws(SystemError) {
        self.socket = socket
        self.loop = loop
        pidFile = process.pidFile
        var streams: [Int32: DescriptorStream] = [:]
        var failure: SystemError?
        // All are taken over, also when one fails: they are closed with us.
        for (number, fd) in process.ends {
            do throws(SystemError) { streams[number] = try DescriptorStream(adopting: fd, on: loop) } catch {
                failure = error
            }
        }
        child = process.child
        terminal = options.hasTerminal ? streams[0] : nil
        if options.hasInput { input = streams[0] }
        if let terminal {
            outputs = [(StreamChannel.output, terminal)]
        } else {
            if let output = streams[1] { outputs.append((StreamChannel.output, output)) }
            if let errors = streams[2] { outputs.append((StreamChannel.errors, errors)) }
        }
        if failure == nil {
            do throws(SystemError) { registration = try loop.register(child.pidfd, self) } catch { failure = error }
        }
        if let failure {
            closeStreams()
            try? child.signal(SIGKILL)
            throw failure
        }
    }

    /// Runs until the command has ended and the client has been told how.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.readClient() }
            await withTaskGroup(of: Void.self) { pumps in
                for (channel, stream) in outputs { pumps.addTask { await self.pump(stream, to: channel) } }
                await ended()
                for (_, stream) in outputs { stream.endWhenEmpty() }
            }
            let outcome = outcome
            try? File.remove(pidFile)
            try? await socket.send(StreamChannel.status, outcome.status.bytes)
            await socket.close()
            let timer = loop.schedule(after: WebSocketConnection.closingTime) { [socket] in socket.abort() }
            await group.waitForAll()
            timer.cancel()
        }
        closeStreams()
    }

    private var outcome: ExecOutcome {
        guard let exit else { return .failed("the runtime could not be waited for") }
        // Without a process there was nothing that could have ended: the status is the runtime's own.
        guard File.exists(pidFile) || exit.isSuccess else {
            let text = String(decoding: firstErrors, as: UTF8.self)
            return .failed(ContainerRuntime.shorten(text.isEmpty ? "the runtime ended with \(exit)" : text))
        }
        return exit.isSuccess ? .success : .exited(exit.code)
    }

    private func closeStreams() {
        registration?.cancel()
        registration = nil
        input?.close()
        for (_, stream) in outputs { stream.close() }
        terminal?.close()
    }

    // MARK: The command

    func ready(_ readiness: Readiness) {
        guard exit == nil, let status = try? child.poll() else { return }
        exit = status
        registration?.cancel()
        registration = nil
        waiter?.resume()
        waiter = nil
    }

    private func ended() async {
        // It may have ended before it was registered.
        ready([])
        await withCheckedContinuation { continuation in
            guard exit == nil, registration != nil else { return continuation.resume() }
            waiter = continuation
        }
    }

    private func pump(_ stream: DescriptorStream, to channel: UInt8) async {
        while let bytes = try? await stream.read(upTo: Self.blockBytes), !bytes.isEmpty {
            if firstErrors.count < Self.messageBytesMax, channel == StreamChannel.errors || terminal != nil {
                firstErrors += bytes.prefix(Self.messageBytesMax)
            }
            do throws(WebSocketError) { try await socket.send(channel, bytes) } catch { return }
        }
        try? await socket.send([StreamChannel.close, channel])
    }

    // MARK: The client

    private func readClient() async {
        do throws(WebSocketError) {
            while let message = try await socket.next() { await take(message.payload) }
        } catch {
            // It has gone, or broke the rules: either way nobody waits any more.
        }
        guard exit == nil else { return }
        kill()
    }

    private func take(_ payload: [UInt8]) async {
        switch payload.first {
        case StreamChannel.input:
            guard let input else { return }
            do throws(SystemError) { try await input.write(Array(payload.dropFirst())) } catch { endInput() }
        case StreamChannel.resize:
            guard let terminal, let size = StreamChannel.size(payload.dropFirst()) else { return }
            try? Terminal.setSize(terminal.fd, columns: size.columns, rows: size.rows)
            // The terminal is nobody's controlling terminal: the runtime has to be told itself.
            try? child.signal(SIGWINCH)
        case StreamChannel.close where payload.count == 2 && payload.last == StreamChannel.input: endInput()
        default: return
        }
    }

    /// Ends the command's input; a terminal has no end, but a character that says so.
    private func endInput() {
        guard terminal == nil else { return }
        input?.close()
        input = nil
    }

    /// The client has gone: nobody would ever read what the command says.
    private func kill() {
        if let text = try? File.text(pidFile), let pid = Int32(text.prefix { $0.isNumber }), pid > 1,
            let handle = try? ProcessHandle(pid: pid)
        {
            try? handle.signal(SIGKILL)
        } else {
            try? child.signal(SIGTERM)
        }
        loop.schedule(after: Self.killTime) { [weak self] in
            guard let self, self.exit == nil else { return }
            try? self.child.signal(SIGKILL)
        }
    }
}
