public import EnvoyAPI
import Serialization

/// Our side of one discovery stream, of either protocol: a subscriber's requests and our snapshots in, responses out.
///
/// Pure: the shell reads requests from the stream, hands them to `received`, hands every new snapshot to
/// `publish`, and writes what the two return, in that order.
///
/// - Only what changed is looked at: a snapshot that is like the last one costs nothing, however large it is.
/// - One response per type is under way at a time; changes that come meanwhile go together into the next one.
/// - Clusters come before endpoints, endpoints before listeners, listeners before routes (P-7), each but the endpoints
///   waiting until the former were acknowledged (or rejected). Clusters and endpoints are removed after listeners and routes have settled.
/// - A rejected resource is not sent again until it changes, and keeps nobody else waiting (ATK-36).
public struct DiscoveryServer: Sendable {
    /// How many types one stream may subscribe to.
    ///
    /// There are about twenty in the whole API.
    public static let typesMax = 64
    /// How many names of one type one stream may subscribe to.
    public static let namesMax = 100_000
    /// The longest name that may be subscribed to.
    public static let nameBytesMax = 4096

    /// The protocol that is spoken.
    public let form: ResponseMaker.Form
    /// The subscriber, from its first request.
    public private(set) var node: Node?
    /// What the subscriber is to know.
    public private(set) var snapshot: Snapshot?
    /// Which snapshot that is.
    public private(set) var generation = 0
    /// How many answers referred to a response that is not under way (any more).
    public private(set) var staleAnswers = 0
    private var types: [String: TypeSubscription] = [:]

    /// A stream on which nothing has happened.
    public init(_ form: ResponseMaker.Form) { self.form = form }

    /// Takes a request of the delta protocol; returns the responses to send now.
    public mutating func received(
        _ request: DeltaDiscoveryRequest, _ maker: inout ResponseMaker
    ) throws(ProtocolViolation) -> [DiscoveryMessage] {
        guard request.resourceLocatorsSubscribe.isEmpty, request.resourceLocatorsUnsubscribe.isEmpty else {
            throw ProtocolViolation("resource_locators_subscribe: names of the form xdstp:// are not supported")
        }
        try introduce(request.node)
        try check(request.typeUrl, request.resourceNamesSubscribe, initial: request.initialResourceVersions.count)
        let typeURL = request.typeUrl
        answer(request.responseNonce, request.errorDetail, typeURL)
        types[typeURL, default: TypeSubscription()].change(request, snapshot, generation)
        try checkCount(typeURL)
        return pump(&maker)
    }

    /// Takes a request of the state-of-the-world protocol; returns the responses to send now.
    public mutating func received(
        _ request: DiscoveryRequest, _ maker: inout ResponseMaker
    ) throws(ProtocolViolation) -> [DiscoveryMessage] {
        guard request.resourceLocators.isEmpty else {
            throw ProtocolViolation("resource_locators: names of the form xdstp:// are not supported")
        }
        try introduce(request.node)
        try check(request.typeUrl, request.resourceNames, initial: 0)
        let typeURL = request.typeUrl
        let nonce = request.responseNonce
        // A request that was sent before the last response arrived says nothing new: the answer to that one will.
        if let known = types[typeURL], !nonce.isEmpty, nonce != known.lastNonce, !known.lastNonce.isEmpty {
            staleAnswers += 1
            return []
        }
        answer(nonce, request.errorDetail, typeURL)
        types[typeURL, default: TypeSubscription()].change(request, snapshot, generation)
        try checkCount(typeURL)
        return pump(&maker)
    }

    /// Takes what the subscriber is to know from now on; returns the responses to send now.
    public mutating func publish(
        _ next: Snapshot, generation: Int? = nil, _ changes: inout SnapshotChanges, _ maker: inout ResponseMaker
    ) -> [DiscoveryMessage] {
        let old = snapshot
        snapshot = next
        self.generation = generation ?? (self.generation + 1)
        for typeURL in types.keys {
            let names = changes.names(typeURL, from: old, to: next)
            types[typeURL]?.publish(names, from: old, to: next, typeURL, self.generation)
        }
        return pump(&maker)
    }

    private mutating func introduce(_ node: Node?) throws(ProtocolViolation) {
        guard let node else { return }
        guard self.node == nil || self.node?.id == node.id else {
            throw ProtocolViolation("node \(self.node?.id ?? "") became \(node.id)")
        }
        if self.node == nil { self.node = node }
    }

