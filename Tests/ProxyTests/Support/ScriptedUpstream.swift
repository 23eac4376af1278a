import IO
import Synchronization
import TLS

/// A server that does what a script says, connection by connection.
final class ScriptedUpstream: Sendable {
    let port: UInt16
    private let count: Counts

    final class Counts: Sendable {
        let connections = Atomic<Int>(0)
        let requests = Atomic<Int>(0)
    }

    var connections: Int { count.connections.load(ordering: .relaxed) }
    var requests: Int { count.requests.load(ordering: .relaxed) }

    /// `script` gets each connection and its number, from 0.
    init(on loop: EventLoop, _ script: @escaping @Sendable (Wire, Int) async throws -> Void) async throws {
        let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
        port = socket.localAddress?.port ?? 0
        let listener = try SocketListener(socket, on: loop)
        let count = Counts()
        self.count = count
        Task(executorPreference: loop) {
            while let accepted = try? await listener.accept() {
                let number = count.connections.wrappingAdd(1, ordering: .relaxed).oldValue
                guard let stream = try? SocketStream(accepted, on: loop) else { continue }
                let wire = Wire(stream)
                Task(executorPreference: loop) {
                    try? await script(wire, number)
                    wire.close()
                }
            }
        }
    }

    /// A server that answers each request with `answer`.
    ///
    /// - Parameters:
    ///   - tls: it speaks TLS.
    ///   - isEverywhere: it listens at every address of this host.
    convenience init(
        on loop: EventLoop, tls: TLSContext? = nil, isEverywhere: Bool = false,
        answering answer: @escaping @Sendable (_ head: String, _ body: String) -> String
    ) async throws {
        let requests = Counts()
        try await self.init(on: loop, counts: requests, tls: tls, isEverywhere: isEverywhere) { wire, _ in
            while true {
                let request = try await wire.request()
                requests.requests.add(1, ordering: .relaxed)
                try await wire.write(answer(request.head, request.body))
            }
        }
    }

    private init(
        on loop: EventLoop, counts: Counts, tls: TLSContext?, isEverywhere: Bool,
        _ script: @escaping @Sendable (Wire, Int) async throws -> Void
    ) async throws {
        let socket = try Socket.listen(on: .ip(.v4(isEverywhere ? 0 : 0x7F00_0001), port: 0))
        port = socket.localAddress?.port ?? 0
        let listener = try SocketListener(socket, on: loop)
        count = counts
        Task(executorPreference: loop) {
            while let accepted = try? await listener.accept() {
                let number = counts.connections.wrappingAdd(1, ordering: .relaxed).oldValue
                guard let stream = try? SocketStream(accepted, on: loop) else { continue }
                Task(executorPreference: loop) {
                    var secured: any ByteStream = stream
                    if let tls {
                        guard let accepted = try? await TLSStream.accept(stream, tls) else { return }
                        secured = accepted
                    }
                    let wire = Wire(secured)
                    try? await script(wire, number)
                    wire.close()
                }
            }
        }
    }

    static func ok(_ body: String, _ fields: String = "") -> String {
        "HTTP/1.1 200 OK\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }
}
