import Serialization
import Store

// `/v1/agent/…`: what is registered at this machine.
extension RegistryRouter {
    func agent(
        _ request: RegistryRequest, _ parts: [String], _ moment: RegistryMoment
    ) throws(RegistryError) -> RegistryAnswer {
        let name = parts.dropFirst(2).joined(separator: "/")
        switch (parts.first, parts.dropFirst().first) {
        case ("self", nil): return try agentSelf(request)
        case ("members", nil):
            try look(request)
            return RegistryAnswer([member])
        case ("services", nil):
            try look(request)
            return RegistryAnswer(
                .object(byID(state.rows(.services, of: state.settings.node), "ID").mapValues { agentService($0) }))
        case ("checks", nil):
            try look(request)
            return RegistryAnswer(
                .object(byID(state.rows(.checks, of: state.settings.node), "CheckID").mapValues { check($0) }))
        case ("maintenance", nil):
            try only(request, "PUT")
            try request.demand("update", "registrations", state.settings.node)
            try state.maintain(
                service: nil, try isOn(request), reason: request.value("reason") ?? "", moment)
            return done
        case ("service", "register") where parts.count == 2: return try registerService(request, moment)
        case ("service", "deregister"):
            try only(request, "PUT")
            try request.demand("delete", "registrations", right(service: name))
            _ = try service(name)
            try state.deregister(service: name, node: state.settings.node, moment)
            return done
        case ("service", "maintenance"):
            try only(request, "PUT")
            try request.demand("update", "registrations", right(service: name))
            guard !name.isEmpty else { throw .bad("Missing service ID") }
            let turnsOn = try isOn(request)
            _ = try service(name)
            try state.maintain(service: name, turnsOn, reason: request.value("reason") ?? "", moment)
            return done
        case ("service", let id?) where parts.count == 2:
            try look(request)
            return RegistryAnswer(agentService(try service(id)))
        case ("check", "register") where parts.count == 2: return try registerCheck(request, moment)
        case ("check", "deregister"):
            try only(request, "PUT")
            try request.demand("delete", "registrations", right(check: name))
            try state.removeCheck(try agentCheck(name), moment)
            return done
        case ("check", let verb?) where ["pass", "warn", "fail", "update"].contains(verb):
            return try report(request, verb, name, moment)
        case ("health", "service"): return try agentHealth(request, Array(parts.dropFirst(2)))
        case ("join", _), ("leave", _), ("force-leave", _), ("reload", _):
            throw .missing("there is no gossip here: machines join with skein node --join")
        case ("connect", _):
            throw .missing("certificates of the mesh are given to its workloads: see skein certs write")
        case ("metrics", _): throw .missing("metrics are at the control plane's /metrics")
        default: throw RegistryError(404, "404 page not found")
        }
    }

    private var done: RegistryAnswer { RegistryAnswer(text: "") }

    private func look(_ request: RegistryRequest) throws(RegistryError) {
        try only(request, "GET")
        try request.demand("get", "registrations")
    }

