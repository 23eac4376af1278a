internal import HTTP
internal import IO

/// A connection to a port inside a pod and the client that it is carried for.
///
/// `@unchecked Sendable`: touched on the agent's loop only.
final class PortSession: @unchecked Sendable {
    private static let blockBytes = 32 * 1024
    /// How long the connection may take: it goes nowhere but within this machine.
    private static let connectTime = Duration.seconds(5)

    private let socket: WebSocketConnection
    private let target: SocketStream

    init(_ target: SocketStream, _ socket: WebSocketConnection) {
        self.target = target
        self.socket = socket
    }

    /// Connects to the port on the pod's loopback, IPv4 before IPv6, or on the first of `addresses` that takes it; what went wrong comes
    /// back in words.
    static func connect(
        _ port: UInt16, of addresses: [String] = ["127.0.0.1", "::1"], namespace: String?, on loop: EventLoop
    ) async -> (SocketStream?, String) {
        var problems: [String] = []
        for address in addresses {
            guard let ip = IPAddress(address) else { continue }
            do throws(SystemError) {
                let stream = try SocketStream(Prober.connect(to: .ip(ip, port: port), namespace), on: loop)
                let timer = loop.schedule(after: connectTime) { stream.close() }
                defer { timer.cancel() }
                if let error = await stream.connected() {
                    stream.close()
                    throw error
                }
                return (stream, "")
            } catch { problems.append("\(address): \(error)") }
        }
        return (nil, "failed to connect to localhost:\(port) inside the pod: " + problems.joined(separator: "; "))
    }

    /// Carries bytes until both directions have ended or one side is gone.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.readClient() }
            while let bytes = try? await target.read(upTo: Self.blockBytes), !bytes.isEmpty {
                guard (try? await socket.send(StreamChannel.input, bytes)) != nil else { break }
            }
            try? await socket.send([StreamChannel.close, StreamChannel.input])
            await group.waitForAll()
        }
        target.close()
    }

    private func readClient() async {
        do throws(WebSocketError) {
            while let message = try await socket.next() {
                switch message.payload.first {
                case StreamChannel.input:
                    do throws(SystemError) { try await target.write(Array(message.payload.dropFirst())) } catch {
                        throw .closed
                    }
                case StreamChannel.close: target.socket.shutdownWrite()
                default: continue
                }
            }
        } catch {
            // It has gone, or the pod takes no more.
        }
        await socket.close()
        target.close()
    }
}
