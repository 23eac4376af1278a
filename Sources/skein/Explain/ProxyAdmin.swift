internal import HTTP
internal import IO
internal import Serialization

/// The admin port of a pod's proxy, which listens inside of the pod's network namespace alone.
struct ProxyAdmin: Sendable {
    let runDirectory: String
    let loop: EventLoop

    /// What it answered.
    struct Page: Sendable {
        var status: Int
        var body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }
    }

    /// How long a page is waited for: a proxy may itself wait five seconds for a control plane, twice.
    private static let patience = Duration.seconds(20)

    /// Asks the proxy of the pod with that UID.
    func ask(
        _ uid: String, _ method: HTTPMethod, _ path: String, query: [(String, String)] = []
    ) async throws(CommandError) -> Page {
        let http = client(uid, patience: Self.patience)
        do throws(HTTPError) {
            let response = try await http.send(HTTPClientRequest(method, Self.target(path, query)))
            return Page(status: Int(response.status), body: try await response.collect())
        } catch {
            throw CommandError("its admin port does not answer: \(error)")
        }
    }

    /// Reads a page that goes on, piece by piece, until `take` says that it is enough or the proxy goes.
    func follow(
        _ uid: String, _ path: String, query: [(String, String)], _ take: ([UInt8]) -> Bool
    ) async throws(CommandError) {
        let http = client(uid, patience: nil)
        http.headTimeout = Self.patience
        var refusal: String?
        do throws(HTTPError) {
            let response = try await http.send(HTTPClientRequest(.get, Self.target(path, query)))
            defer { response.close() }
            guard response.status == 200 else {
                refusal = String(decoding: try await response.collect(), as: UTF8.self).filter { $0 != "\n" }
                throw HTTPError.closed
            }
            while !Task.isCancelled, let piece = try await response.next() {
                guard take(piece) else { return }
            }
        } catch {
            if let refusal { throw CommandError(refusal) }
            if case .closed = error { return }
            throw CommandError("its admin port does not answer: \(error)")
        }
    }

    private static func target(_ path: String, _ query: [(String, String)]) -> String {
        guard !query.isEmpty else { return path }
        return path + "?" + query.map { "\($0.0)=\(PercentEncoding.encoded($0.1))" }.joined(separator: "&")
    }

    private func client(_ uid: String, patience: Duration?) -> HTTPClient {
        let directory = runDirectory + "/netns"
        let loop = loop
        return HTTPClient(authority: "127.0.0.1:15000", on: loop) { () throws(HTTPError) in
            do throws(SystemError) {
                let descriptor = try NetworkNamespace.open(named: uid, in: directory).run { () throws(SystemError) in
                    try Socket.connect(to: .ip(.v4(0x7F00_0001), port: 15_000)).release()
                }
                let stream = try SocketStream(Socket(adopting: descriptor), on: loop)
                if let patience { loop.schedule(after: patience) { stream.close() } }
                return stream
            } catch {
                throw HTTPError.connection(error)
            }
        }
    }
}
