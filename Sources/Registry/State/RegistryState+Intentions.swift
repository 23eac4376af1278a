import Serialization
import Store

/// Who may call whom, in Consul's words.
struct Intention: Sendable, Hashable {
    var source: String
    var sourceNamespace = "default"
    var destination: String
    var destinationNamespace = "default"
    var isAllowed: Bool
    var description = ""
    var meta: [String: String] = [:]

    /// Everybody, or everything.
    static let any = "*"

    /// What tells it from others: who and whom.
    var name: String { "\(destinationNamespace)/\(destination)/\(sourceNamespace)/\(source)" }

    /// Consul's figure: destinations count for more than sources.
    var precedence: Int {
        switch (destination == Self.any, source == Self.any) {
        case (false, false): 9
        case (false, true): 8
        case (true, false): 6
        case (true, true): 5
        }
    }

    /// An intention.
    init(source: String, destination: String, isAllowed: Bool) {
        self.source = source
        self.destination = destination
        self.isAllowed = isAllowed
    }

    /// Reads a body; what it does not say is as in `old`.
    init(_ body: [UInt8], old: Intention? = nil, source: String = "", destination: String = "") throws(RegistryError) {
        var fields = try Fields(body: body)
        func name(_ member: String, _ fallback: String) throws(RegistryError) -> String {
            let text = try fields.text(member) ?? ""
            return text.isEmpty ? fallback : text
        }
        self.source = try name("SourceName", source.isEmpty ? old?.source ?? "" : source)
        self.destination = try name("DestinationName", destination.isEmpty ? old?.destination ?? "" : destination)
        sourceNamespace = try name("SourceNS", old?.sourceNamespace ?? "default")
        destinationNamespace = try name("DestinationNS", old?.destinationNamespace ?? "default")
        description = try fields.text("Description") ?? old?.description ?? ""
        meta = try fields.map("Meta") ?? old?.meta ?? [:]
        let type = try fields.text("SourceType") ?? ""
        guard type.isEmpty || type == "consul" else { throw .bad("SourceType must be set to 'consul'") }
        let action = try name("Action", old.map { $0.isAllowed ? "allow" : "deny" } ?? "")
        guard action == "allow" || action == "deny" else { throw .bad("Action must be set to 'allow' or 'deny'") }
        isAllowed = action == "allow"
        if fields.has("Permissions") {
            throw .bad("Permissions are not supported by this registry: write an AuthorizationPolicy")
        }
        for member in ["ID", "Precedence", "CreatedAt", "UpdatedAt", "CreateIndex", "ModifyIndex", "Hash"] {
            _ = fields.take(member)
        }
        try fields.refuse("SourcePartition", "DestinationPartition", "SourcePeer", "Permissions", "DefaultAddr")
        try fields.end()
        try check()
    }

    /// Reads what `json` wrote.
    init(stored json: JSON) {
        source = json["SourceName"]?.string ?? ""
        destination = json["DestinationName"]?.string ?? ""
        sourceNamespace = json["SourceNS"]?.string ?? "default"
        destinationNamespace = json["DestinationNS"]?.string ?? "default"
        isAllowed = json["Action"] == "allow"
        description = json["Description"]?.string ?? ""
        meta = (json["Meta"]?.object ?? [:]).compactMapValues(\.string)
    }

    private func check() throws(RegistryError) {
        guard !source.isEmpty else { throw .bad("SourceName must be set") }
        guard !destination.isEmpty else { throw .bad("DestinationName must be set") }
        for (name, member) in [
            (source, "SourceName"), (destination, "DestinationName"), (sourceNamespace, "SourceNS"),
            (destinationNamespace, "DestinationNS"),
        ] {
            if name == Self.any, member.hasSuffix("Name") { continue }
            guard DNSLabel.isValid(name) else {
                throw .bad("\(member): '\(name)' is neither '*' nor a name that a workload of the mesh can have")
            }
        }
        try MetaRules.check(meta, "intention")
    }

    /// As it is stored, but for its identifier.
    func json(id: String, created: String, updated: String) -> JSON {
        [
            "ID": .string(id), "Description": .string(description), "SourceNS": .string(sourceNamespace),
            "SourceName": .string(source), "DestinationNS": .string(destinationNamespace),
            "DestinationName": .string(destination), "SourceType": "consul",
            "Action": isAllowed ? "allow" : "deny", "Meta": .object(meta.mapValues { .string($0) }),
            "Precedence": .integer(Int64(precedence)), "CreatedAt": .string(created), "UpdatedAt": .string(updated),
        ]
    }
}

/// What a label of a DNS name, and so a name of a Kubernetes object, may be.
enum DNSLabel {
    static func isValid(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard (1...63).contains(bytes.count), bytes.first != 0x2D, bytes.last != 0x2D else { return false }
        return bytes.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x2D }
    }
}

// Intentions.
extension RegistryState {
    /// All of them, those that count for more first.
    var intentions: [Row] {
        rows(.intentions).sorted {
            let (left, right) = ($0.json["Precedence"]?.int ?? 0, $1.json["Precedence"]?.int ?? 0)
            return left == right ? $0.key < $1.key : left > right
        }
    }

    /// The one with that identifier.
    func intention(id: String) throws(RegistryError) -> Row {
        guard let row = rows(.intentions).first(where: { $0.text("ID") == id }) else {
            throw RegistryError(404, "Intention not found")
        }
        return row
    }

    /// Writes an intention; its identifier.
    ///
    /// - Parameter mustBeNew: whether one between the two is refused.
    func write(
        _ intention: Intention, replacing old: Row? = nil, mustBeNew: Bool, _ moment: RegistryMoment
    ) throws(RegistryError) -> String {
        let present = row(.intentions, intention.name)
        if mustBeNew, present != nil { throw .failed("duplicate intention found: \(intention.name)") }
        let now = Timestamp(seconds: moment.milliseconds / 1000).secondsText
        let known = old ?? present
        let id = known?.text("ID") ?? UUIDText.version4(moment.random)
        try step { () throws(RegistryError) in
            if let old, old.key != key(.intentions, "", intention.name) {
                if present != nil { throw RegistryError.failed("duplicate intention found: \(intention.name)") }
                try remove(old)
            }
            try put(
                .intentions, intention.name,
                intention.json(id: id, created: known?.text("CreatedAt") ?? now, updated: now))
        }
        return id
    }

    /// Whether a call is allowed: the intention that counts for most decides; without one it is.
    func allows(source: Intention.Party, destination: Intention.Party) -> Bool {
        for row in intentions {
            let intention = Intention(stored: row.json)
            if intention.matches(source: source, destination: destination) { return intention.isAllowed }
        }
        return true
    }
}

extension Intention {
    /// A service: `web` or `namespace/web`.
    struct Party: Sendable, Hashable {
        var namespace = "default"
        var name: String

        init(_ text: String) {
            let parts = text.split(separator: "/", maxSplits: 1)
            name = parts.last.map(String.init) ?? ""
            if parts.count > 1, let first = parts.first { namespace = String(first) }
        }
    }

    /// Whether it is about such a call.
    func matches(source: Party, destination: Party) -> Bool {
        let isSource = self.source == Self.any || self.source == source.name && sourceNamespace == source.namespace
        let isDestination = self.destination == Self.any || self.destination == destination.name
        return isSource && isDestination && destinationNamespace == destination.namespace
    }
}
