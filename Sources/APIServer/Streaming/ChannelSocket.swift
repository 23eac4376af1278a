import HTTP
import KubernetesAPI
import Serialization

/// How channels are carried in the messages of a WebSocket, by the name of the sub-protocol.
enum ChannelForm: String, Hashable, CaseIterable {
    /// A command's end is an object in its channel, and a client can end its input.
    case five = "v5.channel.k8s.io"
    /// A command's end is an object in its channel.
    case four = "v4.channel.k8s.io"
    /// As `four`, in messages of text: the channel as a digit, the bytes in Base64. For pages in browsers.
    case fourBase64 = "v4.base64.channel.k8s.io"
    /// A command that fails says so in words, one that ends well says nothing.
    case one = "channel.k8s.io"
    /// As `one`, in messages of text.
    case oneBase64 = "base64.channel.k8s.io"
    /// As `one`, for clients that name no sub-protocol.
    case unnamed = ""

    /// What is served by name, the best first.
    static func served(_ purpose: StreamRequest.Purpose) -> [ChannelForm] {
        purpose == .portForward ? [.four, .fourBase64] : [.five, .four, .fourBase64, .one, .oneBase64]
    }

    var isBase64: Bool { self == .fourBase64 || self == .oneBase64 }
    var closes: Bool { self == .five }
    var hasStatusObjects: Bool { self == .five || self == .four || self == .fourBase64 }

    /// What is sent for a channel's number and bytes.
    func encoded(_ payload: [UInt8]) -> [UInt8] {
        guard isBase64, let channel = payload.first else { return payload }
        return [0x30 &+ channel] + Array(Base64.encode(Array(payload.dropFirst())).utf8)
    }

    /// A channel's number and bytes; nil for what nobody who speaks this form sends.
    func decoded(_ payload: [UInt8]) -> [UInt8]? {
        guard isBase64, let channel = payload.first else { return payload }
        guard (0x30...0x39).contains(channel),
            let bytes = Base64.decode(String(decoding: payload.dropFirst(), as: UTF8.self))
        else { return nil }
        return [channel - 0x30] + bytes
    }

    /// How a command's end is told, given as the object of later forms; nil when there is nothing to say.
    func status(_ object: [UInt8]) -> [UInt8]? {
        guard !hasStatusObjects else { return object }
        guard let json = try? JSON.parse(object) else { return object }
        return json["status"]?.string == "Success" ? nil : Array((json["message"]?.string ?? "").utf8)
    }
}

/// A client's WebSocket, whose messages are channels and bytes whatever form it speaks.
struct ChannelSocket: Sendable {
    let socket: WebSocketConnection
    let form: ChannelForm

    /// The next message; nil when the client has said that nothing follows.
    func next() async throws(WebSocketError) -> [UInt8]? {
        guard let message = try await socket.next() else { return nil }
        guard let payload = form.decoded(message.payload) else {
            throw .malformed("a message of \(form.rawValue) begins with a digit, and goes on in Base64")
        }
        return payload
    }

    func send(_ payload: [UInt8]) async throws(WebSocketError) {
        try await socket.send(form.encoded(payload), isText: form.isBase64)
    }

    func close(code: UInt16 = 1000) async { await socket.close(code: code) }

    func abort() { socket.abort() }
}
