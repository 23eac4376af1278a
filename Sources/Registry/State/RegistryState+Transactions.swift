import Serialization
import Store

/// One operation of `/v1/txn`.
struct KeyOperation: Sendable {
    var verb: String
    var key: String
    var value: [UInt8] = []
    var flags: Int64 = 0
    var index: Int64 = 0
    var session = ""

    /// Whether it only looks.
    var isRead: Bool { verb.hasPrefix("get") || verb.hasPrefix("check") }

    /// Reads an element of the body.
    init(_ json: JSON) throws(RegistryError) {
        var outer = try Fields(json, "Txn.")
        guard let body = outer.take("KV") else {
            throw .bad("only KV operations are supported in transactions by this registry")
        }
        try outer.end()
        var fields = try Fields(body, "KV.")
        verb = try fields.text("Verb") ?? ""
        key = try fields.text("Key") ?? ""
        if let text = try fields.text("Value") {
            guard let bytes = Base64.decode(text) else { throw .bad("Failed to parse body: illegal base64 data") }
            value = bytes
        }
        flags = Int64(try fields.number("Flags", in: 0...Int.max) ?? 0)
        index = Int64(try fields.number("Index", in: 0...Int.max) ?? 0)
        session = try fields.text("Session") ?? ""
        try fields.refuse("Namespace", "Partition")
        try fields.end()
    }
}

/// What a transaction came to.
enum TransactionOutcome {
    /// What each operation brings.
    case done([JSON])
    /// Nothing was changed: why, by the place of the operation.
    case refused([(index: Int, what: String)])
}

extension RegistryState {
    /// Does all operations, or none.
    func transact(_ operations: [KeyOperation], _ moment: RegistryMoment) throws(RegistryError) -> TransactionOutcome {
        var results: [(json: JSON?, key: String)] = []
        var problems: [(index: Int, what: String)] = []
        do throws(RegistryError) {
            try step { () throws(RegistryError) in
                for (number, operation) in operations.enumerated() {
                    do throws(RegistryError) { results += try perform(operation, moment) } catch {
                        problems.append((number, error.text))
                    }
                }
                if !problems.isEmpty { throw RegistryError(409, "") }
            }
        } catch {
            if problems.isEmpty { throw error }
            return .refused(problems)
        }
        return .done(results.map { result in ["KV": result.json ?? shownWithoutValue(result.key)] })
    }

    private func shownWithoutValue(_ key: String) -> JSON {
        row(.keys, key).map { Self.shown($0, withValue: false) } ?? .null
    }

    /// One operation; what it brings: a row as it is, or the key whose row is told when all is done.
    private func perform(
        _ operation: KeyOperation, _ moment: RegistryMoment
    ) throws(RegistryError) -> [(json: JSON?, key: String)] {
        var write = KeyWrite(key: operation.key, value: operation.value, flags: operation.flags)
        let now = row(.keys, operation.key)
        func must(_ isDone: Bool, _ why: String) throws(RegistryError) {
            guard isDone else { throw .failed(why) }
        }
        let stale = "failed to set key \"\(operation.key)\", index is stale"
        guard !operation.key.isEmpty || ["get-tree", "delete-tree"].contains(operation.verb) else {
            throw .failed("Must provide key")
        }
        switch operation.verb {
        case "set": _ = try self.write(write, moment)
        case "cas":
            write.cas = operation.index
            try must(try self.write(write, moment), stale)
        case "lock":
            write.acquire = operation.session
            try must(
                try self.write(write, moment),
                "failed to lock key \"\(operation.key)\", lock is already held")
        case "unlock":
            write.release = operation.session
            try must(
                try self.write(write, moment),
                "failed to unlock key \"\(operation.key)\", lock isn't held, or is held by another session")
        case "get":
            guard let now else { throw .failed("key \"\(operation.key)\" doesn't exist") }
            return [(Self.shown(now), operation.key)]
        case "get-or-empty":
            guard let now else { return [(["Key": .string(operation.key), "Value": .null], operation.key)] }
            return [(Self.shown(now), operation.key)]
        case "get-tree": return keys(prefix: operation.key).map { (Self.shown($0), "") }
        case "check-index":
            guard let now else { throw .failed("key \"\(operation.key)\" doesn't exist") }
            try must(
                now.revision == operation.index, "current modify index \(now.revision) doesn't match \(operation.index)"
            )
        case "check-session":
            guard let now else { throw .failed("key \"\(operation.key)\" doesn't exist") }
            let holder = now.text("Session")
            try must(
                holder == operation.session, "current session \"\(holder)\" doesn't match \"\(operation.session)\"")
        case "check-not-exists": try must(now == nil, "key \"\(operation.key)\" exists")
        case "delete":
            _ = try delete(key: operation.key, cas: nil)
            return []
        case "delete-cas":
            try must(
                try delete(key: operation.key, cas: operation.index),
                "failed to delete key \"\(operation.key)\", index is stale")
            return []
        case "delete-tree":
            let found = keys(prefix: operation.key)
            guard found.count <= limits.stepWrites / 2 else {
                throw .failed(
                    "delete-tree of \(found.count) keys: \(limits.stepWrites / 2) is the most in a transaction")
            }
            for row in found { try remove(row) }
            return []
        default: throw .failed("unknown KV verb \"\(operation.verb)\"")
        }
        return [(nil, operation.key)]
    }
}
