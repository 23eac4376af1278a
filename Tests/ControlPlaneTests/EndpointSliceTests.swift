import APIServer
import KubernetesAPI
import Mesh
import Serialization
import Testing

@testable import ControlPlane

@Suite("EndpointSlices of two families, and hints")
struct EndpointSliceTests {
    private func service(_ spec: JSON) -> KubernetesObject {
        var object: JSON = [
            "apiVersion": "v1", "kind": "Service", "metadata": ["name": "web", "namespace": "d", "uid": "s"],
            "spec": ["selector": ["app": "web"], "ports": [["port": 80]]],
        ]
        for (name, value) in spec.object ?? [:] { object["spec"]?[name] = value }
        return KubernetesObject(json: object)
    }

    private func pod(_ name: String, _ addresses: [String], node: String, isReady: Bool = true) -> KubernetesObject {
        KubernetesObject(json: [
            "apiVersion": "v1", "kind": "Pod",
            "metadata": ["name": .string(name), "namespace": "d", "uid": .string(name)],
            "spec": ["nodeName": .string(node)],
            "status": [
                "phase": "Running", "podIP": .string(addresses.first ?? ""),
                "podIPs": .array(addresses.map { ["ip": .string($0)] }),
                "conditions": [["type": "Ready", "status": isReady ? "True" : "False"]],
            ],
        ])
    }

    private func made(_ decision: Decision) -> [String: [JSON]] {
        var made: [String: [JSON]] = [:]
        for case .create(.endpointSlice, let slice) in decision.changes {
            made[slice.json["addressType"]?.string ?? "", default: []] += slice.json["endpoints"]?.array ?? []
        }
        return made
    }

    @Test("S-6 a service has slices of each of its families, with the pods that have an address of it")
    func families() throws {
        let pods = [pod("a", ["10.244.0.5", "fd00::5"], node: "n"), pod("b", ["10.244.0.6"], node: "n")]
        func slices(_ families: JSON) -> [String: [JSON]] {
            made(
                EndpointSliceController.decide(
                    service(["ipFamilies": families]), pods: pods, slices: [], endpoints: nil))
        }
        let both = slices(["IPv4", "IPv6"])
        #expect(both["IPv4"]?.map { $0["addresses"]?[0] } == ["10.244.0.5", "10.244.0.6"])
        #expect(both["IPv6"]?.map { $0["addresses"]?[0] } == ["fd00::5"])
        #expect(Set(slices(["IPv6"]).keys) == ["IPv6"])
        #expect(Set(slices([]).keys) == ["IPv4"])
        // Readers of Endpoints see the first family.
        let decision = EndpointSliceController.decide(
            service(["ipFamilies": ["IPv6", "IPv4"]]), pods: pods, slices: [], endpoints: nil)
        guard case .create(.endpoints, let legacy)? = decision.changes.last else {
            Issue.record("no Endpoints")
            return
        }
        #expect(legacy.json["subsets"]?[0]?["addresses"]?.array?.map { $0["ip"] } == ["fd00::5"])
    }

    @Test("B-10 endpoints say for which zone and node they are meant when their service asks for it")
    func hints() throws {
        let pods = [
            pod("a", ["10.0.0.1"], node: "n1"), pod("b", ["10.0.0.2"], node: "n2"), pod("c", ["10.0.0.3"], node: "n3"),
            pod("d", ["10.0.0.4"], node: "n1", isReady: false),
        ]
        func hints(_ distribution: String?) -> [JSON?] {
            let decision = EndpointSliceController.decide(
                service(distribution.map { ["trafficDistribution": .string($0)] } ?? [:]), pods: pods, slices: [],
                endpoints: nil, zones: ["n1": "east", "n2": "west"])
            return made(decision)["IPv4"]?.map { $0["hints"] } ?? []
        }
        #expect(hints(nil) == [nil, nil, nil, nil])
        for word in ["PreferClose", "PreferSameZone"] {
            #expect(
                hints(word) == [["forZones": [["name": "east"]]], ["forZones": [["name": "west"]]], nil, nil])
        }
        #expect(
            hints("PreferSameNode") == [
                ["forZones": [["name": "east"]], "forNodes": [["name": "n1"]]],
                ["forZones": [["name": "west"]], "forNodes": [["name": "n2"]]], ["forNodes": [["name": "n3"]]], nil,
            ])
    }

    @Test("B-10 a node that gets another zone has the hints of its endpoints written anew")
    func zones() throws {
        let cluster = try TestCluster()
        func label(_ zone: String) throws {
            try cluster.apply(
                """
                {apiVersion: v1, kind: Node, metadata: {name: node, labels: {topology.kubernetes.io/zone: \(zone)}}}
                """)
        }
        try label("east")
        try cluster.apply(
            """
            {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, trafficDistribution: PreferClose, ports: [{port: 80}]}}
            ---
            {apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}
            """)
        try cluster.nodeStep()
        cluster.settle()
        func endpoint() -> JSON? {
            cluster.registry.list(.endpointSlice).first { $0.metadata.labels["kubernetes.io/service-name"] == "web" }?
                .json["endpoints"]?[0]
        }
        #expect(endpoint()?["zone"] == "east" && endpoint()?["hints"] == ["forZones": [["name": "east"]]])
        try label("west")
        #expect(endpoint()?["zone"] == "west" && endpoint()?["hints"] == ["forZones": [["name": "west"]]])
    }
}
