import HTTP
import IO
import Synchronization
import TLS

/// A gRPC server with one method, behind TLS.
///
/// `@unchecked Sendable`: what changes is behind a lock.
final class SecureGRPCServer: @unchecked Sendable {
    let port: UInt16
    /// What ALPN agreed on, connection by connection.
    let agreed = Mutex<[String]>([])

    init(
        on loop: EventLoop, _ context: TLSContext, path: String,
        _ serve: @escaping @Sendable (GRPCStream) async throws(GRPCStatus) -> Void
    ) throws {
        let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
        port = socket.localAddress?.port ?? 0
        let listener = try SocketListener(socket, on: loop)
        let method: GRPCServer.Method = { stream throws(GRPCStatus) in try await serve(stream) }
        let grpc = GRPCServer(on: loop, methods: [path: method])
        Task(executorPreference: loop) {
            while let accepted = try? await listener.accept() {
                guard let stream = try? SocketStream(accepted, on: loop) else { continue }
                Task(executorPreference: loop) {
                    guard let secured = try? await TLSStream.accept(stream, context) else { return }
                    self.agreed.withLock { $0.append(secured.applicationProtocol ?? "") }
                    await grpc.serve(secured)
                }
            }
        }
    }
}
