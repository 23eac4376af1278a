import HTTP

/// How a client wants to carry several streams over one connection.
enum StreamProtocol: Hashable {
    /// WebSocket messages whose first byte is the channel.
    case channels(WebSocketHandshake.Request, ChannelForm)
    /// SPDY/3.1 in the place of HTTP; the name is `X-Stream-Protocol-Version`.
    case spdy(name: String)
    /// SPDY/3.1 inside of WebSocket messages.
    case tunnel(WebSocketHandshake.Request, name: String)

    /// The name of port forwarding over SPDY.
    static let portForward = "portforward.k8s.io"
    private static let tunnelPrefix = "SPDY/3.1+"
    private static let versionField = "x-stream-protocol-version"

    /// What the head of a request asks for; of what a client offers, its own first choice that is served.
    init(_ headers: HeaderTable, _ purpose: StreamRequest.Purpose) throws(StatusError) {
        let handshake: WebSocketHandshake.Request?
        do throws(WebSocketError) { handshake = try WebSocketHandshake.request(headers) } catch {
            throw .badRequest("unable to upgrade: \(error)")
        }
        if let handshake {
            // Who names no protocol gets the oldest.
            guard !handshake.protocols.isEmpty else {
                self = .channels(handshake, .unnamed)
                return
            }
            let tunnel = Self.tunnelPrefix + Self.portForward
            let forms = ChannelForm.served(purpose)
            for name in handshake.protocols {
                if purpose == .portForward, name == tunnel {
                    self = .tunnel(handshake, name: name)
                    return
                }
                if let form = ChannelForm(rawValue: name), forms.contains(form) {
                    self = .channels(handshake, form)
                    return
                }
            }
            let names = (purpose == .portForward ? [tunnel] : []) + forms.map(\.rawValue)
            throw .badRequest("unable to upgrade: Sec-WebSocket-Protocol has none of \(names.joined(separator: ", "))")
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
        case .channels(let handshake, let form):
            return WebSocketHandshake.answer(handshake, using: form == .unnamed ? nil : form.rawValue)
        case .tunnel(let handshake, let name): return WebSocketHandshake.answer(handshake, using: name)
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
