import Etcd
import Serialization

/// Where things are in etcd, and how they are written there.
///
///     PREFIX/clock                              the last step: its revision, who made it, what it changed
///     PREFIX/objects/RESOURCE/NAMESPACE/NAME    REVISION, a line feed, and the object in the form of `ObjectText`
///     PREFIX/key                                the name of the key that Secrets are encrypted with
///     PREFIX/leader                             who runs the controllers, as long as its lease
///     PREFIX/servers/NAME                       what a server says of its proxies, as long as its lease
///     PREFIX/limits/NAME                        what a server has counted against the limits of the whole mesh, likewise
///     PREFIX/nodes/NAME                         the nodes that are connected with a server, and where it is asked for them, likewise
///     PREFIX/waiting/NAME                       a server whose steps are overtaken by others' (`EtcdTurns`)
///     PREFIX/common/NAME                        what all servers have in common and nobody else may know, sealed (`EtcdStore.common`)
///
/// Every step is one transaction that compares the clock's `mod_revision` with the one known and writes the clock anew: all
/// servers' steps stand in one order, and each was made knowing all before it.
struct EtcdLayout: Sendable {
    /// The layout of keys and values; a larger number was written by a newer Skein.
    static let version: Int64 = 1

    let prefix: String
    var text = ObjectText()

    init(prefix: String) {
        var prefix = prefix
        while prefix.hasSuffix("/") { prefix.removeLast() }
        self.prefix = prefix
    }

    var clock: [UInt8] { Array((prefix + "/clock").utf8) }
    var key: [UInt8] { Array((prefix + "/key").utf8) }
    var leader: [UInt8] { Array((prefix + "/leader").utf8) }
    /// What all servers have in common under a name.
    func common(_ name: String) -> [UInt8] { Array("\(prefix)/common/\(name)".utf8) }
    /// The name that a key has there, if it has one.
    func commonName(_ key: [UInt8]) -> String? {
        let start = common("")
        return key.starts(with: start) ? String(decoding: key[start.count...], as: UTF8.self) : nil
    }
    /// Where a server says that it waits for its turn.
    func waiting(_ server: String) -> [UInt8] { Array("\(prefix)/waiting/\(server)".utf8) }
    /// The server that a key says so of, if it does.
    func waitingServer(_ key: [UInt8]) -> String? {
        let start = waiting("")
        return key.starts(with: start) ? String(decoding: key[start.count...], as: UTF8.self) : nil
    }
    /// Where all servers' reports on something are.
    func reports(_ topic: ReportTopic) -> [UInt8] { Array("\(prefix)/\(topic.rawValue)/".utf8) }
    /// The server that a key is a report of, if it is one on `topic`.
    func server(_ key: [UInt8], _ topic: ReportTopic) -> String? {
        let start = reports(topic)
        return key.starts(with: start) ? String(decoding: key[start.count...], as: UTF8.self) : nil
    }
    var objects: [UInt8] { Array((prefix + "/objects/").utf8) }
    var everything: [UInt8] { Array((prefix + "/").utf8) }

    /// The key behind all keys that begin with `start`.
    static func end(of start: [UInt8]) -> [UInt8] {
        var end = start
        while let last = end.popLast() {
            if last < 0xff { return end + [last + 1] }
        }
        return [0]
    }

    // MARK: Keys

    private static func escaped(_ text: String) -> String {
        text.contains("/") || text.contains("%")
            ? text.replacing("%", with: "%25").replacing("/", with: "%2F") : text
    }

    private static func unescaped(_ text: Substring) -> String {
        text.contains("%")
            ? String(text).replacing("%2F", with: "/").replacing("%25", with: "%") : String(text)
    }

    /// `apps/deployments/default/web`.
    static func path(_ key: StoreKey) -> String {
        "\(key.resource)/\(escaped(key.namespace))/\(escaped(key.name))"
    }

    static func key(path: some StringProtocol) -> StoreKey? {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count >= 3 else { return nil }
        return StoreKey(
            resource: parts.dropLast(2).joined(separator: "/"),
            namespace: unescaped(Substring(parts[parts.count - 2])), name: unescaped(Substring(parts[parts.count - 1])))
    }

    func place(_ key: StoreKey) -> [UInt8] { objects + Array(Self.path(key).utf8) }

    /// The key of an object; nil for other keys.
    func key(_ bytes: [UInt8]) -> StoreKey? {
        let start = objects
        guard bytes.starts(with: start) else { return nil }
        return Self.key(path: String(decoding: bytes[start.count...], as: UTF8.self))
    }

    // MARK: Objects

    func value(_ object: StoredObject) throws(StoreError) -> [UInt8] {
        Array("\(object.revision)\n".utf8) + (try text.write(object.object, at: object.key))
    }

    func object(_ value: [UInt8], at key: StoreKey) throws(StoreError) -> StoredObject {
        guard let line = value.firstIndex(of: 0x0a), line < 20,
            let revision = Revision(String(decoding: value[..<line], as: UTF8.self))
        else { throw .corrupted(path: "etcd \(prefix)", detail: "\(Self.path(key)) has no revision") }
        do throws(StoreError) {
            return StoredObject(
                key: key, revision: revision, object: try text.read(Array(value[(line + 1)...]), at: key))
        } catch {
            throw error.at("etcd \(prefix)")
        }
    }

    // MARK: The clock

    /// A step as its clock tells it.
    struct Clock: Sendable, Equatable {
        /// One change of the step.
        struct Change: Sendable, Equatable {
            var revision: Revision
            var kind: StoreEvent.Kind
            var key: StoreKey
            /// The value, when a later change of the same step has replaced it.
            var superseded: [UInt8]?
        }

