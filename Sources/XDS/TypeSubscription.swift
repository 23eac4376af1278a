import EnvoyAPI
import Serialization

/// What a subscriber has of one resource.
enum Known: Sendable {
    /// Nobody knows: it was asked for (again) and must be told, whatever it is.
    case unknown
    /// Nothing, and it knows that.
    case absent
    /// A version that it brought along from an earlier stream.
    case version(String)
    /// What we sent, and it took.
    case resource(EncodedResource)

    init(_ resource: EncodedResource?) { self = resource.map(Known.resource) ?? .absent }

    var version: String? {
        switch self {
        case .unknown, .absent: nil
        case .version(let version): version
        case .resource(let resource): resource.version
        }
    }

    var resource: EncodedResource? { if case .resource(let resource) = self { resource } else { nil } }
}

/// A response that waits for its answer.
struct InFlight: Sendable {
    /// One resource that it made, changed or removed.
    struct Entry: Sendable {
        var name: String
        var old: Known
        var new: EncodedResource?
    }

    var nonce: String
    /// How many snapshots there had been when it was sent.
    var generation: Int
    /// Which snapshot made the oldest of the differences that it tells.
    var since: Int
    /// Sorted by name.
    var entries: [Entry]

    /// Whether something is added or changed in it, and not only removed.
    var isMaking: Bool { entries.contains { $0.new != nil } }

    /// Whether there is something in it that the subscriber has never had.
    var isIntroducing: Bool { entries.contains { $0.new != nil && $0.old.version == nil } }

    func entry(_ name: String) -> Entry? {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].name < name { low = middle + 1 } else { high = middle }
        }
        return low < entries.count && entries[low].name == name ? entries[low] : nil
    }
}

/// A resource that a subscriber has refused; it keeps what it had.
public struct RefusedResource: Sendable {
    /// The version that it does not want.
    public var version: String
    /// What it said.
    public var message: String
    /// What it has instead.
    var lastGood: Known
    /// The version that it has instead; nil when it has none.
    public var lastGoodVersion: String? { lastGood.version }
    /// What it has instead; nil when it has none, or brought it along from an earlier stream.
    public var lastGoodResource: EncodedResource? { lastGood.resource }
}

/// What one subscriber wants of one type, and in what its knowledge differs from the present snapshot.
///
/// A settled subscription holds no more than the names it asked for: everything else is in tables that all streams share.
struct TypeSubscription: Sendable {
    private(set) var isWildcard = false
    /// The names of wanted resources, as the tables have them.
    private(set) var names: Set<String> = []
    /// Names that were asked for and stand for another (VHDS).
    private(set) var aliases: [String: String] = [:]
    /// Resources that are made when they are asked for.
    private(set) var made: [String: EncodedResource] = [:]
    /// Where the subscriber's knowledge may differ, and what it knows there.
    private(set) var pending: [String: Known] = [:] {
        // However the last one went: told, no longer wanted, or come to nothing.
        didSet { if pending.isEmpty { pendingSince = nil } }
    }
    /// Which snapshot made the oldest of these differences; nil when there is none.
    private(set) var pendingSince: Int?
    private(set) var inFlight: InFlight?
    private(set) var refused: [String: RefusedResource] = [:]
    /// The message of the last refusal, until something of the type is accepted and nothing is refused any more.
    private(set) var rejection: String?
    /// Names to be sent apart from each other, to find out which of them was refused.
    private var suspects: [[String]] = []
    /// Whether even an empty response must be sent: who asks for everything waits for the first one.
    private(set) var needsFirst = false
    private(set) var lastNonce = ""
    /// State of the world: names were given once.
    private var hasNamed = false
    private var isNew = true

    func wants(_ name: String) -> Bool { isWildcard || names.contains(name) }

    /// How many names the subscriber has asked for.
    var count: Int { names.count + aliases.count }

    /// Whether something is to be sent or waits for its answer.
    var isUnderWay: Bool { inFlight != nil || needsFirst || !pending.isEmpty }

    /// Whether the subscriber has of each resource what the snapshot says.
    var isAtRest: Bool { !isUnderWay && refused.isEmpty && suspects.isEmpty && made.isEmpty }

    /// A response that was prepared for many has been sent.
    mutating func sent(_ push: PreparedPush, _ generation: Int) {
        inFlight = InFlight(
            nonce: push.message.nonce, generation: generation, since: generation, entries: push.entries)
        lastNonce = push.message.nonce
    }

    /// Holds its names together with others who have the same.
    mutating func share(_ shared: inout SharedNames) {
        shared.share(&names)
        shared.share(&aliases)
    }

