import HTTP
import IO

/// Carries connections to ports of a pod between a client and the node agent: one agent connection for each.
///
/// `@unchecked Sendable`: touched on its loop only.
final class PortForwarder: @unchecked Sendable {
    /// Ports of one client where they are named beforehand.
    static let portsMax = 32
    private static let data: UInt8 = 0
    private static let close: UInt8 = 255

    private let wish: StreamRequest
    private let agent: NodeStreams
    private let loop: EventLoop

    init(_ wish: StreamRequest, _ agent: NodeStreams, on loop: EventLoop) {
        self.wish = wish
        self.agent = agent
        self.loop = loop
    }

    private func problem(_ port: UInt16, _ error: StatusError) -> [UInt8] {
        Array("error forwarding port \(port) to pod \(wish.pod), uid : \(error.message)".utf8)
    }

    // MARK: SPDY

    /// Serves a client of SPDY/3.1: two streams for each connection.
    func run(_ client: SPDYSession) async {
        let pairs = StreamPairs()
        await withTaskGroup(of: Void.self) { group in
            let (opened, queue) = AsyncStream.makeStream(of: StreamPairs.Pair.self)
            group.addTask {
                await client.run { stream in
                    if let pair = pairs.take(stream) { queue.yield(pair) }
                }
                queue.finish()
            }
            for await pair in opened { group.addTask { await self.forward(pair, client) } }
            await group.waitForAll()
        }
        client.abort()
    }

    private func forward(_ pair: StreamPairs.Pair, _ client: SPDYSession) async {
        do throws(StatusError) {
            let target = try await agent.open(wish, port: pair.port)
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    while let bytes = await pair.data.read() {
                        guard (try? await target.send([Self.data] + bytes)) != nil else { return target.abort() }
                    }
                    try? await target.send([Self.close, Self.data])
                }
                while let message = try? await target.next() {
                    if message.payload.first == Self.close {
                        await client.end(pair.data)
                    } else {
                        guard (try? await client.write(pair.data, Array(message.payload.dropFirst()))) != nil else {
                            break
                        }
                    }
                }
                await client.abandon(pair.data)
                await group.waitForAll()
            }
            await target.close()
            target.abort()
        } catch {
            try? await client.write(pair.error, problem(pair.port, error))
        }
        await client.abandon(pair.error)
        await client.abandon(pair.data)
    }

    // MARK: Channels

    /// Serves a client of channels: two for each of the ports it has named, data and errors, each of which begins with
    /// the port's number.
    func run(_ client: ChannelSocket) async {
        let targets = PortTargets()
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                while let payload = try? await client.next() {
                    guard let channel = payload.first, channel % 2 == 0 else { continue }
                    let bytes = Array(payload.dropFirst())
                    if let target = await targets.target(channel) { try? await target.send([Self.data] + bytes) }
                }
                targets.end()
            }
            await withTaskGroup(of: Void.self) { ports in
                for (index, port) in wish.ports.enumerated() {
                    ports.addTask { await self.serve(port, UInt8(truncatingIfNeeded: index * 2), client, targets) }
                }
            }
            await client.close()
            let timer = loop.schedule(after: CommandStreams.closingTime) { client.abort() }
            await group.waitForAll()
            timer.cancel()
        }
    }

    private func serve(
        _ port: UInt16, _ channel: UInt8, _ client: ChannelSocket, _ targets: PortTargets
    ) async {
        let number = [UInt8(truncatingIfNeeded: port), UInt8(truncatingIfNeeded: port >> 8)]
        try? await client.send([channel] + number)
        try? await client.send([channel + 1] + number)
        do throws(StatusError) {
            let target = try await agent.open(wish, port: port)
            targets.set(channel, target)
            while let message = try? await target.next() {
                guard message.payload.first == Self.data else { break }
                guard (try? await client.send([channel] + message.payload.dropFirst())) != nil else { break }
            }
            await target.close()
            target.abort()
        } catch {
            targets.set(channel, nil)
            try? await client.send([channel + 1] + problem(port, error))
        }
    }
}

/// The connections to the ports that a client has named, as they are made.
///
/// `@unchecked Sendable`: touched on its loop only.
private final class PortTargets: @unchecked Sendable {
    private var made: [UInt8: WebSocketConnection?] = [:]
    private var waiters: [CheckedContinuation<Void, Never>] = []
    private var isOver = false

    func set(_ channel: UInt8, _ target: WebSocketConnection?) {
        made[channel] = .some(target)
        if isOver { target?.abort() }
        for waiter in waiters { waiter.resume() }
        waiters = []
    }

    /// The connection of a channel, once it is made; nil when it could not be.
    func target(_ channel: UInt8) async -> WebSocketConnection? {
        while made[channel] == nil, !isOver {
            await withCheckedContinuation { continuation in
                guard made[channel] == nil, !isOver else { return continuation.resume() }
                waiters.append(continuation)
            }
        }
        return made[channel] ?? nil
    }

    /// The client has gone.
    func end() {
        isOver = true
        for target in made.values { target?.abort() }
        for waiter in waiters { waiter.resume() }
        waiters = []
    }
}

/// Finds which two streams belong to one connection.
///
/// `@unchecked Sendable`: touched on its loop only.
final class StreamPairs: @unchecked Sendable {
    struct Pair: Sendable {
        var port: UInt16
        var data: SPDYStream
        var error: SPDYStream
    }

    private var halves: [String: SPDYStream] = [:]

    /// Takes a stream; the pair when it was the second of one.
    ///
    /// Old clients do not number their connections: there the stream of errors comes first, and that of the data has
    /// the next number.
    func take(_ stream: SPDYStream) -> Pair? {
        let isData = stream.headers["streamtype"] == "data"
        let key = stream.headers["requestid"] ?? "stream \(isData ? stream.id &- 2 : stream.id)"
        guard let other = halves.removeValue(forKey: key) else {
            halves[key] = stream
            return nil
        }
        guard let text = stream.headers["port"], let port = UInt16(text), port > 0,
            (other.headers["streamtype"] == "data") != isData
        else { return nil }
        return isData ? Pair(port: port, data: stream, error: other) : Pair(port: port, data: other, error: stream)
    }
}
