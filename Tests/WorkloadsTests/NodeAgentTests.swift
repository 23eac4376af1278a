import Glibc
import HTTP
import IO
import KubernetesAPI
import Serialization
import Testing

@testable import Workloads

/// The API as the agent sees it: objects in memory, watches that tell of every change.
///
/// On the loop only.
final class ScriptedAPI: APIClient, @unchecked Sendable {
    private let loop: EventLoop
    private(set) var pods: [String: JSON] = [:]
    private var others: [String: [JSON]] = [:]
    private var events: [JSON] = []
    private(set) var deleted: Set<String> = []

    init(on loop: EventLoop) { self.loop = loop }

    func set(_ collection: String, _ items: [JSON]) {
        others[collection] = items
        asked[collection] = nil
    }

    /// How often a list was asked for since it was set.
    private(set) var asked: [String: Int] = [:]

    func apply(_ pod: JSON) {
        let name = pod["metadata"]?["name"]?.string ?? ""
        events.append(["type": pods[name] == nil ? "ADDED" : "MODIFIED", "object": pod])
        pods[name] = pod
    }

    func change(_ name: String, _ body: (inout JSON) -> Void) {
        guard var pod = pods[name] else { return }
        body(&pod)
        apply(pod)
    }

    func send(_ method: String, _ path: String, body: JSON?, contentType: String) async throws(APIError) -> JSON {
        if path == "/api/v1/pods" {
            return [
                "items": .array(Array(pods.values)), "metadata": ["resourceVersion": .string(String(events.count))],
            ]
        }
        asked[path, default: 0] += 1
        if method == "GET" { return ["items": .array(others[path] ?? []), "metadata": ["resourceVersion": "0"]] }
        let parts = path.split(separator: "/").map(String.init)
        guard parts.count >= 6, parts[4] == "pods" else { return .null }
        guard pods[parts[5]] != nil else { throw APIError(status: 404, message: "no pod \(parts[5])") }
        if method == "DELETE" {
            events.append(["type": "DELETED", "object": pods[parts[5]] ?? .null])
            pods[parts[5]] = nil
            deleted.insert(parts[5])
        } else if method == "PATCH" {
            change(parts[5]) { $0["status"] = body?["status"] }
        }
        return .null
    }

    func watch(_ path: String, _ each: (JSON) async -> Void) async throws(APIError) {
        var next = Int(path.split(separator: "=").last ?? "") ?? 0
        let isPods = path.hasPrefix("/api/v1/pods?")
        while !Task.isCancelled {
            while isPods, next < events.count {
                next += 1
                await each(events[next - 1])
            }
            await loop.sleep(for: .milliseconds(5))
        }
    }
}

/// Namespaces with nothing but a loopback.
final class LoopbackNetwork: PodNetworking {
    let directory: String
    init(_ directory: String) { self.directory = directory }

    func attach(_ pod: PodManifest, captures: Bool) throws(WorkloadError) -> PodPlace {
        do throws(SystemError) {
            if !File.exists("\(directory)/\(pod.uid)") {
                let namespace = try NetworkNamespace.create(named: pod.uid, in: directory)
                var command = Child.Command(["/sbin/ip", "link", "set", "lo", "up"])
                command.networkNamespace = namespace.fd
                _ = try Child.run(command)
            }
            return PodPlace(addresses: ["127.0.0.1"], namespacePath: "\(directory)/\(pod.uid)")
        } catch { throw WorkloadError("FailedCreatePodSandBox", "\(error)") }
    }
    func detach(uid: String) throws(WorkloadError) {
        try? NetworkNamespace.remove(named: uid, in: directory)
    }
    func keep(only uids: Set<String>) throws(WorkloadError) {
        for uid in (try? NetworkNamespace.list(in: directory)) ?? [] where !uids.contains(uid) { try detach(uid: uid) }
        if uids.isEmpty { try? NetworkNamespace.removeDirectory(directory) }
    }
    func serve(_ changes: ServiceChanges, zone: String?) throws(WorkloadError) -> [String] { [] }
    func learn(_ policies: PolicyObjects) {}
    func enforce(_ policies: PolicyObjects) throws(WorkloadError) -> [String] { [] }
    func lead(gatewayTo address: String?) throws(WorkloadError) {}
}

/// A node with directories of its own.
final class TestNode: @unchecked Sendable {
    let directory = "/tmp/" + Leftovers.name(Leftovers.node)
    let loop: EventLoop
    let api: ScriptedAPI
    let network: LoopbackNetwork
    var configuration: NodeConfiguration

