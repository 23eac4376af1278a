import KubernetesAPI
import Serialization

/// The Gateway API at one moment: which listener serves which route, and why others are not served.
///
/// Made once per model, pure. Translation and status read the same value, so that a status never tells something else
/// than what the proxy was given (I-16).
struct GatewayAPIModel: Sendable {
    /// A Gateway of a class that is ours.
    struct Gateway: Sendable {
        var key: NamespacedName
        var gateway: GatewayAPI.Gateway
        /// Positions in `listeners`: its own, then those of its ListenerSets.
        var listeners: [Int] = []
        /// Why the whole Gateway is not served.
        var refusal: Finding?
        /// Whether its address is that of the pod's own Service, which it names in `spec.addresses`.
        var usesSharedAddress = false
        /// The Secret with its certificate for backends.
        var backendCertificate: NamespacedName?
        /// Why its certificate for backends cannot be used.
        var backendCertificateProblem: Finding?
    }

    /// A listener of a Gateway or ListenerSet.
    struct Listener: Sendable {
        /// The object that has it.
        var owner: Owner
        /// The Gateway that serves it.
        var gateway: NamespacedName
        /// Its position in its object.
        var index: Int
        var listener: GatewayAPI.Listener
        /// What is spoken; `nil` when the protocol is unknown.
        var wire: Wire?
        /// The kinds of routes that may attach.
        var kinds: [RouteKind] = []
        /// The certificates that can be used.
        var certificates: [NamespacedName] = []
        /// How certificates of clients are checked.
        var clientTrust: ClientTrust?
        /// I-9: another listener claims the same.
        var conflict: Finding?
        /// Why it is not accepted.
        var refusal: Finding?
        /// Why it is served at its Gateway's own address only: an older Gateway has the pod's port.
        var sharedConflict: Finding?
        /// Which of its references lead nowhere.
        var unresolved: [Finding] = []
        /// How many routes have attached.
        var attachedRoutes = 0

        /// Whether the proxy serves it.
        var isServed: Bool {
            guard conflict == nil, refusal == nil, let wire else { return false }
            return wire.needsCertificate ? !certificates.isEmpty : true
        }
        /// Whether it is served at the pod's own port as well, together with everybody else's.
        var isShared: Bool { isServed && sharedConflict == nil }
        /// The host; `*` for all.
        var host: String { listener.hostname.isEmpty ? "*" : listener.hostname }
        var place: Provenance {
            Provenance(kind: owner.kind, object: owner.key, field: "spec.listeners[\(index)]")
        }
    }

    /// What has listeners.
    enum Owner: Sendable, Hashable {
        case gateway(NamespacedName)
        case listenerSet(NamespacedName)

        var key: NamespacedName {
            switch self {
            case .gateway(let key), .listenerSet(let key): key
            }
        }
        var kind: String {
            switch self {
            case .gateway: "Gateway"
            case .listenerSet: "ListenerSet"
            }
        }
    }

    /// What is spoken at a listener (I-17).
    enum Wire: Sendable, Hashable {
        case http, https, tlsTerminate, tlsPassthrough, tcp, udp

        var needsCertificate: Bool { self == .https || self == .tlsTerminate }
        /// Whether connections are told apart by the name in their first message.
        var isTLS: Bool { self == .https || self == .tlsTerminate || self == .tlsPassthrough }
        /// The kinds of routes that fit.
        var kinds: [RouteKind] {
            switch self {
            case .http, .https: [.http, .grpc]
            case .tlsTerminate, .tlsPassthrough: [.tls]
            case .tcp: [.tcp]
            case .udp: [.udp]
            }
        }
    }

    /// How certificates of clients are checked.
    struct ClientTrust: Sendable, Hashable {
        /// Names of validation secrets; the first that can be used counts.
        var authority: String
        /// Whether a client must show a certificate.
        var isRequired: Bool
        /// Whether one that nobody vouches for is let in.
        var allowsUntrusted: Bool
    }

    /// A kind of route.
    enum RouteKind: String, Sendable, Hashable, CaseIterable {
        case http = "HTTPRoute"
        case grpc = "GRPCRoute"
        case tls = "TLSRoute"
        case tcp = "TCPRoute"
        case udp = "UDPRoute"

        var kind: MeshObjects.Kind {
            switch self {
            case .http: .httpRoute
            case .grpc: .grpcRoute
            case .tls: .tlsRoute
            case .tcp: .tcpRoute
            case .udp: .udpRoute
            }
        }
        var hasHostnames: Bool { self == .http || self == .grpc || self == .tls }
    }

    /// A route with what became of it.
    struct Route: Sendable {
        var kind: RouteKind
        var key: NamespacedName
        var route: GatewayAPI.Route
        var parents: [Parent] = []
        /// Why none of it can be served.
        var refusal: Finding?
        /// Which of its references lead nowhere.
        var unresolved: [Finding] = []
        var created = ""
    }

    /// A parent of a route that is ours to answer for.
    struct Parent: Sendable {
        var reference: GatewayAPI.Reference
        /// Whether the route has attached, and why not.
        var accepted: Finding?
    }

