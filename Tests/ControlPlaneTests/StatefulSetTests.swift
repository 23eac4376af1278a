import APIServer
import ControlPlane
import KubernetesAPI
import Serialization
import Testing

@Suite("StatefulSets")
struct StatefulSetTests {
    private static func set(_ replicas: Int, image: String = "one", extra: String = "") -> String {
        """
        apiVersion: apps/v1
        kind: StatefulSet
        metadata: {name: db, namespace: default}
        spec:
          serviceName: db
          replicas: \(replicas)
          selector: {matchLabels: {app: db}}
          \(extra)
          template:
            metadata: {labels: {app: db}}
            spec: {containers: [{name: c, image: \(image)}]}
        """
    }

    private func names(_ cluster: TestCluster) -> [String] { cluster.pods.map(\.name) }

    private func images(_ cluster: TestCluster) -> [String] {
        cluster.pods.map { "\($0.name)=\($0.spec["containers"]?[0]?["image"]?.string ?? "")" }
    }

    private func steps(_ cluster: TestCluster, _ count: Int = 10) throws {
        for _ in 0..<count { try cluster.nodeStep() }
    }

    @Test("pods come one after another, each when the one before it is ready, with names and numbers of their own")
    func order() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.set(3))
        #expect(names(cluster) == ["db-0"])
        cluster.pass(seconds: 60)
        #expect(names(cluster) == ["db-0"])
        try cluster.nodeStep()
        #expect(names(cluster) == ["db-0", "db-1"])
        try steps(cluster)
        #expect(names(cluster) == ["db-0", "db-1", "db-2"])
        let pod = try cluster.object(.pod, "db-1")
        #expect(pod.spec["hostname"] == "db-1" && pod.spec["subdomain"] == "db")
        #expect(pod.metadata.labels["statefulset.kubernetes.io/pod-name"] == "db-1")
        #expect(pod.metadata.labels["apps.kubernetes.io/pod-index"] == "1")
        let status = try cluster.object(.statefulSet, "db").status
        #expect(status["replicas"] == 3 && status["readyReplicas"] == 3 && status["availableReplicas"] == 3)
        #expect(status["currentReplicas"] == 3 && status["currentRevision"] == status["updateRevision"])
        #expect(pod.metadata.labels["controller-revision-hash"] == status["updateRevision"]?.string)
        #expect(cluster.reasons("db").contains("SuccessfulCreate"))
    }

    @Test("a pod of a headless service has a name of its own in it: its endpoint says which")
    func hostname() throws {
        let cluster = try TestCluster()
        try cluster.apply(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: db, namespace: default}
            spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
            """)
        try cluster.apply(Self.set(2))
        try steps(cluster)
        let endpoints = cluster.registry.list(.endpointSlice, namespace: "default").flatMap {
            $0.json["endpoints"]?.array ?? []
        }
        #expect(Set(endpoints.compactMap { $0["hostname"]?.string }) == ["db-0", "db-1"])
    }

    @Test("scaling down takes the highest number first, one after another, and waits for what is broken")
    func scaleDown() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.set(3))
        try steps(cluster)
        try cluster.apply(Self.set(1))
        #expect(cluster.pods.filter { $0.metadata.deletionTimestamp != nil }.map(\.name) == ["db-2"])
        try cluster.nodeStep()
        #expect(cluster.pods.filter { $0.metadata.deletionTimestamp != nil }.map(\.name) == ["db-1"])
        try steps(cluster)
        #expect(names(cluster) == ["db-0"])
    }

    @Test("Parallel makes and deletes all at once")
    func parallel() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.set(3, extra: "podManagementPolicy: Parallel"))
        #expect(names(cluster) == ["db-0", "db-1", "db-2"])
        try steps(cluster)
        try cluster.apply(Self.set(0, extra: "podManagementPolicy: Parallel"))
        #expect(cluster.pods.allSatisfy { $0.metadata.deletionTimestamp != nil })
    }

    @Test("an update goes from the highest number down, one pod at a time, and names stay")
    func rolling() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.set(3))
        try steps(cluster)
        cluster.startMeasuring()
        try cluster.apply(Self.set(3, image: "two"))
        var seen: [[String]] = []
        for _ in 0..<12 {
            seen.append(images(cluster).filter { $0.hasSuffix("two") })
            try cluster.nodeStep()
        }
        #expect(images(cluster) == ["db-0=two", "db-1=two", "db-2=two"])
        #expect(cluster.fewestReady == 2 && cluster.mostPods == 3)
        #expect(seen.contains(["db-2=two"]) && seen.contains(["db-1=two", "db-2=two"]))
        let status = try cluster.object(.statefulSet, "db").status
        #expect(status["currentRevision"] == status["updateRevision"] && status["updatedReplicas"] == 3)
    }

    @Test("below the partition the old template stays, also for a pod that is made anew")
    func partition() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.set(3))
        try steps(cluster)
        let extra = "updateStrategy: {rollingUpdate: {partition: 2}}"
        try cluster.apply(Self.set(3, image: "two", extra: extra))
        try steps(cluster)
        #expect(images(cluster) == ["db-0=one", "db-1=one", "db-2=two"])
        try cluster.registry.delete(.pod, "default", "db-1")
        try steps(cluster)
        #expect(images(cluster) == ["db-0=one", "db-1=one", "db-2=two"])
        let status = try cluster.object(.statefulSet, "db").status
        #expect(status["currentReplicas"] == 2 && status["updatedReplicas"] == 1)
        #expect(status["currentRevision"] != status["updateRevision"])
    }

    @Test("OnDelete replaces only what somebody deletes")
    func onDelete() throws {
        let cluster = try TestCluster()
        let extra = "updateStrategy: {type: OnDelete}"
        try cluster.apply(Self.set(2, extra: extra))
        try steps(cluster)
        try cluster.apply(Self.set(2, image: "two", extra: extra))
        try steps(cluster)
        #expect(images(cluster) == ["db-0=one", "db-1=one"])
        try cluster.registry.delete(.pod, "default", "db-0")
        try steps(cluster)
        #expect(images(cluster) == ["db-0=two", "db-1=one"])
    }

    @Test("a broken update is mended by the next template without a hand on the pods")
    func mended() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.set(2))
        try steps(cluster)
        cluster.brokenPrefix = "db-"
        try cluster.apply(Self.set(2, image: "bad"))
        try steps(cluster, 3)
        #expect(images(cluster) == ["db-0=one", "db-1=bad"])
        cluster.brokenPrefix = nil
        try cluster.apply(Self.set(2, image: "one"))
        try steps(cluster)
        #expect(images(cluster) == ["db-0=one", "db-1=one"])
    }

    @Test("a pod that has failed is made anew under its name")
    func failed() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.set(1))
        try steps(cluster)
        let old = try cluster.object(.pod, "db-0").metadata.uid
        try cluster.end(try cluster.object(.pod, "db-0"), "Failed")
        try steps(cluster)
        #expect(try cluster.object(.pod, "db-0").metadata.uid != old)
        #expect(cluster.reasons("db").contains("RecreatingFailedPod"))
    }

    @Test(
        "templates are kept as revisions, as many as the history may have, and one that comes back is the newest again")
    func history() throws {
        let cluster = try TestCluster()
        for image in ["one", "two", "three", "four", "two"] {
            try cluster.apply(Self.set(1, image: image, extra: "revisionHistoryLimit: 1"))
            try steps(cluster, 4)
        }
        let revisions = cluster.registry.list(.controllerRevision, namespace: "default")
        #expect(revisions.count == 2)
        let newest = revisions.max { $0.json["revision"]?.int ?? 0 < $1.json["revision"]?.int ?? 0 }
        #expect(newest?.json["data"]?["spec"]?["template"]?["spec"]?["containers"]?[0]?["image"] == "two")
        #expect(newest?.json["data"]?["spec"]?["template"]?["$patch"] == "replace")
    }

    @Test("pods that were orphaned are found again by a set of the same name")
    func orphans() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.set(2))
        try steps(cluster)
        let before = cluster.pods.map(\.metadata.uid)
        var options = DeleteOptions()
        options.propagation = .orphan
        try cluster.registry.delete(.statefulSet, "default", "db", options: options)
        cluster.settle()
        #expect(cluster.pods.allSatisfy { $0.metadata.ownerReferences.isEmpty } && cluster.pods.count == 2)
        try cluster.apply(Self.set(2))
        try steps(cluster)
        #expect(cluster.pods.map(\.metadata.uid) == before)
        let uid = try cluster.object(.statefulSet, "db").metadata.uid
        #expect(cluster.pods.allSatisfy { $0.metadata.ownerReferences.first?.uid == uid })
    }

    @Test("a pod whose labels are changed leaves its owner, which makes another")
    func released() throws {
        let cluster = try TestCluster()
        try cluster.apply(TestCluster.deployment(replicas: 1))
        try cluster.nodeStep()
        let pod = try #require(cluster.pods.first)
        _ = try cluster.registry.modify(.pod, "default", pod.name) { (json) throws(StatusError) in
            var json = json
            json["metadata"]?["labels"]?["app"] = "debug"
            return json
        }
        cluster.settle()
        #expect(cluster.pods.count == 2)
        #expect(try cluster.object(.pod, pod.name).metadata.ownerReferences.isEmpty)
    }
}
