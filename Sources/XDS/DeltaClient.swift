public import EnvoyAPI
import Serialization

/// The subscriber's side of delta discovery over one aggregated stream (ADS), over all its reconnections.
///
/// Pure: the shell opens streams, writes the requests that come out, and hands in responses. What a response says is
/// handed back as an `Update`, which the owner applies and then answers with `accept` or `reject`. Subscriptions that
/// follow from an update (the endpoints of a new cluster) are to be made before it is accepted: then the server can
/// see that it must send those before it goes on to routes.
public struct DeltaClient: Sendable {
    /// Which resources of a type are wanted.
    public enum Interest: Hashable, Sendable {
        /// All there are for this node.
        case all
        /// Those with these names.
        case names(Set<String>)
        /// All there are for this node, and those with these names, which the server may keep from those who do not name them.
        case allAnd(Set<String>)

        /// Both.
        public func union(_ other: Interest) -> Interest {
            let names = explicit.union(other.explicit)
            guard isWildcard || other.isWildcard else { return .names(names) }
            return names.isEmpty ? .all : .allAnd(names)
        }

        /// Whether everything is wanted that the server has for this node.
        var isWildcard: Bool {
            if case .names = self { false } else { true }
        }

        /// What is wanted by name.
        var explicit: Set<String> {
            switch self {
            case .all: []
            case .names(let names), .allAnd(let names): names
            }
        }

        /// As requests say it.
        var subscribed: Set<String> { isWildcard ? explicit.union(["*"]) : explicit }
    }

    /// What a response says.
    public struct Update: Hashable, Sendable {
        /// The type of all resources in it.
        public var typeURL: String
        /// New and changed resources, each with name and version.
        public var resources: [Resource]
        /// The names of those that are gone, or of wanted ones that do not exist.
        public var removed: [String]
        /// What the answer refers to.
        public var nonce: String
    }

    private struct TypeState: Sendable {
        var interest: Interest
        /// What we have accepted, with its version: a new stream begins with this.
        var versions: [String: String] = [:]
        var isRequested = false
    }

    private let node: Node
    private var isConnected = false
    private var hasSentNode = false
    private var types: [String: TypeState] = [:]

    /// A subscriber that calls itself `node`.
    public init(node: Node) { self.node = node }

    /// Whether there is a stream.
    public var hasStream: Bool { isConnected }

    /// The versions of the accepted resources of that type, by name.
    public func versions(typeURL: String) -> [String: String] { types[typeURL]?.versions ?? [:] }

    /// Sets which resources of a type are wanted; returns the requests to send.
    public mutating func subscribe(_ typeURL: String, to interest: Interest) -> [DeltaDiscoveryRequest] {
        let old = types[typeURL]?.interest
        guard old != interest else { return [] }
        types[typeURL, default: TypeState(interest: interest)].interest = interest
        if let versions = types[typeURL]?.versions {
            // What is no longer named is not ours any more: of what the wildcard brings all the same, the server tells again.
            let gone = (old?.explicit ?? []).subtracting(interest.explicit)
            types[typeURL]?.versions = versions.filter {
                interest.isWildcard ? !gone.contains($0.key) : interest.explicit.contains($0.key)
            }
        }
        guard isConnected else { return [] }
        guard types[typeURL]?.isRequested == true else { return first(typeURL).map { [$0] } ?? [] }
        guard let old else { return [] }
        var request = request(typeURL)
        request.resourceNamesSubscribe = interest.subscribed.subtracting(old.subscribed).sorted()
        request.resourceNamesUnsubscribe = old.subscribed.subtracting(interest.subscribed).sorted()
        return [request]
    }

    /// A stream is open; returns the requests that begin it, in the order clusters, endpoints, listeners, routes.
    public mutating func connected() -> [DeltaDiscoveryRequest] {
        isConnected = true
        hasSentNode = false
        for typeURL in types.keys { types[typeURL]?.isRequested = false }
        return ResourceOrder.sorted(types.keys).compactMap { first($0) }
    }

