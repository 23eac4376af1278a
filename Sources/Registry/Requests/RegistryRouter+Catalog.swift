import Serialization

// `/v1/catalog/…` and `/v1/health/…`.
extension RegistryRouter {
    func catalog(
        _ request: RegistryRequest, _ parts: [String], _ moment: RegistryMoment
    ) throws(RegistryError) -> RegistryAnswer {
        let name = parts.dropFirst().joined(separator: "/")
        switch parts.first {
        case "register":
            try only(request, "PUT")
            var fields = try Fields(body: request.body)
            try request.demand("update", "registrations")
            try state.registerInCatalog(&fields, moment)
            return RegistryAnswer(true)
        case "deregister": return try deregister(request, moment)
        case "datacenters":
            try look(request)
            return RegistryAnswer([.string(state.settings.datacenter)])
        case "nodes":
            try look(request)
            var rows: [Row] = []
            for row in state.rows(.nodes) where try hasMeta(row, request) { rows.append(row) }
            return waitable(.array(rows.map(\.indexed)), .nodes)
        case "services":
            try look(request)
            var tags: [String: Set<String>] = [:]
            for row in try onNodes(state.rows(.services), request) {
                tags[row.text("Service"), default: []].formUnion((row.json["Tags"]?.array ?? []).compactMap(\.string))
            }
            return waitable(.object(tags.mapValues { .array($0.sorted().map { .string($0) }) }), .services)
        case "service":
            try look(request)
            guard !name.isEmpty else { throw .bad("Missing service name") }
            let rows = try onNodes(tagged(state.instances(of: name), request), request)
            return waitable(.array(rows.map { catalogService($0) }), .service(name))
        case "node", "node-services":
            try look(request)
            guard !name.isEmpty else { throw .bad("Missing node name") }
            guard let node = state.row(.nodes, name) else { return waitable(.null, .node(name)) }
            let services = state.rows(.services, of: name)
            let shown: JSON =
                parts.first == "node"
                ? .object(
                    Dictionary(services.map { ($0.text("ID"), service($0)) }, uniquingKeysWith: { first, _ in first }))
                : .array(services.map { service($0) })
            return waitable(["Node": node.indexed, "Services": shown], .node(name))
        default: throw RegistryError(404, "404 page not found")
        }
    }

    private func look(_ request: RegistryRequest) throws(RegistryError) {
        try only(request, "GET")
        try request.demand("get", "registrations")
    }

    private func deregister(
        _ request: RegistryRequest, _ moment: RegistryMoment
    ) throws(RegistryError) -> RegistryAnswer {
        try only(request, "PUT")
        var fields = try Fields(body: request.body)
        guard let node = try fields.text("Node"), !node.isEmpty else { throw .bad("Must provide node") }
        try state.onlyHere(try fields.text("Datacenter"))
        let (service, check) = (try fields.text("ServiceID") ?? "", try fields.text("CheckID") ?? "")
        _ = try fields.text("Address")
        try fields.refuse("Namespace", "Partition")
        try fields.end()
        try request.demand("delete", "registrations")
        if !service.isEmpty {
            try state.deregister(service: service, node: node, moment)
        } else if !check.isEmpty {
            if let row = state.row(.checks, node, check) { try state.removeCheck(row, moment) }
        } else {
            try state.deregister(node: node, moment)
        }
        return RegistryAnswer(true)
    }

    // MARK: Choosing

    /// Whether a node has all metadata that the query asks for.
    private func hasMeta(_ node: Row, _ request: RegistryRequest) throws(RegistryError) -> Bool {
        for text in request.values("node-meta") {
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { throw .bad("?node-meta is KEY:VALUE") }
            guard node.json["Meta"]?[String(parts[0])]?.string == String(parts[1]) else { return false }
        }
        return true
    }

    private func onNodes(_ rows: [Row], _ request: RegistryRequest) throws(RegistryError) -> [Row] {
        guard request.has("node-meta") else { return rows }
        var chosen: [Row] = []
        for row in rows {
            if let node = state.row(.nodes, row.text("Node")), try hasMeta(node, request) { chosen.append(row) }
        }
        return chosen
    }

