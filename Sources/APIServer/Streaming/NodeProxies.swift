import HTTP
public import IO
import TLS
import Telemetry

/// Ports of pods, through the agents of their nodes.
public struct NodeProxies: Sendable {
    private let clients: NodeClients
    private let loop: EventLoop

    /// Ports of pods on nodes whose agents these clients reach.
    public init(_ clients: @escaping NodeClients, on loop: EventLoop) {
        self.clients = clients
        self.loop = loop
    }

    /// A client for one request, and the authority that it names; it keeps no connection.
    func client(_ wish: ProxyRequest) throws(StatusError) -> HTTPClient {
        switch wish.place {
        case .node(let name): return try clients(name)
        case .pod(let namespace, let name, let node, let port, let isEncrypted):
            let client = try clients(node)
            let path =
                "/portForward/\(PercentEncoding.encoded(namespace))/\(PercentEncoding.encoded(name))?port=\(port)&to=pod"
            let loop = loop
            return HTTPClient(authority: "\(name):\(port)", on: loop) { () throws(HTTPError) in
                let stream = PortStream(try await Self.dial(client, path))
                return isEncrypted ? try await Self.encrypted(stream, name, on: loop) : stream
            }
        }
    }

    /// TLS over a stream; as with Kubernetes, who is asked is known by the pod, not by a name.
    private static func encrypted(
        _ stream: PortStream, _ name: String, on loop: EventLoop
    ) async throws(HTTPError) -> any ByteStream {
        let asked: SocketStream
        do throws(SystemError) {
            let (inner, outer) = try Socket.pair()
            let carried = try SocketStream(outer, on: loop)
            asked = try SocketStream(inner, on: loop)
            Task(executorPreference: loop) { await StreamSplice.run(stream, carried, on: loop) }
        } catch { throw .connection(error) }
        do throws(TLSError) {
            var configuration = TLSConfiguration()
            configuration.peerCertificate = .notVerified
            return try await TLSStream.connect(
                asked, try TLSContext(configuration, role: .client), serverName: name)
        } catch {
            asked.close()
            throw .tls(error)
        }
    }

    private static func dial(_ client: HTTPClient, _ path: String) async throws(HTTPError) -> WebSocketConnection {
        let nonce = (0..<16).map { _ in UInt8.random(in: 0 ... .max) }
        let request: HTTPClientRequest
        do throws(HTTPFieldError) {
            request = try WebSocketHandshake.request(path, protocols: [], nonce: nonce)
        } catch { throw .field(error) }
        let response = try await client.send(request)
        guard response.status == 101 else {
            throw .connection(SystemError(111, await response.problem()))  // ECONNREFUSED
        }
        let (rest, stream) = response.upgradedStream()
        return WebSocketConnection(stream, as: .client, rest: rest)
    }
}

/// The bytes of one port of a pod, in the messages of its agent (`StreamChannel`).
///
/// `@unchecked Sendable`: touched on its loop only.
final class PortStream: ByteStream, @unchecked Sendable {
    private static let data: UInt8 = 0

    private let socket: WebSocketConnection
    private var rest: ArraySlice<UInt8> = []
    private var isEnded = false

    init(_ socket: WebSocketConnection) { self.socket = socket }

    func read(upTo count: Int) async throws(SystemError) -> [UInt8] {
        while rest.isEmpty {
            guard !isEnded, let message = try? await socket.next(), message.payload.first == Self.data else {
                isEnded = true
                return []
            }
            rest = message.payload.dropFirst()
        }
        let piece = Array(rest.prefix(count))
        rest = rest.dropFirst(piece.count)
        return piece
    }

    func write(_ bytes: [UInt8]) async throws(SystemError) {
        var left = bytes[...]
        do throws(WebSocketError) {
            while !left.isEmpty {
                let piece = left.prefix(WebSocketConnection.messageMax / 2)
                try await socket.send([Self.data] + piece)
                left = left.dropFirst(piece.count)
            }
        } catch { throw SystemError(32, "write: \(error)") }  // EPIPE
    }

    func close() { socket.abort() }
}

