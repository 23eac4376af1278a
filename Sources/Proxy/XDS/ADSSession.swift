internal import EnvoyAPI
internal import Serialization
internal import Telemetry
internal import Upstream
internal import XDS

/// What the proxy wants from its management server, over all streams: subscriptions follow the configuration, updates
/// change it.
///
/// Order as Envoy's: clusters, their endpoints, and only then listeners and their routes (P-7). Holds no socket: `send`
/// is the stream's.
final class ADSSession {
    private static let log = Logger("ads")

    private let store: ConfigurationStore
    private let wantsClusters: Bool
    private let wantsListeners: Bool
    private var client: DeltaClient
    private var hasClusters = false
    private var hasListeners = false
    /// Writes requests to the present stream.
    var send: ([DeltaDiscoveryRequest]) -> Void = { _ in }
    /// Called when the first answers have arrived.
    var onChange: () -> Void = {}

    init(node: Node, store: ConfigurationStore, wantsClusters: Bool, wantsListeners: Bool) {
        self.store = store
        self.wantsClusters = wantsClusters
        self.wantsListeners = wantsListeners
        client = DeltaClient(node: node)
        if wantsClusters { _ = client.subscribe(Cluster.typeURL, to: .all) }
    }

    /// Whether the first clusters and listeners have arrived.
    var isInitialised: Bool { (hasClusters || !wantsClusters) && (hasListeners || !wantsListeners) }

    func connected() {
        send(client.connected())
        subscribe()
    }

    /// The configuration stays as it is: live on (ARCHITECTURE, decision 10).
    func disconnected() { client.disconnected() }

    func received(_ response: DeltaDiscoveryResponse) {
        let (update, requests) = client.received(response)
        if !requests.isEmpty { send(requests) }
        guard let update else { return }
        let outcome = ResourceApplier(store: store).apply(update)
        if update.typeURL == Cluster.typeURL { hasClusters = true }
        if update.typeURL == Listener.typeURL { hasListeners = true }
        // What follows from the update is asked for before it is acknowledged.
        subscribe()
        if outcome.problems.isEmpty {
            send(client.accept(update))
        } else {
            let text = outcome.problems.joined(separator: "; ")
            Self.log.warning("update refused", ["type": update.typeURL, "why": text])
            send(client.reject(update, because: text, applied: outcome.applied))
        }
        onChange()
    }

    /// Asks for what the configuration needs now.
    func subscribe() {
        var requests = client.subscribe(ClusterLoadAssignment.typeURL, to: .names(store.edsNames))
        if wantsListeners && (hasClusters || !wantsClusters) && (hasListeners || store.clustersAreWarm) {
            requests += client.subscribe(Listener.typeURL, to: .all)
        }
        requests += client.subscribe(RouteConfiguration.typeURL, to: .names(store.rdsNames))
        if !requests.isEmpty { send(requests) }
    }
}
