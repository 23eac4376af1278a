import HTTP

/// How a client wants to carry several streams over one connection.
enum StreamProtocol: Hashable {
    /// WebSocket messages whose first byte is the channel; `closes`: a client can end a channel (version 5).
    case channels(WebSocketHandshake.Request, name: String, closes: Bool)
    /// SPDY/3.1 in the place of HTTP; the name is `X-Stream-Protocol-Version`.
    case spdy(name: String)
    /// SPDY/3.1 inside of WebSocket messages.
    case tunnel(WebSocketHandshake.Request, name: String)

    /// The name of port forwarding over SPDY.
    static let portForward = "portforward.k8s.io"
    private static let tunnelPrefix = "SPDY/3.1+"
    private static let commands = ["v5.channel.k8s.io", "v4.channel.k8s.io"]
    private static let versionField = "x-stream-protocol-version"

    /// What the head of a request asks for; of what a client offers, its own first choice that is served.
    init(_ headers: HeaderTable, _ purpose: StreamRequest.Purpose) throws(StatusError) {
        let handshake: WebSocketHandshake.Request?
        do throws(WebSocketError) { handshake = try WebSocketHandshake.request(headers) } catch {
            throw .badRequest("unable to upgrade: \(error)")
        }
        if let handshake {
            let served =
                purpose == .portForward
                ? [Self.tunnelPrefix + Self.portForward, "v4.channel.k8s.io"] : Self.commands
            guard let name = handshake.protocols.first(where: served.contains) else {
                throw .badRequest(
                    "unable to upgrade: Sec-WebSocket-Protocol has none of \(served.joined(separator: ", "))")
            }
            self =
                name.hasPrefix(Self.tunnelPrefix)
                ? .tunnel(handshake, name: name) : .channels(handshake, name: name, closes: name.hasPrefix("v5."))
            return
        }
        guard headers["upgrade"]?.lowercased() == "spdy/3.1" else { throw .badRequest("Upgrade request required") }
        // Later versions say nothing new over SPDY, which can end its streams by itself.
        let served = purpose == .portForward ? Self.portForward : "v4.channel.k8s.io"
        guard WebSocketHandshake.list(Self.versionField, headers).contains(served) else {
            throw StatusError(
                code: 403, reason: "Forbidden", message: "unable to upgrade: X-Stream-Protocol-Version has no \(served)"
            )
        }
        self = .spdy(name: served)
    }

    /// The head of the answer that opens the connection.
    var answer: ResponseHead {
        switch self {
        case .channels(let handshake, let name, _), .tunnel(let handshake, let name):
            return WebSocketHandshake.answer(handshake, using: name)
        case .spdy(let name):
            var head = ResponseHead(status: 101)
            head.headers.append(.upgrade, constant: "SPDY/3.1")
            // One of our own names.
            try? head.headers.append(Self.versionField, name)
            return head
        }
    }

    /// Whether a page in a browser asks that is not ours: it could use the certificate of whoever looks at it.
    static func isForeign(_ headers: HeaderTable, host: String) -> Bool {
        guard let origin = headers["origin"] else { return false }
        return origin != "https://" + host && origin != "http://" + host
    }
}
