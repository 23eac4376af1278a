import APIServer
import ControlPlane
import KubernetesAPI
import Serialization
import Testing

@Suite("Deployments and ReplicaSets")
struct DeploymentTests {
    @Test("a deployment becomes a replica set and pods, and is available when they are ready")
    func creation() throws {
        let cluster = try TestCluster()
        try cluster.apply(TestCluster.deployment(replicas: 3))
        let set = try #require(cluster.replicaSets.first)
        #expect(cluster.replicaSets.count == 1 && cluster.pods.count == 3)
        let hash = try #require(set.metadata.labels["pod-template-hash"])
        #expect(set.name == "web-\(hash)")
        #expect(
            cluster.pods.allSatisfy {
                $0.name.hasPrefix("\(set.name)-") && $0.metadata.labels["pod-template-hash"] == hash
            })
        #expect(try cluster.condition("Available") == "False MinimumReplicasUnavailable")
        try cluster.nodeStep()
        #expect(try cluster.condition("Available") == "True MinimumReplicasAvailable")
        #expect(try cluster.condition("Progressing") == "True NewReplicaSetAvailable")
        let status = try cluster.deployment().status
        #expect(status["replicas"] == 3 && status["availableReplicas"] == 3 && status["updatedReplicas"] == 3)
        #expect(status["observedGeneration"] == 1 && status["unavailableReplicas"] == nil)
    }

    @Test("scaling up and down follows at once; those not ready go first, then the youngest")
    func scaling() throws {
        let cluster = try TestCluster()
        try cluster.apply(TestCluster.deployment(replicas: 2))
        try cluster.nodeStep()
        let old = Set(cluster.pods.map(\.name))
        cluster.pass(seconds: 10)
        try cluster.apply(TestCluster.deployment(replicas: 4))
        #expect(cluster.pods.count == 4 && cluster.replicaSets.count == 1)
        try cluster.nodeStep()
        let unready = try #require(cluster.pods.first { old.contains($0.name) })
        try cluster.setStatus(unready, isReady: false)
        cluster.settle()
        try cluster.apply(TestCluster.deployment(replicas: 3))
        #expect(cluster.pods.filter { $0.metadata.deletionTimestamp != nil }.map(\.name) == [unready.name])
        try cluster.nodeStep()
        try cluster.apply(TestCluster.deployment(replicas: 1))
        try cluster.nodeStep()
        #expect(Set(cluster.pods.map(\.name)) == old.subtracting([unready.name]))
    }

    @Test(
        "a rolling update keeps to maxSurge and maxUnavailable",
        arguments: [
            ("", 4, 5, 3), ("strategy: {rollingUpdate: {maxSurge: 2, maxUnavailable: 0}}", 4, 6, 4),
            ("strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}", 3, 3, 2),
        ])
    func rolling(strategy: String, replicas: Int, most: Int, fewest: Int) throws {
        let cluster = try TestCluster()
        try cluster.apply(TestCluster.deployment(replicas: replicas, extra: strategy))
        try cluster.nodeStep()
        cluster.pass(seconds: 5)
        cluster.startMeasuring()
        try cluster.apply(TestCluster.deployment(replicas: replicas, image: "two", extra: strategy))
        for _ in 0..<20 { try cluster.nodeStep() }
        #expect(cluster.fewestReady >= fewest && cluster.mostPods <= most)
        #expect(cluster.pods.count == replicas)
        #expect(cluster.pods.allSatisfy { $0.spec["containers"]?[0]?["image"] == "two" })
        #expect(try cluster.condition("Progressing") == "True NewReplicaSetAvailable")
        #expect(try cluster.deployment().metadata.annotations["deployment.kubernetes.io/revision"] == "2")
    }

    @Test("a template that comes back gets its old replica set with a new revision")
    func rollback() throws {
        let cluster = try TestCluster()
        for image in ["one", "two", "one"] {
            try cluster.apply(TestCluster.deployment(replicas: 1, image: image))
            for _ in 0..<5 { try cluster.nodeStep() }
        }
        #expect(cluster.replicaSets.count == 2)
        let revisions = cluster.replicaSets.map { $0.metadata.annotations["deployment.kubernetes.io/revision"] ?? "" }
        #expect(Set(revisions) == ["2", "3"])
        #expect(cluster.pods.first?.spec["containers"]?[0]?["image"] == "one")
    }

    @Test("Recreate has no two versions at one time")
    func recreate() throws {
        let cluster = try TestCluster()
        let strategy = "strategy: {type: Recreate}"
        try cluster.apply(TestCluster.deployment(replicas: 2, extra: strategy))
        try cluster.nodeStep()
        try cluster.apply(TestCluster.deployment(replicas: 2, image: "two", extra: strategy))
        for _ in 0..<6 {
            let images = Set(cluster.pods.map { $0.spec["containers"]?[0]?["image"]?.string ?? "" })
            #expect(images.count <= 1)
            try cluster.nodeStep()
        }
        #expect(cluster.pods.count == 2 && cluster.pods.allSatisfy { $0.spec["containers"]?[0]?["image"] == "two" })
    }

    @Test("an update that never gets ready keeps the old pods and misses its deadline")
    func deadline() throws {
        let cluster = try TestCluster()
        try cluster.apply(TestCluster.deployment(replicas: 2, extra: "progressDeadlineSeconds: 30"))
        try cluster.nodeStep()
        let old = Set(cluster.pods.map(\.name))
        cluster.brokenPrefix = "web-"
        try cluster.apply(TestCluster.deployment(replicas: 2, image: "bad", extra: "progressDeadlineSeconds: 30"))
        for _ in 0..<5 { try cluster.nodeStep() }
        #expect(old.isSubset(of: cluster.pods.map(\.name)))
        #expect(try cluster.condition("Progressing").hasPrefix("True"))
        cluster.pass(seconds: 40)
        #expect(try cluster.condition("Progressing") == "False ProgressDeadlineExceeded")
    }

    @Test("minReadySeconds delays availability")
    func minReady() throws {
        let cluster = try TestCluster()
        try cluster.apply(TestCluster.deployment(replicas: 1, extra: "minReadySeconds: 10"))
        try cluster.nodeStep()
        #expect(try cluster.deployment().status["readyReplicas"] == 1)
        #expect(try cluster.deployment().status["availableReplicas"] == nil)
        cluster.pass(seconds: 11)
        #expect(try cluster.deployment().status["availableReplicas"] == 1)
    }

    @Test("old replica sets beyond the history limit are deleted")
    func history() throws {
        let cluster = try TestCluster()
        for image in ["a", "b", "c", "d"] {
            try cluster.apply(TestCluster.deployment(replicas: 1, image: image, extra: "revisionHistoryLimit: 1"))
            for _ in 0..<5 { try cluster.nodeStep() }
        }
        #expect(cluster.replicaSets.count == 2)
    }

    @Test("a pod that somebody deletes is replaced; deleting the deployment deletes everything")
    func replacement() throws {
        let cluster = try TestCluster()
        try cluster.apply(TestCluster.deployment(replicas: 1))
        try cluster.nodeStep()
        let first = try #require(cluster.pods.first)
        try cluster.registry.delete(.pod, "default", first.name)
        cluster.settle()
        #expect(cluster.pods.contains { $0.name != first.name && $0.metadata.deletionTimestamp == nil })
        try cluster.registry.delete(.deployment, "default", "web")
        cluster.settle()
        for _ in 0..<3 { try cluster.nodeStep() }
        #expect(cluster.pods.isEmpty && cluster.replicaSets.isEmpty)
    }

    @Test("what happens is told in events, equal ones counted")
    func events() throws {
        let cluster = try TestCluster()
        try cluster.apply(TestCluster.deployment(replicas: 1))
        let reasons = cluster.registry.list(.event, namespace: "default").map { $0.json["reason"]?.string ?? "" }
        #expect(Set(reasons) == ["ScalingReplicaSet", "SuccessfulCreate", "Scheduled"])
    }
}

