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
    /// What is under way on the stream, up to date with its world.
    var server: DiscoveryServer {
        _read {
            follow()
            yield ownServer
        }
        _modify {
            follow()
            yield &ownServer
        }
    }
    /// The translation that it was given last, as the mesh made it.
    var base: Snapshot? {
        _read {
            follow()
            yield ownBase
        }
        _modify {
            follow()
            yield &ownBase
        }
    }
    /// Whether it has been given anything.
    var hasBase: Bool { ownBase != nil }
    /// As they were when the stream was looked at last: of its world's changes only those were told to it which it wants.
    private var ownServer: DiscoveryServer
    private var ownBase: Snapshot?
    /// What it shares with others of its kind; nil while it is alone.
    private(set) var world: SharedWorld?
    /// Up to which generation it has followed its world.
    private var followed = 0
    /// Its place among those that do.
    private var place = 0
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
        ownServer = DiscoveryServer(form)
    }

    /// From now on it follows a world, whose present state is what it has.
    func join(_ next: SharedWorld) {
        leave()
        world = next
        (place, followed) = (next.add(self), next.state.generation)
    }

    /// Another one has left its world.
    func moved(to place: Int) { self.place = place }

    /// What it may want, as it was when it was looked at last.
    var interest: Interest { ownServer.interest }

    /// It asks for something else.
    func forgetInterest() { world?.forgetInterest(at: place) }

    /// From now on it is alone, with what it has.
    ///
    /// - Parameter generation: one of which it has not been told yet, though others of its world may have been.
    func leave(before generation: Int? = nil) {
        guard let left = world else { return }
        follow(generation.map { left.state(before: $0) } ?? left.state)
        left.remove(at: place)
        world = nil
    }

    /// Comes up to its world's present state, of which it wants nothing that it does not have.
    private func follow() {
        guard let world, world.state.generation != followed else { return }
        follow(world.state)
    }

    /// Comes up to a state of its world, of which it wants nothing that it does not have.
    private func follow(_ state: SharedWorld.State) {
        guard followed != state.generation else { return }
        followed = state.generation
        if ownBase?.parts.isEmpty == false, ownBase?.parts[0] !== state.base {
            ownBase?.parts[0] = state.base
            ownBase?.version = state.version
        }
        ownServer.follow(shared: state.adapted, version: state.version, generation: state.generation)
    }

    /// Tells of a step that its world has made; returns what is to be sent.
    ///
    /// Who wants nothing of it is left as he is: nothing of him is written, and little of him read.
    func publish(_ step: SharedWorld.Step, _ maker: inout ResponseMaker) -> [DiscoveryMessage] {
        guard ownServer.isConcerned(by: step.difference) else { return [] }
        follow(step.from)
        followed = step.to.generation
        ownBase?.parts[0] = step.to.base
        ownBase?.version = step.to.version
        return ownServer.publish(
            shared: step.to.adapted, version: step.to.version, generation: step.to.generation, step.difference, &maker)
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

    /// The same, of one that has asked for something: without looking whether its world has changed.
    var onDemand: Bool { feature ?? false }

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