    init() throws {
        Leftovers.sweep
        loop = try EventLoop.start(name: "test-node")
        api = ScriptedAPI(on: loop)
        network = LoopbackNetwork(directory + "/netns")
        let layout = NodeLayout(dataDirectory: directory + "/data", runDirectory: directory + "/run")
        configuration = NodeConfiguration(
            layout: layout, nodeName: "node", hostAddresses: ["192.0.2.1"], imageMode: .host, proxyProgram: nil,
            nameserver: "127.0.0.1")
    }

    func agent() throws -> NodeAgent { try NodeAgent(configuration, network: network, api: api, on: loop) }

    func onLoop<Value: Sendable>(_ body: @escaping @Sendable (ScriptedAPI) throws -> Value) async throws -> Value {
        let api = api
        return try await Task(executorPreference: loop) { try body(api) }.value
    }

    /// Waits until the pod looks as wanted.
    func wait(_ name: String, _ what: String, _ holds: @escaping @Sendable (JSON) -> Bool) async throws -> JSON {
        // Generous: several of these run at once, with builds beside them.
        for _ in 0..<7200 {
            let pod = try await onLoop { $0.pods[name] ?? .null }
            if holds(pod) { return pod }
            try await Task.sleep(for: .milliseconds(25))
        }
        let pod = try await onLoop { $0.pods[name] ?? .null }
        throw SystemError(ETIMEDOUT, "\(what): \((pod["status"] ?? .null).text)")
    }

    func log(_ pod: String, _ container: String, query: String = "") async throws -> String {
        let (loop, socket) = (loop, configuration.kubeletSocket)
        return try await Task(executorPreference: loop) {
            let client = HTTPClient(to: .unix(socket), authority: "node", on: loop)
            let response = try await client.send(.init(.get, "/containerLogs/shop/\(pod)/\(container)?\(query)"))
            let text = String(decoding: try await response.collect(), as: UTF8.self)
            client.close()
            return text
        }.value
    }

    func remove() {
        #expect(NodeAgent.tearDownAll(configuration.layout, network: network) == [])
        #expect((try? Mount.points(below: directory)) == [])
        try? File.removeTree(directory)
        loop.stop()
    }
}

func object(_ name: String, _ spec: JSON, labels: JSON = [:]) -> JSON {
    [
        "apiVersion": "v1", "kind": "Pod",
        "metadata": [
            "name": .string(name), "namespace": "shop", "uid": .string("\(name)-\(UInt32.random(in: 0 ... .max))"),
            "labels": labels,
        ],
        "spec": spec,
    ]
}

func ready(_ pod: JSON) -> Bool {
    (pod["status"]?["conditions"]?.array ?? []).contains {
        $0["type"]?.string == "Ready" && $0["status"]?.string == "True"
    }
}

private let server: JSON = [
    "initContainers": [
        [
            "name": "fill", "image": "busybox", "command": ["/bin/sh", "-c", "echo from-init > /shared/index.html"],
            "volumeMounts": [["name": "shared", "mountPath": "/shared"]],
        ]
    ],
    "containers": [
        [
            "name": "server", "image": "python:3.11-slim",
            "command": ["python3", "-u", "-m", "http.server", "$(PORT)", "--directory", "/shared"],
            "env": [
                ["name": "PORT", "value": "8000"],
                ["name": "GREETING", "valueFrom": ["configMapKeyRef": ["name": "settings", "key": "greeting"]]],
            ],
            "ports": [["name": "http", "containerPort": 8000]],
            "readinessProbe": ["httpGet": ["path": "/", "port": "http"]],
            "volumeMounts": [["name": "shared", "mountPath": "/shared"], ["name": "conf", "mountPath": "/conf"]],
            "resources": ["limits": ["memory": "64Mi", "cpu": "500m"]],
        ]
    ],
    "volumes": [["name": "shared", "emptyDir": [:]], ["name": "conf", "secret": ["secretName": "token"]]],
]

@Suite("The node agent", .enabled(if: geteuid() == 0), .timeLimit(.minutes(5)))
struct NodeAgentTests {
    private func node() async throws -> TestNode {
        let node = try TestNode()
        _ = try await node.onLoop {
            $0.set(
                "/api/v1/configmaps",
                [["metadata": ["name": "settings", "namespace": "shop"], "data": ["greeting": "hello"]]])
            $0.set(
                "/api/v1/secrets", [["metadata": ["name": "token", "namespace": "shop"], "data": ["key": "c2VjcmV0"]]])
        }
        return node
    }

