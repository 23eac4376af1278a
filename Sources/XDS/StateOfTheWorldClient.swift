public import EnvoyAPI
import Serialization

/// The subscriber's side of state-of-the-world discovery over one stream, over all its reconnections.
///
/// Pure, and used like `DeltaClient`. Each response says everything of its type: of clusters and listeners, what it does
/// not name is gone; of all other types it only says nothing about them.
public struct StateOfTheWorldClient: Sendable {
    private struct TypeState: Sendable {
        var interest: DeltaClient.Interest
        /// What was accepted last.
        var version = ""
        /// The nonce of the last response on this stream.
        var nonce = ""
        /// What we have, to see what is gone.
        var names: Set<String> = []
        var isRequested = false
        var pendingVersion = ""
    }

    private let node: Node
    private var isConnected = false
    private var hasSentNode = false
    private var types: [String: TypeState] = [:]

    /// A subscriber that calls itself `node`.
    public init(node: Node) { self.node = node }

    /// Whether there is a stream.
    public var hasStream: Bool { isConnected }

    /// The version of that type that was accepted last.
    public func version(typeURL: String) -> String { types[typeURL]?.version ?? "" }

    /// Sets which resources of a type are wanted; returns the requests to send.
    public mutating func subscribe(_ typeURL: String, to interest: DeltaClient.Interest) -> [DiscoveryRequest] {
        guard types[typeURL]?.interest != interest else { return [] }
        types[typeURL, default: TypeState(interest: interest)].interest = interest
        if case .names(let names) = interest { types[typeURL]?.names.formIntersection(names) }
        guard isConnected else { return [] }
        return request(typeURL).map { [$0] } ?? []
    }

    /// A stream is open; returns the requests that begin it, in the order clusters, endpoints, listeners, routes.
    public mutating func connected() -> [DiscoveryRequest] {
        isConnected = true
        hasSentNode = false
        for typeURL in types.keys {
            types[typeURL]?.isRequested = false
            types[typeURL]?.nonce = ""
        }
        return ResourceOrder.sorted(types.keys).compactMap { request($0) }
    }

    /// The stream is gone.
    public mutating func disconnected() { isConnected = false }

    /// Takes a response; returns what it says, and the request that refuses it if it is none that we asked for.
    public mutating func received(
        _ response: DiscoveryResponse
    ) -> (update: DeltaClient.Update?, requests: [DiscoveryRequest]) {
        let typeURL = response.typeUrl
        guard let type = types[typeURL], type.isRequested else {
            var request = DiscoveryRequest()
            request.typeUrl = typeURL
            request.responseNonce = response.nonce
            request.errorDetail = Self.status("\(typeURL) was not subscribed to")
            return (nil, [request])
        }
        types[typeURL]?.nonce = response.nonce
        types[typeURL]?.pendingVersion = response.versionInfo
        let update: DeltaClient.Update
        do throws(DiscoveryResourceError) {
            update = try Self.update(response, known: type.names, interest: type.interest)
        } catch {
            return (nil, refusal(typeURL, "\(error)"))
        }
        return (update, [])
    }

    /// What a response says, given what was known before.
    ///
    /// Also for responses that stand in a file.
    public static func update(
        _ response: DiscoveryResponse, known: Set<String>, interest: DeltaClient.Interest
    ) throws(DiscoveryResourceError) -> DeltaClient.Update {
        var seen: Set<String> = []
        var resources: [Resource] = []
        for any in response.resources {
            var resource = try DiscoveredResource.resource(any, typeURL: response.typeUrl)
            if resource.version.isEmpty { resource.version = response.versionInfo }
            guard seen.insert(resource.name).inserted else {
                throw DiscoveryResourceError("\(resource.name) is there twice")
            }
            if case .names(let names) = interest, !names.contains(resource.name) { continue }
            if resource.resource != nil { resources.append(resource) }
        }
        let saysAll = response.typeUrl == Cluster.typeURL || response.typeUrl == Listener.typeURL
        return DeltaClient.Update(
            typeURL: response.typeUrl, resources: resources, removed: saysAll ? known.subtracting(seen).sorted() : [],
            nonce: response.nonce)
    }