    /// Those that have all tags that the query asks for; Consul compares them without regard to case.
    private func tagged(_ rows: [Row], _ request: RegistryRequest) -> [Row] {
        let wanted = request.values("tag").map { $0.lowercased() }
        guard !wanted.isEmpty else { return rows }
        return rows.filter { row in
            let tags = Set((row.json["Tags"]?.array ?? []).compactMap { $0.string?.lowercased() })
            return wanted.allSatisfy(tags.contains)
        }
    }

    // MARK: Shown

    private func service(_ row: Row) -> JSON {
        var json = row.indexed
        json["Node"] = nil
        return json
    }

    private func catalogService(_ row: Row) -> JSON {
        let node = state.row(.nodes, row.text("Node"))
        func of(_ name: String, _ fallback: JSON) -> JSON { node?.json[name] ?? fallback }
        return [
            "ID": of("ID", ""), "Node": .string(row.text("Node")), "Address": of("Address", ""),
            "Datacenter": .string(state.settings.datacenter), "TaggedAddresses": of("TaggedAddresses", [:]),
            "NodeMeta": of("Meta", [:]), "ServiceKind": "", "ServiceID": .string(row.text("ID")),
            "ServiceName": .string(row.text("Service")), "ServiceTags": row.json["Tags"] ?? [],
            "ServiceAddress": .string(row.text("Address")),
            "ServiceTaggedAddresses": row.json["TaggedAddresses"] ?? [:],
            "ServiceWeights": row.json["Weights"] ?? [:], "ServiceMeta": row.json["Meta"] ?? [:],
            "ServicePort": row.json["Port"] ?? 0,
            "ServiceEnableTagOverride": row.json["EnableTagOverride"] ?? false,
            "CreateIndex": row.json["CreateIndex"] ?? 0, "ModifyIndex": .integer(row.revision),
        ]
    }

    // MARK: Health

    func health(_ request: RegistryRequest, _ parts: [String]) throws(RegistryError) -> RegistryAnswer {
        try look(request)
        let name = parts.dropFirst().joined(separator: "/")
        switch parts.first {
        case "service":
            guard !name.isEmpty else { throw .bad("Missing service name") }
            return try healthOfService(request, name)
        case "checks":
            guard !name.isEmpty else { throw .bad("Missing service name") }
            let rows = try onNodes(state.rows(.checks).filter { $0.text("ServiceName") == name }, request)
            return waitable(.array(rows.map { check($0) }), .service(name))
        case "node":
            guard !name.isEmpty else { throw .bad("Missing node name") }
            return waitable(.array(state.rows(.checks, of: name).map { check($0) }), .node(name))
        case "state":
            guard name == "any" || CheckDefinition.states.contains(name) else { throw .bad("Missing check state") }
            let rows = try onNodes(
                state.rows(.checks).filter { name == "any" || $0.text("Status") == name }, request)
            return waitable(.array(rows.map { check($0) }), .checks)
        default: throw RegistryError(404, "404 page not found")
        }
    }

    private func healthOfService(_ request: RegistryRequest, _ name: String) throws(RegistryError) -> RegistryAnswer {
        let onlyPassing = try request.flag("passing")
        let rows = try onNodes(tagged(state.instances(of: name), request), request)
        // The checks of a node are looked at once, however many instances it has.
        var checks: [String: [String: [Row]]] = [:]
        for node in Set(rows.map { $0.text("Node") }) {
            checks[node] = Dictionary(grouping: state.rows(.checks, of: node)) { $0.text("ServiceID") }
        }
        var shown: [JSON] = []
        for row in rows {
            let node = row.text("Node")
            let own = (checks[node]?[""] ?? []) + (checks[node]?[row.text("ID")] ?? [])
            if onlyPassing, RegistryState.worst(own) != "passing" { continue }
            shown.append([
                "Node": state.row(.nodes, node)?.indexed ?? .null, "Service": service(row),
                "Checks": .array(own.map { check($0) }),
            ])
        }
        return waitable(.array(shown), .service(name))
    }
}
