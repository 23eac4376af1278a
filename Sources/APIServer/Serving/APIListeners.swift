public import HTTP
public import IO
import Serialization
public import TLS
public import Telemetry

/// The API on sockets: a thin shell around `APIRouter`.
///
/// `@unchecked Sendable`: belongs to one loop; everything but `init` is called on it (docs/threads.md).
public final class APIListeners: @unchecked Sendable {
    /// Fetches the log of a container from whoever runs it.
    public typealias LogSource = @Sendable (LogRequest) async throws(StatusError) -> HTTPClientResponse

    /// Requests without a transport.
    public let router: APIRouter
    /// Where logs come from; without it, logs are refused.
    public var logs: LogSource?
    /// Where commands and other streams of containers come from; without it, they are refused.
    public var streams: NodeStreams?
    /// Where requests for ports of pods and agents of nodes go; without it, they are refused.
    public var proxies: NodeProxies?
    /// Measures what pods and machines use; without it nobody is told.
    public var usage: (@Sendable () async -> UsageReport)?
    /// Answers what is below `/skein/` and no part of the Kubernetes API, to masters only; without it there is nothing.
    public var pages: (@Sendable (HTTPRequest) async -> HTTPResponse)?
    /// Names by which clients may call us in `Host`, besides loopback addresses.
    public var hostNames: Set<String> = [
        "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
    ]
    /// Where writes and refusals are noted; without it they are not.
    public var audit: AuditLog?
    /// How much is taken at once.
    public let capacity: APICapacity
    /// The places of connections on all listeners.
    public let places: ConnectionPlaces
    /// Watches that were refused because there were too many.
    public let watchesRefused = Counter()
    /// Requests that were answered.
    private(set) var requests = APIRequestCounts()
    /// How many watches there are.
    public private(set) var openWatches = 0
    /// Sessions that were refused because there were too many.
    public let sessionsRefused = Counter()
    /// How many commands, attached terminals and forwarded ports there are.
    public internal(set) var openSessions = 0
    /// Logs that were refused because too many are read.
    public let logsRefused = Counter()
    /// How many logs are read.
    public private(set) var openLogs = 0
    let loop: EventLoop
    private let turns: WatchTurns

    /// Bounds of the servers in front of this: what is too large or too much is refused in Kubernetes' words.
    public var limits: HTTPServer.Limits {
        var limits = HTTPServer.Limits()
        limits.places = places
        limits.crowded = {
            let error = StatusError.tooManyRequests("too many connections: come again")
            var head = ResponseHead(status: 429)
            try? head.headers.append(.contentType, "application/json")
            return HTTPResponse(head, .bytes(error.json.bytes))
        }
        limits.tooLarge = { limit in
            let error = StatusError(
                code: 413, reason: "RequestEntityTooLarge", message: "Request entity too large: limit is \(limit)")
            var head = ResponseHead(status: 413)
            try? head.headers.append(.contentType, "application/json")
            return HTTPResponse(head, .bytes(error.json.bytes))
        }
        return limits
    }

    /// The API of `router` for the connections of `loop`.
    public init(_ router: APIRouter, on loop: EventLoop, capacity: APICapacity = APICapacity(descriptors: 4096)) {
        self.router = router
        self.loop = loop
        self.capacity = capacity
        places = ConnectionPlaces(max: capacity.connections)
        turns = WatchTurns(on: loop)
    }

    /// Serves the unix socket: root on this machine has all rights, nobody else has any.
    public func serve(unix listener: SocketListener) async {
        let server = HTTPServer(on: loop, limits: limits) { request in
            await self.handle(request, user: request.peer.credentials?.uid == 0 ? .root : nil)
        }
        await server.run(listener)
    }

