import EnvoyAPI
import Mesh
import Serialization
import XDS

/// What kind of program subscribes; each has its own needs.
public enum ClientKind: String, Sendable, Hashable {
    /// Our own proxy.
    case skein
    /// Envoy.
    case envoy
    /// gRPC without a proxy.
    case grpc
    /// Something else that speaks the protocol.
    case other

    init(_ node: EnvoyAPI.Node?) {
        let agent = node?.userAgentName ?? ""
        switch agent {
        case "skein-proxy": self = .skein
        case "envoy": self = .envoy
        default: self = agent.hasPrefix("gRPC") || agent.hasPrefix("grpc") ? .grpc : .other
        }
    }
}

/// One connected subscriber.
///
/// Belongs to the publisher; a class, so that a change of one stream copies nothing of it.
final class ProxyStream {
    let number: Int
    let proxy: ProxyIdentity
    var server: DiscoveryServer
    /// The translation that it was given last, as the mesh made it.
    var base: Snapshot?
    var traffic = StreamTraffic()

    init(_ number: Int, _ proxy: ProxyIdentity, _ form: ResponseMaker.Form) {
        self.number = number
        self.proxy = proxy
        server = DiscoveryServer(form)
    }

    var client: ClientKind { ClientKind(server.node) }

    /// The types of which something is refused, with what the proxy said.
    var rejections: [String: String] {
        var rejections: [String: String] = [:]
        for typeURL in server.subscribedTypes { rejections[typeURL] = server.rejection(typeURL: typeURL) }
        return rejections
    }
}

/// What went over a stream.
public struct StreamTraffic: Sendable, Hashable {
    /// Responses sent.
    public var responses = 0
    /// Their bytes.
    public var responseBytes = 0
    /// Resources in them, removed ones too.
    public var resources = 0
    /// Requests taken.
    public var requests = 0
    /// Their bytes.
    public var requestBytes = 0

    mutating func sent(_ messages: [DiscoveryMessage]) {
        for message in messages {
            responses += 1
            responseBytes += message.bytes.count
            resources += message.resources + message.removed
        }
    }

    mutating func add(_ other: StreamTraffic) {
        responses += other.responses
        responseBytes += other.responseBytes
        resources += other.resources
        requests += other.requests
        requestBytes += other.requestBytes
    }
}
