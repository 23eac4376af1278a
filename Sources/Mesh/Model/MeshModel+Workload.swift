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

    /// Finds out where it runs.
    mutating func settle(_ nodes: [String: MeshLocality]) {
        locality = labels["istio-locality"].map { MeshLocality($0) } ?? nodes[node] ?? MeshLocality()
    }
}
