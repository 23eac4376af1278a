import Serialization
import Store
import Telemetry

/// A session as somebody asks for it.
struct SessionDefinition: Sendable {
    var name = ""
    var node = ""
    var checks: [String] = [RegistryState.nodeHealth]
    /// Milliseconds for which keys cannot be locked again when it ends badly.
    var lockDelay: Int64 = 15_000
    /// Whether its keys are removed, not only given back.
    var deletes = false
    /// Milliseconds after which it ends when nobody renews it; 0: never.
    var ttl: Int64 = 0
    /// The time as it was written.
    var ttlText = ""

    /// The bounds of times: Consul's.
    static let ttlRange: ClosedRange<Int64> = 10_000...86_400_000
    static let lockDelayMax: Int64 = 60_000

    /// Reads a body; an empty one is a session with everything as usual.
    init(_ body: [UInt8], _ state: RegistryState) throws(RegistryError) {
        node = state.settings.node
        guard !body.isEmpty else { return }
        var fields = try Fields(body: body)
        name = try fields.text("Name") ?? ""
        let place = try fields.text("Node") ?? ""
        if !place.isEmpty { node = place }
        let (old, nodeChecks) = (try fields.texts("Checks"), try fields.texts("NodeChecks"))
        if let named = old ?? nodeChecks { checks = named }
        if let json = fields.take("ServiceChecks") {
            guard let items = json.array else { throw .bad("Request decode failed: ServiceChecks must be a list") }
            for item in items {
                guard let id = item["ID"]?.string else { throw .bad("Request decode failed: ServiceChecks need an ID") }
                checks.append(id)
            }
        }
        if let json = fields.take("LockDelay") {
            if let number = json.int {
                guard number >= 0 else { throw .bad("Request decode failed: LockDelay must not be negative") }
                // Small numbers are seconds, large ones Go's nanoseconds.
                lockDelay = number < 1000 ? Int64(number) * 1000 : Int64(number) / 1_000_000
            } else {
                guard let time = json.string.flatMap({ GoDuration.milliseconds($0) }) else {
                    throw .bad("Request decode failed: time: invalid duration \"\(json.string ?? json.text)\"")
                }
                lockDelay = time
            }
            lockDelay = min(max(lockDelay, 0), Self.lockDelayMax)
        }
        if let behavior = try fields.text("Behavior"), !behavior.isEmpty {
            guard ["release", "delete"].contains(behavior) else {
                throw .failed("Invalid Behavior setting '\(behavior)'")
            }
            deletes = behavior == "delete"
        }
        if let text = try fields.text("TTL"), !text.isEmpty {
            guard let time = GoDuration.milliseconds(text) else {
                throw .failed("Session TTL '\(text)' invalid: time: invalid duration \"\(text)\"")
            }
            guard time == 0 || Self.ttlRange.contains(time) else {
                throw .failed("Invalid Session TTL '\(time * 1_000_000)', must be between [10s=24h0m0s]")
            }
            ttl = time
            ttlText = text
        }
        try state.onlyHere(try fields.text("Datacenter"))
        try fields.refuse("Namespace", "Partition", "ID")
        try fields.end()
    }
}

// Sessions: what locks are held by.
extension RegistryState {
    /// A session as clients see it.
    static func shown(session row: Row) -> JSON {
        var json = row.indexed
        for name in ["expires", "ttl"] { json[name] = nil }
        json["LockDelay"] = .integer(Int64(row.json["LockDelay"]?.int ?? 0) * 1_000_000)
        return json
    }

