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
    private var types = SubscribedTypes()

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
        let index = types.place(of: typeURL)
        types[index].change(request, snapshot, generation)
        try checkCount(index)
        if !request.resourceNamesSubscribe.isEmpty { types[index].share(&maker.names) }
        return pump(&maker)
    }

    /// Takes the bytes of a request if it is nothing but an acknowledgement by the delta protocol; nil when it has to be read as a whole.
    public mutating func acknowledged(
        _ request: UnsafeRawBufferPointer, _ maker: inout ResponseMaker
    ) -> [DiscoveryMessage]? {
        guard form == .delta, let read = PlainAcknowledgement(request), let index = types.index(of: read.typeURL) else {
            return nil
        }
        guard types.entries[index].type.answers(read.nonce) else { return nil }
        types[index].answer(nil, generation)
        return hasNews ? pump(&maker) : []
    }

    /// Whether any type has something to be sent.
    private var hasNews: Bool { types.entries.contains { !$0.type.pending.isEmpty || $0.type.needsFirst } }

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
        let index = types.place(of: typeURL)
        types[index].change(request, snapshot, generation)
        try checkCount(index)
        types[index].share(&maker.names)
        return pump(&maker)
    }

    /// Takes what the subscriber is to know from now on; returns the responses to send now.
    public mutating func publish(
        _ next: Snapshot, generation: Int? = nil, _ changes: inout SnapshotChanges, _ maker: inout ResponseMaker
    ) -> [DiscoveryMessage] {
        let old = snapshot
        snapshot = next
        self.generation = generation ?? (self.generation + 1)
        for index in types.indices {
            let typeURL = types.entries[index].typeURL
            let found = changes.find(typeURL, from: old, to: next)
            if !found.isEmpty { types[index].publish(found, from: old, to: next, typeURL, self.generation) }
        }
        return pump(&maker)
    }

    /// The same, where it is known what is different: who wants nothing of that has little to do.
    public mutating func publish(
        _ next: Snapshot, generation: Int, _ difference: SnapshotDifference, _ maker: inout ResponseMaker
    ) -> [DiscoveryMessage] {
        let old = snapshot
        snapshot = next
        self.generation = generation
        if let messages = publishPrepared(from: old, to: next, difference, &maker) { return messages }
        var concerns = false
        for (typeURL, found) in difference.types {
            guard let index = types.index(of: typeURL) else { continue }
            if types[index].publish(found, from: old, to: next, typeURL, generation) { concerns = true }
        }
        return concerns ? pump(&maker) : []
    }

    /// The same, where nothing but the first part of the snapshot is another, and that concerns this subscriber.
    public mutating func publish(
        shared part: SnapshotPart, version: String, generation: Int, _ difference: SnapshotDifference,
        _ maker: inout ResponseMaker
    ) -> [DiscoveryMessage] {
        guard var next = snapshot, !next.parts.isEmpty else { return [] }
        next.parts[0] = part
        next.version = version
        return publish(next, generation: generation, difference, &maker)
    }

    /// The first part of the snapshot is another, and nothing of what is different concerns this subscriber.
    public mutating func follow(shared part: SnapshotPart, version: String, generation: Int) {
        self.generation = generation
        guard snapshot?.parts.isEmpty == false, snapshot?.parts[0] !== part else { return }
        snapshot?.parts[0] = part
        snapshot?.version = version
    }

    /// What this subscriber may want, until it asks for other names.
    public var interest: Interest {
        guard form == .delta else { return .anything }
        var interest = Interest.nothing
        for entry in types.entries { interest.insert(entry.typeURL, entry.type) }
        return interest
    }

    /// Whether something of a difference may concern this subscriber; if not, `follow` is all that is to be done, and may be done later.
    ///
    /// Asked for each stream with each change: it looks at no more than the names.
    public mutating func isConcerned(by difference: SnapshotDifference) -> Bool {
        guard form == .delta else { return true }
        for number in difference.types.indices {
            guard let index = types.index(of: difference.types[number].typeURL) else { continue }
            // Field by field: the subscription as a whole is not copied.
            guard types.entries[index].type.made.isEmpty,
                difference.types[number].changes.wanted(
                    by: types.entries[index].type.names, isWildcard: types.entries[index].type.isWildcard) == 0
            else { return true }
        }
        return false
    }

    /// What most streams get most of the time: new versions of what they have, of one type, while nothing that must come before is under way.
    ///
    /// Nil when it is not as simple as that.
    private mutating func publishPrepared(
        from old: Snapshot?, to next: Snapshot, _ difference: SnapshotDifference, _ maker: inout ResponseMaker
    ) -> [DiscoveryMessage]? {
        guard form == .delta, let old else { return nil }
        var (found, wanted, position) = (-1, UInt64(0), 0)
        for number in difference.types.indices {
            guard let index = types.index(of: difference.types[number].typeURL) else { continue }
            // Resources that were made when they were asked for are compared with what there is now.
            guard types.entries[index].type.made.isEmpty,
                let bits = difference.types[number].changes.wanted(
                    by: types.entries[index].type.names, isWildcard: types.entries[index].type.isWildcard)
            else { return nil }
            guard bits != 0 else { continue }
            guard found < 0 else { return nil }
            (found, wanted, position) = (index, bits, number)
        }
        guard found >= 0 else { return [] }
        guard types.entries[found].type.isAtRest else { return nil }
        let typeURL = types.entries[found].typeURL
        // Envoy wants endpoints anew with each cluster.
        if typeURL == Cluster.typeURL, node?.userAgentName == "envoy" { return nil }
        if typeURL != ClusterLoadAssignment.typeURL {
            for earlier in 0..<found where types.entries[earlier].type.isUnderWay { return nil }
        }
        guard
            let push = difference.prepared.push(
                typeURL, difference.types[position].changes, wanted, from: old, to: next, &maker),
            push.message.nonce != types.entries[found].type.lastNonce
        else { return nil }
        types[found].sent(push, generation)
        return push.messages
    }

    /// There is a newer snapshot, in which nothing is different for this subscriber.
    public mutating func advance(to generation: Int) { self.generation = generation }

    /// Takes the node that the first request says, so that a snapshot can be made for it before its names are taken.
    public mutating func introduce(_ node: Node?) throws(ProtocolViolation) {
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

    private func checkCount(_ index: Int) throws(ProtocolViolation) {
        let entry = types.entries[index]
        guard entry.type.count > Self.namesMax else { return }
        throw ProtocolViolation("more than \(Self.namesMax) names of \(entry.typeURL)")
    }

    private mutating func answer(_ nonce: String, _ error: Status?, _ typeURL: String) {
        guard !nonce.isEmpty, let index = types.index(of: typeURL) else { return }
        guard types[index].answers(nonce) else {
            // Delta names a nonce only to answer; state of the world names the last one always.
            if form == .delta || error != nil { staleAnswers += 1 }
            return
        }
        types[index].answer(error, generation)
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
        return types.entries.allSatisfy { isSettled($0.type) }
    }

    /// Whether it needs no response of that type.
    public func isSettled(typeURL: String) -> Bool { types[typeURL].map(isSettled) ?? true }

    private func isSettled(_ type: TypeSubscription) -> Bool { !type.isUnderWay }

    /// The newest snapshot of which the subscriber has acknowledged (or refused) everything that it asked for.
    public var acknowledgedGeneration: Int {
        var oldest = generation
        for type in types.entries.lazy.map(\.type) {
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
    public var subscribedTypes: [String] { types.typeURLs }

    /// Whether the subscriber wants that resource.
    public func isSubscribed(typeURL: String, name: String) -> Bool { types[typeURL]?.wants(name) ?? false }

    /// How many names of a type the subscriber has asked for; nil when it asked for all or for none of that type.
    public func subscribedNames(typeURL: String) -> Int? {
        types[typeURL].flatMap { $0.isWildcard ? nil : $0.count }
    }

    /// The present resources of a type that the subscriber asked for, by name or with all others; sorted.
    public func resources(typeURL: String) -> [EncodedResource] {
        guard let snapshot, let type = types[typeURL] else { return [] }
        var names = type.names
        if type.isWildcard {
            for table in snapshot[typeURL] where !table.isNamedOnly { names.formUnion(table.resources.keys) }
        }
        return names.sorted().compactMap { type.current($0, snapshot, typeURL) }
    }

    /// The names of a type that the subscriber has asked for one by one.
    public func names(typeURL: String) -> Set<String> { types[typeURL]?.names ?? [] }
}

extension DiscoveryServer {
    private typealias News = (makes: [EncodedResource], gone: [String])

    /// Makes every response that may be sent now.
    private mutating func pump(_ maker: inout ResponseMaker) -> [DiscoveryMessage] {
        guard hasNews, let snapshot else { return [] }
        var messages: [DiscoveryMessage] = []
        var news = [News?](repeating: nil, count: types.count)
        func find(_ index: Int) {
            guard !types.entries[index].type.pending.isEmpty else { return }
            let found = types[index].news(snapshot, types.entries[index].typeURL)
            news[index] = found.makes.isEmpty && found.gone.isEmpty ? nil : found
        }
        for index in types.indices { find(index) }
        for index in types.indices {
            let (typeURL, type) = (types.entries[index].typeURL, types.entries[index].type)
            guard type.inFlight == nil, news[index] != nil || type.needsFirst, !mustWait(index, news) else { continue }
            let makes = news[index]?.makes ?? []
            var gone = news[index]?.gone ?? []
            if !mayRemove(typeURL, news) {
                gone = gone.filter { if case .unknown = type.pending[$0] { true } else { false } }
            }
            if form == .stateOfTheWorld, typeURL != Cluster.typeURL, typeURL != Listener.typeURL {
                // Only of clusters and listeners can this protocol say that there are none.
                types[index].drop(gone)
                gone = []
                if makes.isEmpty { continue }
            }
            guard !makes.isEmpty || !gone.isEmpty || type.needsFirst else { continue }
            messages.append(send(index, makes, gone, snapshot, &maker))
            news[index] = nil
            // Endpoints of changed clusters may have to be told again.
            if typeURL == Cluster.typeURL, let endpoints = types.index(of: ClusterLoadAssignment.typeURL) {
                find(endpoints)
            }
        }
        return messages
    }

    /// Whether a type that must be there before this one is still on its way.
    ///
    /// Always for clusters and endpoints that the subscriber has never had, to which this type may refer. Of what it has in
    /// another version, what became different later than this type does not count: else a type that changes all the time
    /// would keep the others waiting for ever.
    private func mustWait(_ index: Int, _ news: [News?]) -> Bool {
        let (typeURL, type) = (types.entries[index].typeURL, types.entries[index].type)
        // Envoy acknowledges clusters when they are warm, for which it needs their endpoints.
        guard typeURL != ClusterLoadAssignment.typeURL, ResourceOrder.rank(typeURL) != nil else { return false }
        let since = type.pendingSince ?? generation
        // Those before it in the order are those that it may refer to.
        return types.indices[..<index].contains { before in
            let earlier = types.entries[before].type
            let makes = news[before]?.makes ?? []
            if makes.contains(where: { earlier.pending[$0.name]?.version == nil }) { return true }
            if let flight = earlier.inFlight {
                return flight.isMaking && (flight.generation <= since || flight.isIntroducing)
            }
            return earlier.needsFirst || (!makes.isEmpty && (earlier.pendingSince ?? .max) <= since)
        }
    }

    /// Whether clusters and endpoints that are gone may be removed: nothing refers to them once listeners and routes
    /// are what they should be.
    private func mayRemove(_ typeURL: String, _ news: [News?]) -> Bool {
        guard typeURL == Cluster.typeURL || typeURL == ClusterLoadAssignment.typeURL else { return true }
        return [Listener.typeURL, RouteConfiguration.typeURL, VirtualHost.typeURL].allSatisfy { later in
            guard let index = types.index(of: later) else { return true }
            return types.entries[index].type.inFlight == nil && news[index] == nil
        }
    }

    private mutating func send(
        _ index: Int, _ makes: [EncodedResource], _ gone: [String], _ snapshot: Snapshot,
        _ maker: inout ResponseMaker
    ) -> DiscoveryMessage {
        let typeURL = types.entries[index].typeURL
        let nonce = types.entries[index].type.lastNonce
        let message: DiscoveryMessage
        if form == .delta {
            message = maker.message(
                form, typeURL, version: snapshot.version, makes, removed: gone, unlike: nonce)
        } else {
            var type = types[index]
            type.drop(gone)
            let world = type.world(makes, keeping: snapshot, typeURL)
            message = maker.message(form, typeURL, version: "", world, removed: [], unlike: nonce)
        }
        // A changed cluster waits for its endpoints anew in Envoy, even if those are what they were.
        if typeURL == Cluster.typeURL, node?.userAgentName == "envoy" {
            let type = types.entries[index].type
            let again = makes.map(\.name).filter { name in
                if case .resource = type.pending[name] { true } else { false }
            }
            if let endpoints = types.index(of: ClusterLoadAssignment.typeURL) {
                types[endpoints].forget(again, generation)
            }
        }
        types[index].sending(makes, gone, nonce: message.nonce, generation)
        return message
    }
}
