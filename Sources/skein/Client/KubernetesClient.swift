internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
import Telemetry

/// What the API answered.
struct Answer: Sendable {
    var status: Int
    var json: JSON
    /// Texts of `Warning:` headers.
    var warnings: [String]

    /// Whether the request was done.
    var isSuccess: Bool { (200..<300).contains(status) }
    /// The message of a `Status` object.
    var message: String { json["message"]?.string ?? "HTTP status \(status)" }
}

/// Talks to the Kubernetes API of the local Skein over its unix socket, on which root needs no certificate.
final class KubernetesClient: Sendable {
    private let http: HTTPClient
    private let socketPath: String
    private let loop: EventLoop

    init(runDirectory: String, on loop: EventLoop) {
        self.loop = loop
        socketPath = runDirectory + "/api.sock"
        http = HTTPClient(to: .unix(socketPath), on: loop)
    }

    /// How long somebody is waited for who has taken a connection and says nothing.
    private static let patience = Duration.seconds(3)

    /// Finds out whether anybody answers there at all: a process that hangs takes connections, too.
    func probe() async throws(CommandError) {
        do throws(SystemError) {
            let stream = try await SocketStream.connect(to: .unix(socketPath), on: loop)
            defer { stream.close() }
            let deadline = loop.schedule(after: Self.patience) { stream.close() }
            defer { deadline.cancel() }
            try await stream.write(Array("GET /readyz HTTP/1.1\r\nHost: skein\r\n\r\n".utf8))
            guard try await !stream.read(upTo: 1024).isEmpty else { throw SystemError(110, "read \(socketPath)") }
        } catch {
            throw CommandError("the API at \(socketPath) does not answer (\(error))")
        }
    }

    /// Sends one request and reads the whole answer.
    func call(
        _ method: HTTPMethod, _ path: String, query: [(String, String)] = [], body: JSON? = nil,
        contentType: String = "application/json", accept: String = "application/json"
    ) async throws(CommandError) -> Answer {
        do throws(HTTPError) {
            let response = try await http.send(try request(method, path, query, body, contentType, accept))
            let bytes = try await response.collect()
            return Answer(status: Int(response.status), json: Self.decode(bytes), warnings: Self.warnings(response))
        } catch {
            throw CommandError(
                "the API at \(socketPath) does not answer (\(error)); is `skein up` running? see skein status")
        }
    }

    /// Sends one request and hands over its body as it arrives.
    func open(_ path: String, query: [(String, String)], accept: String = "application/json")
        async throws(CommandError) -> HTTPClientResponse
    {
        let refusal: CommandError
        do throws(HTTPError) {
            let response = try await http.send(try request(.get, path, query, nil, "application/json", accept))
            if response.status == 200 { return response }
            let answer = Answer(
                status: Int(response.status), json: Self.decode(try await response.collect()), warnings: [])
            refusal = CommandError("Error from server: \(answer.message)")
        } catch {
            throw CommandError(
                "the API at \(socketPath) does not answer (\(error)); is `skein up` running? see skein status")
        }
        throw refusal
    }

    /// Opens a WebSocket.
    func webSocket(
        _ path: String, query: [(String, String)], protocols: [String]
    ) async throws(CommandError) -> WebSocketConnection {
        var target = path
        if !query.isEmpty {
            target += "?" + query.map { "\($0.0)=\(PercentEncoding.encoded($0.1))" }.joined(separator: "&")
        }
        let refusal: CommandError
        do throws(HTTPError) {
            let request: HTTPClientRequest
            do throws(HTTPFieldError) {
                request = try WebSocketHandshake.request(
                    target, protocols: protocols, nonce: (0..<16).map { _ in UInt8.random(in: 0 ... .max) })
            } catch { throw HTTPError.field(error) }
            let response = try await http.send(request)
            if response.status == 101 {
                let (rest, stream) = response.upgradedStream()
                return WebSocketConnection(stream, as: .client, rest: rest)
            }
            let answer = Answer(
                status: Int(response.status), json: Self.decode(try await response.collect()), warnings: [])
            refusal = CommandError("Error from server: \(answer.message)")
        } catch {
            throw CommandError(
                "the API at \(socketPath) does not answer (\(error)); is `skein up` running? see skein status")
        }
        throw refusal
    }

    private func request(
        _ method: HTTPMethod, _ path: String, _ query: [(String, String)], _ body: JSON?, _ contentType: String,
        _ accept: String
    ) throws(HTTPError) -> HTTPClientRequest {
        var target = path
        if !query.isEmpty {
            target += "?" + query.map { "\($0.0)=\(PercentEncoding.encoded($0.1))" }.joined(separator: "&")
        }
        var request = HTTPClientRequest(method, target, body: body?.bytes ?? [])
        do throws(HTTPFieldError) {
            try request.headers.append("accept", accept)
            try request.headers.append("user-agent", "skein/\(Product.version)")
            if body != nil { try request.headers.append("content-type", contentType) }
        } catch {
            throw .field(error)
        }
        return request
    }

    private static func decode(_ bytes: [UInt8]) -> JSON {
        guard !bytes.isEmpty else { return .null }
        return (try? JSON.parse(bytes)) ?? .object(["message": .string(String(decoding: bytes, as: UTF8.self))])
    }

    /// The quoted text of each `Warning: 299 - "text"`.
    private static func warnings(_ response: HTTPClientResponse) -> [String] {
        let headers = response.head.headers
        let values = (0..<headers.count).filter { headers.nameText(at: $0) == "warning" }.map {
            headers.valueText(at: $0)
        }
        return values.map { value in
            guard let first = value.firstIndex(of: "\""), let last = value.lastIndex(of: "\""), first < last else {
                return value
            }
            return String(value[value.index(after: first)..<last].replacing("\\\"", with: "\""))
        }
    }
}
