import KubernetesAPI

/// Makes snapshots from one model.
///
/// Proxies that see the same world share the work: what goes out of a pod depends on its namespace and on those of its
/// labels that some rule asks for, nothing else.
public struct MeshTranslator: Sendable {
    /// The model that is translated.
    public let model: MeshModel
    private let relevantLabels: Set<String>
    private var outboundCache: [Caller: ProxySnapshot] = [:]

    private struct Caller: Hashable {
        var namespace: String
        var labels: [String: String]
        var place: CallerPlace
    }

    /// Prepares the translation of a model.
    public init(_ model: MeshModel) {
        self.model = model
        var keys: Set<String> = []
        for rule in model.rules {
            for match in rule.http.flatMap(\.match) { keys.formUnion(match.sourceLabels.keys) }
            for match in rule.tcp.flatMap(\.match) { keys.formUnion(match.sourceLabels.keys) }
        }
        for policy in model.policies {
            keys.formUnion(policy.rule.workloadSelector.keys)
            keys.formUnion(policy.failoverLabels)
        }
        relevantLabels = keys
    }

    /// The snapshot for one proxy.
    public mutating func snapshot(for proxy: ProxyIdentity) -> ProxySnapshot {
        let labels = model.workload(proxy.pod)?.labels ?? [:]
        switch proxy.role {
        case .sidecar: return sidecar(proxy.pod, labels)
        case .gateway: return gateway(proxy.pod, labels)
        }
    }

    private mutating func sidecar(_ pod: NamespacedName, _ labels: [String: String]) -> ProxySnapshot {
        let relevant = labels.filter { relevantLabels.contains($0.key) }
        var place = CallerPlace(model.workload(pod))
        place.labels = relevant
        let caller = Caller(namespace: pod.namespace, labels: relevant, place: place)
        let shared = outboundCache[caller] ?? outbound(caller)
        outboundCache[caller] = shared
        var snapshot = shared
        let inbound = Inbound(model: model, pod: pod)
        inbound.clusters().forEach { snapshot.add($0) }
        snapshot.add(inbound.listener())
        return snapshot
    }

    private func outbound(_ caller: Caller) -> ProxySnapshot {
        var snapshot = ProxySnapshot()
        let outbound = Outbound(model: model, namespace: caller.namespace, labels: caller.labels)
        let (clusters, assignments) = OutboundClusters(
            model: model, namespace: caller.namespace, labels: caller.labels, keepsHeadlessDestination: true,
            caller: caller.place
        ).make()
        clusters.forEach { snapshot.add($0) }
        assignments.forEach { snapshot.add($0) }
        snapshot.add(
            Clusters.passthrough(name: ClusterNames.passthrough, config: model.config, bindsLocally: false))
        snapshot.add(Clusters.blackHole)
        snapshot.add(OutboundListener(outbound: outbound).listener())
        for (port, members) in outbound.ports
        where outbound.httpPorts.contains(port) || members.contains(where: { $0.port.portProtocol.mayBeHTTP }) {
            snapshot.add(OutboundRoutes(outbound: outbound, port: port).configuration())
        }
        return snapshot
    }

    private func gateway(_ pod: NamespacedName, _ labels: [String: String]) -> ProxySnapshot {
        var snapshot = ProxySnapshot()
        let (clusters, assignments) = OutboundClusters(
            model: model, namespace: pod.namespace, labels: labels, keepsHeadlessDestination: false,
            caller: CallerPlace(model.workload(pod)), heedsBackendTLS: true
        ).make()
        clusters.forEach { snapshot.add($0) }
        assignments.forEach { snapshot.add($0) }
        snapshot.add(Clusters.blackHole)
        Entrances(model: model, namespace: pod.namespace, labels: labels).add(to: &snapshot)
        return snapshot
    }
}
