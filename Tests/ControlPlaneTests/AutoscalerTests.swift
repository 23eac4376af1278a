import APIServer
import ControlPlane
import KubernetesAPI
import Serialization
import Testing

@Suite("HorizontalPodAutoscalers")
struct AutoscalerTests {
    private static let start = 1_800_000_000.0
    private static let requests = """
        metrics: [{type: Pods, pods: {metric: {name: requests_per_second}, target: {type: AverageValue, averageValue: "10"}}}]
        """

    private static func autoscaler(_ extra: String, most: Int = 4) -> String {
        """
        apiVersion: autoscaling/v2
        kind: HorizontalPodAutoscaler
        metadata: {name: web, namespace: default}
        spec:
          scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
          maxReplicas: \(most)
          \(extra)
        """
    }

    /// A cluster with a Deployment whose pods are all ready, and counters that grow as the test says.
    private final class World {
        let cluster: TestCluster
        private var time = start
        private var counters: [String: (cpu: Double, requests: Double)] = [:]

        init(replicas: Int = 1, extra: String = "") throws {
            cluster = try TestCluster()
            try cluster.apply(
                TestCluster.deployment(replicas: replicas).replacing(
                    "image: one", with: "image: one, resources: {requests: {cpu: 100m, memory: 100Mi}}"))
            try cluster.nodeStep()
        }

        var replicas: Int? { (try? cluster.deployment())?.spec["replicas"]?.int }

        /// Seconds pass in steps; each pod uses that much, and `total` requests a second are shared by those that are ready.
        func pass(_ seconds: Int, cpuMilli: Double = 0, memory: Double = 0, requests total: Double? = nil) throws {
            for _ in 0..<max(1, seconds / 5) {
                let pods = cluster.pods.filter { cluster.isReady($0) && $0.metadata.deletionTimestamp == nil }
                var page: [JSON] = []
                for pod in pods {
                    var counter = counters[pod.metadata.uid] ?? (0, 0)
                    counter.cpu += cpuMilli / 1000 * 5
                    counter.requests += (total ?? 0) / Double(pods.count) * 5
                    counters[pod.metadata.uid] = counter
                    var entry: JSON = [
                        "uid": .string(pod.metadata.uid),
                        "containers": [
                            ["name": "c", "cpuSeconds": .number(counter.cpu), "memoryBytes": .number(memory)]
                        ],
                    ]
                    if total != nil { entry["requests"] = .number(counter.requests) }
                    page.append(entry)
                }
                time += 5
                cluster.controllers.usage.take(["time": .number(time), "pods": .array(page)])
                cluster.pass(seconds: 5)
                try cluster.nodeStep()
            }
        }

        func condition(_ type: String) throws -> String {
            let status = try cluster.object(.horizontalPodAutoscaler, "web").status
            let found = status["conditions"]?.array?.first { $0["type"]?.string == type }
            return "\(found?["status"]?.string ?? "none") \(found?["reason"]?.string ?? "")"
        }
    }

    @Test("requests bring replicas, and when they end the replicas go, no sooner than the window says")
    func requestRate() throws {
        let world = try World()
        try world.cluster.apply(
            Self.autoscaler(Self.requests + "\n  behavior: {scaleDown: {stabilizationWindowSeconds: 30}}"))
        try world.pass(10, requests: 5)
        #expect(world.replicas == 1)
        try world.pass(60, requests: 38)
        #expect(world.replicas == 4)
        #expect(try world.condition("ScalingActive") == "True ValidMetricFound")
        let status = try world.cluster.object(.horizontalPodAutoscaler, "web").status
        #expect(status["currentReplicas"] == 4 && status["desiredReplicas"] == 4)
        #expect(status["currentMetrics"]?[0]?["pods"]?["metric"]?["name"] == "requests_per_second")
        try world.pass(30, requests: 0)
        #expect(world.replicas == 4)
        try world.pass(45, requests: 0)
        #expect(world.replicas == 1)
        #expect(world.cluster.reasons("web").contains("SuccessfulRescale"))
    }

