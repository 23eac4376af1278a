public import HTTP

/// The streams of containers from the agents of their nodes.
public struct NodeStreams: Sendable {
    private let clients: NodeClients

    /// Streams from the agents that these clients reach.
    public init(_ clients: @escaping NodeClients) { self.clients = clients }

    /// Opens what is wanted: messages whose first byte is the channel (`v5.channel.k8s.io`).
    public func open(_ wish: StreamRequest, port: UInt16? = nil) async throws(StatusError) -> WebSocketConnection {
        let client = try clients(wish.node)
        let response: HTTPClientResponse
        do throws(HTTPError) {
            let nonce = (0..<16).map { _ in UInt8.random(in: 0 ... .max) }
            let request: HTTPClientRequest
            do throws(HTTPFieldError) {
                request = try WebSocketHandshake.request(wish.agentPath(port: port), protocols: [], nonce: nonce)
            } catch { throw HTTPError.field(error) }
            response = try await client.send(request)
        } catch {
            throw .agentUnreachable(wish.node, "\(error)")
        }
        guard response.status == 101 else {
            let text = await response.problem()
            switch response.status {
            case 404: throw StatusError(code: 404, reason: "NotFound", message: text)
            case 400: throw .badRequest(text)
            case 429: throw .tooManyRequests(text)
            default: throw .internalError(text)
            }
        }
        let (rest, stream) = response.upgradedStream()
        return WebSocketConnection(stream, as: .client, rest: rest)
    }
}

extension HTTPClientResponse {
    /// What the agent says is wrong: its lines, without the end of the last one.
    func problem() async -> String {
        let bytes = (try? await collect(limit: 4096)) ?? []
        return String(decoding: bytes.last == 0x0a ? bytes.dropLast() : bytes[...], as: UTF8.self)
    }
}
