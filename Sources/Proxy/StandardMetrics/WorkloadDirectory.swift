internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Synchronization

/// Who a pod is, as labels of standard metrics tell it.
struct WorkloadFacts: Sendable, Hashable {
    /// The Deployment, StatefulSet … that the pod belongs to.
    var workload: String
    var namespace: String
    /// The labels `app` and `version`.
    var app: String
    var version: String
    var canonicalName: String
    var canonicalRevision: String
    /// The cluster of machines that it runs in.
    var cluster: String

    /// What is said of who is not known: Istio's word.
    static let unknown = "unknown"
    /// Somebody of whom nothing is known.
    static let nobody = WorkloadFacts(
        workload: unknown, namespace: unknown, app: unknown, version: unknown, canonicalName: unknown,
        canonicalRevision: "latest", cluster: unknown)

    /// What the control plane tells; empty fields are not known.
    init(_ message: EnvoyAPI.Workload) {
        func word(_ text: String, or other: String = Self.unknown) -> String { text.isEmpty ? other : text }
        workload = word(message.name)
        namespace = word(message.namespace)
        app = word(message.app)
        version = word(message.version)
        canonicalName = word(message.canonicalName)
        canonicalRevision = word(message.canonicalRevision, or: "latest")
        cluster = word(message.cluster)
    }

    init(
        workload: String, namespace: String, app: String, version: String, canonicalName: String,
        canonicalRevision: String, cluster: String
    ) {
        self.workload = workload
        self.namespace = namespace
        self.app = app
        self.version = version
        self.canonicalName = canonicalName
        self.canonicalRevision = canonicalRevision
        self.cluster = cluster
    }

    /// What a proxy's own node says of its pod, until the control plane tells more.
    init(node: Node?) {
        let metadata = node?.metadata ?? [:]
        let labels = metadata["LABELS"]?.object ?? [:]
        func label(_ names: String...) -> String? { names.lazy.compactMap { labels[$0]?.string }.first }
        workload = metadata["WORKLOAD_NAME"]?.string ?? metadata["NAME"]?.string ?? Self.unknown
        namespace = metadata["NAMESPACE"]?.string ?? Self.unknown
        app = label("app") ?? Self.unknown
        version = label("version") ?? Self.unknown
        canonicalName = label("service.istio.io/canonical-name", "app.kubernetes.io/name", "app") ?? workload
        canonicalRevision =
            label("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version") ?? "latest"
        cluster = metadata["CLUSTER_ID"]?.string ?? Self.unknown
    }
}

/// Which workload has an address: what proxies meet, as the control plane tells it on demand.
///
/// No word of a peer counts. Requests do not wait: they are counted for the address, and the page of metrics says whose it is
/// when it is read (decision 0012).
final class WorkloadDirectory: Sendable {
    /// Whoever has an address at one time: when another pod gets it, that is another peer.
    final class Peer: Sendable {
        private let state: Mutex<(facts: WorkloadFacts, isTold: Bool)>

        init(_ facts: WorkloadFacts) { state = Mutex((facts, false)) }

        var facts: WorkloadFacts { state.withLock(\.facts) }

        /// Takes what is told; false when that is somebody else than before.
        fileprivate func tell(_ facts: WorkloadFacts) -> Bool {
            state.withLock { state in
                if state.isTold { return state.facts == facts }
                state = (facts, true)
                return true
            }
        }
    }

    private let peers = Mutex<[IPAddress: Peer]>([:])
    private let asker = Mutex<@Sendable () -> Void>({})
    private let version = Atomic<UInt64>(0)

    /// Moves when an address has become somebody else's: what was kept by address is looked up anew.
    var generation: UInt64 { version.load(ordering: .relaxed) }

    /// Called when a new address is met, on any loop.
    func onNew(_ body: @escaping @Sendable () -> Void) { asker.withLock { $0 = body } }

    /// The addresses that have been met.
    var addresses: [IPAddress] { peers.withLock { Array($0.keys) } }

    /// Who has an address; nil when so many have been met that no further one is remembered.
    func peer(_ address: IPAddress, presuming facts: WorkloadFacts = .nobody) -> Peer? {
        let (peer, isNew): (Peer?, Bool) = peers.withLock { peers in
            if let known = peers[address] { return (known, false) }
            guard peers.count < Limits.workloadPeers else { return (nil, false) }
            let fresh = Peer(facts)
            peers[address] = fresh
            return (fresh, true)
        }
        if isNew { asker.withLock { $0 }() }
        return peer
    }

    /// The control plane tells whose an address is; nil: nobody's.
    func set(_ address: IPAddress, _ facts: WorkloadFacts?) {
        peers.withLock { peers in
            guard let peer = peers[address], !peer.tell(facts ?? .nobody) else { return }
            // What was counted for the one before stays his.
            let fresh = Peer(.nobody)
            _ = fresh.tell(facts ?? .nobody)
            peers[address] = fresh
            version.wrappingAdd(1, ordering: .relaxed)
        }
    }

    /// Forgets addresses of whom nothing is kept any more.
    func forget(where isUnused: (Peer) -> Bool) {
        peers.withLock { peers in peers = peers.filter { !isUnused($0.value) } }
    }
}
