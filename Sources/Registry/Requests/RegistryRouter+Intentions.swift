import Serialization

// `/v1/connect/intentions…`: who may call whom.
extension RegistryRouter {
    func intentions(
        _ request: RegistryRequest, _ parts: [String], _ moment: RegistryMoment
    ) throws(RegistryError) -> RegistryAnswer {
        switch (parts.first, request.method) {
        case (nil, "GET"):
            try request.demand("get", "intentions")
            return waitable(.array(state.intentions.map(\.indexed)), .intentions)
        case (nil, "POST"):
            try request.demand("update", "intentions")
            let id = try state.write(try Intention(request.body), mustBeNew: true, moment)
            return RegistryAnswer(["ID": .string(id)])
        case ("exact", _): return try exact(request, moment)
        case ("check", "GET"):
            try request.demand("get", "intentions")
            guard let source = request.value("source"), !source.isEmpty,
                let destination = request.value("destination"), !destination.isEmpty
            else { throw .bad("required query parameter 'source' or 'destination' not set") }
            let isAllowed = state.allows(
                source: Intention.Party(source), destination: Intention.Party(destination))
            return RegistryAnswer(["Allowed": .bool(isAllowed)])
        case ("match", "GET"): return try match(request)
        case (let id?, "GET") where parts.count == 1:
            try request.demand("get", "intentions")
            let row = try state.intention(id: id)
            return waitable(row.indexed, .intentions)
        case (let id?, "PUT") where parts.count == 1:
            try request.demand("update", "intentions")
            let old = try state.intention(id: id)
            let written = try Intention(request.body, old: Intention(stored: old.json))
            _ = try state.write(written, replacing: old, mustBeNew: false, moment)
            return RegistryAnswer(["ID": .string(id)])
        case (let id?, "DELETE") where parts.count == 1:
            try request.demand("delete", "intentions")
            try state.remove(try state.intention(id: id))
            return RegistryAnswer(true)
        default: throw RegistryError(405, "method \(request.method) not allowed")
        }
    }

    private func exact(_ request: RegistryRequest, _ moment: RegistryMoment) throws(RegistryError) -> RegistryAnswer {
        guard let source = request.value("source"), !source.isEmpty,
            let destination = request.value("destination"), !destination.isEmpty
        else { throw .bad("required query parameter 'source' or 'destination' not set") }
        let (from, to) = (Intention.Party(source), Intention.Party(destination))
        var wanted = Intention(source: from.name, destination: to.name, isAllowed: false)
        wanted.sourceNamespace = from.namespace
        wanted.destinationNamespace = to.namespace
        let row = state.row(.intentions, wanted.name)
        switch request.method {
        case "GET":
            try request.demand("get", "intentions")
            guard let row else { throw RegistryError(404, "Intention not found") }
            return waitable(row.indexed, .intentions)
        case "PUT":
            try request.demand("update", "intentions")
            var written = try Intention(request.body, source: from.name, destination: to.name)
            guard written.source == from.name, written.destination == to.name else {
                throw .bad("the body's names differ from those of the query")
            }
            written.sourceNamespace = from.namespace
            written.destinationNamespace = to.namespace
            _ = try state.write(written, mustBeNew: false, moment)
            return RegistryAnswer(true)
        case "DELETE":
            try request.demand("delete", "intentions")
            if let row { try state.remove(row) }
            return RegistryAnswer(true)
        default: throw RegistryError(405, "method \(request.method) not allowed")
        }
    }

    private func match(_ request: RegistryRequest) throws(RegistryError) -> RegistryAnswer {
        try request.demand("get", "intentions")
        guard let by = request.value("by") else { throw .bad("required query parameter 'by' not set") }
        guard by == "source" || by == "destination" else {
            throw .bad("'by' parameter must be one of 'source' or 'destination'")
        }
        let names = request.values("name")
        guard !names.isEmpty else { throw .bad("required query parameter 'name' not set") }
        var found: [String: JSON] = [:]
        for text in names {
            let party = Intention.Party(text)
            found[text] = .array(
                state.intentions.filter { row in
                    let intention = Intention(stored: row.json)
                    let name = by == "source" ? intention.source : intention.destination
                    let space = by == "source" ? intention.sourceNamespace : intention.destinationNamespace
                    return name == Intention.any || name == party.name && space == party.namespace
                }.map(\.indexed))
        }
        return waitable(.object(found), .intentions)
    }
}