        /// The revision of its last change.
        var revision: Revision
        /// Which process made it.
        var writer: String
        /// The how-manieth it was of that process.
        var batch: Int64
        /// What it changed, in order.
        var changes: [Change]
    }

    static func write(_ clock: Clock) -> [UInt8] {
        let changes = clock.changes.map { change -> JSON in
            let kind: JSON = change.kind == .added ? "a" : change.kind == .modified ? "m" : "d"
            var parts: [JSON] = [.integer(change.revision), kind, .string(path(change.key))]
            if let value = change.superseded { parts.append(.string(Base64.encode(value))) }
            return .array(parts)
        }
        let json: JSON = [
            "layout": .integer(version), "revision": .integer(clock.revision), "writer": .string(clock.writer),
            "batch": .integer(clock.batch), "changes": .array(changes),
        ]
        return json.bytes
    }

    func clock(_ value: [UInt8]) throws(StoreError) -> Clock {
        let json: JSON
        do throws(JSONError) { json = try JSON.parse(value) } catch {
            throw .corrupted(path: "etcd \(prefix)/clock", detail: "\(error)")
        }
        let layout = json["layout"]?.int ?? 0
        guard layout <= Int(Self.version) else {
            throw .failed(
                path: "etcd \(prefix)",
                detail:
                    "written by a newer Skein (layout \(layout), this one knows \(Self.version)). Use the newer Skein")
        }
        guard case .integer(let revision)? = json["revision"], let writer = json["writer"]?.string,
            case .integer(let batch)? = json["batch"], let list = json["changes"]?.array
        else { throw .corrupted(path: "etcd \(prefix)/clock", detail: "no clock of Skein") }
        var changes: [Clock.Change] = []
        for item in list {
            guard case .integer(let revision)? = item[0], let kind = Self.kind(item[1]?.string),
                let path = item[2]?.string, let key = Self.key(path: path)
            else { throw .corrupted(path: "etcd \(prefix)/clock", detail: "a change that says nothing") }
            changes.append(
                Clock.Change(
                    revision: revision, kind: kind, key: key, superseded: item[3]?.string.flatMap { Base64.decode($0) })
            )
        }
        return Clock(revision: revision, writer: writer, batch: batch, changes: changes)
    }

    private static func kind(_ text: String?) -> StoreEvent.Kind? {
        switch text {
        case "a": .added
        case "m": .modified
        case "d": .deleted
        default: nil
        }
    }

    /// The transaction for a step: nothing happens unless the clock is as it was at `modRevision`.
    func step(_ events: [StoreEvent], writer: String, batch: Int64, after modRevision: Int64) throws(StoreError)
        -> EtcdTxnRequest
    {
        var request = EtcdTxnRequest()
        request.compare = [compare(clock, modRevision: modRevision)]
        var last: [StoreKey: Int] = [:]
        for (index, event) in events.enumerated() { last[event.object.key] = index }
        var changes: [Clock.Change] = []
        for (index, event) in events.enumerated() {
            let stored = event.object
            let isLast = last[stored.key] == index
            var change = Clock.Change(revision: stored.revision, kind: event.kind, key: stored.key)
            let value = event.kind == .deleted ? nil : try value(stored)
            if !isLast { change.superseded = value }
            changes.append(change)
            guard isLast else { continue }
            request.success.append(value.map { put(place(stored.key), $0) } ?? delete(place(stored.key)))
        }
        let clock = Clock(
            revision: events.last?.object.revision ?? 0, writer: writer, batch: batch, changes: changes)
        request.success.append(put(self.clock, Self.write(clock)))
        return request
    }

    /// The transaction that writes a key if it is not there, and otherwise reads it; with no value it only reads.
    func take(_ key: [UInt8], _ value: [UInt8]?, lease: Int64 = 0) -> EtcdTxnRequest {
        var request = EtcdTxnRequest()
        request.compare = [compare(key, modRevision: 0)]
        if let value { request.success = [put(key, value, lease: lease)] }
        request.failure = [range(key)]
        return request
    }

    func compare(_ key: [UInt8], modRevision: Int64) -> EtcdCompare {
        var compare = EtcdCompare()
        compare.target = .mod
        compare.result = .equal
        compare.key = key
        compare.targetUnion = .modRevision(modRevision)
        return compare
    }

    func put(_ key: [UInt8], _ value: [UInt8], lease: Int64 = 0) -> EtcdRequestOp {
        var put = EtcdPutRequest()
        put.key = key
        put.value = value
        put.lease = lease
        var operation = EtcdRequestOp()
        operation.request = .requestPut(put)
        return operation
    }

    func delete(_ key: [UInt8]) -> EtcdRequestOp {
        var delete = EtcdDeleteRangeRequest()
        delete.key = key
        var operation = EtcdRequestOp()
        operation.request = .requestDeleteRange(delete)
        return operation
    }

    func range(_ key: [UInt8], end: [UInt8] = []) -> EtcdRequestOp {
        var range = EtcdRangeRequest()
        range.key = key
        range.rangeEnd = end
        var operation = EtcdRequestOp()
        operation.request = .requestRange(range)
        return operation
    }
}

extension EtcdTxnResponse {
    /// What the transaction's first operation has read; nil when it was no reading, or there was nothing.
    var found: EtcdKeyValue? {
        guard case .responseRange(let range)? = responses.first?.response else { return nil }
        return range.kvs.first
    }

    /// Everything that its first operation has read.
    var pairs: [EtcdKeyValue] {
        guard case .responseRange(let range)? = responses.first?.response else { return [] }
        return range.kvs
    }
}
