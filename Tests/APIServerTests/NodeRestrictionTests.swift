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