    @Test("a pod becomes ready, outlives its agent with the same process, logs, and leaves nothing when deleted")
    func life() async throws {
        let node = try await node()
        defer { node.remove() }
        let agent = try node.agent()
        try await agent.start()
        let begin = MonotonicTime.now
        _ = try await node.onLoop { $0.apply(object("web", server)) }
        let pod = try await node.wait("web", "ready", ready)
        print("pod with init container ready after \((MonotonicTime.now - begin).wholeMilliseconds) ms")
        #expect(pod["status"]?["phase"]?.string == "Running")
        #expect(pod["status"]?["initContainerStatuses"]?[0]?["state"]?["terminated"]?["exitCode"]?.int == 0)
        let uid = try #require(pod["metadata"]?["uid"]?.string)
        let instance = try #require(await agent.records[uid]?.instances["server"])

        await agent.stop()
        let next = try node.agent()
        try await next.start()
        #expect(await next.records[uid]?.instances["server"] == instance)
        #expect(ProcessHandle.startTime(of: instance.pid) == instance.pidStart)
        #expect(await next.records[uid]?.life.isReady == true)
        #expect(try await node.log("web", "server", query: "tailLines=1").contains("GET / HTTP/1.1"))
        #expect(try await node.log("web", "nobody").contains("not valid"))

        _ = try await node.onLoop {
            $0.change("web") {
                $0["metadata"]?["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                $0["metadata"]?["deletionGracePeriodSeconds"] = 1
                $0["metadata"]?["annotations"] = ["skein.dev/drained": "2026-01-01T00:00:00Z"]
            }
        }
        _ = try await node.wait("web", "gone") { $0 == .null }
        #expect(ProcessHandle.startTime(of: instance.pid) != instance.pidStart)
        #expect(next.runtime.list() == [])
        #expect(!File.exists(node.configuration.layout.pod(uid)))
        #expect(Monitors.find(exitDirectory: node.configuration.layout.exits) == [])
        await next.stop()
    }

    @Test("a container that is killed comes back at once, its former log still readable")
    func restart() async throws {
        let node = try await node()
        defer { node.remove() }
        let agent = try node.agent()
        try await agent.start()
        _ = try await node.onLoop { $0.apply(object("web", server)) }
        let pod = try await node.wait("web", "ready", ready)
        let uid = try #require(pod["metadata"]?["uid"]?.string)
        let instance = try #require(await agent.records[uid]?.instances["server"])
        agent.runtime.signal(instance, SIGKILL)
        let again = try await node.wait("web", "restarted") {
            ready($0) && $0["status"]?["containerStatuses"]?[0]?["restartCount"]?.int == 1
        }
        let status = again["status"]?["containerStatuses"]?[0]
        #expect(status?["lastState"]?["terminated"]?["exitCode"]?.int == 137)
        #expect(try await node.log("web", "server", query: "previous=true").contains("GET /"))
        await agent.stop()
    }

    @Test("an image that is not in the store keeps the container waiting, with the command that would provide it")
    func missingImage() async throws {
        let node = try await node()
        defer { node.remove() }
        node.configuration.imageMode = .store
        let agent = try node.agent()
        try await agent.start()
        _ = try await node.onLoop {
            $0.apply(object("web", ["containers": [["name": "app", "image": "my-image"]]]))
        }
        let pod = try await node.wait("web", "waiting") {
            $0["status"]?["containerStatuses"]?[0]?["state"]?["waiting"]?["reason"]?.string == "ErrImageNeverPull"
        }
        let message = pod["status"]?["containerStatuses"]?[0]?["state"]?["waiting"]?["message"]?.string
        #expect(message?.contains("skein image import my-image FILE") == true)
        await agent.stop()
    }

    @Test("ten pods are ready in seconds")
    func many() async throws {
        let node = try await node()
        defer { node.remove() }
        let agent = try node.agent()
        try await agent.start()
        let begin = MonotonicTime.now
        for number in 0..<10 { _ = try await node.onLoop { $0.apply(object("web-\(number)", server)) } }
        for number in 0..<10 { _ = try await node.wait("web-\(number)", "ready", ready) }
        print("10 pods with init container ready after \((MonotonicTime.now - begin).wholeMilliseconds) ms")
        await agent.stop()
    }
}
