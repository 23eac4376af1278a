import IO
import KubernetesAPI
import Network
import Serialization
import Testing

@testable import Workloads

@Suite("Hints of endpoints, for the rules of services")
struct ServiceHintTests {
    private func slice(_ type: String, _ endpoints: [(address: String, zone: String?, node: String?)])
        -> KubernetesObject
    {
        KubernetesObject(json: [
            "metadata": [
                "name": .string("web-" + type), "namespace": "d", "labels": ["kubernetes.io/service-name": "web"],
            ],
            "addressType": .string(type), "ports": [["name": "", "port": 8080]],
            "endpoints": .array(
                endpoints.map { endpoint in
                    var hints: JSON = [:]
                    if let zone = endpoint.zone { hints["forZones"] = [["name": .string(zone)]] }
                    if let node = endpoint.node { hints["forNodes"] = [["name": .string(node)]] }
                    return ["addresses": [.string(endpoint.address)], "hints": hints]
                }),
        ])
    }

    private func chosen(_ slices: [KubernetesObject], zone: String?, node: String?) -> [String] {
        let service = KubernetesObject(json: [
            "metadata": ["name": "web", "namespace": "d"],
            "spec": ["clusterIPs": ["10.96.0.9", "fd00::9"], "ports": [["port": 80]]],
        ])
        return ServiceTranslation.ports(service, slices, local: [], zone: zone, node: node)
            .flatMap(\.endpoints).map { "\($0.address)" }
    }

    @Test("B-10 a node takes endpoints that are meant for it, else those of its zone, else all; each family for itself")
    func near() {
        let v4 = slice("IPv4", [("10.0.0.1", "east", "n1"), ("10.0.0.2", "east", "n2"), ("10.0.0.3", "west", "n3")])
        #expect(chosen([v4], zone: "east", node: "n1") == ["10.0.0.1"])
        #expect(chosen([v4], zone: "east", node: "n9") == ["10.0.0.1", "10.0.0.2"])
        #expect(chosen([v4], zone: "north", node: "n9") == ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        #expect(chosen([v4], zone: nil, node: nil) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        // One that does not say for whom it is meant takes the hints from all.
        let open = slice("IPv4", [("10.0.0.1", "east", "n1"), ("10.0.0.2", nil, nil)])
        #expect(chosen([open], zone: "east", node: "n1") == ["10.0.0.1", "10.0.0.2"])
        let v6 = slice("IPv6", [("fd00::1", nil, nil), ("fd00::2", nil, nil)])
        #expect(chosen([v4, v6], zone: "east", node: "n1") == ["10.0.0.1", "fd00::1", "fd00::2"])
    }
}