    /// The stream is gone.
    ///
    /// What was accepted stays, and the next stream begins with it.
    public mutating func disconnected() { isConnected = false }

    /// Takes a response; returns what it says, and the request that refuses it if it is none that we asked for.
    public mutating func received(
        _ response: DeltaDiscoveryResponse
    ) -> (update: Update?, requests: [DeltaDiscoveryRequest]) {
        guard let type = types[response.typeUrl], type.isRequested else {
            return (nil, [refusal(response.typeUrl, response.nonce, "\(response.typeUrl) was not subscribed to")])
        }
        var seen: Set<String> = []
        for resource in response.resources {
            if !seen.insert(resource.name).inserted {
                return (nil, [refusal(response.typeUrl, response.nonce, "\(resource.name) is there twice")])
            }
            if let message = resource.resource, message.typeURL != response.typeUrl {
                let problem = "\(resource.name) is a \(message.typeURL), not a \(response.typeUrl)"
                return (nil, [refusal(response.typeUrl, response.nonce, problem)])
            }
        }
        func isWanted(_ name: String) -> Bool {
            // Virtual hosts go by any of their domains; whose they are says the part before the slash.
            guard case .names(let names) = type.interest, response.typeUrl != VirtualHost.typeURL else { return true }
            return names.contains(name)
        }
        // A resource without body only prolongs the life of the one we have.
        let resources = response.resources.filter { $0.resource != nil && isWanted($0.name) }
        let removed = response.removedResources.filter(isWanted)
        return (
            Update(typeURL: response.typeUrl, resources: resources, removed: removed, nonce: response.nonce), []
        )
    }

    /// The update has been applied; returns the request that says so.
    public mutating func accept(_ update: Update) -> [DeltaDiscoveryRequest] {
        remember(update, applied: update.resources.map(\.name))
        guard isConnected else { return [] }
        var request = request(update.typeURL)
        request.responseNonce = update.nonce
        return [request]
    }

    /// The update has not been applied; returns the request that says so.
    ///
    /// `error` should carry the path of the field. What was applied of it all the same is named in `applied` (then
    /// the removals count as applied, too).
    public mutating func reject(
        _ update: Update, because error: String, applied names: [String] = []
    ) -> [DeltaDiscoveryRequest] {
        var applied = update
        if names.isEmpty { applied.removed = [] }
        remember(applied, applied: names)
        guard isConnected else { return [] }
        return [refusal(update.typeURL, update.nonce, error)]
    }
}

extension DeltaClient {
    private mutating func remember(_ update: Update, applied names: [String]) {
        for resource in update.resources where names.contains(resource.name) {
            types[update.typeURL]?.versions[resource.name] = resource.version
        }
        for name in update.removed { types[update.typeURL]?.versions[name] = nil }
    }

    /// The first request of that type on this stream; none while no names are wanted (it would ask for everything).
    private mutating func first(_ typeURL: String) -> DeltaDiscoveryRequest? {
        guard let type = types[typeURL] else { return nil }
        var names: [String] = []
        switch type.interest {
        case .all: break  // No names at all ask for everything, also where a server does not know the asterisk.
        case .names(let wanted):
            guard !wanted.isEmpty else { return nil }
            names = wanted.sorted()
        case .allAnd: names = type.interest.subscribed.sorted()
        }
        types[typeURL]?.isRequested = true
        var request = request(typeURL)
        request.resourceNamesSubscribe = names
        request.initialResourceVersions = type.versions
        return request
    }

    private mutating func refusal(_ typeURL: String, _ nonce: String, _ problem: String) -> DeltaDiscoveryRequest {
        var request = request(typeURL)
        request.responseNonce = nonce
        var status = Status()
        status.code = 3  // INVALID_ARGUMENT
        status.message = problem
        request.errorDetail = status
        return request
    }

    private mutating func request(_ typeURL: String) -> DeltaDiscoveryRequest {
        var request = DeltaDiscoveryRequest()
        request.typeUrl = typeURL
        if !hasSentNode {
            request.node = node
            hasSentNode = true
        }
        return request
    }
}
