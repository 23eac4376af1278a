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
    /// The workload's own certificate and the roots, when it asks us and not an agent.
    var secrets: SnapshotPart?
    /// Virtual hosts that it refuses, apart from the others of their route configurations.
    var quarantine = RouteQuarantine()
    /// Whether it has routes from an earlier stream of which only it knows what they say.
    var broughtRoutes = false
    /// Whether only secrets are asked for on it: then it is beside the stream that counts as the proxy.
    let isForSecrets: Bool
    /// The number of the sidecars that see the same world; nil when it is alone with its own.
    var kind: Int?

    init(_ number: Int, _ proxy: ProxyIdentity, _ form: ResponseMaker.Form, isForSecrets: Bool = false) {
        self.number = number
        self.proxy = proxy
        self.isForSecrets = isForSecrets
        server = DiscoveryServer(form)
    }

    var client: ClientKind { ClientKind(server.node) }

    /// Whether it asks for virtual hosts and clusters when it needs them; delta only, since only there it can be told that there is none.
    var asksOnDemand: Bool {
        if let known = feature { return known }
        guard let node = server.node else { return false }
        let found =
            server.form == .delta && proxy.role == .sidecar && node.clientFeatures.contains(OnDemandResources.feature)
        feature = found
        return found
    }

    /// What the node says of that, which it says once.
    private var feature: Bool?

    /// The types of which something is refused, with what the proxy said.
    var rejections: [String: String] {
        var rejections: [String: String] = [:]
        for typeURL in server.subscribedTypes { rejections[typeURL] = server.rejection(typeURL: typeURL) }
        if let held = quarantine.refusals.first { rejections[RouteConfiguration.typeURL] = held.host.message }
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