    @Test("more than maxReplicas is never asked for, and the status says that it would be")
    func bounds() throws {
        let world = try World()
        try world.cluster.apply(Self.autoscaler(Self.requests, most: 3))
        try world.pass(60, requests: 500)
        #expect(world.replicas == 3)
        #expect(try world.condition("ScalingLimited") == "True TooManyReplicas")
        try world.cluster.apply(Self.autoscaler(Self.requests + "\n  minReplicas: 5", most: 6))
        #expect(world.replicas ?? 0 >= 5)
    }

    @Test("utilization is of what the pods ask for; within a tenth nothing changes")
    func utilization() throws {
        let world = try World(replicas: 2)
        let metrics = """
            metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
            """
        try world.cluster.apply(Self.autoscaler(metrics))
        try world.pass(30, cpuMilli: 53)
        #expect(world.replicas == 2)
        try world.pass(10, cpuMilli: 90)
        try world.pass(15, cpuMilli: 90)
        #expect(world.replicas == 4)
        let current = try world.cluster.object(.horizontalPodAutoscaler, "web").status["currentMetrics"]?[0]?[
            "resource"]
        #expect(current?["name"] == "cpu" && current?["current"]?["averageUtilization"]?.int ?? 0 > 70)
    }

    @Test("memory by amount")
    func memory() throws {
        let world = try World()
        let metrics = """
            metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 50Mi}}}]
            """
        try world.cluster.apply(Self.autoscaler(metrics))
        try world.pass(15, memory: 100 * 1_048_576)
        #expect(world.replicas == 2)
    }

    @Test("what an Object metric describes is counted as a whole")
    func object() throws {
        let world = try World()
        try world.cluster.apply(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: web, namespace: default}
            spec: {selector: {app: web}, ports: [{port: 80}]}
            """)
        let metrics = """
            metrics:
              - type: Object
                object: {metric: {name: requests_per_second}, describedObject: {kind: Service, name: web}, target: {type: AverageValue, averageValue: "10"}}
            """
        try world.cluster.apply(Self.autoscaler(metrics))
        try world.pass(30, requests: 25)
        #expect(world.replicas == 3)
    }

    @Test("policies bound how fast replicas come and go; Disabled keeps them")
    func policies() throws {
        let world = try World()
        let behavior = """
              behavior:
                scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 60}]}
                scaleDown: {selectPolicy: Disabled, stabilizationWindowSeconds: 0}
            """
        try world.cluster.apply(Self.autoscaler(Self.requests + "\n" + behavior))
        try world.pass(30, requests: 100)
        #expect(world.replicas == 2)
        #expect(try world.condition("ScalingLimited") == "True ScaleUpLimit")
        try world.pass(60, requests: 100)
        #expect(world.replicas == 3)
        try world.pass(120, requests: 0)
        #expect(world.replicas == 3)
    }

    @Test("without figures nothing is scaled, and the status says what is missing")
    func missing() throws {
        let world = try World(replicas: 2)
        try world.cluster.apply(Self.autoscaler(Self.requests))
        try world.pass(30)
        #expect(world.replicas == 2)
        #expect(try world.condition("ScalingActive") == "False FailedGetPodsMetric")
        try world.cluster.registry.delete(.deployment, "default", "web")
        world.cluster.pass(seconds: 10)
        #expect(try world.condition("AbleToScale") == "False FailedGetScale")
    }

    @Test("a target that somebody set to nothing stays there")
    func disabled() throws {
        let world = try World(replicas: 0)
        try world.cluster.apply(Self.autoscaler(Self.requests))
        try world.pass(30, requests: 100)
        #expect(try world.replicas == 0 && world.condition("ScalingActive") == "False ScalingDisabled")
    }

    @Test(
        "what cannot be measured here is refused by its name",
        arguments: [
            ("metrics: [{type: External, external: {metric: {name: x}}}]", "spec.metrics[0].external: Forbidden"),
            (
                "metrics: [{type: Pods, pods: {metric: {name: latency}, target: {type: AverageValue, averageValue: 1}}}]",
                "spec.metrics[0].pods.metric.name: Unsupported value: \"latency\""
            ),
            ("minReplicas: 9", "spec.maxReplicas: Invalid value: 4: must be greater than or equal to `minReplicas`"),
        ])
    func refused(extra: String, message: String) throws {
        let cluster = try TestCluster()
        let error = #expect(throws: StatusError.self) { try cluster.apply(Self.autoscaler(extra)) }
        #expect(error?.message.contains(message) == true)
    }
}
