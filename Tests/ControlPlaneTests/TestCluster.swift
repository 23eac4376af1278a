import APIServer
import ControlPlane
import KubernetesAPI
import Mesh
import Serialization
import Store

/// A registry with controllers and a simulated node agent, under a clock that the test turns.
final class TestCluster {
    let registry: ObjectRegistry
    private(set) var controllers: Controllers
    private let clock: Clock
    private var addresses = 1
    /// Pods that the node agent never gets ready, by the prefix of their names.
    var brokenPrefix: String?
    /// The fewest ready pods, not being deleted, that were seen after any step.
    private(set) var fewestReady = Int.max
    /// The most pods, not being deleted, that were seen after any step.
    private(set) var mostPods = 0

    final class Clock {
        var time = Timestamp(seconds: 1_800_000_000)
        var alarms: [(at: Timestamp, body: () -> Void)] = []
    }

    init() throws {
        let clock = Clock()
        self.clock = clock
        registry = ObjectRegistry(store: try SQLiteStore(path: ":memory:"), now: { clock.time })
        registry.defaultNodeName = "node"
        try registry.bootstrap()
        controllers = try Controllers(
            registry, now: { clock.time }, wake: {}, later: { clock.alarms.append((clock.time + $0, $1)) })
        controllers.run()
    }

    func apply(_ yaml: String) throws {
        for document in try YAML.parse(yaml, file: "test") where !document.json.isNull {
            let object = KubernetesObject(json: document.json)
            guard let kind = registry.kinds.kind(apiVersion: object.apiVersion, kind: object.kind) else { continue }
            let namespace = object.namespace.isEmpty ? "default" : object.namespace
            if (try? registry.get(kind, namespace, object.name)) != nil {
                var json = object.json
                json["metadata"]?["namespace"] = .string(namespace)
                _ = try registry.update(json, kind, namespace)
            } else {
                _ = try registry.create(document.json, kind, namespace: namespace)
            }
        }
        settle()
    }

    /// Lets the controllers work until they have nothing to do.
    func settle() {
        for _ in 0..<20 {
            controllers.run()
            if controllers.isIdle { return }
        }
    }

    /// Lets time pass.
    func pass(seconds: Int) {
        clock.time = clock.time + .seconds(seconds)
        let due = clock.alarms.filter { $0.at <= clock.time }
        clock.alarms.removeAll { $0.at <= clock.time }
        due.forEach { $0.body() }
        settle()
    }

    /// The node agent acts once on every pod: new ones become ready, those being deleted go.
    func nodeStep() throws {
        for pod in registry.list(.pod) {
            if pod.metadata.deletionTimestamp != nil {
                var options = DeleteOptions()
                options.gracePeriodSeconds = 0
                try registry.delete(.pod, pod.namespace, pod.name, options: options)
            } else if PodPhase(pod) == "Pending", brokenPrefix.map({ !pod.name.hasPrefix($0) }) ?? true {
                addresses += 1
                try setStatus(pod, isReady: true)
            }
            settle()
            measure()
        }
    }

    func setStatus(_ pod: KubernetesObject, isReady: Bool) throws {
        let address = pod.status["podIP"]?.string ?? "10.244.0.\(addresses)"
        let time: JSON = .string(clock.time.secondsText)
        _ = try registry.modify(.pod, pod.namespace, pod.name, subresource: "status") { (json) throws(StatusError) in
            var json = json
            json["status"] = [
                "phase": "Running", "podIP": .string(address),
                "conditions": [["type": "Ready", "status": isReady ? "True" : "False", "lastTransitionTime": time]],
            ]
            return json
        }
    }

    /// The pod runs to its end.
    func end(_ pod: KubernetesObject, _ phase: String) throws {
        let time: JSON = .string(clock.time.secondsText)
        _ = try registry.modify(.pod, pod.namespace, pod.name, subresource: "status") { (json) throws(StatusError) in
            var json = json
            json["status"] = [
                "phase": .string(phase), "podIP": "10.244.0.9",
                "containerStatuses": [["name": "c", "state": ["terminated": ["finishedAt": time]]]],
            ]
            return json
        }
        settle()
    }

    /// An object of the namespace `default`, as it is now.
    func object(_ kind: ResourceKind, _ name: String) throws -> KubernetesObject {
        try registry.get(kind, "default", name)
    }

    /// Whether an object is still there.
    func has(_ kind: ResourceKind, _ name: String) -> Bool { (try? registry.get(kind, "default", name)) != nil }

    /// What events say about an object: their reasons in order of their names.
    func reasons(_ name: String) -> [String] {
        registry.list(.event).filter { $0.json["involvedObject"]?["name"]?.string == name }
            .compactMap { $0.json["reason"]?.string }
    }

    func startMeasuring() {
        fewestReady = .max
        mostPods = 0
        measure()
    }

    private func measure() {
        let pods = registry.list(.pod, namespace: "default").filter { $0.metadata.deletionTimestamp == nil }
        mostPods = max(mostPods, pods.count)
        fewestReady = min(fewestReady, pods.filter(isReady).count)
    }

    func isReady(_ pod: KubernetesObject) -> Bool {
        (pod.status["conditions"]?.array ?? []).contains { $0["type"] == "Ready" && $0["status"] == "True" }
    }

    var pods: [KubernetesObject] { registry.list(.pod, namespace: "default") }
    var replicaSets: [KubernetesObject] { registry.list(.replicaSet, namespace: "default") }

    func deployment(_ name: String = "web") throws -> KubernetesObject {
        try registry.get(.deployment, "default", name)
    }

    func condition(_ type: String) throws -> String {
        let condition = try deployment().status["conditions"]?.array?.first { $0["type"]?.string == type }
        return "\(condition?["status"]?.string ?? "none") \(condition?["reason"]?.string ?? "")"
    }

    func PodPhase(_ pod: KubernetesObject) -> String { pod.status["phase"]?.string ?? "" }

    static func deployment(replicas: Int, image: String = "one", extra: String = "") -> String {
        """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, namespace: default}
        spec:
          replicas: \(replicas)
          selector: {matchLabels: {app: web}}
          \(extra)
          template:
            metadata: {labels: {app: web}}
            spec: {containers: [{name: c, image: \(image), ports: [{name: web, containerPort: 8080}]}]}
        """
    }
}