    private func check(_ typeURL: String, _ names: [String], initial: Int) throws(ProtocolViolation) {
        guard !typeURL.isEmpty else { throw ProtocolViolation("a request without type_url") }
        guard types[typeURL] != nil || (types.count < Self.typesMax && typeURL.utf8.count <= Self.nameBytesMax) else {
            throw ProtocolViolation("more than \(Self.typesMax) types")
        }
        guard names.count <= Self.namesMax, initial <= Self.namesMax else {
            throw ProtocolViolation("more than \(Self.namesMax) names of \(typeURL)")
        }
        guard names.allSatisfy({ $0.utf8.count <= Self.nameBytesMax }) else {
            throw ProtocolViolation("a name of more than \(Self.nameBytesMax) bytes")
        }
    }

    private func checkCount(_ typeURL: String) throws(ProtocolViolation) {
        guard let type = types[typeURL], type.count > Self.namesMax else { return }
        throw ProtocolViolation("more than \(Self.namesMax) names of \(typeURL)")
    }

    private mutating func answer(_ nonce: String, _ error: Status?, _ typeURL: String) {
        guard !nonce.isEmpty, let type = types[typeURL] else { return }
        guard type.answers(nonce) else {
            // Delta names a nonce only to answer; state of the world names the last one always.
            if form == .delta || error != nil { staleAnswers += 1 }
            return
        }
        types[typeURL]?.answer(error, generation)
    }
}

// What the control plane asks.
extension DiscoveryServer {
    /// The version of that resource that the subscriber has acknowledged last.
    public func acknowledged(typeURL: String, name: String) -> String? {
        types[typeURL]?.acknowledged(name, snapshot, typeURL)
    }

    /// Whether the subscriber needs no response: it has acknowledged, rejected, or never asked for everything in the
    /// snapshot.
    public var isSettled: Bool {
        guard snapshot != nil else { return types.isEmpty }
        return types.values.allSatisfy { isSettled($0) }
    }

    /// Whether it needs no response of that type.
    public func isSettled(typeURL: String) -> Bool { types[typeURL].map(isSettled) ?? true }

    private func isSettled(_ type: TypeSubscription) -> Bool {
        type.inFlight == nil && !type.needsFirst && type.pending.isEmpty
    }

    /// The newest snapshot of which the subscriber has acknowledged (or refused) everything that it asked for.
    public var acknowledgedGeneration: Int {
        var oldest = generation
        for type in types.values {
            if let flight = type.inFlight { oldest = min(oldest, flight.since - 1) }
            if let since = type.pendingSince { oldest = min(oldest, since - 1) }
            if type.needsFirst { return 0 }
        }
        return max(oldest, 0)
    }

    /// What the subscriber said when it rejected something of that type; nil when nothing is refused (any more).
    public func rejection(typeURL: String) -> String? { types[typeURL]?.rejection }

    /// The resources that the subscriber has refused, by name.
    public func refused(typeURL: String) -> [String: RefusedResource] { types[typeURL]?.refused ?? [:] }

    /// The types that the subscriber has asked for.
    public var subscribedTypes: [String] { ResourceOrder.sorted(types.keys) }

    /// Whether the subscriber wants that resource.
    public func isSubscribed(typeURL: String, name: String) -> Bool { types[typeURL]?.wants(name) ?? false }

    /// How many names of a type the subscriber has asked for; nil when it asked for all or for none of that type.
    public func subscribedNames(typeURL: String) -> Int? {
        types[typeURL].flatMap { $0.isWildcard ? nil : $0.count }
    }

    /// The names of a type that the subscriber has asked for one by one.
    public func names(typeURL: String) -> Set<String> { types[typeURL]?.names ?? [] }
}

extension DiscoveryServer {
    private typealias News = (makes: [EncodedResource], gone: [String])

