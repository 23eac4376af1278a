import EnvoyAPI

/// A response that waits for its answer.
struct InFlight: Sendable {
    let nonce: String
    /// How many snapshots there had been when it was sent.
    let generation: Int
    /// Whether something is added or changed in it, and not only removed.
    let isMaking: Bool
    /// What it says, by name; the empty version says that there is no such resource.
    var versions: [String: String] = [:]
}

/// What one subscriber of a delta stream wants of one type, and what it has.
struct Subscription: Sendable {
    private(set) var isWildcard = false
    private(set) var names: Set<String> = []
    /// What we sent last, or what the subscriber brought along; the empty version means that we said it is not there.
    private(set) var sent: [String: String] = [:]
    /// What the subscriber has accepted last.
    private(set) var acknowledged: [String: String] = [:]
    private(set) var inFlight: InFlight?
    private(set) var rejection: String?
    /// Whether even an empty response must be sent: who asks for everything waits for the first one.
    private(set) var needsFirst = false
    /// Which snapshot made the present differences.
    private(set) var pendingSince: Int?
    private(set) var isMakingPending = false
    private var isNew = true

    func wants(_ name: String) -> Bool { isWildcard || names.contains(name) }

    /// Takes the answer to a response, if the request is one.
    mutating func answer(nonce: String, error: Status?) {
        guard !nonce.isEmpty, let inFlight, inFlight.nonce == nonce else { return }  // Else it answers an older one.
        self.inFlight = nil
        if let error {
            rejection = error.message.isEmpty ? "code \(error.code)" : error.message
            return
        }
        rejection = nil
        for (name, version) in inFlight.versions where wants(name) {
            acknowledged[name] = version.isEmpty ? nil : version
        }
    }

    /// Takes what the request changes in the subscription.
    mutating func change(_ request: DeltaDiscoveryRequest) {
        if isNew {
            isNew = false
            sent = request.initialResourceVersions
            acknowledged = sent
            // A first request that names nothing asks for everything.
            if request.resourceNamesSubscribe.isEmpty { isWildcard = true }
            if request.resourceNamesSubscribe.contains("*") { isWildcard = true }
            needsFirst = isWildcard && sent.isEmpty
        } else if request.resourceNamesSubscribe.contains("*"), !isWildcard {
            isWildcard = true
            needsFirst = true
        }
        for name in request.resourceNamesSubscribe where name != "*" {
            names.insert(name)
            // Who subscribes again wants it again, whatever we sent before.
            if request.initialResourceVersions[name] == nil { sent[name] = nil }
        }
        for name in request.resourceNamesUnsubscribe {
            if name == "*" {
                isWildcard = false
                needsFirst = false
            } else {
                names.remove(name)
            }
        }
        if !request.resourceNamesUnsubscribe.isEmpty {
            sent = sent.filter { wants($0.key) }
            acknowledged = acknowledged.filter { wants($0.key) }
        }
    }

    /// The names whose resource the subscriber lacks or has in another version, sorted.
    func changed(_ resources: [String: SnapshotResource]) -> [String] {
        let candidates = isWildcard ? Array(resources.keys) : Array(names)
        return candidates.filter { name in
            guard let resource = resources[name] else { return false }
            return sent[name] != resource.version
        }.sorted()
    }

    /// The names of which the subscriber must learn that there is nothing, sorted.
    func gone(_ resources: [String: SnapshotResource]) -> [String] {
        var result = sent.filter { !$0.value.isEmpty && resources[$0.key] == nil }.map(\.key)
        result += names.filter { sent[$0] == nil && resources[$0] == nil }
        return result.sorted()
    }

    /// Notes since when there are differences.
    mutating func note(_ resources: [String: SnapshotResource], _ generation: Int) {
        isMakingPending = !changed(resources).isEmpty
        if isMakingPending || !gone(resources).isEmpty {
            if pendingSince == nil { pendingSince = generation }
        } else {
            pendingSince = nil
        }
    }

    mutating func sending(_ response: InFlight) {
        for (name, version) in response.versions {
            // Of what it asked for by name it is told once that it is missing; a removal of the rest needs no memory.
            sent[name] = version.isEmpty && !names.contains(name) ? nil : version
        }
        inFlight = response
        needsFirst = false
        pendingSince = nil
        isMakingPending = false
    }
}
