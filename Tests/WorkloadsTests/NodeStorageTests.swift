import Glibc
import HTTP
import IO
import KubernetesAPI
import Serialization
import Testing

@testable import Workloads

@Suite("What a node keeps and answers for others", .enabled(if: geteuid() == 0), .timeLimit(.minutes(5)))
struct NodeStorageTests {
    private static func claim(_ phase: String = "Bound") -> JSON {
        [
            "metadata": ["name": "data-db-0", "namespace": "shop", "uid": "c-1"],
            "spec": ["volumeName": .string("pvc-1")], "status": ["phase": .string(phase)],
        ]
    }

    private static func volume(_ phase: String, node: String = "node", handle: String = "pvc-1") -> JSON {
        let terms: JSON = [
            ["matchExpressions": [["key": "kubernetes.io/hostname", "operator": "In", "values": [.string(node)]]]]
        ]
        return [
            "metadata": ["name": "pvc-1"],
            "spec": [
                "persistentVolumeReclaimPolicy": "Delete", "claimRef": ["namespace": "shop", "uid": "c-1"],
                "csi": ["driver": "local.skein.dev", "volumeHandle": .string(handle)],
                "nodeAffinity": ["required": ["nodeSelectorTerms": terms]],
            ], "status": ["phase": .string(phase)],
        ]
    }

    private static func once(_ script: String) -> JSON {
        [
            "restartPolicy": "Never",
            "containers": [
                [
                    "name": "c", "image": "busybox", "command": ["/bin/sh", "-c", .string(script)],
                    "volumeMounts": [["name": "data", "mountPath": "/data", "subPath": "inner"]],
                ]
            ],
            "volumes": [["name": "data", "persistentVolumeClaim": ["claimName": "data-db-0"]]],
        ]
    }

    @Test("what a pod writes into the volume of its claim is there for the next pod; a volume that is released goes")
    func claims() async throws {
        let node = try TestNode()
        defer { node.remove() }
        _ = try await node.onLoop {
            $0.set("/api/v1/persistentvolumeclaims", [Self.claim()])
            $0.set("/api/v1/persistentvolumes", [Self.volume("Bound")])
        }
        let agent = try node.agent()
        try await agent.start()
        _ = try await node.onLoop { $0.apply(object("first", Self.once("echo kept > /data/file"))) }
        _ = try await node.wait("first", "ended") { $0["status"]?["phase"]?.string == "Succeeded" }
        _ = try await node.onLoop {
            $0.change("first") {
                $0["metadata"]?["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                $0["metadata"]?["deletionGracePeriodSeconds"] = 1
            }
        }
        _ = try await node.wait("first", "gone") { $0 == .null }
        _ = try await node.onLoop { $0.apply(object("second", Self.once("grep kept /data/file"))) }
        _ = try await node.wait("second", "ended well") { $0["status"]?["phase"]?.string == "Succeeded" }
        let directory = node.configuration.layout.claim("pvc-1")
        #expect(try File.text(directory + "/inner/file") == "kept\n")
        await agent.stop()

        _ = try await node.onLoop { $0.set("/api/v1/persistentvolumes", [Self.volume("Released", node: "other")]) }
        let next = try node.agent()
        try await next.start()
        try await Task.sleep(for: .milliseconds(300))
        #expect(File.exists(directory))
        await next.stop()
        _ = try await node.onLoop { $0.set("/api/v1/persistentvolumes", [Self.volume("Released")]) }
        let last = try node.agent()
        try await last.start()
        for _ in 0..<1200 where File.exists(directory) { try await Task.sleep(for: .milliseconds(25)) }
        #expect(!File.exists(directory))
        await last.stop()
    }

    @Test("which volume a claim leads to, and why to none")
    func places() throws {
        let pod = try PodManifest(KubernetesObject(json: object("db-0", Self.once("true"))))
        func find(_ claim: JSON?, _ volume: JSON?) -> String {
            var mirror = ObjectMirror()
            mirror.replace(.claim, [claim].compactMap(\.self))
            mirror.replace(.volume, [volume].compactMap(\.self))
            do throws(WorkloadError) {
                return
                    "\(try ClaimedVolume.find("data-db-0", of: pod, volume: "data", mirror: mirror, node: "node"))"
            } catch { return error.message }
        }
        #expect(find(Self.claim(), Self.volume("Bound")) == "kept(handle: \"pvc-1\")")
        #expect(find(nil, nil).hasSuffix("persistentvolumeclaim \"data-db-0\" not found"))
        #expect(find(Self.claim("Pending"), nil).contains("is not bound to a volume"))
        #expect(find(Self.claim(), nil).hasSuffix("persistentvolume \"pvc-1\" not found"))
        #expect(find(Self.claim(), Self.volume("Bound", node: "other")).contains("is on another node than node"))
        #expect(find(Self.claim(), Self.volume("Bound", handle: "../../etc")).contains("is not a name"))
        var stolen = Self.volume("Bound")
        stolen["spec"]?["claimRef"]?["uid"] = "c-2"
        #expect(find(Self.claim(), stolen).contains("bound to a different claim"))
        var local = Self.volume("Bound")
        local["spec"]?["csi"] = nil
        #expect(find(Self.claim(), local).contains("of a kind that is not supported"))
        local["spec"]?["local"] = ["path": "/srv/x"]
        #expect(find(Self.claim(), local) == "hostPath(\"/srv/x\", type: \"Directory\")")
        #expect(ClaimedVolume.reclaimable([KubernetesObject(json: Self.volume("Bound"))], node: "node").isEmpty)
        #expect(
            ClaimedVolume.reclaimable(
                [KubernetesObject(json: Self.volume("Released", handle: "../etc"))], node: "node"
            ).isEmpty)
    }

