internal import HTTP
internal import IO
public import Serialization

/// A request to the Kubernetes API that did not succeed.
public struct APIError: Error, Sendable, Hashable, CustomStringConvertible {
    /// HTTP status; 0 when no answer came.
    public var status: Int
    /// For people.
    public var message: String

    /// A failure.
    public init(status: Int, message: String) {
        self.status = status
        self.message = message
    }

    /// `404: pods "x" not found`.
    public var description: String { "\(status): \(message)" }
}

/// The Kubernetes API as the node agent needs it.
public protocol APIClient: AnyObject, Sendable {
    /// Sends a request and returns the answer's object.
    func send(_ method: String, _ path: String, body: JSON?, contentType: String) async throws(APIError) -> JSON
    /// Follows a watch until it ends; each event goes to `each` in order.
    func watch(_ path: String, _ each: (JSON) async -> Void) async throws(APIError)
}

/// The API over its unix socket, where the kernel says that we are root.
final class APIConnection: APIClient, @unchecked Sendable {
    // Unchecked: used on the agent's loop alone.
    private let client: HTTPClient

    convenience init(socket: String, on loop: EventLoop) {
        self.init(HTTPClient(to: .unix(socket), authority: "localhost", on: loop))
    }

    init(_ client: HTTPClient) { self.client = client }

    func send(_ method: String, _ path: String, body: JSON?, contentType: String) async throws(APIError) -> JSON {
        do {
            let response = try await client.send(try request(method, path, body: body, contentType: contentType))
            let bytes = try await response.collect()
            let json = bytes.isEmpty ? JSON.null : try JSON.parse(bytes)
            guard (200..<300).contains(response.status) else {
                let message = json["message"]?.string ?? String(decoding: bytes.prefix(300), as: UTF8.self)
                throw APIError(status: Int(response.status), message: message)
            }
            return json
        } catch let error as APIError { throw error } catch { throw APIError(status: 0, message: "\(error)") }
    }

    func watch(_ path: String, _ each: (JSON) async -> Void) async throws(APIError) {
        do {
            let response = try await client.send(try request("GET", path, body: nil, contentType: ""))
            guard response.status == 200 else {
                throw APIError(status: Int(response.status), message: "watch \(path)")
            }
            defer { response.close() }
            var rest: [UInt8] = []
            while let piece = try await response.next() {
                rest += piece
                while let end = rest.firstIndex(of: 0x0A) {
                    let line = Array(rest[..<end])
                    rest.removeSubrange(...end)
                    if !line.isEmpty { await each(try JSON.parse(line)) }
                }
                guard rest.count < Self.eventBytesMax else {
                    throw APIError(status: 0, message: "an event of over 16 MiB")
                }
            }
        } catch let error as APIError { throw error } catch { throw APIError(status: 0, message: "\(error)") }
    }

    /// Bytes of one watch event: several times the largest object that the API takes.
    private static let eventBytesMax = 16 << 20

    private func request(
        _ method: String, _ path: String, body: JSON?, contentType: String
    ) throws -> HTTPClientRequest {
        let methods: [String: HTTPMethod] = [
            "GET": .get, "POST": .post, "PUT": .put, "PATCH": .patch, "DELETE": .delete,
        ]
        var request = HTTPClientRequest(methods[method] ?? .get, path, body: body?.bytes ?? [])
        try request.headers.append("accept", "application/json")
        try request.headers.append("user-agent", "skein-node")
        if body != nil { try request.headers.append("content-type", contentType) }
        return request
    }
}
