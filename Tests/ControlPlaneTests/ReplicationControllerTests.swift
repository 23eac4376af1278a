import APIServer
import ControlPlane
import KubernetesAPI
import Serialization
import Testing

@Suite("ReplicationControllers")
struct ReplicationControllerTests {
    private func controller(replicas: Int, selector: String = "") -> String {
        """
        apiVersion: v1
        kind: ReplicationController
        metadata: {name: old}
        spec:
          replicas: \(replicas)
          \(selector)
          template:
            metadata: {labels: {app: old}}
            spec: {containers: [{name: c, image: x}]}
        """
    }

    @Test("one makes pods, is counted, scales, and takes pods that nobody owns; the template's labels are its selector")
    func life() throws {
        let cluster = try TestCluster()
        try cluster.apply(
            """
            apiVersion: v1
            kind: Pod
            metadata: {name: orphan, labels: {app: old}}
            spec: {containers: [{name: c, image: x}]}
            """)
        try cluster.apply(controller(replicas: 3))
        let object = try cluster.object(.replicationController, "old")
        #expect(object.spec["selector"] == ["app": "old"] && object.metadata.labels == ["app": "old"])
        #expect(cluster.pods.count == 3 && cluster.pods.contains { $0.name == "orphan" })
        #expect(
            cluster.pods.allSatisfy {
                $0.metadata.ownerReferences.first?.kind == "ReplicationController"
                    && $0.metadata.ownerReferences.first?.apiVersion == "v1"
            })
        try cluster.nodeStep()
        let status = try cluster.object(.replicationController, "old").status
        #expect(status["readyReplicas"] == 3 && status["fullyLabeledReplicas"] == 3)
        #expect(status["observedGeneration"] == 1)
        try cluster.apply(controller(replicas: 1))
        try cluster.nodeStep()
        #expect(cluster.pods.count == 1)
    }

    @Test("a selector that is not the template's, and a template that is not there, are refused in Kubernetes' words")
    func refusals() throws {
        let cluster = try TestCluster()
        #expect(throws: StatusError.self) {
            try cluster.apply(controller(replicas: 1, selector: "selector: {app: other}"))
        }
        do throws(StatusError) {
            _ = try cluster.registry.create(
                ["metadata": ["name": "bare"], "spec": ["selector": ["a": "b"]]], .replicationController,
                namespace: "default")
            Issue.record("a ReplicationController without template was taken")
        } catch { #expect(error.code == 422 && error.message.contains("spec.template")) }
    }
}
