import HTTP
import Serialization
import Store

/// Requests in, answers out: Consul's HTTP API without a transport.
///
/// Loop-owned. It waits for nothing: whoever wants to wait for a change asks again when the answer's topic was touched.
public final class RegistryRouter {
    /// What it speaks for.
    public let state: RegistryState
    /// Told of each state that a program has reported of itself: node and check as the store names them.
    var reported: (_ node: String, _ check: String, RegistryMoment) -> Void = { _, _, _ in }

    /// A router of a state.
    public init(_ state: RegistryState) { self.state = state }

    /// Answers one request.
    public func answer(_ request: RegistryRequest, _ moment: RegistryMoment) -> RegistryAnswer {
        do throws(RegistryError) {
            try checkQuery(request)
            return try route(request, moment)
        } catch {
            return .refusal(error)
        }
    }

    /// What is said in the query of all requests.
    private func checkQuery(_ request: RegistryRequest) throws(RegistryError) {
        try state.onlyHere(request.value("dc"))
        for (name, why) in Self.refused where request.has(name) { throw .bad("?\(name) is not supported: \(why)") }
        if request.has("stale"), request.has("consistent") {
            throw .bad("Cannot specify ?stale with ?consistent, conflicting semantics.")
        }
    }

    private static let refused = [
        ("near", "nodes have no coordinates here"), ("filter", "ask for all and choose"),
        ("ns", "there are no namespaces of Consul Enterprise"), ("partition", "there are no partitions"),
        ("peer", "there are no peerings"), ("sg", "there are no sameness groups"),
        ("token", "send it in X-Consul-Token, where it is not logged"),
    ]

    private func route(_ request: RegistryRequest, _ moment: RegistryMoment) throws(RegistryError) -> RegistryAnswer {
        let parts = request.parts
        let rest = Array(parts.dropFirst())
        switch parts.first {
        case "agent": return try agent(request, rest, moment)
        case "catalog": return try catalog(request, rest, moment)
        case "health": return try health(request, rest)
        case "kv": return try keys(request, moment)
        case "txn": return try transaction(request, moment)
        case "session": return try session(request, rest, moment)
        case "status": return try status(request, rest)
        case "connect" where rest.first == "intentions":
            return try intentions(request, Array(rest.dropFirst()), moment)
        case "acl":
            // Consul without its own access lists says this, and its clients know it.
            throw RegistryError(401, "ACL support disabled")
        case "event": throw .missing("user events are not supported by this registry: write a key and wait for it")
        case "query": throw .missing("prepared queries are not supported by this registry")
        case "coordinate": throw .missing("network coordinates are not supported by this registry")
        case "snapshot": throw .missing("snapshots are those of the control plane: skein backup")
        case "operator": throw .missing("there is no Raft here: the store is the control plane's (docs/stores.md)")
        case "config", "discovery-chain", "connect":
            throw .missing(
                "the mesh is configured by Kubernetes, Istio and Gateway API objects, not by \(parts[0]) entries")
        default: throw RegistryError(404, "404 page not found")
        }
    }

    /// Refuses other methods.
    func only(_ request: RegistryRequest, _ methods: String...) throws(RegistryError) {
        guard methods.contains(request.method) else { throw RegistryError(405, "method \(request.method) not allowed") }
    }

    /// An answer that can be waited for.
    func waitable(_ json: JSON, _ topic: Topic, status: UInt16 = 200) -> RegistryAnswer {
        var answer = RegistryAnswer(json, status: status)
        answer.topic = topic
        answer.index = state.index.index(of: topic)
        return answer
    }

    private func status(_ request: RegistryRequest, _ parts: [String]) throws(RegistryError) -> RegistryAnswer {
        try only(request, "GET")
        try request.demand("get", "registrations")
        let server = JSON.string(state.settings.address + ":8300")
        switch parts {
        case ["leader"]: return RegistryAnswer(server)
        case ["peers"]: return RegistryAnswer([server])
        default: throw RegistryError(404, "404 page not found")
        }
    }
}