    func current(_ name: String, _ snapshot: Snapshot, _ typeURL: String) -> EncodedResource? {
        made[name] ?? snapshot.resource(typeURL, name, isNamed: !isWildcard || names.contains(name))
    }

    /// What the subscriber has acknowledged last of a name.
    func acknowledged(_ name: String, _ snapshot: Snapshot?, _ typeURL: String) -> String? {
        guard wants(name) else { return nil }
        if let entry = inFlight?.entry(name) { return entry.old.version }
        if let known = pending[name] { return known.version }
        if let refusal = refused[name] { return refusal.lastGoodVersion }
        return snapshot.flatMap { current(name, $0, typeURL) }?.version
    }

    private mutating func note(_ name: String, _ known: Known, _ generation: Int) {
        pending[name] = known
        if pendingSince == nil { pendingSince = generation }
    }

    // MARK: Asking

    /// Takes what a delta request changes.
    mutating func change(_ request: DeltaDiscoveryRequest, _ snapshot: Snapshot?, _ generation: Int) {
        let typeURL = request.typeUrl
        var initial: [String: String] = [:]
        if isNew {
            initial = request.initialResourceVersions
            // A first request that names nothing asks for everything.
            if request.resourceNamesSubscribe.isEmpty { isWildcard = true }
        }
        if request.resourceNamesSubscribe.contains("*"), isNew || !isWildcard {
            isWildcard = true
            needsFirst = !isNew
            if !isNew { noteAll(typeURL, snapshot, [:], generation) }
        }
        for name in request.resourceNamesUnsubscribe { unsubscribe(name) }
        for name in request.resourceNamesSubscribe where name != "*" {
            subscribe(name, initial[name].map(Known.version) ?? .unknown, typeURL, snapshot, generation)
        }
        if isNew {
            isNew = false
            needsFirst = isWildcard && initial.isEmpty
            for (name, version) in initial where wants(name) && pending[name] == nil {
                note(name, .version(version), generation)
            }
            if isWildcard { noteAll(typeURL, snapshot, initial, generation) }
        }
    }

    /// Takes what a state-of-the-world request changes: it always names everything that is wanted.
    mutating func change(_ request: DiscoveryRequest, _ snapshot: Snapshot?, _ generation: Int) {
        let typeURL = request.typeUrl
        if !request.resourceNames.isEmpty { hasNamed = true }
        // No names mean all clusters or listeners, for those who have never named any.
        let isWholeType = typeURL == Cluster.typeURL || typeURL == Listener.typeURL
        let isWildcard = request.resourceNames.contains("*") || (isWholeType && !hasNamed)
        if isWildcard, !self.isWildcard {
            self.isWildcard = true
            needsFirst = true
            noteAll(typeURL, snapshot, [:], generation)
        }
        self.isWildcard = isWildcard
        let wanted = Set(request.resourceNames.lazy.filter { $0 != "*" })
        for name in names.subtracting(wanted) { unsubscribe(name) }
        for name in wanted where !names.contains(name) { subscribe(name, .unknown, typeURL, snapshot, generation) }
        isNew = false
    }

    private mutating func noteAll(
        _ typeURL: String, _ snapshot: Snapshot?, _ initial: [String: String], _ generation: Int
    ) {
        guard let snapshot else { return }
        for table in snapshot[typeURL] where !table.isNamedOnly {
            for name in table.resources.keys where pending[name] == nil {
                note(name, initial[name].map(Known.version) ?? .absent, generation)
            }
        }
    }

    private mutating func subscribe(
        _ asked: String, _ known: Known, _ typeURL: String, _ snapshot: Snapshot?, _ generation: Int
    ) {
        // The table's own string: a thousand streams that ask for a name hold it once.
        var name = asked
        if let snapshot {
            if let alias = snapshot.alias(typeURL, asked) {
                name = alias.name
                if name != asked { aliases[alias.asked] = name }
            }
            if let resource = snapshot.resource(typeURL, name) {
                name = resource.name
                if !snapshot.hasOwn(typeURL, name) { made[name] = resource }
            }
        }
        names.insert(name)
        refused[name] = nil
        note(name, known, generation)
    }

    private mutating func unsubscribe(_ asked: String) {
        guard asked != "*" else {
            isWildcard = false
            needsFirst = false
            pending = pending.filter { names.contains($0.key) }
            refused = refused.filter { names.contains($0.key) }
            return
        }
        let name = aliases.removeValue(forKey: asked) ?? asked
        guard !aliases.values.contains(name) else { return }
        names.remove(name)
        guard !isWildcard else { return }
        pending[name] = nil
        refused[name] = nil
        made[name] = nil
        forgetRejection()
    }

    /// Nothing is refused any more when what was refused has become again what the subscriber has, or is no longer wanted.
    private mutating func forgetRejection() {
        if rejection != nil, refused.isEmpty, suspects.isEmpty, pending.isEmpty, inFlight == nil { rejection = nil }
    }

