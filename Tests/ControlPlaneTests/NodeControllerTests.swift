import IO
import KubernetesAPI
import Mesh
import Serialization
import Testing

@testable import ControlPlane

@Suite("Nodes and their blocks")
struct NodeControllerTests {
    private func prefix(_ text: String) throws -> Prefix { try #require(Prefix(text)) }

    @Test("a node gets the lowest free block, never the first, never one that another has or has claimed")
    func blocks() throws {
        let blocks = try #require(NodeBlocks(try prefix("10.244.0.0/16")))
        #expect(blocks.count == 256)
        #expect(blocks.next(taken: [])?.description == "10.244.1.0/24")
        #expect(
            blocks.next(taken: [try prefix("10.244.1.0/24"), try prefix("10.244.3.0/24")])?.description
                == "10.244.2.0/24")
        // A foreign block of another size takes all that it overlaps.
        #expect(blocks.next(taken: [try prefix("10.244.0.0/22")])?.description == "10.244.4.0/24")
        #expect(blocks.next(taken: try (0..<256).map { try prefix("10.244.\($0).0/24") }) == nil)
        #expect(blocks.block(256) == nil)
    }

    @Test("IPv6 pools have blocks of 64 bits, and a pool without two blocks is none")
    func families() throws {
        let blocks = try #require(NodeBlocks(try prefix("fd00:244::/48")))
        #expect(blocks.next(taken: [])?.description == "fd00:244:0:1::/64")
        #expect(blocks.block(258)?.description == "fd00:244:0:102::/64")
        #expect(NodeBlocks(try prefix("10.244.0.0/24"), length: 24) == nil)
        #expect(NodeBlocks(try prefix("10.0.0.0/8"))?.count == 1 << 16)
        let small = try #require(NodeBlocks(try prefix("fd00::/112"), length: 120))
        #expect(small.next(taken: [])?.description == "fd00::100/120")
        for (pool, length) in [("fd00::/56", 64), ("fd00::/64", 112), ("fd00::/108", 116), ("fd00::/112", 120)] {
            #expect(NodeBlocks(try prefix(pool))?.length == length)
        }
    }

    private func node(_ name: String, _ blocks: [String] = [], joined: Bool = true) -> KubernetesObject {
        var json: JSON = [
            "apiVersion": "v1", "kind": "Node",
            "metadata": [
                "name": .string(name), "uid": .string("u-\(name)"), "creationTimestamp": "2026-01-01T00:00:00Z",
            ],
        ]
        if joined { json["metadata"]?["annotations"] = ["skein.dev/node-key": "k"] }
        if !blocks.isEmpty { json["spec"] = ["podCIDRs": .array(blocks.map { .string($0) })] }
        return KubernetesObject(json: json)
    }

    private func world(
        _ nodes: [KubernetesObject], claims: [KubernetesObject] = [], heard: String? = nil,
        pods: [KubernetesObject] = [],
        now: String = "2026-01-01T00:00:05Z"
    ) throws -> NodeController.World {
        NodeController.World(
            pools: [try #require(NodeBlocks(try prefix("10.244.0.0/16")))], nodes: nodes, claims: claims,
            heartbeat: heard.map {
                KubernetesObject(json: ["kind": "Lease", "spec": ["renewTime": .string($0)]])
            }, pods: pods, now: try #require(Timestamp(now)))
    }

    @Test("a block is claimed by an object of its name before the node has it")
    func claim() throws {
        let decision = NodeController.decide(node("b"), try world([node("a", ["10.244.1.0/24"]), node("b")]))
        guard case .create(.lease, let claim)? = decision.changes.first,
            case .update(.node, let updated)? = decision.changes.last
        else {
            Issue.record("\(decision)")
            return
        }
        #expect(claim.name == "node-block-10.244.2.0-24")
        #expect(updated.spec["podCIDRs"] == ["10.244.2.0/24"])
        // The write of the node was refused: the claim is its own, and no second one is made.
        let again = NodeController.decide(node("b"), try world([node("b")], claims: [claim]))
        #expect(again.changes == [.update(.node, updated)])
        // Somebody else's claim counts as taken although its node does not have it yet.
        let third = NodeController.decide(node("c"), try world([node("c")], claims: [claim]))
        guard case .create(.lease, let other)? = third.changes.first else {
            Issue.record("\(third)")
            return
        }
        #expect(other.name == "node-block-10.244.1.0-24")
    }

    @Test("a block is free only when the node's object is gone")
    func release() throws {
        var claim = node("x").json
        claim["metadata"] = [
            "name": "node-block-10.244.1.0-24", "namespace": "skein-system", "uid": "c1",
            "labels": ["skein.dev/node-block-of": "a"], "annotations": ["skein.dev/node-block": "10.244.1.0/24"],
        ]
        let object = KubernetesObject(json: claim)
        let decision = NodeController.forget("a", try world([], claims: [object]))
        #expect(decision.changes == [.delete(.lease, object.key, uid: "c1")])
        #expect(NodeController.forget("b", try world([], claims: [object])).changes.isEmpty)
    }

    @Test("a node that is not heard of for forty seconds is not ready, and its pods leave their services")
    func silence() throws {
        let ready = KubernetesObject(json: [
            "kind": "Pod", "metadata": ["name": "p", "namespace": "d"],
            "status": ["conditions": [["type": "Ready", "status": "True"]]],
        ])
        let a = node("a", ["10.244.1.0/24"])
        let well = NodeController.decide(
            a, try world([a], heard: "2026-01-01T00:00:00.000000Z", pods: [ready], now: "2026-01-01T00:00:39Z"))
        #expect(well.changes.isEmpty)
        #expect(well.lookAgainAfter == .seconds(2))
        let lost = NodeController.decide(
            a, try world([a], heard: "2026-01-01T00:00:00.000000Z", pods: [ready], now: "2026-01-01T00:00:41Z"))
        let statuses = lost.changes.compactMap { change -> JSON? in
            if case .updateStatus(_, _, let status) = change { status } else { nil }
        }
        #expect(statuses.first?["conditions"]?.array?.first?["status"] == "Unknown")
        #expect(statuses.last?["conditions"]?.array?.first?["reason"] == "NodeNotReady")
        // The node beside the API server has no heartbeat: it is there when we are.
        let local = node("local", ["10.244.0.0/24"], joined: false)
        #expect(NodeController.decide(local, try world([local], now: "2026-02-01T00:00:00Z")).changes.isEmpty)
    }
}
