import EnvoyAPI
public import KubernetesAPI
import Serialization

/// Whose the addresses of the mesh are, for the labels of standard metrics (ARCHITECTURE, decision 1).
///
/// Kept up to date pod by pod; the layer is the same object as long as nothing differs.
struct WorkloadNames: Sendable {
    /// The cluster of machines, as Istio calls a single one.
    private static let cluster = "Kubernetes"

    /// Of each pod those of both families, the first one first.
    private var addresses: [NamespacedName: [String]] = [:]
    private var pods: [String: Set<NamespacedName>] = [:]
    private var resources: [String: MeshResource] = [:]
    private var sealed: MeshLayer?

    /// Whose an address is.
    subscript(address: String) -> EnvoyAPI.Workload? {
        resources[address].flatMap { try? $0.message.unpack(as: EnvoyAPI.Workload.self) }
    }

    /// The address of a pod.
    func address(of pod: NamespacedName) -> String? { addresses[pod]?.first }

    /// All of them as resources.
    mutating func layer() -> MeshLayer {
        if let sealed { return sealed }
        var all = MeshResources()
        all.workloads = resources
        let layer = MeshLayer(all)
        sealed = layer
        return layer
    }

    /// Begins anew with these pods.
    init(_ workloads: [NamespacedName: MeshModel.Workload] = [:]) {
        for (pod, workload) in workloads { set(pod, workload, workloads) }
    }

    /// Takes a pod as it is now.
    ///
    /// - Parameters:
    ///   - workload: nil: it is gone.
    ///   - all: Those that there are.
    mutating func set(
        _ pod: NamespacedName, _ workload: MeshModel.Workload?, _ all: [NamespacedName: MeshModel.Workload]
    ) {
        let now = [workload?.address, workload?.secondAddress].compactMap(\.self).filter { !$0.isEmpty }
        for old in addresses[pod] ?? [] where !now.contains(old) {
            pods[old]?.remove(pod)
            if pods[old]?.isEmpty == true { pods[old] = nil }
            settle(old, all)
        }
        addresses[pod] = now.isEmpty ? nil : now
        for address in now {
            pods[address, default: []].insert(pod)
            settle(address, all)
        }
    }

    /// An address that several pods have (the node's) says nothing about who is behind it.
    private mutating func settle(_ address: String, _ all: [NamespacedName: MeshModel.Workload]) {
        let before = resources[address]
        var now: MeshResource?
        if let pods = pods[address], pods.count == 1, let pod = pods.first, let workload = all[pod] {
            now = MeshResource(name: address, Self.message(pod, workload, address))
        }
        guard before?.version != now?.version else { return }
        resources[address] = now
        sealed = nil
    }

    private static func message(
        _ pod: NamespacedName, _ workload: MeshModel.Workload, _ address: String
    ) -> EnvoyAPI.Workload {
        var message = EnvoyAPI.Workload()
        message.address = address
        message.namespace = pod.namespace
        message.pod = pod.name
        message.name = workload.owner.isEmpty ? pod.name : workload.owner
        message.serviceAccount = workload.serviceAccount
        func label(_ names: String...) -> String? { names.lazy.compactMap { workload.labels[$0] }.first }
        message.app = label("app") ?? ""
        message.version = label("version") ?? ""
        message.canonicalName =
            label("service.istio.io/canonical-name", "app.kubernetes.io/name", "app") ?? message.name
        message.canonicalRevision =
            label("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version") ?? "latest"
        message.cluster = cluster
        return message
    }
}

/// Tells standard metrics the service of a cluster, as Istio does: `istio.services` in its metadata.
enum ServiceLabels {
    static func mark(_ cluster: inout Cluster, _ service: MeshService) {
        guard !service.host.isEmpty else { return }
        // A ServiceEntry's host is its name; a Kubernetes service has one of its own.
        let name = service.registry == .kubernetes ? service.key.name : service.host
        var metadata = cluster.metadata ?? Metadata()
        metadata.filterMetadata["istio"] = .object([
            "services": .array([
                .object([
                    "host": .string(service.host), "name": .string(name),
                    "namespace": .string(service.key.namespace),
                ])
            ])
        ])
        cluster.metadata = metadata
    }
}

/// What a pod belongs to.
public enum WorkloadIdentity {
    /// The annotation in which a projection of a pod keeps the name, since it keeps no owners.
    public static let annotation = "skein.dev/workload"
}

extension KubernetesObject {
    /// The Deployment, StatefulSet … that a pod belongs to; empty for a pod that stands alone.
    public var workloadName: String {
        guard let owner = metadata.ownerReferences.first, let name = owner.json["name"]?.string else { return "" }
        guard owner.json["kind"]?.string == "ReplicaSet", let hash = metadata.labels["pod-template-hash"],
            name.hasSuffix("-" + hash)
        else { return name }
        return String(name.dropLast(hash.utf8.count + 1))
    }
}
