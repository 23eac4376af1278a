import KubernetesAPI
import Serialization

extension MeshModel.Workload {
    init(_ object: KubernetesObject, nodes: [String: MeshLocality]) {
        labels = object.metadata.labels
        address = object.status["podIP"]?.string ?? ""
        node = object.spec["nodeName"]?.string ?? ""
        serviceAccount = object.spec["serviceAccountName"]?.string ?? "default"
        owner = object.metadata.annotations[WorkloadIdentity.annotation] ?? object.workloadName
        sidecar = SidecarWish(object)
        let conditions = object.status["conditions"]?.array ?? []
        isReady = conditions.first { $0["type"] == "Ready" }.map { $0["status"] == "True" } ?? true
        namedPorts = [:]
        let containers = (object.spec["containers"]?.array ?? []) + (object.spec["initContainers"]?.array ?? [])
        for port in containers.flatMap({ $0["ports"]?.array ?? [] }) {
            guard let name = port["name"]?.string, let number = port["containerPort"]?.int else { continue }
            namedPorts[name] = namedPorts[name] ?? number
        }
        let all = (object.status["podIPs"]?.array ?? []).compactMap { $0["ip"]?.string }
        secondAddress = all.first { $0 != address } ?? ""
        settle(nodes)
    }

    /// A workload outside of the cluster that has a proxy of this mesh: one that has registered itself.
    init?(registered object: KubernetesObject) {
        guard object.metadata.annotations["istio.io/autoRegistrationGroup"] != nil else { return nil }
        let entry = WorkloadEntry(json: object.json)
        labels = entry.labels
        address = entry.address
        namedPorts = entry.ports
        serviceAccount = entry.serviceAccount.isEmpty ? "default" : entry.serviceAccount
        owner = object.metadata.annotations["istio.io/autoRegistrationGroup"] ?? ""
        sidecar.isWanted = true
        isReady = MeshModel.isHealthy(object)
        locality = MeshLocality(entry.locality)
    }

    /// Finds out where it runs.
    mutating func settle(_ nodes: [String: MeshLocality]) {
        locality = labels["istio-locality"].map { MeshLocality($0) } ?? nodes[node] ?? MeshLocality()
    }
}

extension MeshModel {
    /// Istio's annotation of WorkloadEntries that take traffic only after they have been said to be healthy.
    public static let healthAnnotation = "proxy.istio.io/health-checks-enabled"

    /// Whether a WorkloadEntry takes traffic: its condition `Healthy` says so, where its health is checked.
    static func isHealthy(_ object: KubernetesObject) -> Bool {
        guard object.metadata.annotations[healthAnnotation] == "true" else { return true }
        return (object.status["conditions"]?.array ?? []).first { $0["type"] == "Healthy" }?["status"] == "True"
    }
}