// Requests that go on to pods and agents.
extension APIListeners {
    /// Answers with what the pod or the agent answers.
    func proxy(_ wish: ProxyRequest, _ body: [UInt8], _ request: HTTPRequest) async throws(StatusError) -> HTTPResponse
    {
        let incoming = request.head.headers
        let upgrade = request.head.isUpgrade ? incoming["upgrade"] : nil
        if upgrade != nil, StreamProtocol.isForeign(incoming, host: request.head.authorityText),
            !isLocal(incoming["origin"])
        {
            throw StatusError(code: 403, reason: "Forbidden", message: "Origin is another than the host that is asked")
        }
        guard let proxies else {
            throw StatusError(
                code: 503, reason: "ServiceUnavailable", message: "no node agent is connected: proxy is not available")
        }
        guard openSessions < capacity.sessions else {
            sessionsRefused.add()
            throw .tooManyRequests("too many sessions: at most \(capacity.sessions) at once")
        }
        guard let method = HTTPMethod.allCases.first(where: { "\($0.name)" == request.method }), method != .other,
            method != .connect
        else { throw .methodNotAllowed() }
        let client = try proxies.client(wish)
        openSessions += 1
        let place = OpenPlace { [weak self] in self?.openSessions -= 1 }
        var wanted = HTTPClientRequest(method, wish.path, body: body)
        wanted.headers = Self.forwarded(incoming, wish, request.head.authorityText)
        if let upgrade { try? wanted.headers.append(.upgrade, upgrade) }
        let answer: HTTPClientResponse
        do throws(HTTPError) {
            answer = try await client.send(wanted)
        } catch {
            throw StatusError(
                code: 503, reason: "ServiceUnavailable", message: "error trying to reach service: \(error)")
        }
        // What is kept idle is the agents' clients' own; a pod is asked anew each time.
        if case .pod = wish.place { client.close() }
        var head = ResponseHead(status: answer.status)
        head.headers = Self.answered(answer.head.headers, wish)
        if answer.status == 101, let upgrade {
            try? head.headers.append(.upgrade, answer.head.headers["upgrade"] ?? upgrade)
            let (rest, target) = answer.upgradedStream()
            let loop = loop
            return HTTPResponse(
                head,
                .upgrade { stream in
                    let stream = IdleLimitedStream(stream, on: loop)
                    do throws(SystemError) {
                        if !rest.isEmpty { try await stream.write(rest) }
                        await StreamSplice.run(stream, target, on: loop)
                    } catch {
                        // The client went before the first byte.
                    }
                    target.close()
                    stream.close()
                    place.leave()
                })
        }
        return HTTPResponse(
            head,
            .stream { writer throws(HTTPError) in
                defer {
                    answer.close()
                    place.leave()
                }
                while let piece = try await answer.next() { try await writer.write(piece) }
            })
    }

    /// A page of this machine: `kubectl proxy`.
    private func isLocal(_ origin: String?) -> Bool {
        ["http://localhost", "http://127.0.0.1", "http://[::1]"].contains { prefix in
            guard let rest = origin?.dropFirst(prefix.count), origin?.hasPrefix(prefix) == true else { return false }
            return rest.isEmpty || rest.first == ":" && rest.dropFirst().allSatisfy(\.isNumber)
        }
    }

    /// The fields that go on: not those of one connection, and nothing by which the caller is known to this API.
    static func forwarded(_ fields: HeaderTable, _ wish: ProxyRequest, _ host: String) -> HeaderTable {
        var fields = fields
        fields.removeHopByHopFields()
        for name in [
            "authorization", "content-length", "expect", "impersonate-user", "impersonate-group", "impersonate-uid",
        ] {
            fields.remove(named: name)
        }
        for index in (0..<fields.count).reversed()
        where fields.nameText(at: index).lowercased().hasPrefix("impersonate-") { fields.remove(at: index) }
        try? fields.set("x-forwarded-host", host)
        try? fields.set("x-forwarded-proto", "https")
        try? fields.set("x-forwarded-uri", wish.prefix + (wish.path.split(separator: "?").first.map(String.init) ?? ""))
        return fields
    }

    /// The fields of the answer: places on the same host begin with the path of this API.
    static func answered(_ fields: HeaderTable, _ wish: ProxyRequest) -> HeaderTable {
        var fields = fields
        fields.removeHopByHopFields()
        fields.remove(named: "content-length")
        if let location = fields["location"] {
            var path = location
            if case .pod(_, let name, _, let port, _) = wish.place {
                for scheme in ["http://", "https://"] where path.hasPrefix(scheme + "\(name):\(port)") {
                    path = String(path.dropFirst(scheme.count + "\(name):\(port)".count))
                    if path.isEmpty { path = "/" }
                }
            }
            if path.hasPrefix("/"), !path.hasPrefix("//") { try? fields.set("location", wish.prefix + path) }
        }
        return fields
    }
}
