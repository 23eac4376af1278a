import APIServer
import IO
import KubernetesAPI
import Mesh
import Serialization
import Telemetry

/// Decides when statuses are computed and written: a little after changes, and when the gateway's acknowledgement that
/// one of them waits for has come.
///
/// Programmed means that a gateway's proxy has acknowledged everything that it was sent. Loop-owned.
final class StatusTeller {
    /// How long changes are gathered before statuses are computed: nobody routes by them.
    static let patience = Duration.milliseconds(100)
    /// How long after they were computed they are computed again at the earliest, while changes keep coming.
    static let restTime = Duration.milliseconds(500)
    /// How long an acknowledgement of the gateway is waited for before statuses tell that it is missing.
    static let acknowledgementPatience = Duration.seconds(2)

    /// What is asked of the publisher.
    struct View {
        var model: MeshModel
        /// The addresses of Gateways, each its own.
        var addresses: () -> [NamespacedName: [String]]
        var proxies: [(pod: NamespacedName, isSettled: Bool, rejected: [String: String])]
    }

    private let loop: EventLoop
    private let log = Logger("status")
    private let writer: StatusWriter
    private let source: any ObjectSource
    private let cache: ObjectCache
    private let view: () -> View
    private var timer: LoopTimer?
    private var deadline: MonotonicTime?
    private var lastTold: MonotonicTime?
    /// The objects whose status may differ; `nil` means all.
    private var changedObjects: Set<NamespacedName>?
    /// Whether the last statuses told that the gateway has acknowledged everything.
    private var isProgrammed = false

    init(
        _ source: any ObjectSource, on loop: EventLoop, cache: ObjectCache, now: @escaping () -> Timestamp,
        view: @escaping () -> View
    ) {
        self.loop = loop
        self.cache = cache
        self.view = view
        writer = StatusWriter(source, now: now)
        self.source = source
        source.writerChanged.append { [weak self] in self?.writerChanged() }
    }

    /// Objects have changed; what the status of nothing depends on is not heeded.
    func changed(_ changes: [ObjectEvent]) {
        let changes = changes.filter { ![.pod, .endpointSlice, .node].contains($0.kind) }
        guard !changes.isEmpty else { return }
        changedObjects?.formUnion(
            changes.map { NamespacedName(namespace: $0.object.namespace, name: $0.object.name) })
        soon()
    }

    /// A proxy has answered: that may be what a status waits for.
    func answered(_ pod: NamespacedName) {
        guard pod.namespace == GatewayObjects.namespace, Self.isProgrammed(view()) != isProgrammed else { return }
        soon()
    }

    /// We have become the one who writes: everything that another has left unsaid is said.
    private func writerChanged() {
        guard source.isWriter else { return }
        changedObjects = nil
        soon()
    }

    /// Tells in a while.
    func soon() {
        guard timer == nil else { return }
        let rest = lastTold.map { $0 + Self.restTime - loop.now } ?? .zero
        timer = loop.schedule(after: max(Self.patience, rest)) { [weak self] in
            self?.timer = nil
            self?.tell()
        }
    }

    private func tell() {
        guard source.isWriter else { return }
        let view = view()
        let state = gateway(view)
        // Told at once, every change would take Programmed away for the time of a round trip.
        if !state.isProgrammed, state.refusal == nil,
            view.proxies.contains(where: { $0.pod.namespace == GatewayObjects.namespace })
        {
            let until = deadline ?? loop.now + Self.acknowledgementPatience
            deadline = until
            if loop.now < until { return soon() }
        }
        deadline = nil
        lastTold = loop.now
        isProgrammed = state.isProgrammed
        let changed = view.model.istioObjectCount > StatusWriter.istioObjectsMax ? changedObjects : nil
        changedObjects = []
        writer.write(view.model.statuses(state, changed: changed)) { cache.object($0, $1) }
        openPorts(view.model)
    }

    /// Has the gateway's Service lead to every port that is opened there; a Service of somebody else's API is left alone.
    private func openPorts(_ model: MeshModel) {
        let key = NamespacedName(namespace: GatewayObjects.namespace, name: GatewayObjects.name)
        guard source.storeCounters != nil, let service = cache.object(.service, key) else { return }
        let opened = model.openedPorts(labels: Service(json: service.content).spec.selector)
        guard GatewayPorts.decide(service.spec["ports"], opened: opened) != nil else { return }
        source.modify(.service, key, subresource: "") { json in
            guard let ports = GatewayPorts.decide(json["spec"]?["ports"], opened: opened) else { return json }
            var json = json
            json["spec"]?["ports"] = ports
            return json
        } _: { [log] error in
            guard let error, error.code != 404 else { return }
            log.warning("a port of the gateway cannot be opened", ["service": "\(key)", "error": error.message])
        }
    }

    private static func gateways(
        _ view: View
    ) -> [(pod: NamespacedName, isSettled: Bool, rejected: [String: String])] {
        view.proxies.filter { $0.pod.namespace == GatewayObjects.namespace }
    }

    private static func isProgrammed(_ view: View) -> Bool {
        gateways(view).contains { $0.isSettled && $0.rejected.isEmpty }
    }

    private func gateway(_ view: View) -> GatewayState {
        let service = cache.object(
            .service, NamespacedName(namespace: GatewayObjects.namespace, name: GatewayObjects.name))
        return GatewayState(
            addresses: service.map { Service(json: $0.content).status.loadBalancer.ingress.compactMap(\.ip) } ?? [],
            ownAddresses: view.addresses(), isProgrammed: Self.isProgrammed(view),
            refusal: Self.gateways(view).lazy.compactMap { $0.rejected.sorted { $0.key < $1.key }.first?.value }.first)
    }
}
