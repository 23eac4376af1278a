import Serialization
import Store

/// Consul's names for what keeps an instance out of service.
enum Maintenance {
    static let node = "_node_maintenance"
    static func service(_ id: String) -> String { "_service_maintenance:\(id)" }
    static let noReason =
        "Maintenance mode is enabled for this %, but no reason was provided. This is a default message."
}

// Nodes, services and checks.
extension RegistryState {
    /// The check that every node of ours has: in Consul, that its neighbours see it.
    static let nodeHealth = "serfHealth"

    /// Makes sure that this machine is a node.
    public func registerSelf(_ moment: RegistryMoment) throws(RegistryError) {
        try put(.nodes, settings.node, node(settings.node, settings.address, meta: [:], tagged: [:], moment))
        if row(.checks, settings.node, Self.nodeHealth) == nil {
            var health = CheckDefinition()
            health.id = Self.nodeHealth
            health.name = "Serf Health Status"
            health.status = "passing"
            try put(check: health, node: settings.node, output: "Agent alive and reachable", moment)
        }
    }

    private func node(
        _ name: String, _ address: String, id wanted: String = "", meta: [String: String], tagged: JSON,
        _ moment: RegistryMoment
    ) -> JSON {
        let id = wanted.isEmpty ? row(.nodes, name)?.text("ID") ?? "" : wanted
        return [
            "ID": .string(id.isEmpty ? UUIDText.version4(moment.random) : id), "Node": .string(name),
            "Address": .string(address), "Datacenter": .string(settings.datacenter), "TaggedAddresses": tagged,
            "Meta": .object(meta.mapValues { .string($0) }),
        ]
    }

    // MARK: The agent of this machine

    /// Registers an instance at this machine, with its checks; checks of an earlier registration that are gone are removed.
    func register(
        _ service: ServiceDefinition, replacesChecks: Bool, _ moment: RegistryMoment
    ) throws(RegistryError) {
        try check(name: service.name, "the service's name")
        try check(name: service.id, "the service's ID")
        guard service.checks.count < 32 else { throw .bad("a service has at most 31 checks") }
        try step { () throws(RegistryError) in
            try registerSelf(moment)
            try put(.services, settings.node, service.id, service.json(node: settings.node))
            var kept: Set<String> = [Maintenance.service(service.id)]
            for (number, definition) in service.checks.enumerated() {
                var check = definition
                if check.id.isEmpty {
                    check.id = "service:\(service.id)" + (service.checks.count > 1 ? ":\(number + 1)" : "")
                }
                if check.name.isEmpty { check.name = "Service '\(service.name)' check" }
                check.serviceID = service.id
                kept.insert(check.id)
                try put(check: check, node: settings.node, output: "", moment, keepsState: true)
            }
            for old in checks(node: settings.node, service: service.id)
            where replacesChecks && !kept.contains(old.text("CheckID")) {
                try remove(old)
            }
        }
        try endBroken(moment)
    }

    /// Writes a check; one that is there keeps its state, if it is asked to.
    func put(
        check: CheckDefinition, node: String, output: String, _ moment: RegistryMoment, keepsState: Bool = false,
        durability: Durability = .synced
    ) throws(RegistryError) {
        try self.check(name: check.id, "the check's ID")
        var json: JSON = [
            "Node": .string(node), "CheckID": .string(check.id), "Name": .string(check.name),
            "Status": .string(check.status), "Notes": .string(check.notes), "Output": .string(output),
            "ServiceID": .string(check.serviceID), "ServiceName": "", "Type": .string(check.type),
            "Interval": .string(check.interval > 0 ? GoDuration.text(check.interval) : ""),
            "Timeout": .string(check.timeout > 0 ? GoDuration.text(check.timeout) : ""), "how": check.json,
        ]
        if !check.serviceID.isEmpty {
            guard let service = row(.services, node, check.serviceID) else {
                throw RegistryError(404, "ServiceID \"\(check.serviceID)\" does not exist")
            }
            json["ServiceName"] = .string(service.text("Service"))
        }
        if keepsState, let old = row(.checks, node, check.id), old.json["how"] == check.json {
            json["Status"] = old.json["Status"]
            json["Output"] = old.json["Output"]
            json["criticalSince"] = old.json["criticalSince"]
        } else if check.status == "critical" {
            json["criticalSince"] = .integer(moment.milliseconds)
        }
        try put(.checks, node, check.id, json, durability)
    }

    /// The state of a check, and what was seen.
    func set(
        _ row: Row, status: String, output: String, _ moment: RegistryMoment
    ) throws(RegistryError) {
        var json = row.json
        let most = row.json["how"]?["output"]?.int ?? 0
        json["Status"] = .string(status)
        json["Output"] = .string(cut(output, to: most > 0 ? most : limits.outputBytes))
        if status != "critical" {
            json["criticalSince"] = nil
        } else if json["criticalSince"] == nil {
            json["criticalSince"] = .integer(moment.milliseconds)
        }
        let hasChanged = row.text("Status") != status
        try put(.checks, row.text("Node"), row.text("CheckID"), json, hasChanged ? .synced : .relaxed)
        if status == "critical", hasChanged { try endBroken(moment) }
    }

    private func cut(_ text: String, to bytes: Int) -> String {
        guard text.utf8.count > bytes else { return text }
        return "Captured \(bytes) of \(text.utf8.count) bytes\n...\n"
            + String(decoding: text.utf8.suffix(bytes), as: UTF8.self)
    }

    /// The checks of an instance.
    func checks(node: String, service: String) -> [Row] {
        rows(.checks, of: node).filter { $0.text("ServiceID") == service }
    }

