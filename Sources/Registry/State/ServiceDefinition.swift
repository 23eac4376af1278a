import Serialization

/// An instance of a service as somebody registers it.
struct ServiceDefinition: Sendable {
    var id: String
    var name: String
    var tags: [String] = []
    var meta: [String: String] = [:]
    var address = ""
    var port = 0
    var taggedAddresses: JSON = [:]
    /// Of a passing and of a warning instance.
    var weights = (passing: 1, warning: 1)
    var enableTagOverride = false
    var checks: [CheckDefinition] = []

    /// Reads a body.
    ///
    /// - Parameter nameMember: `Name` at the agent, `Service` in the catalog.
    init(_ fields: inout Fields, nameMember: String, allowsScripts: Bool) throws(RegistryError) {
        guard let name = try fields.text(nameMember), !name.isEmpty else { throw .bad("Missing service name") }
        self.name = name
        let id = try fields.text("ID") ?? ""
        self.id = id.isEmpty ? name : id
        tags = try fields.texts("Tags") ?? []
        meta = try fields.map("Meta") ?? [:]
        address = try fields.text("Address") ?? ""
        port = try fields.number("Port", in: 0...65_535) ?? 0
        enableTagOverride = try fields.flag("EnableTagOverride") ?? false
        if let json = fields.take("TaggedAddresses") {
            guard let object = json.object, object.values.allSatisfy({ $0["Address"]?.string != nil }) else {
                throw .bad("Request decode failed: TaggedAddresses must be an object of objects with Address and Port")
            }
            taggedAddresses = json
        }
        if let json = fields.take("Weights") {
            var own = try Fields(json, "Weights.")
            weights.passing = try own.number("Passing", in: 1...65_535) ?? 1
            weights.warning = try own.number("Warning", in: 0...65_535) ?? 1
            try own.end()
        }
        let kind = try fields.text("Kind") ?? ""
        guard kind.isEmpty || kind == "typical" else {
            throw .bad("Kind \(kind) is not supported by this registry: proxies and gateways are Skein's own")
        }
        try fields.refuse("Connect", "Proxy", "SocketPath", "Ports", "Locality", "Token", "Namespace", "Partition")
        try MetaRules.check(meta, "service")
        guard address != "0.0.0.0", address != "::" else { throw .bad("Invalid service address") }
        if nameMember == "Name" {
            var bodies: [JSON] = []
            if let one = fields.take("Check") { bodies.append(one) }
            if let more = fields.take("Checks") {
                guard let array = more.array else { throw .bad("Request decode failed: Checks must be a list") }
                bodies += array
            }
            for body in bodies {
                var own = try Fields(body, "Check.")
                // The client sends an empty one where there is none.
                if body == [:] { continue }
                checks.append(try CheckDefinition(&own, allowsScripts: allowsScripts, ofService: true))
                try own.end()
            }
        }
    }

    /// As it is stored.
    func json(node: String) -> JSON {
        [
            "Node": .string(node), "ID": .string(id), "Service": .string(name),
            "Tags": .array(tags.map { .string($0) }), "Meta": .object(meta.mapValues { .string($0) }),
            "Port": .integer(Int64(port)), "Address": .string(address), "TaggedAddresses": taggedAddresses,
            "Weights": ["Passing": .integer(Int64(weights.passing)), "Warning": .integer(Int64(weights.warning))],
            "EnableTagOverride": .bool(enableTagOverride),
        ]
    }
}

/// Consul's rules for metadata.
enum MetaRules {
    static func check(_ meta: [String: String], _ what: String) throws(RegistryError) {
        guard meta.count <= 64 else {
            throw .bad("Invalid \(what) meta: Node metadata cannot contain more than 64 key/value pairs")
        }
        for (key, value) in meta.sorted(by: { $0.key < $1.key }) {
            let isName = key.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x2D
                    || $0 == 0x5F
            }
            guard !key.isEmpty, isName else {
                throw .bad(
                    "Invalid \(what) meta: Couldn't load metadata pair ('\(key)', '\(value)'): Key contains invalid characters"
                )
            }
            guard key.utf8.count <= 128 else {
                throw .bad("Invalid \(what) meta: Couldn't load metadata pair: Key is too long (limit: 128 characters)")
            }
            guard value.utf8.count <= 512 else {
                throw .bad(
                    "Invalid \(what) meta: Couldn't load metadata pair: Value is too long (limit: 512 characters)")
            }
        }
    }
}
