public import HTTP

/// The logs of containers from the agents of their nodes.
public struct NodeLogs: Sendable {
    private let clients: NodeClients

    /// Logs from the agents that these clients reach.
    public init(_ clients: @escaping NodeClients) { self.clients = clients }

    /// The log that is wanted, as a stream.
    public func fetch(_ wish: LogRequest) async throws(StatusError) -> HTTPClientResponse {
        // Names have passed validation: letters, digits, '-' and '.'.
        let path =
            "/containerLogs/\(wish.namespace)/\(wish.pod)/\(wish.container)"
            + (wish.query.isEmpty ? "" : "?" + wish.query)
        let client = try clients(wish.node)
        let response: HTTPClientResponse
        do throws(HTTPError) {
            response = try await client.send(HTTPClientRequest(.get, path))
        } catch {
            throw .agentUnreachable(wish.node, "\(error)")
        }
        guard response.status == 200 else {
            let text = await response.problem()
            throw StatusError(
                code: Int(response.status), reason: response.status == 404 ? "NotFound" : "BadRequest", message: text)
        }
        return response
    }
}
