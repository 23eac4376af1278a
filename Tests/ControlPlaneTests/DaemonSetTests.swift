import APIServer
import ControlPlane
import KubernetesAPI
import Serialization
import Testing

@Suite("DaemonSets")
struct DaemonSetTests {
    private static func set(image: String = "one", extra: String = "", pod: String = "") -> String {
        """
        apiVersion: apps/v1
        kind: DaemonSet
        metadata: {name: agent, namespace: default}
        spec:
          selector: {matchLabels: {app: agent}}
          \(extra)
          template:
            metadata: {labels: {app: agent}}
            spec: {\(pod)containers: [{name: c, image: \(image)}]}
        """
    }

    private func cluster(nodes: [String]) throws -> TestCluster {
        let cluster = try TestCluster()
        for (index, node) in nodes.enumerated() {
            try cluster.apply(
                """
                apiVersion: v1
                kind: Node
                metadata: {name: \(node), labels: {disk: \(index == 0 ? "ssd" : "slow")}}
                """)
        }
        return cluster
    }

    private func places(_ cluster: TestCluster) -> [String] {
        cluster.pods.compactMap { $0.spec["nodeName"]?.string }.sorted()
    }

    @Test("every node has one pod, a new node gets one, a node that goes takes its own along")
    func nodes() throws {
        let cluster = try cluster(nodes: ["a", "b"])
        try cluster.apply(Self.set())
        #expect(places(cluster) == ["a", "b"])
        try cluster.nodeStep()
        let status = try cluster.object(.daemonSet, "agent").status
        #expect(status["desiredNumberScheduled"] == 2 && status["numberReady"] == 2 && status["numberAvailable"] == 2)
        #expect(status["updatedNumberScheduled"] == 2 && status["numberUnavailable"] == nil)
        try cluster.apply("apiVersion: v1\nkind: Node\nmetadata: {name: c}")
        #expect(places(cluster) == ["a", "b", "c"])
        try cluster.registry.delete(.node, "", "b")
        cluster.settle()
        for _ in 0..<3 { try cluster.nodeStep() }
        #expect(places(cluster) == ["a", "c"])
    }

    @Test("a node selector and untolerated taints keep pods away")
    func selection() throws {
        let cluster = try cluster(nodes: ["a", "b"])
        try cluster.apply(Self.set(pod: "nodeSelector: {disk: ssd}, "))
        #expect(places(cluster) == ["a"])
        let other = try self.cluster(nodes: ["a", "b"])
        _ = try other.registry.modify(.node, "", "b") { (json) throws(StatusError) in
            var json = json
            json["spec"] = ["taints": [["key": "only", "value": "db", "effect": "NoSchedule"]]]
            return json
        }
        try other.apply(Self.set())
        #expect(places(other) == ["a"])
        try other.apply(Self.set(pod: "tolerations: [{key: only, operator: Exists}], "))
        for _ in 0..<4 { try other.nodeStep() }
        #expect(places(other) == ["a", "b"])
    }

    @Test(
        "an update replaces as many pods at a time as may be missing, or has the new beside the old",
        arguments: [("", 2, 3), ("updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}", 3, 4)])
    func rolling(extra: String, fewest: Int, most: Int) throws {
        let cluster = try cluster(nodes: ["a", "b", "c"])
        try cluster.apply(Self.set(extra: extra))
        for _ in 0..<2 { try cluster.nodeStep() }
        cluster.startMeasuring()
        try cluster.apply(Self.set(image: "two", extra: extra))
        for _ in 0..<15 { try cluster.nodeStep() }
        #expect(cluster.fewestReady >= fewest && cluster.mostPods <= most)
        #expect(cluster.pods.count == 3 && places(cluster) == ["a", "b", "c"])
        #expect(cluster.pods.allSatisfy { $0.spec["containers"]?[0]?["image"] == "two" })
    }

    @Test("a pod that has failed is replaced")
    func failed() throws {
        let cluster = try cluster(nodes: ["a"])
        try cluster.apply(Self.set())
        let pod = try #require(cluster.pods.first)
        try cluster.end(pod, "Failed")
        for _ in 0..<3 { try cluster.nodeStep() }
        #expect(cluster.pods.count == 1 && cluster.pods.first?.name != pod.name)
        #expect(cluster.reasons("agent").contains("FailedDaemonPod"))
    }
}
