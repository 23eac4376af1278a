internal import EnvoyAPI
internal import Serialization
internal import Upstream
internal import XDS

/// What is wanted from one management server, over all streams to it.
///
/// Holds no socket: `send` is the stream's.
final class DiscoverySession: ManagementSession {
    private var client: DiscoveryClient
    /// The types that were ever asked for here.
    private var types: Set<String> = []
    /// Whether the server has said anything.
    private(set) var hasReceived = false
    /// Applies an update, and asks for what follows from it before it is acknowledged.
    private let apply: (DeltaClient.Update) -> ResourceApplier.Outcome
    /// Writes requests to the present stream.
    var send: ([[UInt8]]) -> Void = { _ in }

    init(node: Node, isDelta: Bool, apply: @escaping (DeltaClient.Update) -> ResourceApplier.Outcome) {
        client = DiscoveryClient(node: node, isDelta: isDelta)
        self.apply = apply
    }

    func connected() { send(client.connected()) }

    /// The configuration stays as it is: live on (ARCHITECTURE, decision 10).
    func disconnected() { client.disconnected() }

    func received(_ bytes: [UInt8]) throws(MessageError) {
        hasReceived = true
        let (update, requests) = try client.received(bytes)
        if !requests.isEmpty { send(requests) }
        guard let update else { return }
        let outcome = apply(update)
        if outcome.problems.isEmpty {
            send(client.accept(update))
        } else {
            send(
                client.reject(update, because: outcome.problems.joined(separator: "; "), applied: outcome.applied))
        }
    }

    /// The names of the resources of a type that we have and still want; nil when the protocol does not tell.
    func known(_ typeURL: String) -> Set<String>? {
        guard case .delta(let client) = client else { return nil }
        return Set(client.versions(typeURL: typeURL).keys)
    }

    /// Applies what was kept on disk; the next stream begins with its versions.
    func restore(_ updates: [DeltaClient.Update]) {
        for update in updates {
            let outcome = apply(update)
            var known = update
            let applied = Set(outcome.applied)
            known.resources = known.resources.filter { applied.contains($0.name) }
            let requests = client.accept(known)
            if !requests.isEmpty { send(requests) }
        }
    }

    /// Asks for what the configuration needs now; types that it no longer needs are given up.
    func want(_ interests: [String: DeltaClient.Interest]) {
        var requests: [[UInt8]] = []
        for type in DiscoveryOrder.sorted(Set(interests.keys).union(types)) {
            requests += client.subscribe(type, to: interests[type] ?? .names([]))
        }
        types.formUnion(interests.keys)
        if !requests.isEmpty { send(requests) }
    }
}

/// The order in which types are asked for: make before break (P-7).
enum DiscoveryOrder {
    private static let first = [
        Cluster.typeURL, ClusterLoadAssignment.typeURL, Secret.typeURL, Listener.typeURL, RouteConfiguration.typeURL,
    ]

    static func sorted(_ types: some Sequence<String>) -> [String] {
        types.sorted { (first.firstIndex(of: $0) ?? .max, $0) < (first.firstIndex(of: $1) ?? .max, $1) }
    }
}
