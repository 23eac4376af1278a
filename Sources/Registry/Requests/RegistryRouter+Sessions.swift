import Serialization

// `/v1/session/…`.
extension RegistryRouter {
    func session(
        _ request: RegistryRequest, _ parts: [String], _ moment: RegistryMoment
    ) throws(RegistryError) -> RegistryAnswer {
        let name = parts.dropFirst().joined(separator: "/")
        switch parts.first {
        case "create":
            try only(request, "PUT")
            try request.demand("update", "sessions")
            let id = try state.create(try SessionDefinition(request.body, state), moment)
            return RegistryAnswer(["ID": .string(id)])
        case "destroy":
            try only(request, "PUT")
            guard !name.isEmpty else { throw .bad("Missing session") }
            try request.demand("delete", "sessions", name)
            if let row = state.row(.sessions, name) { try state.end(row, moment) }
            return RegistryAnswer(true)
        case "renew":
            try only(request, "PUT")
            guard !name.isEmpty else { throw .bad("Missing session") }
            try request.demand("update", "sessions", name)
            return RegistryAnswer([RegistryState.shown(session: try state.renew(name, moment))])
        case "info":
            try only(request, "GET")
            guard !name.isEmpty else { throw .bad("Missing session") }
            try request.demand("get", "sessions", name)
            return listed(state.row(.sessions, name).map { [$0] } ?? [])
        case "list":
            try only(request, "GET")
            try request.demand("get", "sessions")
            return listed(state.rows(.sessions))
        case "node":
            try only(request, "GET")
            guard !name.isEmpty else { throw .bad("Missing node name") }
            try request.demand("get", "sessions")
            return listed(state.rows(.sessions).filter { $0.text("Node") == name })
        default: throw RegistryError(404, "404 page not found")
        }
    }

    private func listed(_ rows: [Row]) -> RegistryAnswer {
        waitable(.array(rows.map { RegistryState.shown(session: $0) }), .sessions)
    }
}