    /// Makes every response that may be sent now.
    private mutating func pump(_ maker: inout ResponseMaker) -> [DiscoveryMessage] {
        guard let snapshot else { return [] }
        var messages: [DiscoveryMessage] = []
        let order = ResourceOrder.sorted(types.keys)
        var news: [String: News] = [:]
        for typeURL in order {
            guard let found = types[typeURL]?.news(snapshot, typeURL), !found.makes.isEmpty || !found.gone.isEmpty
            else { continue }
            news[typeURL] = found
        }
        for typeURL in order {
            guard let type = types[typeURL], type.inFlight == nil, news[typeURL] != nil || type.needsFirst,
                !mustWait(typeURL, type, news)
            else { continue }
            let makes = news[typeURL]?.makes ?? []
            var gone = news[typeURL]?.gone ?? []
            if !mayRemove(typeURL, news) {
                gone = gone.filter { if case .unknown = type.pending[$0] { true } else { false } }
            }
            if form == .stateOfTheWorld, typeURL != Cluster.typeURL, typeURL != Listener.typeURL {
                // Only of clusters and listeners can this protocol say that there are none.
                types[typeURL]?.drop(gone)
                gone = []
                if makes.isEmpty { continue }
            }
            guard !makes.isEmpty || !gone.isEmpty || type.needsFirst else { continue }
            messages.append(send(typeURL, makes, gone, snapshot, &maker))
            news[typeURL] = nil
            // Endpoints of changed clusters may have to be told again.
            let endpoints = ClusterLoadAssignment.typeURL
            if typeURL == Cluster.typeURL, let found = types[endpoints]?.news(snapshot, endpoints),
                !found.makes.isEmpty || !found.gone.isEmpty
            {
                news[endpoints] = found
            }
        }
        return messages
    }

    /// Whether a type that must be there before this one is still on its way.
    ///
    /// Always for clusters and endpoints that the subscriber has never had, to which this type may refer. Of what it has in
    /// another version, what became different later than this type does not count: else a type that changes all the time
    /// would keep the others waiting for ever.
    private func mustWait(_ typeURL: String, _ type: TypeSubscription, _ news: [String: News]) -> Bool {
        // Envoy acknowledges clusters when they are warm, for which it needs their endpoints.
        guard typeURL != ClusterLoadAssignment.typeURL, let rank = ResourceOrder.rank(typeURL) else { return false }
        let since = type.pendingSince ?? generation
        return ResourceOrder.typeURLs[..<rank].contains { url in
            guard let earlier = types[url] else { return false }
            let makes = news[url]?.makes ?? []
            if makes.contains(where: { earlier.pending[$0.name]?.version == nil }) { return true }
            if let flight = earlier.inFlight {
                return flight.isMaking && (flight.generation <= since || flight.isIntroducing)
            }
            return earlier.needsFirst || (!makes.isEmpty && (earlier.pendingSince ?? .max) <= since)
        }
    }

    /// Whether clusters and endpoints that are gone may be removed: nothing refers to them once listeners and routes
    /// are what they should be.
    private func mayRemove(_ typeURL: String, _ news: [String: News]) -> Bool {
        guard typeURL == Cluster.typeURL || typeURL == ClusterLoadAssignment.typeURL else { return true }
        return [Listener.typeURL, RouteConfiguration.typeURL, VirtualHost.typeURL].allSatisfy { later in
            types[later]?.inFlight == nil && news[later] == nil
        }
    }

    private mutating func send(
        _ typeURL: String, _ makes: [EncodedResource], _ gone: [String], _ snapshot: Snapshot,
        _ maker: inout ResponseMaker
    ) -> DiscoveryMessage {
        let nonce = types[typeURL]?.lastNonce ?? ""
        let message: DiscoveryMessage
        if form == .delta {
            message = maker.message(
                form, typeURL, version: snapshot.version, makes, removed: gone, unlike: nonce)
        } else {
            var type = types[typeURL] ?? TypeSubscription()
            type.drop(gone)
            let world = type.world(makes, keeping: snapshot, typeURL)
            message = maker.message(form, typeURL, version: "", world, removed: [], unlike: nonce)
        }
        // A changed cluster waits for its endpoints anew in Envoy, even if those are what they were.
        if typeURL == Cluster.typeURL, node?.userAgentName == "envoy", let type = types[typeURL] {
            let again = makes.map(\.name).filter { name in
                if case .resource = type.pending[name] { true } else { false }
            }
            types[ClusterLoadAssignment.typeURL]?.forget(again, generation)
        }
        types[typeURL]?.sending(makes, gone, nonce: message.nonce, generation)
        return message
    }
}