    /// Serves TLS: the user is who the client certificate says, nobody without one.
    ///
    /// `context` is asked for each connection, so that new certificates serve new connections. It should ask for client
    /// certificates without requiring them: health checks come without.
    public func serve(tls listener: SocketListener, context: @escaping @Sendable () -> TLSContext) async {
        let server = HTTPServer(on: loop, limits: limits) { request in
            let user = request.peer.certificate.map {
                APIUser(name: $0.subject.commonName, groups: $0.subject.organizations + ["system:authenticated"])
            }
            return await self.handle(request, user: user, checksHost: true)
        }
        await server.run(listener, tls: context)
    }

    /// Serves without any authentication, as `user`: for tests behind a socket that only they know.
    public func serve(unauthenticated listener: SocketListener, as user: APIUser) async {
        let server = HTTPServer(on: loop, limits: limits) { request in
            await self.handle(request, user: user, checksHost: true)
        }
        await server.run(listener)
    }

    /// Answers one request of a user.
    public func handle(_ request: HTTPRequest, user: APIUser?, checksHost: Bool = false) async -> HTTPResponse {
        let begin = loop.now
        let response = await answer(request, user: user, checksHost: checksHost)
        requests.count(request.method, Int(response.head.status), nanoseconds: loop.now.nanoseconds(since: begin))
        return response
    }

    private func answer(_ request: HTTPRequest, user: APIUser?, checksHost: Bool) async -> HTTPResponse {
        if checksHost, !isOurs(request.head.authorityText) {
            let error = StatusError(
                code: 403, reason: "Forbidden", message: "Host \(request.head.authorityText) is not served here")
            return response(.failure(error))
        }
        if let pages, request.path.hasPrefix("/skein/") {
            guard let user, user.isMaster else {
                let code: (Int, String) = user == nil ? (401, "Unauthorized") : (403, "Forbidden")
                return response(
                    .failure(
                        StatusError(code: code.0, reason: code.1, message: "\(request.path) is for administrators")))
            }
            return await pages(request)
        }
        let headers = request.head.headers
        do throws(StatusError) {
            var wanted = try APIRequest(
                method: request.method, target: request.head.pathText, accept: headers["accept"] ?? "",
                contentType: headers["content-type"] ?? "", userAgent: headers["user-agent"] ?? "", user: user)
            let answer: APIResponse
            do throws(StatusError) {
                // Who is nobody is not listened to: his body is not read.
                if user == nil, let field = headers["authorization"] {
                    wanted.user = try self.user(authorization: field)
                }
                wanted.impersonation = try impersonation(headers)
                if wanted.user != nil { wanted.body = try await body(request) }
                answer = await router.settledAnswer(wanted)
            } catch {
                answer = .failure(error)
            }
            note(wanted, request, answer.status)
            if case .log(let wish) = answer.body { return try await follow(wish) }
            if case .streams(let wish) = answer.body { return try await session(wish, request) }
            if case .proxy(let wish) = answer.body { return try await proxy(wish, wanted.body, request) }
            if case .usage(let question) = answer.body {
                guard let usage else {
                    throw StatusError(
                        code: 503, reason: "ServiceUnavailable",
                        message: "no node agent is connected: nothing is measured")
                }
                return response(router.answer(question, await usage()))
            }
            return response(answer)
        } catch {
            return response(.failure(error))
        }
    }

    private func user(authorization field: String) throws(StatusError) -> APIUser {
        guard field.lowercased().hasPrefix("bearer ") else { throw .unauthorized }
        return try router.authenticate(String(field.dropFirst(7)))
    }

    private func body(_ request: HTTPRequest) async throws(StatusError) -> [UInt8] {
        do throws(HTTPError) {
            return try await request.body.collect()
        } catch {
            throw .badRequest("the body of the request cannot be read: \(error)")
        }
    }

    private func note(_ wanted: APIRequest, _ request: HTTPRequest, _ status: Int) {
        guard let audit else { return }
        var source = ""
        if case .ip(let address, _)? = request.peer.address { source = "\(address)" }
        let id = router.registry.randomSuffix() + router.registry.randomSuffix()
        guard
            let event = router.auditEvent(
                wanted, uri: request.head.pathText, source: source, id: id, status: status)
        else { return }
        audit.note(event)
    }