    private func byID(_ rows: [Row], _ member: String) -> [String: Row] {
        Dictionary(rows.map { ($0.text(member), $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// The name in whose name somebody has rights over an instance: that of its service.
    private func right(service id: String) -> String {
        state.row(.services, state.settings.node, id)?.text("Service") ?? id
    }

    /// The same of a check: that of its service, if it has one.
    private func right(check id: String) -> String {
        let name = state.row(.checks, state.settings.node, id)?.text("ServiceName") ?? ""
        return name.isEmpty ? id : name
    }

    private func service(_ id: String) throws(RegistryError) -> Row {
        guard let row = state.row(.services, state.settings.node, id) else {
            throw RegistryError(
                404,
                "Unknown service ID \"\(id)\". Ensure that the service ID is passed, not the service name.")
        }
        return row
    }

    private func agentCheck(_ id: String) throws(RegistryError) -> Row {
        guard let row = state.row(.checks, state.settings.node, id) else {
            throw RegistryError(
                404, "Unknown check ID \"\(id)\". Ensure that the check ID is passed, not the check name.")
        }
        return row
    }

    private func isOn(_ request: RegistryRequest) throws(RegistryError) -> Bool {
        guard let text = request.value("enable") else { throw .bad("Missing value for enable") }
        switch text.lowercased() {
        case "true", "1", "t": return true
        case "false", "0", "f": return false
        default: throw .bad("Invalid value for enable: \"\(text)\"")
        }
    }

    // MARK: Shown

    private func agentSelf(_ request: RegistryRequest) throws(RegistryError) -> RegistryAnswer {
        try look(request)
        let settings = state.settings
        return RegistryAnswer([
            "Config": [
                "Datacenter": .string(settings.datacenter), "PrimaryDatacenter": .string(settings.datacenter),
                "NodeName": .string(settings.node),
                "NodeID": .string(state.row(.nodes, settings.node)?.text("ID") ?? ""), "Server": true,
                "Revision": "", "Version": "1.15.0",
            ],
            "DebugConfig": [
                "EnableScriptChecks": .bool(settings.allowsScripts), "DNSDomain": .string(settings.domain),
            ],
            "Member": member, "Meta": [:], "Stats": ["agent": ["implementation": "skein"]],
        ])
    }

    private var member: JSON {
        [
            "Name": .string(state.settings.node), "Addr": .string(state.settings.address), "Port": 8301,
            "Tags": ["dc": .string(state.settings.datacenter), "role": "consul"], "Status": 1, "ProtocolMin": 1,
            "ProtocolMax": 5, "ProtocolCur": 2, "DelegateMin": 2, "DelegateMax": 5, "DelegateCur": 4,
        ]
    }

    private func agentService(_ row: Row) -> JSON {
        var json = row.json
        json["Node"] = nil
        json["CreateIndex"] = nil
        json["Datacenter"] = .string(state.settings.datacenter)
        return json
    }

    /// A check as the agent, the catalog and the health pages show it.
    func check(_ row: Row) -> JSON {
        var json = row.indexed
        json["how"] = nil
        json["criticalSince"] = nil
        json["Definition"] = [:]
        let service = row.text("ServiceID")
        let tags = service.isEmpty ? nil : state.row(.services, row.text("Node"), service)?.json["Tags"]
        json["ServiceTags"] = tags ?? []
        return json
    }

    // MARK: Written

    private func registerService(
        _ request: RegistryRequest, _ moment: RegistryMoment
    ) throws(RegistryError) -> RegistryAnswer {
        try only(request, "PUT")
        var fields = try Fields(body: request.body)
        let definition = try ServiceDefinition(
            &fields, nameMember: "Name", allowsScripts: state.settings.allowsScripts)
        try fields.end()
        try request.demand("update", "registrations", definition.name)
        // What is taken belongs to whoever may change the service that has it.
        if let taken = state.row(.services, state.settings.node, definition.id) {
            try request.demand("update", "registrations", taken.text("Service"))
        }
        for check in definition.checks { try demandTaken(check, request) }
        try state.register(
            definition, replacesChecks: try request.flag("replace-existing-checks"), moment)
        return done
    }

    private func registerCheck(
        _ request: RegistryRequest, _ moment: RegistryMoment
    ) throws(RegistryError) -> RegistryAnswer {
        try only(request, "PUT")
        var fields = try Fields(body: request.body)
        var definition = try CheckDefinition(
            &fields, allowsScripts: state.settings.allowsScripts, ofService: false)
        try fields.end()
        guard !definition.name.isEmpty else { throw .bad("Missing check name") }
        guard definition.kind != .external else {
            throw .bad("Invalid check: must have one of TTL, HTTP, TCP, GRPC or Args")
        }
        if definition.id.isEmpty { definition.id = definition.name }
        try request.demand("update", "registrations", right(service: definition.serviceID))
        try demandTaken(definition, request)
        let check = definition
        try state.step { () throws(RegistryError) in
            try state.registerSelf(moment)
            try state.put(check: check, node: state.settings.node, output: "", moment, keepsState: true)
        }
        try state.endBroken(moment)
        return done
    }

    /// A check that would replace one of another service needs the right over that one too.
    private func demandTaken(_ check: CheckDefinition, _ request: RegistryRequest) throws(RegistryError) {
        guard !check.id.isEmpty, state.row(.checks, state.settings.node, check.id) != nil else { return }
        try request.demand("update", "registrations", right(check: check.id))
    }

    private func report(
        _ request: RegistryRequest, _ verb: String, _ id: String, _ moment: RegistryMoment
    ) throws(RegistryError) -> RegistryAnswer {
        try only(request, "PUT")
        guard !id.isEmpty else { throw .bad("Missing check ID") }
        try request.demand("update", "registrations", right(check: id))
        var (status, output) = ("", request.value("note") ?? "")
        switch verb {
        case "pass": status = "passing"
        case "warn": status = "warning"
        case "fail": status = "critical"
        default:
            var fields = try Fields(body: request.body)
            status = try fields.text("Status") ?? ""
            output = try fields.text("Output") ?? ""
            try fields.end()
            guard CheckDefinition.states.contains(status) else { throw .bad("Invalid check status: '\(status)'") }
        }
        let row = try agentCheck(id)
        guard row.json["how"]?["ttl"] != nil else {
            throw .failed("CheckID \"\(id)\" does not have associated TTL")
        }
        try state.set(row, status: status, output: output, moment)
        reported(row.key.namespace, row.key.name, moment)
        return done
    }

    private func agentHealth(_ request: RegistryRequest, _ parts: [String]) throws(RegistryError) -> RegistryAnswer {
        try look(request)
        guard parts.count == 2, let name = parts.last else { throw RegistryError(404, "404 page not found") }
        let all = state.rows(.services, of: state.settings.node)
        let found = all.filter { $0.text(parts[0] == "id" ? "ID" : "Service") == name }
        guard parts[0] == "id" || parts[0] == "name" else { throw RegistryError(404, "404 page not found") }
        let shown = found.map { row -> (String, JSON) in
            let checks = state.deciding(row)
            let status = RegistryState.worst(checks)
            return (
                status,
                [
                    "AggregatedStatus": .string(status), "Service": agentService(row),
                    "Checks": .array(checks.map { check($0) }),
                ]
            )
        }
        let states = Set(shown.map(\.0))
        let worst: UInt16 =
            states.isEmpty ? 404 : states.contains("critical") ? 503 : states.contains("warning") ? 429 : 200
        guard !shown.isEmpty else { return RegistryAnswer(text: "", status: 404) }
        return RegistryAnswer(parts[0] == "id" ? shown[0].1 : .array(shown.map(\.1)), status: worst)
    }
}
