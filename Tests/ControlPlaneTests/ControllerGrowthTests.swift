import APIServer
import ControlPlane
import KubernetesAPI
import Mesh
import Serialization
import Testing

/// What a change costs, counted in objects that controllers look at: not more because there is more of everything else.
@Suite("Controllers: growth")
struct ControllerGrowthTests {
    private static func service(_ name: String, port: Int = 80) -> String {
        """
        apiVersion: v1
        kind: Service
        metadata: { name: \(name) }
        spec: { selector: { app: \(name), tier: all }, ports: [{ name: http, port: \(port) }] }
        """
    }

    private static func pod(_ name: String, _ app: String) -> String {
        """
        apiVersion: v1
        kind: Pod
        metadata: { name: \(name), labels: { app: \(app), tier: all } }
        spec: { containers: [{ name: app, image: app }] }
        """
    }

    private static func deployment(_ name: String) -> String {
        """
        apiVersion: apps/v1
        kind: Deployment
        metadata: { name: \(name) }
        spec:
          selector: { matchLabels: { app: \(name) } }
          template: { metadata: { labels: { app: \(name) } }, spec: { containers: [{ name: app, image: app }] } }
        """
    }

    /// What is looked at for each kind of change in a namespace with so many services, pods and Deployments.
    private func visits(_ count: Int) throws -> [String: Int] {
        let cluster = try TestCluster()
        for number in 0..<count {
            try cluster.apply(Self.service("service-\(number)"))
            try cluster.apply(Self.pod("pod-\(number)", "service-\(number)"))
            try cluster.apply(Self.deployment("workload-\(number)"))
        }
        try cluster.nodeStep()
        var found: [String: Int] = [:]
        func note(_ what: String, _ change: () throws -> Void) rethrows {
            let before = cluster.controllers.visitCount
            try change()
            found[what] = cluster.controllers.visitCount - before
        }
        try note("a Service") { try cluster.apply(Self.service("service-3", port: 81)) }
        try note("a new Service") { try cluster.apply(Self.service("another")) }
        try note("a new pod") { try cluster.apply(Self.pod("second", "service-3")) }
        try note("a Deployment") { try cluster.apply(Self.deployment("another")) }
        try note("a pod that goes") {
            try cluster.registry.delete(.pod, "default", "pod-4", options: DeleteOptions())
            cluster.settle()
        }
        return found
    }

    @Test("a write costs in a namespace with 60 services, pods and workloads what it costs with 10")
    func isConstant() throws {
        let (few, many) = (try visits(10), try visits(60))
        #expect(few == many)
        #expect(many.values.allSatisfy { $0 < 20 }, "\(many)")
    }

    @Test("what an index finds follows changes of labels, selectors and owners")
    func followsChanges() throws {
        let cluster = try TestCluster()
        try cluster.apply(Self.service("a"))
        try cluster.apply(Self.service("b"))
        try cluster.apply(Self.pod("one", "a"))
        try cluster.nodeStep()
        func members(_ service: String) -> Int {
            cluster.registry.list(.endpointSlice)
                .filter { $0.metadata.labels["kubernetes.io/service-name"] == service }
                .reduce(0) { $0 + ($1.json["endpoints"]?.array?.count ?? 0) }
        }
        #expect(members("a") == 1 && members("b") == 0)
        _ = try cluster.registry.modify(.pod, "default", "one", subresource: "") { json in
            var json = json
            json["metadata"]?["labels"]?["app"] = "b"
            return json
        }
        cluster.settle()
        #expect(members("a") == 0 && members("b") == 1, "a label that changed")
        _ = try cluster.registry.modify(.service, "default", "a", subresource: "") { json in
            var json = json
            json["spec"]?["selector"] = ["app": "b"]
            return json
        }
        cluster.settle()
        #expect(members("a") == 1 && members("b") == 1, "a selector that changed")
        try cluster.registry.delete(.service, "default", "b", options: DeleteOptions())
        cluster.settle()
        #expect(members("a") == 1)
    }
}
