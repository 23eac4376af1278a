internal import KubernetesAPI
internal import Serialization

/// What a node answers on the health-check ports of Services whose outside traffic stays on the node.
///
/// Pure. Source: Kubernetes' documentation, "Virtual IPs and Service Proxies", traffic to terminating endpoints and
/// `healthCheckNodePort`.
enum HealthCheckPorts {
    /// One Service's answer.
    struct Answer: Sendable, Hashable {
        var namespace: String
        var name: String
        /// Ready endpoints on this node: with none a balancer is to send its traffic to other nodes.
        var localEndpoints: Int

        /// The status and the body; 503 also when the node cannot keep its service rules.
        func response(isHealthy: Bool) -> (status: UInt16, body: JSON) {
            (
                localEndpoints > 0 && isHealthy ? 200 : 503,
                [
                    "service": ["namespace": .string(namespace), "name": .string(name)],
                    "localEndpoints": .integer(Int64(localEndpoints)), "serviceProxyHealthy": .bool(isHealthy),
                ]
            )
        }
    }

    /// The port that is to be served for a service, and what it says; nil: none.
    static func answer(_ parts: ServiceParts, node: String) -> (port: UInt16, answer: Answer)? {
        guard let service = parts.service, service.spec["type"] == "LoadBalancer",
            service.spec["externalTrafficPolicy"] == "Local",
            let port = service.spec["healthCheckNodePort"]?.int.flatMap({ UInt16(exactly: $0) }), port != 0
        else { return nil }
        // A pod with addresses of both families is in two slices, and one endpoint.
        var pods: Set<String> = []
        var others: [String: Set<String>] = [:]
        for slice in parts.slices {
            for endpoint in slice.json["endpoints"]?.array ?? []
            where endpoint["nodeName"]?.string == node && endpoint["conditions"]?["ready"]?.bool ?? true {
                if endpoint["targetRef"]?["kind"]?.string == "Pod", let name = endpoint["targetRef"]?["name"]?.string {
                    pods.insert(name)
                } else {
                    others[slice.json["addressType"]?.string ?? "", default: []]
                        .formUnion((endpoint["addresses"]?.array ?? []).compactMap(\.string))
                }
            }
        }
        let count = pods.count + (others.values.map(\.count).max() ?? 0)
        return (port, Answer(namespace: service.namespace, name: service.name, localEndpoints: count))
    }
}
