import HTTP
import IO
import Serialization

/// Carries a command's streams between a client and the node agent.
///
/// The agent speaks the channels of `v5.channel.k8s.io`, whatever the client speaks. `@unchecked Sendable`: touched on
/// its loop only.
final class CommandStreams: @unchecked Sendable {
    /// The channels, by number.
    private enum Channel {
        static let input: UInt8 = 0
        static let output: UInt8 = 1
        static let errors: UInt8 = 2
        static let status: UInt8 = 3
        static let resize: UInt8 = 4
        static let close: UInt8 = 255
    }

    /// How long an SPDY client may take to open all its streams, as in Kubernetes.
    private static let openingTime = Duration.seconds(30)
    /// How long a client that has been told everything may take to go.
    static let closingTime = Duration.seconds(2)
    /// Bytes of one message about the terminal's size at most.
    private static let resizeBytesMax = 4096

    private let wish: StreamRequest
    private let agent: WebSocketConnection
    private let loop: EventLoop

    init(_ wish: StreamRequest, _ agent: WebSocketConnection, on loop: EventLoop) {
        self.wish = wish
        self.agent = agent
        self.loop = loop
    }

    // MARK: WebSocket

    /// Serves a client of channels.
    func run(_ client: ChannelSocket) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                do throws(WebSocketError) {
                    while let payload = try await client.next() {
                        try await self.pass(payload, closes: client.form.closes)
                    }
                } catch {
                    // One of the two has gone, and so goes the other.
                }
                await self.agent.close()
                self.agent.abort()
            }
            // Tells the client that everything is set up, as Kubernetes does.
            try? await client.send([wish.hasOutput ? Channel.output : wish.hasErrors ? Channel.errors : Channel.status])
            do throws(WebSocketError) {
                while let message = try await agent.next() {
                    // Clients take the end of the connection for the end of the channels.
                    guard let channel = message.payload.first, channel != Channel.close else { continue }
                    var bytes = Array(message.payload.dropFirst())
                    if channel == Channel.status {
                        guard let told = client.form.status(bytes) else { continue }
                        bytes = told
                    }
                    try await client.send([channel] + bytes)
                }
                await client.close()
            } catch {
                await client.close(code: 1011)
            }
            let timer = loop.schedule(after: Self.closingTime) { client.abort() }
            await group.waitForAll()
            timer.cancel()
        }
    }

    private func pass(_ payload: [UInt8], closes: Bool) async throws(WebSocketError) {
        switch payload.first {
        case Channel.input where wish.hasInput, Channel.resize where wish.hasTerminal: try await agent.send(payload)
        case Channel.close where closes: try await agent.send(payload)
        // An empty message, or a channel that is ours alone.
        default: return
        }
    }

    // MARK: SPDY

    /// Serves a client of SPDY/3.1.
    func run(_ client: SPDYSession) async {
        let opening = StreamsOpening(wanted: wanted)
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await client.run { opening.take($0) }
                opening.give(up: true)
                await self.agent.close()
                self.agent.abort()
            }
            let timer = loop.schedule(after: Self.openingTime) { opening.give(up: true) }
            let streams = await opening.all()
            timer.cancel()
            if let streams {
                if let input = streams["stdin"] { group.addTask { await self.readInput(input) } }
                if let resize = streams["resize"] { group.addTask { await self.readSizes(resize) } }
                await readAgent(streams, client)
            }
            let end = loop.schedule(after: Self.closingTime) { client.abort() }
            await group.waitForAll()
            end.cancel()
        }
        client.abort()
    }

    private var wanted: Set<String> {
        var names: Set<String> = ["error"]
        if wish.hasInput { names.insert("stdin") }
        if wish.hasOutput { names.insert("stdout") }
        if wish.hasErrors { names.insert("stderr") }
        if wish.hasTerminal { names.insert("resize") }
        return names
    }

    private func readAgent(_ streams: [String: SPDYStream], _ client: SPDYSession) async {
        let names: [UInt8: String] = [Channel.output: "stdout", Channel.errors: "stderr", Channel.status: "error"]
        do {
            while let message = try await agent.next() {
                guard let channel = message.payload.first else { continue }
                let about = channel == Channel.close ? message.payload.dropFirst().first ?? channel : channel
                guard let stream = names[about].flatMap({ streams[$0] }) else { continue }
                if channel == Channel.close {
                    await client.end(stream)
                } else {
                    try await client.write(stream, Array(message.payload.dropFirst()))
                }
            }
        } catch {
            // The client hears of it by the ends below.
        }
        for name in names.values { if let stream = streams[name] { await client.end(stream) } }
    }

    private func readInput(_ stream: SPDYStream) async {
        while let bytes = await stream.read() {
            guard (try? await agent.send([Channel.input] + bytes)) != nil else { return }
        }
        try? await agent.send([Channel.close, Channel.input])
    }

    /// Sizes come as lines of JSON.
    private func readSizes(_ stream: SPDYStream) async {
        var line: [UInt8] = []
        while let bytes = await stream.read() {
            for byte in bytes {
                guard byte != 0x0A else {
                    try? await agent.send([Channel.resize] + line)
                    line = []
                    continue
                }
                line.append(byte)
                guard line.count <= Self.resizeBytesMax else { return }
            }
        }
    }
}

/// Waits until a client has opened the streams that it spoke of.
///
/// `@unchecked Sendable`: touched on its loop only.
private final class StreamsOpening: @unchecked Sendable {
    private let wanted: Set<String>
    private var found: [String: SPDYStream] = [:]
    private var waiter: CheckedContinuation<Void, Never>?
    private var isOver = false

    init(wanted: Set<String>) { self.wanted = wanted }

    private var isComplete: Bool { wanted.allSatisfy { found[$0] != nil } }

    func take(_ stream: SPDYStream) {
        found[stream.headers["streamtype"] ?? ""] = stream
        if isComplete { wake() }
    }

    func give(up: Bool) {
        isOver = isOver || up
        wake()
    }

    private func wake() {
        waiter?.resume()
        waiter = nil
    }

    /// All of them; nil when they did not come.
    func all() async -> [String: SPDYStream]? {
        await withCheckedContinuation { continuation in
            guard !isOver, !isComplete else { return continuation.resume() }
            waiter = continuation
        }
        return isComplete ? found : nil
    }
}