    @Test(
        "a node that follows Secrets one by one asks for those of its pods, and no more for those of pods that are gone"
    )
    func byName() async throws {
        let node = try TestNode()
        defer { node.remove() }
        node.configuration.followsReferencesByName = true
        let list = "/api/v1/namespaces/shop/secrets?fieldSelector=metadata.name=token"
        _ = try await node.onLoop {
            $0.set(list, [["metadata": ["name": "token", "namespace": "shop"], "data": ["key": "c2VjcmV0"]]])
        }
        let agent = try node.agent()
        try await agent.start()
        let spec: JSON = [
            "containers": [
                [
                    "name": "c", "image": "busybox",
                    "command": ["/bin/sh", "-c", "test \"$(cat /conf/key)\" = secret && sleep 1000"],
                    "volumeMounts": [["name": "conf", "mountPath": "/conf"]],
                ]
            ], "volumes": [["name": "conf", "secret": ["secretName": "token"]]],
        ]
        _ = try await node.onLoop { $0.apply(object("web", spec)) }
        _ = try await node.wait("web", "ready", ready)
        let asked = try await node.onLoop { $0.asked }
        #expect(asked[list] == 1 && asked["/api/v1/secrets"] == nil && asked["/api/v1/configmaps"] == nil)
        #expect(await agent.followed.count == 1)
        _ = try await node.onLoop {
            $0.change("web") {
                $0["metadata"]?["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                $0["metadata"]?["deletionGracePeriodSeconds"] = 0
            }
        }
        _ = try await node.wait("web", "gone") { $0 == .null }
        for _ in 0..<1200 where await !agent.followed.isEmpty { try await Task.sleep(for: .milliseconds(25)) }
        #expect(await agent.followed.isEmpty)
        #expect(await agent.mirror.secret("shop", "token") == nil)
        await agent.stop()
    }

    @Test("a balancer hears on the health-check port of a Service whether this node has ready endpoints of it")
    func health() async throws {
        let port = try freePort()
        @Sendable func service(_ port: UInt16) -> JSON {
            [
                "metadata": ["name": "web", "namespace": "shop"],
                "spec": [
                    "type": "LoadBalancer", "externalTrafficPolicy": "Local",
                    "healthCheckNodePort": .integer(Int64(port)), "ports": [["port": 80]],
                ],
            ]
        }
        @Sendable func slice(_ node: String, ready: Bool = true, _ address: String = "10.244.0.9", pod: String? = nil)
            -> JSON
        {
            var endpoint: JSON = [
                "addresses": [.string(address)], "nodeName": .string(node), "conditions": ["ready": .bool(ready)],
            ]
            if let pod { endpoint["targetRef"] = ["kind": "Pod", "name": .string(pod)] }
            return [
                "metadata": [
                    "name": "web-1", "namespace": "shop", "labels": ["kubernetes.io/service-name": "web"],
                ],
                "addressType": address.contains(":") ? "IPv6" : "IPv4", "endpoints": [endpoint],
                "ports": [["port": 8080]],
            ]
        }
        func answers(_ slices: [JSON]) -> [UInt16: HealthCheckPorts.Answer] {
            let parts = ServiceParts(
                key: "shop/web", service: KubernetesObject(json: service(port)),
                slices: slices.map { KubernetesObject(json: $0) })
            return HealthCheckPorts.answer(parts, node: "node").map { [$0.port: $0.answer] } ?? [:]
        }
        #expect(answers([])[port]?.localEndpoints == 0)
        #expect(answers([slice("node"), slice("other")])[port]?.localEndpoints == 1)
        #expect(answers([slice("other")])[port]?.localEndpoints == 0)
        #expect(answers([slice("node", ready: false)])[port]?.localEndpoints == 0)
        #expect(answers([slice("node")])[port]?.response(isHealthy: false).status == 503)
        // With addresses of both families a pod is one endpoint, and so is what somebody has written by hand.
        let pod = [slice("node", pod: "a"), slice("node", "fd00:244::9", pod: "a")]
        #expect(answers(pod)[port]?.localEndpoints == 1)
        #expect(answers(pod + [slice("node", "fd00:244::10", pod: "b")])[port]?.localEndpoints == 2)
        #expect(answers([slice("node"), slice("node", "fd00:244::9")])[port]?.localEndpoints == 1)

        let node = try TestNode()
        defer { node.remove() }
        _ = try await node.onLoop {
            $0.set("/api/v1/services", [service(port)])
            $0.set("/apis/discovery.k8s.io/v1/endpointslices", [slice("node")])
        }
        let agent = try node.agent()
        try await agent.start()
        let (loop, place) = (node.loop, SocketAddress.ip(.v4(0x7F00_0001), port: port))
        func ask() async throws -> (UInt16, String) {
            try await Task(executorPreference: loop) {
                let client = HTTPClient(to: place, authority: "node", on: loop)
                defer { client.close() }
                let response = try await client.send(.init(.get, "/healthz"))
                return (response.status, String(decoding: try await response.collect(), as: UTF8.self))
            }.value
        }
        var answer: (status: UInt16, body: String)?
        for _ in 0..<1200 where answer?.status != 200 {
            try await Task.sleep(for: .milliseconds(25))
            answer = try? await ask()
        }
        #expect(answer?.status == 200)
        let body = try JSON.parse(Array((answer?.body ?? "").utf8))
        #expect(body["service"] == ["namespace": "shop", "name": "web"])
        #expect(body["localEndpoints"] == 1 && body["serviceProxyHealthy"] == true)
        // More than there is room for: somebody is turned away, and it is counted.
        func turnedAway() async throws -> Int {
            try await Task(executorPreference: loop) {
                try #require(await agent.usagePage(namespaces: [])["healthChecks"]?["turnedAway"]?.int)
            }.value
        }
        #expect(try await turnedAway() == 0)
        let crowd = try (0..<250).map { _ in try Socket.connect(to: place) }
        for _ in 0..<1200 where try await turnedAway() == 0 { try await Task.sleep(for: .milliseconds(25)) }
        #expect(try await turnedAway() > 0)
        crowd.forEach { $0.close() }
        await agent.stop()
        await #expect(throws: (any Error).self) { try await ask() }
    }

    private func freePort() throws -> UInt16 {
        let socket = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
        defer { socket.close() }
        return try #require(socket.localAddress?.port)
    }
}
