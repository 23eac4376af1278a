public import EnvoyAPI
public import Serialization

/// A subscriber of either kind of discovery, whose requests and responses are bytes on a stream.
public enum DiscoveryClient: Sendable {
    /// Only what changed is told.
    case delta(DeltaClient)
    /// Each response tells everything of its type.
    case stateOfTheWorld(StateOfTheWorldClient)

    /// A subscriber that calls itself `node`.
    public init(node: Node, isDelta: Bool) {
        self = isDelta ? .delta(DeltaClient(node: node)) : .stateOfTheWorld(StateOfTheWorldClient(node: node))
    }

    /// Sets which resources of a type are wanted; returns the requests to send.
    public mutating func subscribe(_ typeURL: String, to interest: DeltaClient.Interest) -> [[UInt8]] {
        switch self {
        case .delta(var client):
            defer { self = .delta(client) }
            return client.subscribe(typeURL, to: interest).map { $0.serialized() }
        case .stateOfTheWorld(var client):
            defer { self = .stateOfTheWorld(client) }
            return client.subscribe(typeURL, to: interest).map { $0.serialized() }
        }
    }

    /// A stream is open; returns the requests that begin it.
    public mutating func connected() -> [[UInt8]] {
        switch self {
        case .delta(var client):
            defer { self = .delta(client) }
            return client.connected().map { $0.serialized() }
        case .stateOfTheWorld(var client):
            defer { self = .stateOfTheWorld(client) }
            return client.connected().map { $0.serialized() }
        }
    }

    /// The stream is gone; what was accepted stays.
    public mutating func disconnected() {
        switch self {
        case .delta(var client):
            client.disconnected()
            self = .delta(client)
        case .stateOfTheWorld(var client):
            client.disconnected()
            self = .stateOfTheWorld(client)
        }
    }

    /// Takes a response; returns what it says, and requests to send at once.
    public mutating func received(
        _ bytes: [UInt8]
    ) throws(MessageError) -> (update: DeltaClient.Update?, requests: [[UInt8]]) {
        switch self {
        case .delta(var client):
            let (update, requests) = client.received(try DeltaDiscoveryResponse(serialized: bytes))
            self = .delta(client)
            return (update, requests.map { $0.serialized() })
        case .stateOfTheWorld(var client):
            let (update, requests) = client.received(try DiscoveryResponse(serialized: bytes))
            self = .stateOfTheWorld(client)
            return (update, requests.map { $0.serialized() })
        }
    }

    /// The update has been applied; returns the requests that say so.
    public mutating func accept(_ update: DeltaClient.Update) -> [[UInt8]] {
        switch self {
        case .delta(var client):
            defer { self = .delta(client) }
            return client.accept(update).map { $0.serialized() }
        case .stateOfTheWorld(var client):
            defer { self = .stateOfTheWorld(client) }
            return client.accept(update).map { $0.serialized() }
        }
    }

    /// The update has not been applied, or only the resources in `applied`; returns the requests that say so.
    public mutating func reject(
        _ update: DeltaClient.Update, because error: String, applied names: [String]
    ) -> [[UInt8]] {
        switch self {
        case .delta(var client):
            defer { self = .delta(client) }
            return client.reject(update, because: error, applied: names).map { $0.serialized() }
        case .stateOfTheWorld(var client):
            defer { self = .stateOfTheWorld(client) }
            return client.reject(update, because: error, applied: names).map { $0.serialized() }
        }
    }
}

/// The gRPC methods of discovery.
public enum DiscoveryMethod {
    /// The path of the aggregated service.
    public static func aggregated(isDelta: Bool) -> String {
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
            + (isDelta ? "DeltaAggregatedResources" : "StreamAggregatedResources")
    }

    /// The path of the service of one type; nil when it has none (of that kind).
    public static func single(_ typeURL: String, isDelta: Bool) -> String? {
        let kind = isDelta ? "Delta" : "Stream"
        switch typeURL {
        case Cluster.typeURL: return "/envoy.service.cluster.v3.ClusterDiscoveryService/\(kind)Clusters"
        case ClusterLoadAssignment.typeURL:
            return "/envoy.service.endpoint.v3.EndpointDiscoveryService/\(kind)Endpoints"
        case Listener.typeURL: return "/envoy.service.listener.v3.ListenerDiscoveryService/\(kind)Listeners"
        case RouteConfiguration.typeURL: return "/envoy.service.route.v3.RouteDiscoveryService/\(kind)Routes"
        case ScopedRouteConfiguration.typeURL:
            return "/envoy.service.route.v3.ScopedRoutesDiscoveryService/\(kind)ScopedRoutes"
        case VirtualHost.typeURL:
            return isDelta ? "/envoy.service.route.v3.VirtualHostDiscoveryService/DeltaVirtualHosts" : nil
        case Secret.typeURL: return "/envoy.service.secret.v3.SecretDiscoveryService/\(kind)Secrets"
        case RuntimeResource.typeURL: return "/envoy.service.runtime.v3.RuntimeDiscoveryService/\(kind)Runtime"
        case TypedExtensionConfig.typeURL:
            return "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/\(kind)ExtensionConfigs"
        default: return nil
        }
    }
}
