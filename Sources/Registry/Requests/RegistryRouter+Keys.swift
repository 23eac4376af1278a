import HTTP
import Serialization

// `/v1/kv/…` and `/v1/txn`.
extension RegistryRouter {
    func keys(_ request: RegistryRequest, _ moment: RegistryMoment) throws(RegistryError) -> RegistryAnswer {
        var encoded = request.path.dropFirst("kv".count)
        if encoded.first == "/" { encoded = encoded.dropFirst() }
        let key = PercentEncoding.decoded(String(encoded), plusIsSpace: false)
        guard !key.unicodeScalars.contains("\u{FFFD}") || encoded.contains("%EF%BF%BD") else {
            throw .bad("Invalid key name: it is no UTF-8")
        }
        switch request.method {
        case "GET": return try read(request, key)
        case "PUT": return try write(request, key, moment)
        case "DELETE": return try delete(request, key)
        default: throw RegistryError(405, "method \(request.method) not allowed")
        }
    }

    private func read(_ request: RegistryRequest, _ key: String) throws(RegistryError) -> RegistryAnswer {
        if request.has("keys") || request.has("recurse") {
            try request.demand("get", "keys", Self.tree(key))
            let rows = state.keys(prefix: key)
            let isListing = request.has("keys")
            let json =
                isListing
                ? Self.names(rows, key, request.value("separator") ?? "") : .array(rows.map { RegistryState.shown($0) })
            var answer = waitable(json, .keys(prefix: key))
            answer.index = max(answer.index ?? 1, rows.map(\.revision).max() ?? 1)
            if rows.isEmpty {
                answer.status = 404
                answer.body = .text("")
            }
            return answer
        }
        guard !key.isEmpty else { throw .bad("Missing key name") }
        try request.demand("get", "keys", key)
        guard let row = state.row(.keys, key) else {
            var answer = waitable(.null, .key(key), status: 404)
            answer.body = .text("")
            return answer
        }
        var answer = waitable([RegistryState.shown(row)], .key(key))
        answer.index = row.revision
        if request.has("raw") { answer.body = .bytes(Base64.decode(row.text("Value")) ?? []) }
        return answer
    }

    /// A tree is another right than one key: whoever may see all, or the name `PREFIX*`.
    static func tree(_ prefix: String) -> String { prefix.isEmpty ? "" : prefix + "*" }

    private static func names(_ rows: [Row], _ prefix: String, _ separator: String) -> JSON {
        var names: [String] = []
        for row in rows {
            var name = row.text("Key")
            if !separator.isEmpty, let range = name.dropFirst(prefix.count).firstRange(of: separator) {
                name = String(name[..<range.upperBound])
            }
            if names.last != name { names.append(name) }
        }
        return .array(names.map { .string($0) })
    }

    private func write(
        _ request: RegistryRequest, _ key: String, _ moment: RegistryMoment
    ) throws(RegistryError) -> RegistryAnswer {
        guard !key.isEmpty else { throw .bad("Missing key name") }
        let exclusive = ["cas", "acquire", "release"].filter(request.has)
        guard exclusive.count <= 1 else { throw .bad("Conflicting flags: " + exclusive.joined(separator: ", ")) }
        try request.demand("update", "keys", key)
        var write = KeyWrite(key: key, value: request.body)
        write.flags = try request.number("flags") ?? 0
        write.cas = try request.number("cas")
        write.acquire = request.value("acquire")
        write.release = request.value("release")
        for session in [write.acquire, write.release] where session == "" {
            throw .bad("Must provide a session to acquire or release")
        }
        return RegistryAnswer(.bool(try state.write(write, moment)))
    }

    private func delete(_ request: RegistryRequest, _ key: String) throws(RegistryError) -> RegistryAnswer {
        let cas = try request.number("cas")
        if request.has("recurse") {
            guard cas == nil else { throw .bad("Conflicting flags: cas, recurse") }
            try request.demand("delete", "keys", Self.tree(key))
            try state.delete(prefix: key)
            return RegistryAnswer(true)
        }
        guard !key.isEmpty else { throw .bad("Missing key name") }
        try request.demand("delete", "keys", key)
        return RegistryAnswer(.bool(try state.delete(key: key, cas: cas)))
    }

    func transaction(_ request: RegistryRequest, _ moment: RegistryMoment) throws(RegistryError) -> RegistryAnswer {
        try only(request, "PUT")
        let json: JSON
        do throws(JSONError) { json = try JSON.parse(request.body) } catch {
            throw .bad("Failed to parse body: \(error)")
        }
        guard let bodies = json.array else { throw .bad("Failed to parse body: it is no list of operations") }
        guard bodies.count <= state.limits.transactionOperations else {
            state.counters.refuse("transaction_operations")
            throw RegistryError(
                413,
                "Transaction contains too many operations (\(bodies.count) > \(state.limits.transactionOperations))")
        }
        var operations: [KeyOperation] = []
        for body in bodies {
            let operation = try KeyOperation(body)
            let isTree = operation.verb.hasSuffix("-tree")
            let verb = operation.isRead ? "get" : operation.verb.hasPrefix("delete") ? "delete" : "update"
            try request.demand(verb, "keys", isTree ? Self.tree(operation.key) : operation.key)
            operations.append(operation)
        }
        switch try state.transact(operations, moment) {
        case .done(let results): return RegistryAnswer(["Results": .array(results), "Errors": .null])
        case .refused(let problems):
            let errors = problems.map { problem -> JSON in
                ["OpIndex": .integer(Int64(problem.index)), "What": .string(problem.what)]
            }
            return RegistryAnswer(["Results": .null, "Errors": .array(errors)], status: 409)
        }
    }
}
