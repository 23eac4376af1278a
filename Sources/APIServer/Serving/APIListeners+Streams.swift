import HTTP
import IO
import Telemetry

// Sessions: commands in containers, their streams, forwarded ports.
extension APIListeners {
    /// Answers with a connection that has left HTTP, or with why not.
    func session(_ wish: StreamRequest, _ request: HTTPRequest) async throws(StatusError) -> HTTPResponse {
        let headers = request.head.headers
        guard !StreamProtocol.isForeign(headers, host: request.head.authorityText) else {
            throw StatusError(code: 403, reason: "Forbidden", message: "Origin is another than the host that is asked")
        }
        let form = try StreamProtocol(headers, wish.purpose)
        guard let streams else {
            throw StatusError(
                code: 503, reason: "ServiceUnavailable",
                message: "no node agent is connected: \(wish.purpose.rawValue) is not available")
        }
        guard openSessions < capacity.sessions else {
            sessionsRefused.add()
            throw .tooManyRequests("too many sessions: at most \(capacity.sessions) at once")
        }
        // A client that gets 101 knows that the command is about to run: so the agent is asked first.
        let agent = wish.purpose == .portForward ? nil : try await streams.open(wish)
        openSessions += 1
        let place = OpenPlace { [weak self] in self?.openSessions -= 1 }
        let loop = loop
        return HTTPResponse(
            form.answer,
            .upgrade { stream in
                let stream = IdleLimitedStream(stream, on: loop)
                let forwarder = PortForwarder(wish, streams, on: loop)
                switch form {
                case .channels(_, let form):
                    let client = ChannelSocket(socket: WebSocketConnection(stream, as: .server), form: form)
                    if let agent {
                        await CommandStreams(wish, agent, on: loop).run(client)
                    } else {
                        await forwarder.run(client)
                    }
                case .spdy, .tunnel:
                    var inner: any ByteStream = stream
                    if case .tunnel = form { inner = TunnelStream(WebSocketConnection(stream, as: .server)) }
                    guard let client = try? SPDYSession(inner) else { break }
                    if let agent {
                        await CommandStreams(wish, agent, on: loop).run(client)
                    } else {
                        await forwarder.run(client)
                    }
                }
                agent?.abort()
                stream.close()
                place.leave()
            })
    }
}