    /// Makes a session; its identifier.
    func create(_ session: SessionDefinition, _ moment: RegistryMoment) throws(RegistryError) -> String {
        try check(name: session.name, "the session's name")
        if session.node == settings.node { try registerSelf(moment) }
        guard row(.nodes, session.node) != nil else { throw .failed("Missing node registration") }
        guard session.checks.count <= 64 else { throw .bad("a session rests on at most 64 checks") }
        // Nodes of the catalog have no serfHealth unless somebody has registered one.
        var rests: [String] = []
        for id in session.checks {
            guard let check = row(.checks, session.node, id) else {
                if id == Self.nodeHealth { continue }
                throw .failed("Missing check '\(id)' registration")
            }
            guard check.text("Status") != "critical" else { throw .failed("Check '\(id)' is in critical state") }
            rests.append(id)
        }
        let id = UUIDText.version4(moment.random)
        let checks = JSON.array(rests.map { .string($0) })
        try put(
            .sessions, id,
            [
                "ID": .string(id), "Name": .string(session.name), "Node": .string(session.node), "Checks": checks,
                "NodeChecks": checks, "ServiceChecks": .null, "LockDelay": .integer(session.lockDelay),
                "Behavior": session.deletes ? "delete" : "release", "TTL": .string(session.ttlText),
                "ttl": .integer(session.ttl), "expires": .integer(moment.milliseconds + session.ttl),
            ])
        return id
    }

    /// Sets the clock of a session back.
    func renew(_ id: String, _ moment: RegistryMoment) throws(RegistryError) -> Row {
        guard let old = row(.sessions, id) else { throw RegistryError(404, "Session id '\(id)' not found") }
        guard let ttl = old.json["ttl"]?.int, ttl > 0 else { return old }
        var json = old.json
        json["expires"] = .integer(moment.milliseconds + Int64(ttl))
        try put(.sessions, id, json)
        return row(.sessions, id) ?? old
    }

    /// Ends a session by itself or from outside: its keys are given back or removed, and cannot be locked again for a while.
    func end(_ session: Row, _ moment: RegistryMoment) throws(RegistryError) {
        let id = session.text("ID")
        let held = rows(.keys).filter { $0.text("Session") == id }
        let deletes = session.text("Behavior") == "delete"
        let delay = Int64(session.json["LockDelay"]?.int ?? 0)
        try inSteps(held) { (row) throws(RegistryError) in
            let key = row.text("Key")
            if deletes {
                try remove(row)
            } else {
                var json = row.json
                json["Session"] = ""
                try put(.keys, key, json)
            }
            if delay > 0 {
                try put(.delays, key, ["Key": .string(key), "until": .integer(moment.milliseconds + delay)])
            }
        }
        try remove(session)
    }

    /// Does something with rows, few enough in a step.
    func inSteps(_ rows: [Row], _ body: (Row) throws(RegistryError) -> Void) throws(RegistryError) {
        var rest = rows[...]
        while !rest.isEmpty {
            // Each may write twice.
            let some = rest.prefix(limits.stepWrites / 2)
            rest = rest.dropFirst(some.count)
            try step { () throws(RegistryError) in for row in some { try body(row) } }
        }
    }

    /// Ends the sessions whose node is gone, or of whose checks one is gone or critical.
    ///
    /// Called after each change that may do that, and now and then for what was left when a server ended in between.
    public func endBroken(_ moment: RegistryMoment) throws(RegistryError) {
        for session in rows(.sessions) {
            let node = session.text("Node")
            let isWhole = (session.json["Checks"]?.array ?? []).allSatisfy { check in
                row(.checks, node, check.string ?? "").map { $0.text("Status") != "critical" } ?? false
            }
            if isWhole, row(.nodes, node) != nil { continue }
            try end(session, moment)
            counters.endedSessions.add()
        }
    }

    /// Ends the sessions that nobody has renewed.
    ///
    /// - Parameter since: from when on somebody has been there to take renewals (milliseconds since 1970): who could not renew before
    ///   gets his whole time from there.
    public func endExpired(since: Int64, _ moment: RegistryMoment) throws(RegistryError) {
        for session in rows(.sessions) {
            guard let ttl = session.json["ttl"]?.int, ttl > 0, let expires = session.json["expires"]?.int else {
                continue
            }
            guard max(Int64(expires), since + Int64(ttl)) <= moment.milliseconds else { continue }
            try end(session, moment)
            counters.endedSessions.add()
        }
    }
}