    // MARK: Answers

    /// The same, of the bytes of a nonce.
    func answers(_ nonce: UnsafeRawBufferPointer) -> Bool {
        guard let count = inFlight?.nonce.utf8.count, count == nonce.count, count > 0 else { return false }
        return inFlight?.nonce.utf8.withContiguousStorageIfAvailable { bytes in
            bytes.indices.allSatisfy { bytes[$0] == nonce[$0] }
        } ?? false
    }

    /// Whether a nonce answers the response that is under way.
    func answers(_ nonce: String) -> Bool { !nonce.isEmpty && inFlight?.nonce == nonce }

    /// The response that is under way was accepted, or refused with a message.
    ///
    /// A refusal concerns the resources that it names. If it names none, they are sent again in halves until it is known.
    mutating func answer(_ error: Status?, _ generation: Int) {
        guard let flight = inFlight else { return }
        inFlight = nil
        guard let error else {
            if refused.isEmpty && suspects.isEmpty { rejection = nil }
            return
        }
        let message = error.message.isEmpty ? "code \(error.code)" : error.message
        rejection = message
        let makes = flight.entries.filter { $0.new != nil && wants($0.name) }
        var guilty = makes.filter { MessageNames.contains(message, $0.name) }
        if guilty.isEmpty, makes.count == 1 { guilty = makes }
        let names = Set(guilty.map(\.name))
        for entry in makes where !names.contains(entry.name) { note(entry.name, entry.old, flight.since) }
        for entry in guilty {
            guard let new = entry.new else { continue }
            // If another version came meanwhile, that one is tried.
            if pending[entry.name] != nil {
                pending[entry.name] = entry.old
            } else {
                refused[entry.name] = RefusedResource(version: new.version, message: message, lastGood: entry.old)
            }
        }
        guard guilty.isEmpty, makes.count > 1 else { return }
        let half = makes.count / 2
        suspects.insert(contentsOf: [makes[..<half].map(\.name), makes[half...].map(\.name)], at: 0)
    }

    // MARK: Snapshots

    /// Takes what has changed from one snapshot to the next; tells whether any of it may concern the subscriber.
    @discardableResult
    mutating func publish(
        _ changes: TypeChanges, from old: Snapshot?, to new: Snapshot, _ typeURL: String, _ generation: Int
    ) -> Bool {
        var concerns = changes.isResolverOther || !changes.aliases.isEmpty
        func differs(_ name: String) {
            concerns = true
            defer { if !made.isEmpty { made[name] = nil } }
            if pending[name] != nil { return }
            if let entry = inFlight?.entry(name) {
                note(name, Known(entry.new), generation)
            } else if let refusal = refused[name] {
                guard new.resource(typeURL, name)?.version != refusal.version else { return }
                refused[name] = nil
                note(name, refusal.lastGood, generation)
            } else {
                note(name, Known(old.flatMap { current(name, $0, typeURL) }), generation)
            }
        }
        for name in changes.names where wants(name) { differs(name) }
        for name in changes.namedOnly where names.contains(name) { differs(name) }
        for asked in changes.aliases { rename(asked, new, typeURL, generation) }
        guard changes.isResolverOther || (!(changes.names.isEmpty && changes.namedOnly.isEmpty) && !made.isEmpty) else {
            return concerns
        }
        concerns = true
        for name in names where !new.hasOwn(typeURL, name) {
            let resource = new.resource(typeURL, name)
            guard resource?.version != made[name]?.version else { continue }
            if pending[name] == nil { note(name, knownMade(name), generation) }
            made[name] = resource
        }
        return concerns
    }

    /// What the subscriber has of a resource that was made for it, or that there was not.
    private func knownMade(_ name: String) -> Known {
        if let entry = inFlight?.entry(name) { return Known(entry.new) }
        if let refusal = refused[name] { return refusal.lastGood }
        return Known(made[name])
    }

    /// A name stands for another resource than before, if the subscriber asked for it; what it had instead is taken away.
    private mutating func rename(_ asked: String, _ new: Snapshot, _ typeURL: String, _ generation: Int) {
        let now = new.canonicalName(typeURL, asked)
        if let before = aliases[asked] {
            guard before != now else { return }
            aliases[asked] = nil
            if !aliases.values.contains(before) {
                names.remove(before)
                let known =
                    pending[before] ?? inFlight?.entry(before).map { Known($0.new) } ?? refused[before]?.lastGood
                note(before, known ?? Known(new.resource(typeURL, before)), generation)
            }
        } else {
            guard names.contains(asked), asked != now else { return }
            names.remove(asked)
            note(asked, pending[asked] ?? knownMade(asked), generation)
            made[asked] = nil
        }
        refused[asked] = nil
        if asked != now { aliases[asked] = now }
        names.insert(now)
        if !new.hasOwn(typeURL, now) { made[now] = new.resource(typeURL, now) }
        note(now, .unknown, generation)
    }

