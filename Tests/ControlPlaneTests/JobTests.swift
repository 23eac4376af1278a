import APIServer
import ControlPlane
import KubernetesAPI
import Serialization
import Testing

@Suite("Jobs")
struct JobTests {
    private static func job(_ spec: String = "", policy: String = "Never") -> String {
        """
        apiVersion: batch/v1
        kind: Job
        metadata: {name: once, namespace: default}
        spec:
          \(spec)
          template: {spec: {restartPolicy: \(policy), containers: [{name: c, image: one}]}}
        """
    }

    private func status(_ cluster: TestCluster) throws -> JSON { try cluster.object(.job, "once").status }

    private func condition(_ cluster: TestCluster, _ type: String) throws -> String? {
        try status(cluster)["conditions"]?.array?.first { $0["type"]?.string == type && $0["status"] == "True" }?[
            "reason"]?
            .string
    }

    private func running(_ cluster: TestCluster) -> [KubernetesObject] {
        cluster.pods.filter {
            $0.metadata.deletionTimestamp == nil && !["Succeeded", "Failed"].contains($0.status["phase"]?.string ?? "")
        }
    }

    @Test("a pod that succeeds completes the Job, and is let go of once it is counted")
    func completes() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.job())
        let pod = try #require(cluster.pods.first)
        let uid = try cluster.object(.job, "once").metadata.uid
        #expect(
            pod.metadata.labels["batch.kubernetes.io/controller-uid"] == uid
                && pod.metadata.labels["job-name"] == "once")
        #expect(pod.metadata.finalizers == ["batch.kubernetes.io/job-tracking"] && pod.name.hasPrefix("once-"))
        #expect(try status(cluster)["active"] == 1 && status(cluster)["startTime"] != nil)
        try cluster.nodeStep()
        #expect(try status(cluster)["ready"] == 1)
        try cluster.end(pod, "Succeeded")
        #expect(try condition(cluster, "Complete") == "CompletionsReached")
        #expect(try status(cluster)["succeeded"] == 1 && status(cluster)["active"] == nil)
        #expect(try status(cluster)["completionTime"] != nil && status(cluster)["uncountedTerminatedPods"] == [:])
        #expect(try cluster.object(.pod, pod.name).metadata.finalizers.isEmpty)
        #expect(cluster.reasons("once").contains("Completed"))
        cluster.pass(seconds: 100)
        #expect(cluster.pods.count == 1)
    }

    @Test("parallelism pods run at a time until so many have succeeded as completions asks for")
    func parallel() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.job("completions: 5\n  parallelism: 2"))
        for done in 0..<5 {
            #expect(running(cluster).count == min(2, 5 - done))
            try cluster.end(try #require(running(cluster).first), "Succeeded")
        }
        #expect(try status(cluster)["succeeded"] == 5 && condition(cluster, "Complete") != nil)
    }

    @Test("a success that somebody deletes still counts")
    func counted() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.job("completions: 2"))
        try cluster.end(try #require(running(cluster).first), "Succeeded")
        let ended = try #require(cluster.pods.first { $0.status["phase"] == "Succeeded" })
        try cluster.registry.delete(.pod, "default", ended.name)
        cluster.settle()
        #expect(try status(cluster)["succeeded"] == 1)
        try cluster.end(try #require(running(cluster).first), "Succeeded")
        #expect(try condition(cluster, "Complete") != nil)
    }

    @Test("failures are tried again after growing pauses until there are more than backoffLimit")
    func backoff() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.job("backoffLimit: 2"))
        try cluster.end(try #require(running(cluster).first), "Failed")
        #expect(running(cluster).isEmpty)
        cluster.pass(seconds: 11)
        #expect(running(cluster).count == 1)
        try cluster.end(try #require(running(cluster).first), "Failed")
        cluster.pass(seconds: 11)
        #expect(running(cluster).isEmpty)
        cluster.pass(seconds: 10)
        try cluster.end(try #require(running(cluster).first), "Failed")
        #expect(try condition(cluster, "Failed") == "BackoffLimitExceeded")
        #expect(try status(cluster)["failed"] == 3)
        cluster.pass(seconds: 1000)
        #expect(running(cluster).isEmpty)
    }

    @Test("after activeDeadlineSeconds everything is stopped and the Job has failed")
    func deadline() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.job("activeDeadlineSeconds: 30"))
        try cluster.nodeStep()
        cluster.pass(seconds: 31)
        #expect(try condition(cluster, "FailureTarget") == "DeadlineExceeded")
        for _ in 0..<2 { try cluster.nodeStep() }
        cluster.settle()
        #expect(try condition(cluster, "Failed") == "DeadlineExceeded" && cluster.pods.isEmpty)
    }

    @Test("ttlSecondsAfterFinished deletes the Job with its pods")
    func timeToLive() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.job("ttlSecondsAfterFinished: 60"))
        try cluster.end(try #require(running(cluster).first), "Succeeded")
        cluster.pass(seconds: 30)
        #expect(cluster.has(.job, "once"))
        cluster.pass(seconds: 31)
        #expect(!cluster.has(.job, "once"))
        for _ in 0..<2 { try cluster.nodeStep() }
        #expect(cluster.pods.isEmpty)
    }

    @Test("Indexed pods have numbers, in their names, environment and status")
    func indexed() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.job("completions: 4\n  parallelism: 4\n  completionMode: Indexed"))
        #expect(
            Set(cluster.pods.compactMap { $0.spec["hostname"]?.string }) == ["once-0", "once-1", "once-2", "once-3"])
        let second = try #require(cluster.pods.first { $0.name.hasPrefix("once-1-") })
        #expect(second.metadata.annotations["batch.kubernetes.io/job-completion-index"] == "1")
        let environment = second.spec["containers"]?[0]?["env"]?[0]
        #expect(environment?["name"] == "JOB_COMPLETION_INDEX")
        for pod in cluster.pods where !pod.name.hasPrefix("once-2-") { try cluster.end(pod, "Succeeded") }
        #expect(try status(cluster)["completedIndexes"] == "0,1,3")
        try cluster.end(try #require(running(cluster).first), "Failed")
        cluster.pass(seconds: 11)
        #expect(running(cluster).map { $0.spec["hostname"]?.string } == ["once-2"])
        try cluster.end(try #require(running(cluster).first), "Succeeded")
        #expect(try status(cluster)["completedIndexes"] == "0-3" && condition(cluster, "Complete") != nil)
    }

    @Test("a suspended Job stops its pods and goes on when it is told")
    func suspended() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.job("suspend: true"))
        #expect(try cluster.pods.isEmpty && condition(cluster, "Suspended") == "JobSuspended")
        _ = try cluster.registry.modify(.job, "default", "once") { (json) throws(StatusError) in
            var json = json
            json["spec"]?["suspend"] = false
            return json
        }
        cluster.settle()
        #expect(try running(cluster).count == 1 && condition(cluster, "Suspended") == nil)
    }

    @Test("with OnFailure the restarts of containers count")
    func restarts() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.job("backoffLimit: 2", policy: "OnFailure"))
        let pod = try #require(cluster.pods.first)
        _ = try cluster.registry.modify(.pod, "default", pod.name, subresource: "status") {
            (json) throws(StatusError) in
            var json = json
            json["status"] = ["phase": "Running", "containerStatuses": [["name": "c", "restartCount": 2]]]
            return json
        }
        cluster.settle()
        #expect(try condition(cluster, "FailureTarget") == "BackoffLimitExceeded")
    }

    @Test(
        "what is not there is refused by its name, not ignored",
        arguments: [
            ("podFailurePolicy: {rules: []}", "spec.podFailurePolicy"),
            ("successPolicy: {rules: []}", "spec.successPolicy"),
            ("backoffLimitPerIndex: 1", "spec.backoffLimitPerIndex"),
        ])
    func refused(field: String, path: String) throws {
        let cluster = try TestCluster()
        let error = #expect(throws: StatusError.self) { try cluster.apply(Self.job(field)) }
        #expect(error?.code == 422 && error?.message.contains(path + ": Forbidden") == true)
    }

    @Test("a Job needs a restart policy that lets it end")
    func policy() throws {
        let cluster = try TestCluster()
        let error = #expect(throws: StatusError.self) { try cluster.apply(Self.job(policy: "Always")) }
        #expect(
            error?.message.contains(
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"") == true)
    }
}
