internal import HTTP
internal import IO
internal import Serialization
internal import Synchronization

/// Why an engine did not do what it was asked.
struct EngineError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The status of HTTP; 0 when there was no answer.
    var status: Int
    var message: String
    var description: String { message }
}

/// Calls of Docker's API over a unix socket: one connection for each.
struct EngineClient: Sendable {
    let socket: String

    /// Bytes of an answer at most.
    private static let answerBytesMax = 16 << 20
    /// How long a call may take that pulls nothing.
    static let patience = Duration.seconds(120)

    /// One call; its answer, which may be several values after one another (a pull's progress), as an array.
    ///
    /// Blocks the thread, and must not be called on an event loop.
    @discardableResult
    func call(
        _ method: HTTPMethod, _ path: String, _ body: JSON? = nil, patience: Duration = EngineClient.patience
    ) throws(EngineError) -> JSON {
        try send(method, path, body?.bytes ?? [], type: "application/json", patience: patience)
    }

    /// One call with a body of that type.
    func send(
        _ method: HTTPMethod, _ path: String, _ body: [UInt8], type: String, patience: Duration
    ) throws(EngineError) -> JSON {
        let loop: EventLoop
        do throws(SystemError) { loop = try EventLoop() } catch {
            throw EngineError(status: 0, message: "\(error)")
        }
        let outcome = Outcome()
        let (socket, ready) = (socket, body)
        Task(executorPreference: loop) {
            outcome.result = await EngineClient.exchange(
                HTTPClient(to: .unix(socket), on: loop), method, path, ready, type: type, patience: patience, on: loop)
            loop.stop()
        }
        loop.run()
        guard let result = outcome.result else { throw EngineError(status: 0, message: "the event loop ended early") }
        return try result.get()
    }

    /// `@unchecked Sendable`: written by the loop's task and read when the loop has ended; both on one thread.
    private final class Outcome: @unchecked Sendable { var result: Result<JSON, EngineError>? }

    private static func exchange(
        _ client: HTTPClient, _ method: HTTPMethod, _ path: String, _ body: [UInt8], type: String, patience: Duration,
        on loop: EventLoop
    ) async -> Result<JSON, EngineError> {
        do throws(HTTPError) {
            var request = HTTPClientRequest(method, path, body: body)
            do throws(HTTPFieldError) {
                if !body.isEmpty { try request.headers.append("content-type", type) }
            } catch { throw HTTPError.field(error) }
            client.headTimeout = patience
            let response = try await client.send(request)
            let timer = loop.schedule(after: patience) { response.close() }
            defer { timer.cancel() }
            let bytes = try await response.collect(limit: answerBytesMax)
            return read(Int(response.status), bytes)
        } catch { return .failure(EngineError(status: 0, message: "the container engine does not answer: \(error)")) }
    }

    /// What an answer says that is no success.
    static func problem(_ status: Int, _ bytes: [UInt8]) -> EngineError {
        let text = (try? JSON.parse(bytes))?["message"]?.string ?? String(decoding: bytes.prefix(500), as: UTF8.self)
        return EngineError(status: status, message: text)
    }

    /// What an answer says.
    ///
    /// Pure.
    static func read(_ status: Int, _ bytes: [UInt8]) -> Result<JSON, EngineError> {
        let whole = bytes.isEmpty ? JSON.null : try? JSON.parse(bytes)
        guard (200..<300).contains(status) || status == 304 else {
            return .failure(problem(status, bytes))
        }
        if let whole, whole.object?["error"] == nil { return .success(whole) }
        let lines = bytes.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }).compactMap { try? JSON.parse(Array($0)) }
        // A pull that fails says so behind a status that means success.
        if let problem = lines.compactMap({ $0["error"]?.string }).first {
            return .failure(EngineError(status: status, message: problem))
        }
        return .success(.array(lines))
    }
}
