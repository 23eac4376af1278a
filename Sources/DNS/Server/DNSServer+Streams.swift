import IO
import Telemetry

// TCP.
extension DNSServer {
    /// Wait after `accept` has failed.
    private static let acceptPause = Duration.milliseconds(100)

    func accept(from listener: SocketListener) async {
        while !hasStopped {
            let socket: Socket
            do throws(SystemError) { socket = try await listener.accept() } catch {
                guard !hasStopped else { return }
                await loop.sleep(for: Self.acceptPause)
                continue
            }
            // Without room the connection is closed: the client asks again.
            guard streams < Self.streamsMax, let stream = try? SocketStream(socket, on: loop) else {
                counts.refusedStreams.add()
                continue
            }
            streams += 1
            Task(executorPreference: loop) {
                await self.serve(stream)
                stream.close()
                self.streams -= 1
            }
        }
    }

    private func serve(_ stream: SocketStream) async {
        let client = stream.socket.peerAddress
        while !hasStopped {
            let timer = loop.schedule(after: Self.streamTimeout) { stream.close() }
            defer { timer.cancel() }
            guard let query = await readFramed(stream) else { return }
            guard limits.allows(client?.address?.clientKey ?? (0, 0), now: loop.now) else {
                counts.limited.add()
                return
            }
            let answer = await withCheckedContinuation { continuation in
                handle(query, limit: 65_535, from: client) { continuation.resume(returning: $0) }
            }
            guard let answer else { return }
            let framed = [UInt8(answer.count >> 8), UInt8(answer.count & 0xFF)] + answer
            guard (try? await stream.write(framed)) != nil else { return }
        }
    }
}
