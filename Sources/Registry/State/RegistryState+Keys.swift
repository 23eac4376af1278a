import Serialization
import Store
import Telemetry

/// What becomes of a key.
struct KeyWrite: Sendable {
    var key: String
    var value: [UInt8] = []
    var flags: Int64 = 0
    /// Only if the key has this index; 0: only if there is none.
    var cas: Int64?
    /// The session that takes the lock.
    var acquire: String?
    /// The session that gives it back.
    var release: String?
}

// Keys and their values.
extension RegistryState {
    /// The keys that begin so, in the order of their bytes.
    func keys(prefix: String) -> [Row] {
        let start = Self.escape(prefix)
        return store.list(Table.keys.resource, namespace: "")
            .filter { $0.key.name.hasPrefix(start) }
            .map(Row.init)
            .sorted { $0.text("Key").utf8.lexicographicallyPrecedes($1.text("Key").utf8) }
    }

    /// A key as clients see it.
    static func shown(_ row: Row, withValue: Bool = true) -> JSON {
        var json = row.indexed
        if json["Value"] == "" || !withValue { json["Value"] = .null }
        if json["Session"] == "" { json["Session"] = nil }
        return json
    }

    /// Writes a key, or takes or gives back its lock; whether it was done.
    func write(_ write: KeyWrite, _ moment: RegistryMoment) throws(RegistryError) -> Bool {
        try check(name: write.key, "the key")
        guard write.value.count <= limits.bodyBytes else {
            counters.largeBodies.add()
            throw Self.tooLarge(write.value.count, limits.bodyBytes)
        }
        let old = row(.keys, write.key)
        if let cas = write.cas, cas != (old?.revision ?? 0) { return false }
        var json: JSON = [
            "Key": .string(write.key), "Value": .string(Base64.encode(write.value)),
            "Flags": .integer(write.flags), "LockIndex": old?.json["LockIndex"] ?? 0,
            "Session": .string(old?.text("Session") ?? ""),
        ]
        let holder = old?.text("Session") ?? ""
        if let id = write.acquire {
            guard row(.sessions, id) != nil else { throw .failed("invalid session \"\(id)\"") }
            guard holder.isEmpty || holder == id else { return false }
            if holder.isEmpty {
                if isDelayed(write.key, moment) { return false }
                let count = old?.json["LockIndex"]?.int ?? 0
                json["LockIndex"] = .integer(Int64(count) &+ 1)
                json["Session"] = .string(id)
            }
        }
        if let id = write.release {
            guard !holder.isEmpty, holder == id else { return false }
            json["Session"] = ""
        }
        try put(.keys, write.key, json)
        return true
    }

    static func tooLarge(_ bytes: Int, _ most: Int) -> RegistryError {
        RegistryError(
            413,
            "Request body(\(bytes) bytes) too large, max size: \(most) bytes. "
                + "See https://www.consul.io/docs/agent/options.html#kv_max_value_size.")
    }

    /// Removes a key, if it has that index; whether it is gone.
    func delete(key: String, cas: Int64?) throws(RegistryError) -> Bool {
        guard let old = row(.keys, key) else { return true }
        if let cas, cas != old.revision { return false }
        try remove(old)
        return true
    }

    /// Removes all keys that begin so, many in a step.
    func delete(prefix: String) throws(RegistryError) {
        var rest = keys(prefix: prefix)[...]
        while !rest.isEmpty {
            let some = rest.prefix(limits.stepWrites)
            rest = rest.dropFirst(some.count)
            try step { () throws(RegistryError) in for row in some { try remove(row) } }
        }
    }

    // MARK: Lock delays

    /// Whether a key may not be locked yet, because the session that held it ended badly.
    func isDelayed(_ key: String, _ moment: RegistryMoment) -> Bool {
        guard let until = row(.delays, key)?.json["until"]?.int else { return false }
        return Int64(until) > moment.milliseconds
    }

    /// Forgets delays that are over; called now and then.
    public func forgetDelays(_ moment: RegistryMoment) throws(RegistryError) {
        for row in rows(.delays).prefix(limits.stepWrites)
        where Int64(row.json["until"]?.int ?? 0) <= moment.milliseconds { try remove(row, .relaxed) }
    }
}
