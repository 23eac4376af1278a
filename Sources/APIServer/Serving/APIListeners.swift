public import HTTP
public import IO
import Serialization
public import TLS

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
    /// Answers what is below `/skein/` and no part of the Kubernetes API, to masters only; without it there is nothing.
    public var pages: (@Sendable (HTTPRequest) -> HTTPResponse)?
    /// Names by which clients may call us in `Host`, besides loopback addresses.
    public var hostNames: Set<String> = [
        "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
        ServiceAddresses.kubernetes,
    ]
    let loop: EventLoop

    /// The API of `router` for the connections of `loop`.
    public init(_ router: APIRouter, on loop: EventLoop) {
        self.router = router
        self.loop = loop
    }

    /// Serves the unix socket: root on this machine has all rights, nobody else has any.
    public func serve(unix listener: SocketListener) async {
        let server = HTTPServer(on: loop) { request in
            await self.handle(request, user: request.peer.credentials?.uid == 0 ? .root : nil)
        }
        await server.run(listener)
    }

    /// Serves TLS: the user is who the client certificate says, nobody without one.
    ///
    /// `context` is asked for each connection, so that new certificates serve new connections. It should ask for client
    /// certificates without requiring them: health checks come without.
    public func serve(tls listener: SocketListener, context: @escaping @Sendable () -> TLSContext) async {
        let server = HTTPServer(on: loop) { request in
            let user = request.peer.certificate.map {
                APIUser(name: $0.subject.commonName, groups: $0.subject.organizations + ["system:authenticated"])
            }
            return await self.handle(request, user: user, checksHost: true)
        }
        await server.run(listener, tls: context)
    }

    /// Serves without any authentication, as `user`: for tests behind a socket that only they know.
    public func serve(unauthenticated listener: SocketListener, as user: APIUser) async {
        let server = HTTPServer(on: loop) { request in await self.handle(request, user: user, checksHost: true) }
        await server.run(listener)
    }

    /// Answers one request of a user.
    public func handle(_ request: HTTPRequest, user: APIUser?, checksHost: Bool = false) async -> HTTPResponse {
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
            return pages(request)
        }
        let body: [UInt8]
        do throws(HTTPError) {
            body = try await request.body.collect()
        } catch {
            return response(.failure(.badRequest("the body of the request cannot be read: \(error)")))
        }
        do throws(StatusError) {
            let headers = request.head.headers
            let wanted = try APIRequest(
                method: request.method, target: request.head.pathText, accept: headers["accept"] ?? "",
                contentType: headers["content-type"] ?? "", userAgent: headers["user-agent"] ?? "", body: body,
                user: user)
            let answer = router.answer(wanted)
            if case .log(let wish) = answer.body { return try await follow(wish) }
            return response(answer)
        } catch {
            return response(.failure(error))
        }
    }

    /// Whether `Host` names us; a browser that was lured to a foreign name pointing here says that name.
    private func isOurs(_ authority: String) -> Bool {
        var host = authority[...]
        if let colon = host.lastIndex(of: ":"), !host[colon...].contains("]") { host = host[..<colon] }
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return ["localhost", "127.0.0.1", "::1"].contains(host) || hostNames.contains(String(host))
    }

    private func response(_ answer: APIResponse) -> HTTPResponse {
        var head = ResponseHead(status: UInt16(clamping: answer.status))
        // What the parser or our own tables made cannot hold forbidden bytes, warnings from object texts can.
        try? head.headers.append(.contentType, answer.contentType)
        try? head.headers.append("cache-control", "no-cache, private")
        for warning in answer.warnings.prefix(16) {
            let text = String(decoding: warning.utf8.filter { $0 >= 0x20 && $0 != 0x7f }.prefix(1024), as: UTF8.self)
            let quoted = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            try? head.headers.append("warning", "299 - \"\(quoted)\"")
        }
        switch answer.body {
        case .bytes(let bytes): return HTTPResponse(head, .bytes(bytes))
        case .watch(let stream):
            let delivery = WatchDelivery(stream, on: loop)
            return HTTPResponse(head, .stream { writer throws(HTTPError) in try await delivery.run(writer) })
        case .log: return HTTPResponse(head, .bytes([]))
        }
    }

    private func follow(_ wish: LogRequest) async throws(StatusError) -> HTTPResponse {
        guard let logs else {
            throw StatusError(
                code: 503, reason: "ServiceUnavailable", message: "no node agent is connected: logs are not available")
        }
        let source = try await logs(wish)
        return .stream(contentType: "text/plain") { writer throws(HTTPError) in
            defer { source.close() }
            while let piece = try await source.next() { try await writer.write(piece) }
        }
    }
}
