public import HTTP
public import IO

/// The logs of containers from the node agent, over its unix socket.
public struct NodeLogs: Sendable {
    private let client: HTTPClient

    /// The agent behind the socket at `path`.
    public init(socket path: String, on loop: EventLoop) { client = HTTPClient(to: .unix(path), on: loop) }

    /// The log that is wanted, as a stream.
    public func fetch(_ wish: LogRequest) async throws(StatusError) -> HTTPClientResponse {
        // Names have passed validation: letters, digits, '-' and '.'.
        let path =
            "/containerLogs/\(wish.namespace)/\(wish.pod)/\(wish.container)"
            + (wish.query.isEmpty ? "" : "?" + wish.query)
        let response: HTTPClientResponse
        do throws(HTTPError) {
            response = try await client.send(HTTPClientRequest(.get, path))
        } catch {
            throw StatusError(
                code: 503, reason: "ServiceUnavailable",
                message: "the node agent does not answer (\(error)): is `skein up` running?")
        }
        guard response.status == 200 else {
            let text = (try? await response.collect(limit: 4096)).map { String(decoding: $0, as: UTF8.self) } ?? ""
            throw StatusError(
                code: Int(response.status), reason: response.status == 404 ? "NotFound" : "BadRequest", message: text)
        }
        return response
    }
}
