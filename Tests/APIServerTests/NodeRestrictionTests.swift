import APIServer
import KubernetesAPI
import Serialization
import Testing

@Suite("What a node may change")
struct NodeRestrictionTests {
    private static let node = APIUser(name: "system:node:b", groups: ["system:nodes", "system:authenticated"])
    private static let merge = "application/merge-patch+json"

    private func scene() throws -> Fixture {
        let fixture = try Fixture()
        for name in ["a", "b"] {
            try fixture.ask(
                "POST", "/api/v1/nodes",
                ["metadata": ["name": .string(name), "annotations": ["skein.dev/node-key": .string("key-\(name)")]]])
        }
        for (name, node) in [("mine", "b"), ("other", "a")] {
            var pod = Fixture.pod(name)
            pod["spec"]?["nodeName"] = .string(node)
            #expect(try fixture.ask("POST", pods, pod).status == 201)
        }
        try fixture.ask("POST", "/api/v1/namespaces", ["metadata": ["name": "kube-node-lease"]])
        return fixture
    }

    @Test("its own object but for its key and its addresses, by a merge patch alone")
    func object() throws {
        let fixture = try scene()
        let own = "/api/v1/nodes/b"
        func patch(_ path: String, _ body: JSON, type: String = Self.merge) throws -> Int {
            try fixture.ask("PATCH", path, body, type: type, user: Self.node).status
        }
        #expect(try patch(own, ["metadata": ["labels": ["zone": "x"], "annotations": ["note": "y"]]]) == 200)
        #expect(try patch(own + "/status", ["status": ["phase": "Running"]]) == 200)
        #expect(try patch("/api/v1/nodes/a", ["metadata": ["labels": ["zone": "x"]]]) == 403)
        for stolen: JSON in [
            ["spec": ["podCIDR": "10.0.0.0/8"]], ["spec": .null], ["metadata": .null],
            ["metadata": ["annotations": .null]],
            ["metadata": ["annotations": ["skein.dev/node-key": "key-a"]]],
            ["metadata": ["annotations": ["skein.dev/node-key": .null]]],
        ] {
            #expect(try patch(own, stolen) == 403, "\(stolen)")
            #expect(try patch(own + "/status", stolen) == 403, "\(stolen)")
        }
        #expect(
            try patch(own, ["metadata": ["$patch": "replace"]], type: "application/strategic-merge-patch+json") == 403)
        let operations: JSON = [["op": "remove", "path": "/metadata/annotations"]]
        #expect(try patch(own, operations, type: "application/json-patch+json") == 403)
        #expect(try fixture.ask("DELETE", own, user: Self.node).status == 403)
        var whole = try fixture.ask("GET", own, user: Self.node).json
        #expect(try fixture.ask("PUT", own, whole, user: Self.node).status == 403)
        #expect(try fixture.ask("PUT", own + "/status", whole, user: Self.node).status == 200)
        whole["metadata"]?["annotations"] = ["skein.dev/node-key": "key-a"]
        #expect(try fixture.ask("PUT", own + "/status", whole, user: Self.node).status == 403)
        let kept = try fixture.ask("GET", own).json["metadata"]?["annotations"]
        #expect(kept == ["note": "y", "skein.dev/node-key": "key-b"])
    }

    @Test("pods that are bound to it: their status, and their end")
    func bound() throws {
        let fixture = try scene()
        let status: JSON = ["status": ["phase": "Running"]]
        func patch(_ path: String) throws -> Int {
            try fixture.ask("PATCH", pods + path, status, type: Self.merge, user: Self.node).status
        }
        #expect(try patch("/mine/status") == 200)
        #expect(try patch("/mine") == 403)
        #expect(try patch("/other/status") == 403)
        #expect(try fixture.ask("POST", pods, Fixture.pod("new"), user: Self.node).status == 403)
        #expect(try fixture.ask("DELETE", pods + "/other", user: Self.node).status == 403)
        #expect(try fixture.ask("DELETE", pods + "/mine", user: Self.node).status == 200)
    }

    @Test("of Secrets and ConfigMaps it reads those that its own pods use, each by its name")
    func references() throws {
        let fixture = try scene()
        let base = "/api/v1/namespaces/default/"
        for name in ["volume", "projected", "env", "from", "pull", "theirs", "nobodys"] {
            for kind in ["secrets", "configmaps"] {
                #expect(try fixture.ask("POST", base + kind, ["metadata": ["name": .string(name)]]).status == 201)
            }
        }
        var pod = Fixture.pod("uses")
        pod["spec"]?["nodeName"] = "b"
        pod["spec"]?["imagePullSecrets"] = [["name": "pull"]]
        pod["spec"]?["volumes"] = [
            ["name": "v", "secret": ["secretName": "volume"]],
            ["name": "p", "projected": ["sources": [["secret": ["name": "projected"]]]]],
            ["name": "c", "configMap": ["name": "volume"]],
        ]
        pod["spec"]?["containers"] = [
            [
                "name": "c", "image": "x",
                "env": [["name": "E", "valueFrom": ["secretKeyRef": ["name": "env", "key": "k"]]]],
            ]
        ]
        pod["spec"]?["initContainers"] = [
            [
                "name": "i", "image": "x",
                "envFrom": [["secretRef": ["name": "from"]], ["configMapRef": ["name": "from"]]],
            ]
        ]
        #expect(try fixture.ask("POST", pods, pod).status == 201)
        var other = Fixture.pod("theirs")
        other["spec"]?["nodeName"] = "a"
        other["spec"]?["volumes"] = [["name": "v", "secret": ["secretName": "theirs"]]]
        #expect(try fixture.ask("POST", pods, other).status == 201)
        func get(_ path: String) throws -> Int { try fixture.ask("GET", path, user: Self.node).status }
        for name in ["volume", "projected", "env", "from", "pull"] {
            #expect(try get(base + "secrets/" + name) == 200, "\(name)")
            #expect(try get(base + "secrets?fieldSelector=metadata.name=" + name) == 200, "\(name)")
        }
        #expect(try get(base + "configmaps/volume") == 200 && get(base + "configmaps/from") == 200)
        for path in [
            base + "secrets", base + "secrets/theirs", base + "secrets/nobodys", base + "secrets/missing",
            base + "configmaps/env", base + "secrets?fieldSelector=metadata.name!=theirs",
            base + "secrets?fieldSelector=metadata.name=nobodys", "/api/v1/secrets", "/api/v1/configmaps",
            "/api/v1/secrets?fieldSelector=metadata.name=volume", "/api/v1/namespaces/kube-system/secrets/volume",
        ] { #expect(try get(path) == 403, "\(path)") }
        // With the pod the right goes.
        var options: JSON = ["gracePeriodSeconds": 0]
        options["kind"] = "DeleteOptions"
        #expect(try fixture.ask("DELETE", pods + "/uses", options).status == 200)
        #expect(try get(base + "secrets/volume") == 403)
        #expect(try fixture.ask("GET", base + "secrets").status == 200)
    }

    @Test(
        "containers that runtimes have put on it: their name and address, and nothing else; those of other nodes never")
    func containers() throws {
        let fixture = try scene()
        let base = "/apis/networking.istio.io/v1/namespaces/default/workloadentries"
        func entry(_ name: String, node: String = "b", spec: JSON = [:], labels: JSON = [:], metadata: JSON = [:])
            -> JSON
        {
            var body: JSON = [
                "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
                "metadata": [
                    "name": .string(name),
                    "labels": ["skein.dev/container": "box", "skein.dev/cni-node": .string(node)],
                    "annotations": ["skein.dev/cni-link": "skc1"],
                ],
                "spec": ["address": "10.9.0.2", "labels": ["skein.dev/container": "box"]],
            ]
            for (key, value) in spec.object ?? [:] { body["spec"]?[key] = value }
            for (key, value) in labels.object ?? [:] { body["metadata"]?["labels"]?[key] = value }
            for (key, value) in metadata.object ?? [:] { body["metadata"]?[key] = value }
            return body
        }
        func send(_ method: String, _ path: String, _ body: JSON? = nil, type: String = "application/json") throws
            -> Int
        {
            try fixture.ask(method, base + path, body, type: type, user: Self.node).status
        }
        #expect(try send("POST", "", entry("cni-1")) == 201)
        #expect(try fixture.ask("POST", base, entry("cni-2", node: "a")).status == 201)
        #expect(
            try fixture.ask("POST", base, ["metadata": ["name": "vm"], "spec": ["address": "10.9.0.9"]]).status == 201)
        for forged in [
            entry("vm-1"), entry("cni-3", node: "a"), entry("cni-3", spec: ["serviceAccount": "admin"]),
            entry("cni-3", spec: ["labels": ["app": "web"]]), entry("cni-3", spec: ["address": .null]),
            entry("cni-3", spec: ["weight": 100]), entry("cni-3", labels: ["app": "web"]),
            entry("cni-3", metadata: ["finalizers": ["x/y"]]), entry("cni-3", metadata: ["annotations": ["x": "y"]]),
            entry("cni-3", metadata: ["labels": .null]), ["metadata": ["generateName": "cni-"]], [:],
        ] { #expect(try send("POST", "", forged) == 403, "\(forged.text)") }
        let moved = entry("cni-1", spec: ["address": "10.9.0.3"])
        #expect(try send("PATCH", "/cni-1", moved, type: Self.merge) == 200)
        #expect(try send("PATCH", "/cni-1", entry("cni-1", spec: ["serviceAccount": "admin"]), type: Self.merge) == 403)
        // Kinds of the mesh have no strategic merge patch.
        #expect(try send("PATCH", "/cni-1", moved, type: "application/strategic-merge-patch+json") == 415)
        let operations: JSON = [["op": "remove", "path": "/metadata/labels"]]
        #expect(try send("PATCH", "/cni-1", operations, type: "application/json-patch+json") == 403)
        for other in ["/cni-2", "/vm", "/missing"] {
            #expect(try send("PATCH", other, entry(String(other.dropFirst())), type: Self.merge) == 403, "\(other)")
            #expect(try send("DELETE", other) == 403, "\(other)")
        }
        #expect(try send("PUT", "/cni-1", moved) == 403 && send("DELETE", "") == 403)
        let elsewhere = "/apis/networking.istio.io/v1/namespaces/other/workloadentries"
        #expect(try fixture.ask("POST", elsewhere, entry("cni-1"), user: Self.node).status == 403)
        #expect(try send("GET", "?labelSelector=skein.dev/cni-node%3Db") == 200)
        #expect(try fixture.ask("GET", base + "/cni-1").json["spec"]?["address"] == "10.9.0.3")
        #expect(try send("DELETE", "/cni-1") == 200)
    }

    @Test("of a volume that it keeps, that its directory is removed: nothing else, and of no other volume")
    func volumes() throws {
        let fixture = try scene()
        func volume(_ name: String, _ node: String) -> JSON {
            [
                "metadata": ["name": .string(name)],
                "spec": [
                    "capacity": ["storage": "1Gi"], "accessModes": ["ReadWriteOnce"],
                    "csi": ["driver": "local.skein.dev", "volumeHandle": .string(name)],
                    "nodeAffinity": [
                        "required": [
                            "nodeSelectorTerms": [
                                [
                                    "matchExpressions": [
                                        [
                                            "key": "kubernetes.io/hostname", "operator": "In",
                                            "values": [.string(node)],
                                        ]
                                    ]
                                ]
                            ]
                        ]
                    ],
                ],
            ]
        }
        let all = "/api/v1/persistentvolumes"
        for (name, node) in [("mine", "b"), ("theirs", "a")] {
            #expect(try fixture.ask("POST", all, volume(name, node)).status == 201)
        }
        func patch(_ path: String, _ body: JSON) throws -> Int {
            try fixture.ask("PATCH", all + path, body, type: Self.merge, user: Self.node).status
        }
        let removed: JSON = ["metadata": ["annotations": ["skein.dev/reclaimed": "true"]]]
        #expect(try patch("/theirs", removed) == 403)
        #expect(try patch("/mine", ["metadata": ["annotations": ["x": "y"]]]) == 403)
        #expect(try patch("/mine", ["metadata": removed["metadata"] ?? .null, "spec": [:]]) == 403)
        #expect(try fixture.ask("DELETE", all + "/mine", user: Self.node).status == 403)
        #expect(try fixture.ask("POST", all, volume("new", "b"), user: Self.node).status == 403)
        #expect(try patch("/mine", removed) == 200)
    }

    @Test("its own heartbeat, and nothing of any other kind")
    func others() throws {
        let fixture = try scene()
        let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        func lease(_ name: String) -> JSON {
            ["metadata": ["name": .string(name)], "spec": ["holderIdentity": .string(name)]]
        }
        #expect(try fixture.ask("POST", leases, lease("b"), user: Self.node).status == 201)
        #expect(try fixture.ask("POST", leases, lease("a"), user: Self.node).status == 403)
        let elsewhere = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
        #expect(try fixture.ask("POST", elsewhere, lease("b"), user: Self.node).status == 403)
        let map: JSON = ["metadata": ["name": "m"]]
        #expect(try fixture.ask("POST", "/api/v1/namespaces/default/configmaps", map, user: Self.node).status == 403)
        // A group alone makes no node.
        let nobody = APIUser(name: "jane", groups: ["system:nodes", "system:authenticated"])
        #expect(
            try fixture.ask("PATCH", "/api/v1/nodes/b", ["metadata": [:]], type: Self.merge, user: nobody).status == 403
        )
    }
}
