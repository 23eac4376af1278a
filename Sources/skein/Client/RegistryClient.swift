internal import HTTP
internal import IO
internal import Serialization

/// Talks to the registry of the local Skein over its unix socket, on which root needs no token.
final class RegistryClient: Sendable {
    private let http: HTTPClient
    private let path: String

    init(runDirectory: String, on loop: EventLoop) {
        path = runDirectory + "/registry.sock"
        http = HTTPClient(to: .unix(path), on: loop)
    }

    /// Sends one request; the answer's JSON, null when it is none.
    func call(_ method: HTTPMethod, _ target: String, body: JSON? = nil) async throws(CommandError) -> JSON {
        let status: UInt16
        let bytes: [UInt8]
        do throws(HTTPError) {
            let response = try await http.send(HTTPClientRequest(method, "/v1/" + target, body: body?.bytes ?? []))
            status = response.status
            bytes = try await response.collect()
        } catch {
            throw CommandError(
                "the registry at \(path) does not answer (\(error)); is `skein up` running? see skein status")
        }
        guard status == 200 else {
            throw CommandError("Error from the registry: \(String(decoding: bytes, as: UTF8.self)) (\(status))")
        }
        return (try? JSON.parse(bytes)) ?? .null
    }
}
