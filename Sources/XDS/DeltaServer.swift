public import EnvoyAPI
import Serialization

/// Our side of one delta discovery stream: a subscriber's requests and our snapshots in, responses out.
///
/// Pure: the shell reads requests from the stream, hands them to `received(_:)`, hands every new snapshot to
/// `publish(_:)`, and writes what the two return, in that order.
///
/// - Only what changed is sent: the server knows what the subscriber has, also from `initial_resource_versions`.
/// - One response per type is under way at a time; changes that come meanwhile go together into the next one.
/// - Clusters come before endpoints, endpoints before listeners, listeners before routes, each waiting until the
///   former were acknowledged (or rejected). Clusters and endpoints are removed after listeners and routes have settled.
/// - A rejected version is not sent again; the next different one is.
public struct DeltaServer: Sendable {
    /// How many types one stream may subscribe to.
    ///
    /// There are about twenty in the whole API.
    public static let typesMax = 64
    /// How many names of one type one stream may subscribe to.
    public static let namesMax = 100_000

    /// The subscriber, from its first request.
    public private(set) var node: Node?
    private var snapshot: Snapshot?
    private var generation = 0
    private var lastNonce = 0
    private var types: [String: Subscription] = [:]

    /// A stream on which nothing has happened.
    public init() {}

    /// Takes a request; returns the responses to send now.
    public mutating func received(_ request: DeltaDiscoveryRequest) throws(ProtocolViolation)
        -> [DeltaDiscoveryResponse]
    {
        if let node = request.node {
            guard self.node == nil || self.node?.id == node.id else {
                throw ProtocolViolation("node \(self.node?.id ?? "") became \(node.id)")
            }
            self.node = node
        }
        let typeURL = request.typeUrl
        guard !typeURL.isEmpty else { throw ProtocolViolation("a request without type_url") }
        guard types[typeURL] != nil || types.count < Self.typesMax else {
            throw ProtocolViolation("more than \(Self.typesMax) types")
        }
        var subscription = types.removeValue(forKey: typeURL) ?? Subscription()
        subscription.answer(nonce: request.responseNonce, error: request.errorDetail)
        subscription.change(request)
        guard subscription.names.count <= Self.namesMax else {
            throw ProtocolViolation("more than \(Self.namesMax) names of \(typeURL)")
        }
        types[typeURL] = subscription
        return pump()
    }

    /// Takes what the subscriber is to know from now on; returns the responses to send now.
    public mutating func publish(_ snapshot: Snapshot) -> [DeltaDiscoveryResponse] {
        self.snapshot = snapshot
        generation += 1
        return pump()
    }
}

// What the control plane asks.
extension DeltaServer {
    /// The version of that resource that the subscriber has acknowledged last.
    public func acknowledged(typeURL: String, name: String) -> String? { types[typeURL]?.acknowledged[name] }

    /// Whether the subscriber needs no response: it has acknowledged, rejected, or never asked for everything in the
    /// snapshot.
    public var isSettled: Bool {
        guard let snapshot else { return types.isEmpty }
        return types.allSatisfy { typeURL, subscription in
            subscription.inFlight == nil && !subscription.needsFirst && subscription.changed(snapshot[typeURL]).isEmpty
                && subscription.gone(snapshot[typeURL]).isEmpty
        }
    }

    /// What the subscriber said when it rejected the last response of that type; nil after it accepted one.
    public func rejection(typeURL: String) -> String? { types[typeURL]?.rejection }

    /// The types that the subscriber has asked for.
    public var subscribedTypes: [String] { ResourceOrder.sorted(types.keys) }

    /// Whether the subscriber wants that resource.
    public func isSubscribed(typeURL: String, name: String) -> Bool { types[typeURL]?.wants(name) ?? false }
}

extension DeltaServer {
    /// Makes every response that may be sent now.
    private mutating func pump() -> [DeltaDiscoveryResponse] {
        guard let snapshot else { return [] }
        for typeURL in types.keys { types[typeURL]?.note(snapshot[typeURL], generation) }
        var responses: [DeltaDiscoveryResponse] = []
        for typeURL in ResourceOrder.sorted(types.keys) {
            guard let subscription = types[typeURL], subscription.inFlight == nil else { continue }
            guard !mustWait(typeURL, subscription) else { continue }
            let resources = snapshot[typeURL]
            let changed = subscription.changed(resources)
            var gone = subscription.gone(resources)
            if !mayRemove(typeURL, snapshot) { gone = gone.filter { (subscription.sent[$0] ?? "").isEmpty } }
            guard !changed.isEmpty || !gone.isEmpty || subscription.needsFirst else { continue }
            responses.append(respond(typeURL, changed, gone, snapshot))
        }
        return responses
    }

    /// Whether a type that must be there before this one is still on its way.
    ///
    /// What became different later than this type does not count: else a type that changes all the time would keep the others waiting for ever.
    private func mustWait(_ typeURL: String, _ subscription: Subscription) -> Bool {
        guard let rank = ResourceOrder.rank(typeURL) else { return false }
        let since = subscription.pendingSince ?? generation
        return ResourceOrder.typeURLs[..<rank].contains { earlier in
            guard let earlier = types[earlier] else { return false }
            if let inFlight = earlier.inFlight { return inFlight.generation <= since && inFlight.isMaking }
            return earlier.needsFirst || (earlier.isMakingPending && (earlier.pendingSince ?? .max) <= since)
        }
    }

    /// Whether clusters and endpoints that are gone may be removed: nothing refers to them once listeners and routes
    /// are what they should be.
    private func mayRemove(_ typeURL: String, _ snapshot: Snapshot) -> Bool {
        guard typeURL == Cluster.typeURL || typeURL == ClusterLoadAssignment.typeURL else { return true }
        return [Listener.typeURL, RouteConfiguration.typeURL].allSatisfy { later in
            guard let subscription = types[later] else { return true }
            return subscription.inFlight == nil && subscription.changed(snapshot[later]).isEmpty
                && subscription.gone(snapshot[later]).isEmpty
        }
    }

    private mutating func respond(
        _ typeURL: String, _ changed: [String], _ gone: [String], _ snapshot: Snapshot
    ) -> DeltaDiscoveryResponse {
        lastNonce += 1
        var response = DeltaDiscoveryResponse()
        response.typeUrl = typeURL
        response.systemVersionInfo = snapshot.version
        response.nonce = "\(lastNonce)"
        response.removedResources = gone
        var inFlight = InFlight(nonce: response.nonce, generation: generation, isMaking: !changed.isEmpty)
        for name in changed {
            guard let entry = snapshot[typeURL][name] else { continue }
            var resource = Resource()
            resource.name = name
            resource.version = entry.version
            resource.resource = entry.message
            response.resources.append(resource)
            inFlight.versions[name] = entry.version
        }
        for name in gone { inFlight.versions[name] = "" }
        types[typeURL]?.sending(inFlight)
        return response
    }
}
