internal import HTTP
import Serialization
public import Store

/// When something happens, and what chance says there.
public struct RegistryMoment: Sendable {
    /// Milliseconds since 1970.
    public var milliseconds: Int64
    /// Sixteen random bytes: what becomes the identifier of something new.
    public var random: [UInt8]

    /// A moment.
    public init(milliseconds: Int64, random: [UInt8]) {
        self.milliseconds = milliseconds
        self.random = random
    }
}

/// What this registry is called.
public struct RegistrySettings: Sendable {
    /// The node that programs register at: this machine.
    public var node: String
    /// Its address, for services that name none.
    public var address = "127.0.0.1"
    /// The datacenter.
    public var datacenter = "dc1"
    /// The domain of registered names.
    public var domain = "consul"
    /// Whether checks may run programs on this machine.
    public var allowsScripts = false
    /// How much is taken.
    public var limits = RegistryLimits()

    /// The registry of a node.
    public init(node: String) { self.node = node }
}

/// An object of the registry in the store.
struct Row {
    var key: StoreKey
    var revision: Revision
    var json: JSON

    init(_ stored: StoredObject) {
        key = stored.key
        revision = stored.revision
        json = stored.object
    }

    /// Its member, empty when there is none.
    func text(_ name: String) -> String { json[name]?.string ?? "" }

    /// The object with its two indices, as Consul shows it.
    var indexed: JSON {
        var json = json
        json["ModifyIndex"] = .integer(revision)
        return json
    }
}

/// Nodes, services, checks, keys, sessions and intentions: a state machine over objects of the store.
///
/// Loop-owned, as the store is. What a call did is told to others only after the store's settlement. Clocks and chance come as a
/// `RegistryMoment`. Objects have Consul's members; those whose names begin with a small letter are ours and never shown.
public final class RegistryState {
    /// The kinds of objects.
    enum Table: String, CaseIterable, Sendable {
        case nodes, services, checks, keys, sessions, intentions, delays

        var resource: String { "registry.skein.dev/\(rawValue)" }
    }

    let store: any ObjectStore
    /// What it is called.
    public internal(set) var settings: RegistrySettings
    /// What it counted.
    public let counters = RegistryCounters()
    let index: RegistryIndex
    var limits: RegistryLimits { settings.limits }

    /// The registry in a store.
    public init(_ store: any ObjectStore, _ settings: RegistrySettings) {
        self.store = store
        self.settings = settings
        index = RegistryIndex(floor: max(1, store.revision))
    }

    /// This machine has another address now.
    public func moved(to address: String) { settings.address = address }

    // MARK: Rows

    /// A name as part of a store's key: nothing in it means anything there.
    static func escape(_ name: String) -> String { PercentEncoding.encoded(name) }

    func key(_ table: Table, _ place: String, _ name: String) -> StoreKey {
        StoreKey(resource: table.resource, namespace: Self.escape(place), name: Self.escape(name))
    }

    func row(_ table: Table, _ place: String, _ name: String) -> Row? {
        store.get(key(table, place, name)).map(Row.init)
    }

    /// A row of a kind that belongs to no node.
    func row(_ table: Table, _ name: String) -> Row? { row(table, "", name) }

    func rows(_ table: Table, of place: String? = nil) -> [Row] {
        store.list(table.resource, namespace: place.map(Self.escape)).map(Row.init)
    }

    /// Writes a row, unless it is as it should be; whether it wrote.
    @discardableResult
    func put(
        _ table: Table, _ name: String, _ json: JSON
    ) throws(RegistryError) -> Bool { try put(table, "", name, json) }

    /// Writes a row that belongs to a node.
    @discardableResult
    func put(
        _ table: Table, _ place: String, _ name: String, _ json: JSON, _ durability: Durability = .synced
    ) throws(RegistryError) -> Bool {
        let key = key(table, place, name)
        var json = json
        do throws(StoreError) {
            guard let old = store.get(key) else {
                try room(table)
                // The revision that this write gets: nothing comes between.
                json["CreateIndex"] = .integer(store.revision + 1)
                _ = try store.create(key, json, durability)
                return true
            }
            json["CreateIndex"] = old.object["CreateIndex"]
            guard json != old.object else { return false }
            _ = try store.update(key, json, expected: old.revision, durability)
            return true
        } catch {
            throw RegistryError(error)
        }
    }

    func remove(_ row: Row, _ durability: Durability = .synced) throws(RegistryError) {
        do throws(StoreError) {
            guard let now = store.get(row.key) else { return }
            _ = try store.delete(row.key, expected: now.revision, durability)
        } catch {
            throw RegistryError(error)
        }
    }

    /// Several writes as one step.
    func step<Result>(_ body: () throws(RegistryError) -> Result) throws(RegistryError) -> Result {
        var refusal: RegistryError?
        do throws(StoreError) {
            return try store.transaction { () throws(StoreError) in
                do throws(RegistryError) { return try body() } catch {
                    refusal = error
                    throw StoreError.failed(path: "", detail: error.text)
                }
            }
        } catch {
            throw refusal ?? RegistryError(error)
        }
    }

    private func room(_ table: Table) throws(StoreError) {
        let most: Int
        switch table {
        case .nodes: most = limits.nodes
        case .services: most = limits.services
        case .checks: most = limits.checks
        case .keys: most = limits.keys
        case .sessions: most = limits.sessions
        case .intentions: most = limits.intentions
        case .delays: return
        }
        guard store.list(table.resource, namespace: nil).count >= most else { return }
        counters.refuse(table.rawValue)
        throw .unavailable("\(Self.limitMark)\(table.rawValue)")
    }

    static let limitMark = "registry limit "

    /// Refuses names that are too long or hold control characters.
    func check(name: String, _ what: String) throws(RegistryError) {
        guard name.utf8.count <= limits.nameBytes else {
            counters.refuse("name_bytes")
            throw .bad("\(what) has more than \(limits.nameBytes) bytes")
        }
        guard name.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
            throw .bad("\(what) has a control character")
        }
    }

    /// How many objects there are of each kind, for metrics.
    public var counts: [(kind: String, count: Int)] {
        Table.allCases.map { ($0.rawValue, store.list($0.resource, namespace: nil).count) }
    }
}

extension RegistryError {
    /// What the store says.
    init(_ error: StoreError) {
        switch error {
        case .unavailable(let text) where text.hasPrefix(RegistryState.limitMark):
            self.init(429, "too many \(text.dropFirst(RegistryState.limitMark.count)): the limit is reached")
        case .tooLarge: self.init(413, "\(error)")
        case .unavailable, .overtaken: self.init(503, "\(error)")
        default: self.init(500, "\(error)")
        }
    }
}