    /// The subscriber must be told these again although nothing changed in them.
    mutating func forget(_ forgotten: some Sequence<String>, _ generation: Int) {
        for name in forgotten where names.contains(name) && pending[name] == nil && refused[name] == nil {
            note(name, .unknown, generation)
        }
    }

    /// What is to be sent: resources that the subscriber lacks, and names of which there is nothing (any more).
    ///
    /// Drops what has come to nothing.
    mutating func news(_ snapshot: Snapshot, _ typeURL: String) -> (makes: [EncodedResource], gone: [String]) {
        guard !pending.isEmpty else { return ([], []) }
        var (makes, gone): ([EncodedResource], [String]) = ([], [])
        for (name, known) in pending {
            // What is no longer asked for has been renamed: it is gone, whatever could be made of its name.
            guard wants(name), let resource = current(name, snapshot, typeURL) else {
                switch known {
                case .absent: pending[name] = nil
                case .unknown where !names.contains(name): pending[name] = nil
                default: gone.append(name)
                }
                continue
            }
            if let version = known.version, version == resource.version {
                pending[name] = nil
            } else {
                makes.append(resource)
            }
        }
        forgetRejection()
        while let batch = suspects.first {
            let members = makes.filter { batch.contains($0.name) }
            guard members.isEmpty else {
                makes = members
                break
            }
            suspects.removeFirst()
        }
        return (makes.sorted { $0.name < $1.name }, gone.sorted())
    }

    /// A response with that has been made.
    mutating func sending(
        _ makes: [EncodedResource], _ gone: [String], nonce: String, _ generation: Int
    ) {
        var entries: [InFlight.Entry] = []
        entries.reserveCapacity(makes.count + gone.count)
        for resource in makes {
            let old = pending.removeValue(forKey: resource.name) ?? .absent
            entries.append(InFlight.Entry(name: resource.name, old: old, new: resource))
        }
        for name in gone {
            let old = pending.removeValue(forKey: name) ?? .absent
            entries.append(InFlight.Entry(name: name, old: old, new: nil))
        }
        if !gone.isEmpty { entries.sort { $0.name < $1.name } }
        if !suspects.isEmpty { suspects.removeFirst() }
        inFlight = InFlight(
            nonce: nonce, generation: generation, since: pendingSince ?? generation, entries: entries)
        lastNonce = nonce
        needsFirst = false
        if pending.isEmpty { pending = [:] }  // A first response has filled it with everything there is.
    }

    /// Names that need no response because this protocol cannot tell that they are gone.
    mutating func drop(_ gone: [String]) {
        for name in gone { pending[name] = nil }
        forgetRejection()
    }

    /// Everything that a state-of-the-world response says: what is new, and what the subscriber has of the rest.
    func world(_ makes: [EncodedResource], keeping snapshot: Snapshot, _ typeURL: String) -> [EncodedResource] {
        let new = Dictionary(makes.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        func effective(_ name: String) -> EncodedResource? {
            if let resource = new[name] { return resource }
            if let known = pending[name] { return known.resource }
            if let refusal = refused[name] { return refusal.lastGood.resource }
            return current(name, snapshot, typeURL)
        }
        var wanted = names
        if isWildcard {
            for table in snapshot[typeURL] { wanted.formUnion(table.resources.keys) }
            wanted.formUnion(pending.keys)
        }
        return wanted.sorted().compactMap(effective)
    }
}

/// Names of resources in what proxies say about them.
public enum MessageNames {
    /// Whether a text says a name, not as a part of a longer one.
    public static func contains(_ text: String, _ name: String) -> Bool {
        guard !name.isEmpty else { return false }
        let (text, name) = (Array(text.utf8), Array(name.utf8))
        guard text.count >= name.count else { return false }
        for start in 0...(text.count - name.count) where text[start] == name[0] {
            let end = start + name.count
            guard text[start..<end].elementsEqual(name) else { continue }
            if start > 0, isPart(text[start - 1]) { continue }
            if end < text.count, isPart(text[end]), !isSentenceEnd(text, end) { continue }
            return true
        }
        return false
    }

    private static func isPart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    /// A full stop that ends the sentence is no part of the name before it.
    private static func isSentenceEnd(_ text: [UInt8], _ index: Int) -> Bool {
        text[index] == UInt8(ascii: ".") && (index + 1 == text.count || !isPart(text[index + 1]))
    }
}