    /// A route at a listener.
    struct Attachment: Sendable {
        /// Position in `routes`; the older route has the lower one.
        var route: Int
        /// The hosts that both want (I-11); `*` for all.
        var hosts: [String]
    }

    /// Something that is wrong, in the words of the API.
    struct Finding: Sendable, Hashable {
        var reason: String
        var message: String
    }

    /// The classes that name our controller.
    private(set) var classes: Set<String> = []
    var gateways: [Gateway] = []
    var listeners: [Listener] = []
    var routes: [Route] = []
    /// The routes at each listener, by its position, oldest first.
    var attachments: [Int: [Attachment]] = [:]
    /// The routes of services (I-15), oldest first: positions in `routes` with the port that is meant, if one is.
    var meshRoutes: [NamespacedName: [(route: Int, port: Int?)]] = [:]
    /// The ports to which GRPCRoutes of gateways lead, by the full host name of their service.
    var callPorts: [String: Set<Int>] = [:]
    /// ListenerSets that no Gateway lets in, with the reason.
    var refusedSets: [NamespacedName: Finding] = [:]
    /// Where the ports of the Gateways' own addresses end.
    var doors = GatewayDoors()
    let grants: ReferenceGrants
    /// How gateways speak TLS to services.
    let backendTLS: BackendTLS

    /// The kinds that it is made of.
    static let kinds: Set<MeshObjects.Kind> = [
        .gatewayClass, .gatewayAPIGateway, .httpRoute, .grpcRoute, .tlsRoute, .tcpRoute, .udpRoute, .referenceGrant,
        .backendTLSPolicy, .listenerSet, .namespace, .secret, .configMap, .service, .serviceEntry, .gateway,
    ]

    /// Without any object.
    static let nothing = GatewayAPIModel(MeshObjects(), services: ServiceLookup { _ in nil })

    /// Reads the objects; `services` are those of the model that is being made.
    init(_ objects: MeshObjects, services: ServiceLookup) {
        grants = ReferenceGrants(objects)
        backendTLS = BackendTLS(objects, services: services)
        for object in objects.inOrder(.gatewayClass)
        where GatewayAPI.GatewayClass(json: object.json).controllerName == Mesh.gatewayController {
            classes.insert(object.name)
        }
        ListenerResolution(objects: objects, grants: grants).resolve(&self)
        RouteAttachment(objects: objects, grants: grants, services: services).attach(&self)
    }

    /// Whether the first of two routes is the older one; then its name decides (I-4).
    func isOlder(_ left: Int, _ right: Int) -> Bool {
        let (one, other) = (routes[left], routes[right])
        return (one.created, one.key.namespace, one.key.name, left)
            < (other.created, other.key.namespace, other.key.name, right)
    }

    /// The certificate that the gateway shows to services: that of the oldest Gateway with one, since all share the pod.
    var backendCertificate: NamespacedName? { gateways.lazy.compactMap(\.backendCertificate).first }

    /// The served listeners on a port, in their order.
    func served(port: Int) -> [(position: Int, listener: Listener)] {
        listeners.indices.compactMap { index in
            listeners[index].isServed && listeners[index].listener.port == port ? (index, listeners[index]) : nil
        }
    }

    /// The hosts for which routes of a listener count: those that no more specific listener of its Gateway takes (I-10).
    func hosts(of attachment: Attachment, at position: Int) -> [String] {
        let own = listeners[position]
        let rivals = served(port: own.listener.port).filter {
            $0.listener.gateway == own.gateway && $0.position != position && $0.listener.host != own.host
                && $0.listener.wire.map { $0.isTLS } == own.wire.map { $0.isTLS }
                && HostName.covers(own.host, $0.listener.host)
        }
        return attachment.hosts.filter { host in
            !rivals.contains { HostName.covers($0.listener.host, host) }
        }
    }
}

/// What routes need to know about services.
struct ServiceLookup: Sendable {
    /// The service of a full host name, through external names.
    var service: @Sendable (String) -> MeshService?
}

/// ReferenceGrants: who may refer to what across namespaces (I-13); entries are alternatives.
struct ReferenceGrants: Sendable {
    private var grants: [String: [GatewayAPI.ReferenceGrant]] = [:]

    init(_ objects: MeshObjects) {
        for object in objects.inOrder(.referenceGrant) {
            grants[object.namespace, default: []].append(GatewayAPI.ReferenceGrant(json: object.json))
        }
    }

    /// Whether an object of `kind` in `namespace` may refer to `target`; always in its own namespace.
    func allow(
        _ kind: String, in namespace: String, toGroup: String, kind toKind: String, _ target: NamespacedName
    ) -> Bool {
        if namespace == target.namespace { return true }
        return (grants[target.namespace] ?? []).contains { grant in
            grant.from.contains {
                $0.group == GatewayAPI.group && $0.kind == kind && $0.namespace == namespace
            }
                && grant.to.contains {
                    ($0.group ?? "") == toGroup && $0.kind == toKind && ($0.name.isEmpty || $0.name == target.name)
                }
        }
    }
}
