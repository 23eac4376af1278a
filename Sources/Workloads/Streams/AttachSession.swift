internal import HTTP
internal import IO
internal import Serialization

/// A container's own streams, as its monitor gives them out, and the client that watches them.
///
/// The monitor's messages have the stream's number as their first byte. `@unchecked Sendable`: touched on the agent's
/// loop only.
final class AttachSession: @unchecked Sendable {
    private static let blockBytes = 32 * 1024
    /// The monitor takes no more at once.
    private static let inputBytesMax = 8192

    private let socket: WebSocketConnection
    private let monitor: SocketStream
    private let options: ContainerRuntime.ExecOptions
    /// Where the monitor is told the size of the terminal.
    private let control: String
    private let loop: EventLoop

    init(
        _ monitor: SocketStream, control: String, _ options: ContainerRuntime.ExecOptions,
        _ socket: WebSocketConnection,
        on loop: EventLoop
    ) {
        self.monitor = monitor
        self.control = control
        self.options = options
        self.socket = socket
        self.loop = loop
    }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.readClient() }
            await readMonitor()
            try? await socket.send(StreamChannel.status, ExecOutcome.success.status.bytes)
            await socket.close()
            let timer = loop.schedule(after: WebSocketConnection.closingTime) { [socket] in socket.abort() }
            await group.waitForAll()
            timer.cancel()
        }
        monitor.close()
    }

    private func readMonitor() async {
        while let packet = try? await monitor.read(upTo: Self.blockBytes), let stream = packet.first {
            // The monitor's numbers: 2 is output, 3 errors.
            let channel = stream == 3 ? StreamChannel.errors : StreamChannel.output
            guard channel == StreamChannel.output ? options.hasOutput : options.hasErrors else { continue }
            do throws(WebSocketError) { try await socket.send(channel, Array(packet.dropFirst())) } catch { return }
        }
    }

    private func readClient() async {
        do throws(WebSocketError) {
            while let message = try await socket.next() { try await take(message.payload) }
        } catch {
            // It has gone: the container lives on.
        }
        monitor.close()
    }

    private func take(_ payload: [UInt8]) async throws(WebSocketError) {
        switch payload.first {
        case StreamChannel.input where options.hasInput:
            var rest = payload.dropFirst()
            while !rest.isEmpty {
                do throws(SystemError) { try await monitor.write(Array(rest.prefix(Self.inputBytesMax))) } catch {
                    throw .closed
                }
                rest = rest.dropFirst(Self.inputBytesMax)
            }
        case StreamChannel.close where options.hasInput && payload.count == 2 && payload.last == StreamChannel.input:
            monitor.socket.shutdownWrite()
        case StreamChannel.resize:
            guard options.hasTerminal, let size = StreamChannel.size(payload.dropFirst()) else { return }
            // conmon's word for a new size: height before width.
            try? File.append(control, Array("1 \(size.rows) \(size.columns)\n".utf8))
        default: return
        }
    }
}