    /// Removes an instance with its checks; sessions that rest on one of them end.
    func deregister(service id: String, node: String, _ moment: RegistryMoment) throws(RegistryError) {
        guard let service = row(.services, node, id) else { return }
        try inSteps([service] + checks(node: node, service: id)) { (row) throws(RegistryError) in try remove(row) }
        try endBroken(moment)
    }

    /// Removes a check; sessions that rest on it end.
    func removeCheck(_ row: Row, _ moment: RegistryMoment) throws(RegistryError) {
        try remove(row)
        try endBroken(moment)
    }

    /// Removes a node with all that is on it.
    func deregister(node: String, _ moment: RegistryMoment) throws(RegistryError) {
        let all = rows(.services, of: node) + rows(.checks, of: node) + [row(.nodes, node)].compactMap { $0 }
        try inSteps(all) { (row) throws(RegistryError) in try remove(row) }
        try endBroken(moment)
    }

    /// Keeps an instance, or the node (`service` nil), out of service, or takes it back.
    func maintain(
        service id: String?, _ isOn: Bool, reason: String, _ moment: RegistryMoment
    ) throws(RegistryError) {
        let checkID = id.map(Maintenance.service) ?? Maintenance.node
        guard isOn else {
            if let row = row(.checks, settings.node, checkID) { try removeCheck(row, moment) }
            return
        }
        var check = CheckDefinition()
        check.id = checkID
        check.serviceID = id ?? ""
        check.name = id == nil ? "Node Maintenance Mode" : "Service Maintenance Mode"
        check.notes =
            reason.isEmpty ? Maintenance.noReason.replacing("%", with: id == nil ? "node" : "service") : reason
        check.status = "critical"
        try registerSelf(moment)
        try put(check: check, node: settings.node, output: "", moment)
        try endBroken(moment)
    }

    // MARK: The catalog

    /// What `catalog/register` brings.
    func registerInCatalog(_ fields: inout Fields, _ moment: RegistryMoment) throws(RegistryError) {
        try onlyHere(try fields.text("Datacenter"))
        guard let name = try fields.text("Node"), let address = try fields.text("Address"), !name.isEmpty,
            !address.isEmpty
        else { throw .bad("Must provide node and address") }
        try check(name: name, "the node's name")
        let meta = try fields.map("NodeMeta") ?? [:]
        try MetaRules.check(meta, "node")
        let tagged = fields.take("TaggedAddresses") ?? [:]
        let skips = try fields.flag("SkipNodeUpdate") ?? false
        let id = try fields.text("ID") ?? ""
        var service: ServiceDefinition?
        if let json = fields.take("Service") {
            var own = try Fields(json, "Service.")
            service = try ServiceDefinition(&own, nameMember: "Service", allowsScripts: false)
            try own.end()
        }
        var checks: [CheckDefinition] = []
        var bodies: [JSON] = []
        if let one = fields.take("Check") { bodies.append(one) }
        if let more = fields.take("Checks") {
            guard let array = more.array else { throw .bad("Request decode failed: Checks must be a list") }
            bodies += array
        }
        var outputs: [String] = []
        for body in bodies {
            var own = try Fields(body, "Check.")
            outputs.append(try own.text("Output") ?? "")
            if let node = try own.text("Node"), !node.isEmpty, node != name {
                throw .failed("check node \"\(node)\" does not match the node \"\(name)\"")
            }
            try own.refuse("Definition")
            _ = try own.text("ServiceName")
            _ = try own.texts("ServiceTags")
            var check = try CheckDefinition(&own, allowsScripts: false, ofService: false)
            try own.end()
            guard check.kind == .external else {
                throw .bad("checks in the catalog are not made by the registry: register them at the agent")
            }
            if check.id.isEmpty { check.id = check.name }
            guard !check.id.isEmpty else { throw .bad("Missing check name") }
            if check.name.isEmpty { check.name = check.id }
            checks.append(check)
        }
        try fields.refuse("Namespace", "Partition", "WriteRequest", "EnterpriseMeta", "PeerName", "Locality")
        try fields.end()
        guard checks.count <= 64 else { throw .bad("at most 64 checks at once") }
        try step { () throws(RegistryError) in
            if !skips || row(.nodes, name) == nil {
                try put(.nodes, name, node(name, address, id: id, meta: meta, tagged: tagged, moment))
            }
            if let service {
                try check(name: service.id, "the service's ID")
                try put(.services, name, service.id, service.json(node: name))
            }
            for (check, output) in zip(checks, outputs) { try put(check: check, node: name, output: output, moment) }
        }
        try endBroken(moment)
    }

    /// Refuses other datacenters.
    func onlyHere(_ datacenter: String?) throws(RegistryError) {
        guard let datacenter, !datacenter.isEmpty, datacenter != settings.datacenter else { return }
        throw .failed("No path to datacenter")
    }

    // MARK: Health

    /// The checks that decide over an instance: its own and those of its node.
    func deciding(_ service: Row) -> [Row] {
        let id = service.text("ID")
        return rows(.checks, of: service.text("Node")).filter {
            $0.text("ServiceID").isEmpty || $0.text("ServiceID") == id
        }
    }

    /// `passing`, `warning` or `critical`: the worst of them.
    static func worst(_ checks: [Row]) -> String {
        let states = Set(checks.map { $0.text("Status") })
        return states.contains("critical") ? "critical" : states.contains("warning") ? "warning" : "passing"
    }

    /// The instances of a service, by node and identifier.
    func instances(of name: String) -> [Row] { rows(.services).filter { $0.text("Service") == name } }
}
