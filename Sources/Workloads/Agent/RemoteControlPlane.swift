internal import HTTP
public import IO
public import Serialization
public import TLS

/// The control plane on another machine, over TLS with the node's certificate.
///
/// `@unchecked Sendable`: belongs to the agent's loop (docs/threads.md).
public final class RemoteControlPlane: APIClient, @unchecked Sendable {
    /// What this node presents and trusts; a new one is for new connections.
    public var context: TLSContext
    private let address: SocketAddress
    private let serverName: String
    private let loop: EventLoop
    private var connection: APIConnection?

    /// How long the head of an answer may take, and a handshake.
    private static let patience = Duration.seconds(15)

    /// The control plane at that address.
    ///
    /// - Parameter serverName: the address or name that its certificate must be good for.
    public init(_ address: SocketAddress, serverName: String, context: TLSContext, on loop: EventLoop) {
        self.address = address
        self.serverName = serverName
        self.context = context
        self.loop = loop
    }

    private func client() -> HTTPClient {
        let client = HTTPClient(authority: serverName.contains(":") ? "[\(serverName)]" : serverName, on: loop) {
            [weak self] () throws(HTTPError) in
            guard let self else { throw .closed }
            return try await self.connect()
        }
        client.headTimeout = Self.patience
        return client
    }

    private func connect() async throws(HTTPError) -> any ByteStream {
        let stream: SocketStream
        do throws(SystemError) {
            stream = try await SocketStream.connect(to: address, on: loop)
            // A watch says nothing for hours: a machine that is gone must be noticed all the same.
            try stream.socket.setKeepAlive(idleSeconds: 10, intervalSeconds: 5, probes: 3)
            stream.socket.setNoDelay()
        } catch { throw .connection(error) }
        let timer = loop.schedule(after: Self.patience) { stream.close() }
        defer { timer.cancel() }
        do throws(TLSError) { return try await TLSStream.connect(stream, context, serverName: serverName) } catch {
            stream.close()
            throw .tls(error)
        }
    }

    private var api: APIConnection {
        if let connection { return connection }
        let made = APIConnection(client())
        connection = made
        return made
    }

    /// Sends a request of the API.
    public func send(
        _ method: String, _ path: String, body: JSON?, contentType: String
    ) async throws(APIError) -> JSON {
        try await api.send(method, path, body: body, contentType: contentType)
    }

    /// Follows a watch.
    public func watch(_ path: String, _ each: (JSON) async -> Void) async throws(APIError) {
        try await api.watch(path, each)
    }

    /// Opens a stream that leaves HTTP, and what was read of it already.
    func open(_ path: String, _ name: String) async throws(APIError) -> (rest: [UInt8], stream: any ByteStream) {
        do {
            var request = HTTPClientRequest(.get, path)
            try request.headers.append("upgrade", name)
            let response = try await client().send(request)
            guard response.status == 101 else {
                let text = (try? await response.collect(limit: 4096)).map { String(decoding: $0, as: UTF8.self) } ?? ""
                let message = (try? JSON.parse(Array(text.utf8)))?["message"]?.string ?? text
                throw APIError(status: Int(response.status), message: message)
            }
            return response.upgradedStream()
        } catch let error as APIError { throw error } catch { throw APIError(status: 0, message: "\(error)") }
    }
}
