import EnvoyAPI
import KubernetesAPI
import Serialization
import Testing

@testable import Mesh

@Suite("Whose addresses are")
struct WorkloadNamesTests {
    private func message(_ layer: MeshLayer, _ address: String) throws -> EnvoyAPI.Workload? {
        try layer.workloads[address]?.message.unpack(as: EnvoyAPI.Workload.self)
    }

    private func workload(
        _ address: String, owner: String = "", labels: [String: String] = [:]
    ) -> MeshModel.Workload {
        var workload = MeshModel.Workload(labels: labels, address: address, namedPorts: [:])
        workload.owner = owner
        return workload
    }

    @Test("an address leads to what its pod belongs to; the layer stays the same object while nothing differs")
    func names() throws {
        let pod = NamespacedName(namespace: "shop", name: "web-5c-x")
        var all = [pod: workload("10.0.0.1", owner: "web", labels: ["app": "shop", "version": "v2"])]
        var names = WorkloadNames(all)
        let layer = names.layer()
        let found = try #require(try message(layer, "10.0.0.1"))
        #expect(found.name == "web" && found.namespace == "shop" && found.pod == "web-5c-x")
        #expect(found.app == "shop" && found.canonicalName == "shop" && found.canonicalRevision == "v2")
        names.set(pod, all[pod], all)
        #expect(names.layer() === layer)
        all[pod]?.address = "10.0.0.2"
        names.set(pod, all[pod], all)
        #expect(names.layer().workloads.keys.sorted() == ["10.0.0.2"])
        all[pod] = nil
        names.set(pod, nil, all)
        #expect(names.layer().workloads.isEmpty)
    }

    @Test("a pod with addresses of both families is known by either")
    func families() throws {
        let pod = NamespacedName(namespace: "shop", name: "web")
        var all = [pod: workload("10.0.0.1")]
        all[pod]?.secondAddress = "fd00::1"
        var names = WorkloadNames(all)
        for address in ["10.0.0.1", "fd00::1"] {
            let found = try message(names.layer(), address)
            #expect(found?.pod == "web" && found?.address == address)
        }
        #expect(names.address(of: pod) == "10.0.0.1")
        all[pod]?.secondAddress = ""
        names.set(pod, all[pod], all)
        #expect(names.layer().workloads.keys.sorted() == ["10.0.0.1"])
    }

    @Test("an address that several pods share says nothing, until only one of them is left")
    func shared() throws {
        let (one, two) = (NamespacedName(namespace: "a", name: "one"), NamespacedName(namespace: "a", name: "two"))
        var all = [one: workload("10.0.0.9"), two: workload("10.0.0.9")]
        var names = WorkloadNames(all)
        #expect(names.layer().workloads.isEmpty)
        all[two] = nil
        names.set(two, nil, all)
        #expect(try message(names.layer(), "10.0.0.9")?.name == "one")
    }

    @Test("the workload of a pod is its Deployment's, its StatefulSet's or nobody's")
    func owners() {
        func name(_ kind: String, _ owner: String, hash: String? = nil) -> String {
            var labels: JSON = [:]
            if let hash { labels["pod-template-hash"] = .string(hash) }
            let reference: JSON = ["kind": .string(kind), "name": .string(owner)]
            return KubernetesObject(
                json: [
                    "kind": "Pod",
                    "metadata": ["name": "p", "labels": labels, "ownerReferences": .array([reference])],
                ]
            ).workloadName
        }
        #expect(name("ReplicaSet", "web-5c", hash: "5c") == "web")
        #expect(name("ReplicaSet", "web-5c") == "web-5c")
        #expect(name("StatefulSet", "db") == "db")
        #expect(KubernetesObject(json: ["kind": "Pod", "metadata": ["name": "p"]]).workloadName == "")
    }
}
