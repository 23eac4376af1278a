public import Identity
import Serialization

/// What the node agent says to the control plane over `agent.sock`: one JSON object per line, some with a descriptor.
public enum AgentMessage: Sendable, Hashable {
    /// The listening socket on which the proxy of a pod subscribes.
    case xds(uid: String, namespace: String, name: String)
    /// That pod is gone.
    case xdsGone(uid: String)
    /// A bound DNS socket.
    case dns(address: String, transport: String)
    /// Something about keys and certificates.
    case identity(IdentityRequest)
    /// Root asks about certificates, or wants something done (`skein certs`).
    case certificates(CertificateCommand)

    /// Whether a descriptor belongs to it.
    var hasDescriptor: Bool {
        switch self {
        case .xds, .dns: true
        case .xdsGone, .identity, .certificates: false
        }
    }

    /// Reads one line; `nil` when it is none of ours.
    init?(line: [UInt8]) {
        guard let json = try? JSON.parse(line), let op = json["op"]?.string else { return nil }
        if let request = IdentityRequest(json: json) {
            self = .identity(request)
            return
        }
        if let command = CertificateCommand(json: json) {
            self = .certificates(command)
            return
        }
        func text(_ name: String) -> String { json[name]?.string ?? "" }
        switch op {
        case "xds" where !text("uid").isEmpty && !text("name").isEmpty:
            self = .xds(uid: text("uid"), namespace: text("namespace"), name: text("name"))
        case "xds-gone" where !text("uid").isEmpty: self = .xdsGone(uid: text("uid"))
        case "dns" where ["udp", "tcp"].contains(text("transport")):
            self = .dns(address: text("address"), transport: text("transport"))
        default: return nil
        }
    }
}

/// Lines and descriptors as they come, put together to messages.
///
/// Pure; the kernel keeps the order of bytes and descriptors, so the first message that wants a descriptor gets the
/// first one.
struct AgentMessageReader {
    /// The longest line that is taken.
    static let lineBytesMax = 64 * 1024

    private var buffer: [UInt8] = []
    private var descriptors: [Int32] = []

    /// A complete message with its descriptor, which the taker owns from now on.
    struct Received: Equatable {
        var message: AgentMessage
        var descriptor: Int32?
    }

    /// Takes bytes and perhaps a descriptor; `nil` when the peer breaks the protocol.
    mutating func receive(_ bytes: [UInt8], descriptor: Int32?) -> [Received]? {
        buffer += bytes
        if let descriptor { descriptors.append(descriptor) }
        var received: [Received] = []
        while let end = buffer.firstIndex(of: 0x0A) {
            let line = Array(buffer[..<end])
            buffer.removeFirst(end + 1)
            if line.isEmpty { continue }
            guard let message = AgentMessage(line: line) else { return nil }
            guard message.hasDescriptor else {
                received.append(Received(message: message, descriptor: nil))
                continue
            }
            guard !descriptors.isEmpty else { return nil }
            received.append(Received(message: message, descriptor: descriptors.removeFirst()))
        }
        return buffer.count <= Self.lineBytesMax ? received : nil
    }

    /// The descriptors that no message has asked for; to be closed at the end.
    mutating func leftOver() -> [Int32] {
        defer { descriptors = [] }
        return descriptors
    }
}