    /// The update has been applied; returns the request that says so.
    public mutating func accept(_ update: DeltaClient.Update) -> [DiscoveryRequest] {
        remember(update, applied: update.resources.map(\.name))
        let version = types[update.typeURL]?.pendingVersion ?? ""
        types[update.typeURL]?.version = version
        guard isConnected else { return [] }
        return request(update.typeURL).map { [$0] } ?? []
    }

    /// The update has not been applied, or not whole; returns the request that says so.
    public mutating func reject(
        _ update: DeltaClient.Update, because error: String, applied names: [String] = []
    ) -> [DiscoveryRequest] {
        remember(update, applied: names)
        return refusal(update.typeURL, error)
    }

    private mutating func remember(_ update: DeltaClient.Update, applied names: [String]) {
        types[update.typeURL]?.names.formUnion(names)
        types[update.typeURL]?.names.subtract(update.removed)
    }

    private mutating func refusal(_ typeURL: String, _ problem: String) -> [DiscoveryRequest] {
        guard isConnected, var request = request(typeURL) else { return [] }
        request.errorDetail = Self.status(problem)
        return [request]
    }

    private static func status(_ problem: String) -> Status {
        var status = Status()
        status.code = 3  // INVALID_ARGUMENT
        status.message = problem
        return status
    }

    /// The present request of that type; none while no names have been wanted (it would ask for everything).
    private mutating func request(_ typeURL: String) -> DiscoveryRequest? {
        guard let type = types[typeURL] else { return nil }
        var request = DiscoveryRequest()
        request.typeUrl = typeURL
        switch type.interest {
        case .all: break
        case .names(let names):
            guard !names.isEmpty || type.isRequested else { return nil }
            request.resourceNames = names.sorted()
        case .allAnd: request.resourceNames = type.interest.subscribed.sorted()
        }
        request.versionInfo = type.version
        request.responseNonce = type.nonce
        types[typeURL]?.isRequested = true
        if !hasSentNode {
            request.node = node
            hasSentNode = true
        }
        return request
    }
}

/// A resource in a response that cannot be told by its name.
public struct DiscoveryResourceError: Error, Sendable, CustomStringConvertible {
    /// What is wrong.
    public let description: String

    init(_ description: String) { self.description = description }
}

/// Names of resources that stand in responses without them.
enum DiscoveredResource {
    /// The resource with its name; what is wrapped in a `Resource` already has one.
    static func resource(_ any: AnyMessage, typeURL: String) throws(DiscoveryResourceError) -> Resource {
        var resource = Resource()
        do throws(MessageError) {
            if any.holds(Resource.self) {
                resource = try any.unpack(as: Resource.self)
            } else {
                resource.resource = any
                if any.typeURL == typeURL { resource.name = try name(any) }
            }
        } catch {
            throw DiscoveryResourceError("a \(any.typeURL) cannot be read: \(error)")
        }
        if let inner = resource.resource, inner.typeURL != typeURL {
            throw DiscoveryResourceError("\(resource.name) is a \(inner.typeURL), not a \(typeURL)")
        }
        return resource
    }

    private static func name(_ any: AnyMessage) throws(MessageError) -> String {
        switch any.name {
        case Cluster.schema.name: try any.unpack(as: Cluster.self).name
        case ClusterLoadAssignment.schema.name: try any.unpack(as: ClusterLoadAssignment.self).clusterName
        case Listener.schema.name: try any.unpack(as: Listener.self).name
        case RouteConfiguration.schema.name: try any.unpack(as: RouteConfiguration.self).name
        case ScopedRouteConfiguration.schema.name: try any.unpack(as: ScopedRouteConfiguration.self).name
        case VirtualHost.schema.name: try any.unpack(as: VirtualHost.self).name
        case Secret.schema.name: try any.unpack(as: Secret.self).name
        case RuntimeResource.schema.name: try any.unpack(as: RuntimeResource.self).name
        case TypedExtensionConfig.schema.name: try any.unpack(as: TypedExtensionConfig.self).name
        default: throw MessageError("a type that is not discovered: \(any.typeURL)")
        }
    }
}
