internal import Serialization
internal import TLS

/// The opening of a WebSocket connection (RFC 6455 §4), without its transport.
public enum WebSocketHandshake {
    /// What a client asks for.
    public struct Request: Sendable, Hashable {
        /// `Sec-WebSocket-Key`.
        public var key: String
        /// `Sec-WebSocket-Protocol`, in the client's order of preference.
        public var protocols: [String]
    }

    /// What the head of a request asks for; nil when it does not ask for a WebSocket.
    public static func request(_ headers: HeaderTable) throws(WebSocketError) -> Request? {
        guard headers["upgrade"]?.lowercased() == "websocket" else { return nil }
        guard let key = headers["sec-websocket-key"], key.utf8.count == 24 else {
            throw .malformed("Sec-WebSocket-Key is missing or not 16 bytes in Base64")
        }
        guard headers["sec-websocket-version"] == "13" else {
            throw .malformed("Sec-WebSocket-Version must be 13")
        }
        return Request(key: key, protocols: list("sec-websocket-protocol", headers))
    }

    /// The comma-separated words of all fields of a name.
    public static func list(_ name: String, _ headers: HeaderTable) -> [String] {
        var words: [String] = []
        var index = headers.index(named: name)
        while let found = index {
            for word in headers.valueText(at: found).split(separator: ",") {
                words.append(String(word.drop { $0 == " " }.prefix { $0 != " " }))
            }
            index = headers.index(named: name, from: found + 1)
        }
        return words
    }

    /// The server's proof that it has read the key: `Sec-WebSocket-Accept`.
    public static func accept(_ key: String) -> String {
        Base64.encode(SHA1.hash(Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)))
    }

    /// The head of the answer that opens the connection.
    public static func answer(_ request: Request, using subprotocol: String?) -> ResponseHead {
        var head = ResponseHead(status: 101)
        head.headers.append(.upgrade, constant: "websocket")
        // Base64 and our own names hold no forbidden byte.
        try? head.headers.append("sec-websocket-accept", accept(request.key))
        if let subprotocol { try? head.headers.append("sec-websocket-protocol", subprotocol) }
        return head
    }

    /// A client's request for a WebSocket at a path.
    ///
    /// - Parameter nonce: 16 bytes that nobody could guess.
    public static func request(
        _ path: String, protocols: [String], nonce: [UInt8]
    ) throws(HTTPFieldError) -> HTTPClientRequest {
        var request = HTTPClientRequest(.get, path)
        try request.headers.append("upgrade", "websocket")
        try request.headers.append("sec-websocket-version", "13")
        try request.headers.append("sec-websocket-key", Base64.encode(nonce))
        if !protocols.isEmpty {
            try request.headers.append("sec-websocket-protocol", protocols.joined(separator: ", "))
        }
        return request
    }
}