    /// Who the caller wants to be (`kubectl --as`).
    private func impersonation(_ headers: HeaderTable) throws(StatusError) -> Impersonation? {
        var groups: [String] = []
        var index = headers.index(named: "impersonate-group")
        while let found = index {
            groups.append(headers.valueText(at: found))
            index = headers.index(named: "impersonate-group", from: found + 1)
        }
        let hasExtra = (0..<headers.count).contains {
            headers.nameText(at: $0).lowercased().hasPrefix("impersonate-extra-")
        }
        if headers["impersonate-uid"] != nil || hasExtra {
            throw .badRequest("Impersonate-Uid and Impersonate-Extra are not supported")
        }
        guard headers["impersonate-user"] != nil || !groups.isEmpty else { return nil }
        return Impersonation(user: headers["impersonate-user"] ?? "", groups: groups)
    }

    /// Whether `Host` names us; a browser that was lured to a foreign name pointing here says that name.
    private func isOurs(_ authority: String) -> Bool {
        var host = authority[...]
        if let colon = host.lastIndex(of: ":"), !host[colon...].contains("]") { host = host[..<colon] }
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return ["localhost", "127.0.0.1", "::1"].contains(host) || hostNames.contains(String(host))
    }

    func response(_ answer: APIResponse) -> HTTPResponse {
        var head = ResponseHead(status: UInt16(clamping: answer.status))
        // What the parser or our own tables made cannot hold forbidden bytes, warnings from object texts can.
        try? head.headers.append(.contentType, answer.contentType)
        try? head.headers.append("cache-control", "no-cache, private")
        for warning in answer.warnings.prefix(16) {
            let text = String(decoding: warning.utf8.filter { $0 >= 0x20 && $0 != 0x7f }.prefix(1024), as: UTF8.self)
            let quoted = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            try? head.headers.append("warning", "299 - \"\(quoted)\"")
        }
        if let location = answer.location { try? head.headers.append("location", location) }
        if let seconds = answer.retryAfter { try? head.headers.append("retry-after", String(seconds)) }
        switch answer.body {
        case .bytes(let bytes): return HTTPResponse(head, .bytes(bytes))
        case .watch(let stream):
            guard openWatches < capacity.watches else {
                watchesRefused.add()
                stream.cancel()
                return response(.failure(.tooManyRequests("too many watches: at most \(capacity.watches) at once")))
            }
            openWatches += 1
            let delivery = WatchDelivery(stream, turns, on: loop)
            let place = OpenPlace { [weak self] in self?.openWatches -= 1 }
            return HTTPResponse(
                head,
                .stream { writer throws(HTTPError) in
                    defer { place.leave() }
                    try await delivery.run(writer)
                })
        case .log, .streams, .usage, .proxy: return HTTPResponse(head, .bytes([]))
        }
    }

    private func follow(_ wish: LogRequest) async throws(StatusError) -> HTTPResponse {
        guard let logs else {
            throw StatusError(
                code: 503, reason: "ServiceUnavailable", message: "no node agent is connected: logs are not available")
        }
        guard openLogs < capacity.logs else {
            logsRefused.add()
            throw .tooManyRequests("too many logs are read: at most \(capacity.logs) at once")
        }
        openLogs += 1
        let place = OpenPlace { [weak self] in self?.openLogs -= 1 }
        let source = try await logs(wish)
        return .stream(contentType: "text/plain") { writer throws(HTTPError) in
            defer {
                source.close()
                place.leave()
            }
            while let piece = try await source.next() { try await writer.write(piece) }
        }
    }
}

/// The place of one open watch or session among those allowed; it is given back once, also when the client went before the first event.
///
/// `@unchecked Sendable`: touched on its loop only.
final class OpenPlace: @unchecked Sendable {
    private var back: (() -> Void)?
    init(_ back: @escaping () -> Void) { self.back = back }
    func leave() {
        back?()
        back = nil
    }
    deinit { back?() }
}
