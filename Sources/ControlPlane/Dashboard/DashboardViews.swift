import APIServer
import HTTP
import Insight
import KubernetesAPI
import Mesh
import Serialization

/// What the dashboard shows administrators: names, states, addresses and findings of objects; never their data, environment or secrets.
///
/// Pure: objects in, JSON out.
enum DashboardViews {
    /// Objects that are listed at most; the number of all is told beside them.
    static let objectsMax = 2000

    // MARK: Network

    static func network(
        nodes: [KubernetesObject], pods: [KubernetesObject], services: [MeshService],
        endpoints: (MeshService) -> [MeshEndpoint]
    ) -> JSON {
        [
            "nodes": .array(nodes.sorted(by: before).prefix(objectsMax).map(node)),
            "pods": .array(pods.sorted(by: before).prefix(objectsMax).map(pod)),
            "services": .array(services.prefix(objectsMax).map { service($0, endpoints($0)) }),
        ]
    }

    private static func before(_ left: KubernetesObject, _ right: KubernetesObject) -> Bool {
        (left.namespace, left.name) < (right.namespace, right.name)
    }

    private static func isTrue(_ object: KubernetesObject, _ condition: String) -> Bool {
        (object.status["conditions"]?.array ?? []).contains {
            $0["type"]?.string == condition && $0["status"]?.string == "True"
        }
    }

    private static func texts(_ list: JSON?, _ key: String? = nil) -> [JSON] {
        (list?.array ?? []).compactMap { key == nil ? $0.string : $0[key ?? ""]?.string }.map { .string($0) }
    }

    private static func node(_ object: KubernetesObject) -> JSON {
        let ranges = texts(object.spec["podCIDRs"])
        return [
            "name": .string(object.name), "ready": .bool(isTrue(object, "Ready")),
            "addresses": .array(texts(object.status["addresses"], "address")),
            "podRanges": .array(ranges.isEmpty ? [object.spec["podCIDR"]].compactMap { $0 } : ranges),
        ]
    }

    private static func pod(_ object: KubernetesObject) -> JSON {
        let several = texts(object.status["podIPs"], "ip")
        let restarts = (object.status["containerStatuses"]?.array ?? []).reduce(0) {
            $0 + ($1["restartCount"]?.int ?? 0)
        }
        return [
            "namespace": .string(object.namespace), "name": .string(object.name),
            "node": .string(object.spec["nodeName"]?.string ?? ""),
            "addresses": .array(several.isEmpty ? [object.status["podIP"]].compactMap { $0 } : several),
            "phase": .string(object.status["phase"]?.string ?? ""), "ready": .bool(isTrue(object, "Ready")),
            "restarts": .integer(Int64(restarts)),
        ]
    }

    private static func service(_ service: MeshService, _ endpoints: [MeshEndpoint]) -> JSON {
        [
            "namespace": .string(service.key.namespace), "name": .string(service.key.name),
            "host": .string(service.host), "addresses": .array(service.addresses.map { .string("\($0)") }),
            "ports": .array(service.ports.map { .string("\($0.number)\($0.name.isEmpty ? "" : " \($0.name)")") }),
            "endpoints": .integer(Int64(endpoints.count)), "ready": .integer(Int64(endpoints.count { $0.isReady })),
        ]
    }

    // MARK: Objects

    /// The objects with their conditions, and what the analysis finds.
    static func objects(_ objects: [KubernetesObject], _ findings: [Diagnostic]) -> JSON {
        let sorted = objects.sorted { ($0.kind, $0.namespace, $0.name) < ($1.kind, $1.namespace, $1.name) }
        let order = Diagnostic.Severity.allCases
        let worst = order.reversed().flatMap { severity in findings.filter { $0.severity == severity } }
        return [
            "total": .integer(Int64(objects.count)),
            "objects": .array(
                sorted.prefix(objectsMax).map { object in
                    [
                        "kind": .string(object.kind), "namespace": .string(object.namespace),
                        "name": .string(object.name), "generation": .integer(Int64(object.metadata.generation)),
                        "conditions": .array(conditions(object)),
                    ]
                }),
            "findings": .array(
                worst.prefix(objectsMax).map { found in
                    [
                        "severity": .string(found.severity.rawValue), "code": .string(found.code.id),
                        "kind": .string(found.kind), "namespace": .string(found.object.namespace),
                        "name": .string(found.object.name), "field": .string(found.field),
                        "message": .string(found.message),
                    ]
                }),
        ]
    }

    private static func conditions(_ object: KubernetesObject) -> [JSON] {
        (object.status["conditions"]?.array ?? []).map { condition in
            [
                "type": .string(condition["type"]?.string ?? ""), "status": .string(condition["status"]?.string ?? ""),
                "reason": .string(condition["reason"]?.string ?? ""),
            ]
        }
    }

    // MARK: A service

    /// Endpoints of a service, and the routes that a caller's proxy has for its host.
    static func service(_ endpoints: [MeshEndpoint], caller: NamespacedName?, routes: [JSON]) -> JSON {
        [
            "caller": caller.map { .string("\($0)") } ?? .null, "routes": .array(routes),
            "endpoints": .array(
                endpoints.prefix(objectsMax).map { endpoint in
                    [
                        "address": .string(endpoint.address),
                        "pod": .string(endpoint.pod.map { "\($0)" } ?? ""), "node": .string(endpoint.node),
                        "ready": .bool(endpoint.isReady), "version": .string(endpoint.labels["version"] ?? ""),
                    ]
                }),
        ]
    }
}