@Suite("Endpoint slices")
struct EndpointTests {
    private let service = """
        apiVersion: v1
        kind: Service
        metadata: {name: web, namespace: default}
        spec: {selector: {app: web}, ports: [{port: 80, targetPort: web}]}
        """

    private func cluster(replicas: Int) throws -> TestCluster {
        let cluster = try TestCluster()
        try cluster.apply(service)
        try cluster.apply(TestCluster.deployment(replicas: replicas))
        return cluster
    }

    private func endpoints(_ cluster: TestCluster) -> [JSON] {
        cluster.registry.list(.endpointSlice, namespace: "default")
            .filter { $0.metadata.labels["kubernetes.io/service-name"] == "web" }
            .flatMap { $0.json["endpoints"]?.array ?? [] }
    }

    @Test("S-5 pods appear when they have an address, ready when they are, with the number of their named port")
    func readiness() throws {
        let cluster = try cluster(replicas: 2)
        #expect(endpoints(cluster).isEmpty)
        try cluster.nodeStep()
        #expect(endpoints(cluster).count == 2 && endpoints(cluster).allSatisfy { $0["conditions"]?["ready"] == true })
        let slice = try #require(
            cluster.registry.list(.endpointSlice, namespace: "default").first { $0.name.hasPrefix("web-") })
        #expect(slice.json["ports"]?[0]?["port"] == 8080 && slice.json["ports"]?[0]?["name"] == "")
        try cluster.setStatus(try #require(cluster.pods.first), isReady: false)
        cluster.settle()
        #expect(endpoints(cluster).filter { $0["conditions"]?["ready"] == true }.count == 1)
        let legacy = try cluster.registry.get(.endpoints, "default", "web")
        #expect(legacy.json["subsets"]?[0]?["addresses"]?.array?.count == 1)
        #expect(legacy.json["subsets"]?[0]?["notReadyAddresses"]?.array?.count == 1)
    }

