public import EnvoyAPI
import Serialization

/// Our side of one state-of-the-world discovery stream, for subscribers that do not speak delta.
///
/// Pure, and fed like `DeltaServer`. Each response says everything of its type that the subscriber asked for. The same
/// order holds: clusters, endpoints, listeners, routes, each after the former was answered; a cluster that is gone is
/// still in the list until listeners and routes have settled.
public struct StateOfTheWorldServer: Sendable {
    private struct TypeState: Sendable {
        var isWildcard = false
        var hasNames = false
        var names: Set<String> = []
        /// What the last response said.
        var sent: [String: SnapshotResource] = [:]
        var acknowledged: [String: String] = [:]
        var lastNonce = ""
        var isInFlight = false
        var inFlightGeneration = 0
        var rejection: String?
        /// Whether a response must come even if it says nothing new: the first one, and for new names.
        var needsResponse = true
        var pendingSince: Int?

        func wanted(_ resources: [String: SnapshotResource]) -> [String: SnapshotResource] {
            isWildcard ? resources : resources.filter { names.contains($0.key) }
        }
    }

    /// The subscriber, from its first request.
    public private(set) var node: Node?
    private var snapshot: Snapshot?
    private var generation = 0
    private var nonces = 0
    private var types: [String: TypeState] = [:]

    /// A stream on which nothing has happened.
    public init() {}

    /// Takes a request; returns the responses to send now.
    public mutating func received(_ request: DiscoveryRequest) throws(ProtocolViolation) -> [DiscoveryResponse] {
        if let node = request.node {
            guard self.node == nil || self.node?.id == node.id else {
                throw ProtocolViolation("node \(self.node?.id ?? "") became \(node.id)")
            }
            self.node = node
        }
        guard !request.typeUrl.isEmpty else { throw ProtocolViolation("a request without type_url") }
        guard types[request.typeUrl] != nil || types.count < DeltaServer.typesMax else {
            throw ProtocolViolation("more than \(DeltaServer.typesMax) types")
        }
        guard request.resourceNames.count <= DeltaServer.namesMax else {
            throw ProtocolViolation("more than \(DeltaServer.namesMax) names of \(request.typeUrl)")
        }
        var type = types[request.typeUrl] ?? TypeState()
        // A request that was sent before the last response arrived says nothing new: the answer to that one will.
        guard request.responseNonce == type.lastNonce || request.responseNonce.isEmpty else { return [] }
        if type.isInFlight && !request.responseNonce.isEmpty { answer(request, &type) }
        subscribe(request, &type)
        types[request.typeUrl] = type
        return pump()
    }

    /// Takes what the subscriber is to know from now on; returns the responses to send now.
    public mutating func publish(_ snapshot: Snapshot) -> [DiscoveryResponse] {
        self.snapshot = snapshot
        generation += 1
        return pump()
    }

    /// The version of that resource that the subscriber has acknowledged last.
    public func acknowledged(typeURL: String, name: String) -> String? { types[typeURL]?.acknowledged[name] }

    /// What the subscriber said when it rejected the last response of that type; nil after it accepted one.
    public func rejection(typeURL: String) -> String? { types[typeURL]?.rejection }
}

extension StateOfTheWorldServer {
    private func answer(_ request: DiscoveryRequest, _ type: inout TypeState) {
        type.isInFlight = false
        if let error = request.errorDetail {
            type.rejection = error.message.isEmpty ? "code \(error.code)" : error.message
        } else {
            type.rejection = nil
            type.acknowledged = type.sent.mapValues(\.version)
        }
    }

    private func subscribe(_ request: DiscoveryRequest, _ type: inout TypeState) {
        let names = Set(request.resourceNames.filter { $0 != "*" })
        if !request.resourceNames.isEmpty { type.hasNames = true }
        // No names mean all clusters or listeners, for those who have never named any.
        let isWholeType = request.typeUrl == Cluster.typeURL || request.typeUrl == Listener.typeURL
        let isWildcard = request.resourceNames.contains("*") || (isWholeType && !type.hasNames)
        if !names.isSubset(of: type.names) || (isWildcard && !type.isWildcard) { type.needsResponse = true }
        type.names = names
        type.isWildcard = isWildcard
        if !isWildcard && names.isEmpty { type.needsResponse = false }
    }

    private mutating func pump() -> [DiscoveryResponse] {
        guard let snapshot else { return [] }
        for typeURL in types.keys {
            let isPending = hasNews(typeURL, snapshot)
            if !isPending { types[typeURL]?.pendingSince = nil }
            if isPending, types[typeURL]?.pendingSince == nil { types[typeURL]?.pendingSince = generation }
        }
        var responses: [DiscoveryResponse] = []
        for typeURL in ResourceOrder.sorted(types.keys) {
            guard let type = types[typeURL], !type.isInFlight, !mustWait(typeURL, type) else { continue }
            var resources = type.wanted(snapshot[typeURL])
            if typeURL == Cluster.typeURL, !isSettled(snapshot) {
                resources.merge(type.wanted(type.sent)) { new, _ in new }
            }
            guard type.needsResponse || resources != type.sent else { continue }
            responses.append(respond(typeURL, resources))
        }
        return responses
    }

    private func hasNews(_ typeURL: String, _ snapshot: Snapshot) -> Bool {
        guard let type = types[typeURL] else { return false }
        let wanted = type.wanted(snapshot[typeURL])
        // A removal alone keeps nobody waiting.
        return type.needsResponse || wanted.contains { type.sent[$0.key] != $0.value }
    }

    private func mustWait(_ typeURL: String, _ type: TypeState) -> Bool {
        guard let rank = ResourceOrder.rank(typeURL) else { return false }
        let since = type.pendingSince ?? generation
        return ResourceOrder.typeURLs[..<rank].contains { earlier in
            guard let earlier = types[earlier] else { return false }
            if earlier.isInFlight { return earlier.inFlightGeneration <= since }
            return (earlier.pendingSince ?? .max) <= since
        }
    }

    /// Whether listeners and routes are what they should be.
    private func isSettled(_ snapshot: Snapshot) -> Bool {
        [Listener.typeURL, RouteConfiguration.typeURL].allSatisfy { typeURL in
            guard let type = types[typeURL] else { return true }
            return !type.isInFlight && !type.needsResponse && type.wanted(snapshot[typeURL]) == type.sent
        }
    }

    private mutating func respond(_ typeURL: String, _ resources: [String: SnapshotResource]) -> DiscoveryResponse {
        nonces += 1
        var response = DiscoveryResponse()
        response.typeUrl = typeURL
        response.nonce = "\(nonces)"
        response.versionInfo = "\(nonces)"
        let sorted = resources.sorted { $0.key < $1.key }
        response.resources = sorted.map(\.value.message)
        types[typeURL]?.sent = resources
        types[typeURL]?.lastNonce = response.nonce
        types[typeURL]?.isInFlight = true
        types[typeURL]?.inFlightGeneration = generation
        types[typeURL]?.needsResponse = false
        types[typeURL]?.pendingSince = nil
        return response
    }
}