    @Test("a pod that is being deleted is not ready from that moment on")
    func termination() throws {
        let cluster = try cluster(replicas: 1)
        try cluster.nodeStep()
        try cluster.registry.delete(.pod, "default", try #require(cluster.pods.first).name)
        cluster.settle()
        #expect(
            endpoints(cluster).first?["conditions"] == ["ready": false, "serving": true, "terminating": true])
    }

    @Test("S-13 a service without selector keeps the slices that were made by hand")
    func byHand() throws {
        let cluster = try TestCluster()
        try cluster.apply(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: manual, namespace: default}
            spec: {ports: [{port: 80}]}
            ---
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata: {name: manual-1, namespace: default, labels: {kubernetes.io/service-name: manual}}
            addressType: IPv4
            ports: [{name: "", port: 80}]
            endpoints: [{addresses: [10.0.0.1]}]
            """)
        #expect((try? cluster.registry.get(.endpointSlice, "default", "manual-1")) != nil)
    }

    @Test("deleting the service deletes its slices and endpoints")
    func deletion() throws {
        let cluster = try cluster(replicas: 1)
        try cluster.nodeStep()
        try cluster.registry.delete(.service, "default", "web")
        cluster.settle()
        #expect(endpoints(cluster).isEmpty && (try? cluster.registry.get(.endpoints, "default", "web")) == nil)
    }

    @Test("a replica set on its own keeps its pods")
    func alone() throws {
        let cluster = try TestCluster()
        let yaml = """
            apiVersion: apps/v1
            kind: ReplicaSet
            metadata: {name: web, namespace: default}
            spec:
              replicas: 2
              selector: {matchLabels: {app: web}}
              template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: one}]}}
            """
        try cluster.apply(yaml)
        try cluster.nodeStep()
        try cluster.registry.delete(.pod, "default", try #require(cluster.pods.first).name)
        for _ in 0..<3 { try cluster.nodeStep() }
        #expect(cluster.pods.count == 2)
        #expect(try cluster.object(.replicaSet, "web").status["readyReplicas"] == 2)
    }

    @Test(
        "a number changed in the midst of a rollout is shared out in proportion, and the rollout ends",
        arguments: [10, 3])
    func proportional(replicas: Int) throws {
        let cluster = try TestCluster()
        try cluster.apply(TestCluster.deployment(replicas: 6))
        try cluster.nodeStep()
        cluster.brokenPrefix = "web-"
        try cluster.apply(TestCluster.deployment(replicas: 6, image: "two"))
        try cluster.nodeStep()
        let before = cluster.replicaSets.map { $0.spec["replicas"]?.int ?? 0 }.sorted()
        #expect(before.reduce(0, +) == 8 && before.first ?? 0 > 0)
        _ = try cluster.registry.modify(.deployment, "default", "web") { (json) throws(StatusError) in
            var json = json
            json["spec"]?["replicas"] = .integer(Int64(replicas))
            json["spec"]?["paused"] = true
            return json
        }
        cluster.settle()
        let after = cluster.replicaSets.map { $0.spec["replicas"]?.int ?? 0 }.sorted()
        // maxSurge is 25 %, rounded up.
        #expect(after.reduce(0, +) == replicas + (replicas + 3) / 4 && after.first ?? 0 > 0)
        cluster.brokenPrefix = nil
        try cluster.apply(TestCluster.deployment(replicas: replicas, image: "two"))
        for _ in 0..<20 { try cluster.nodeStep() }
        #expect(cluster.pods.count == replicas)
        #expect(cluster.pods.allSatisfy { $0.spec["containers"]?[0]?["image"] == "two" })
    }

    @Test("a service account default that was deleted is made anew")
    func account() throws {
        let cluster = try TestCluster()
        try cluster.registry.delete(.serviceAccount, "default", "default")
        cluster.settle()
        #expect(cluster.has(.serviceAccount, "default"))
    }

    @Test("many similar events become one")
    func similar() throws {
        let cluster = try TestCluster()
        try cluster.apply(TestCluster.deployment(replicas: 1))
        let object = try cluster.deployment()
        let recorder = EventRecorder(
            RegistrySource(cluster.registry), component: "test", now: { Timestamp(seconds: 1_800_000_001) })
        for number in 0..<30 { recorder.record(EventNote(object, "Odd", "message \(number)")) }
        recorder.record(EventNote(object, "Odd", "message 3"))
        let events = cluster.registry.list(.event).filter { $0.json["reason"] == "Odd" }
        #expect(events.count == 11)
        let combined = events.first { $0.json["message"]?.string?.hasPrefix("(combined") == true }
        #expect(combined?.json["count"] == 20)
        #expect(combined?.json["message"] == "(combined from similar events): message 29")
        #expect(events.contains { $0.json["message"] == "message 3" && $0.json["count"] == 2 })
    }
}
