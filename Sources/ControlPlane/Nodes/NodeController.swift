import APIServer
import IO
import Identity
import KubernetesAPI
import Mesh
import Serialization

/// Gives each node its blocks, and says which nodes are not heard of any more.
///
/// A block is claimed before a node has it, by an object whose name is the block's: that there can be only one is what the
/// store sees to, whoever else decides at the same time. The claim goes when the node's object is gone, and no sooner.
///
/// Pure.
enum NodeController {
    /// Where the claims are.
    static let namespace = "skein-system"
    /// Claims have this label; its value is the node.
    static let label = "skein.dev/node-block-of"
    /// Why a pod is not ready whose node is not heard of.
    static let lostReason = "NodeNotReady"

    /// What it sees.
    struct World {
        var pools: [NodeBlocks]
        var nodes: [KubernetesObject]
        /// The claims.
        var claims: [KubernetesObject]
        /// The heartbeat of this node.
        var heartbeat: KubernetesObject?
        /// The pods of this node.
        var pods: [KubernetesObject]
        var now: Timestamp
    }

    static func blocks(of node: KubernetesObject) -> [Prefix] {
        var texts = (node.spec["podCIDRs"]?.array ?? []).compactMap(\.string)
        if texts.isEmpty, let one = node.spec["podCIDR"]?.string { texts = [one] }
        return texts.compactMap { Prefix($0) }
    }

    /// The block that a claim is for: `node-block-10.244.1.0-24`.
    static func block(of claim: KubernetesObject) -> Prefix? {
        claim.metadata.annotations["skein.dev/node-block"].flatMap { Prefix($0) }
    }

    private static func claim(_ block: Prefix, _ node: String) -> KubernetesObject {
        let name = "node-block-" + block.description.replacing("/", with: "-").replacing(":", with: "-")
        return KubernetesObject(json: [
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": [
                // Two runs of separators or one at the end are no name: `fd00::/64` is `fd00--64`, which is one.
                "name": .string(name), "namespace": .string(namespace), "labels": .object([label: .string(node)]),
                "annotations": .object(["skein.dev/node-block": .string(block.description)]),
            ], "spec": ["holderIdentity": .string(node)],
        ])
    }

    /// What to do for a node that is there.
    static func decide(_ node: KubernetesObject, _ world: World) -> Decision {
        var decision = giveBlocks(node, world)
        guard node.metadata.annotations[Node.keyAnnotation] != nil else { return decision }
        judge(node, world, &decision)
        return decision
    }

    private static func giveBlocks(_ node: KubernetesObject, _ world: World) -> Decision {
        guard node.metadata.deletionTimestamp == nil, blocks(of: node).isEmpty else { return Decision() }
        var taken = world.nodes.flatMap(blocks) + world.claims.compactMap(block)
        var given: [Prefix] = []
        var changes: [ObjectChange] = []
        for pool in world.pools {
            // A claim of ours that came to nothing: the write of the node's object was refused.
            let own = world.claims.first {
                $0.metadata.labels[label] == node.name && block(of: $0)?.length == pool.length
                    && block(of: $0).map { pool.pool.overlaps($0) } ?? false
            }
            if let block = own.flatMap(block) {
                given.append(block)
                continue
            }
            guard let block = pool.next(taken: taken) else {
                let text = "no block of \(pool.pool) is left for the node: \(pool.count) blocks of /\(pool.length)"
                return Decision([.event(EventNote(node, "CIDRNotAvailable", text, isWarning: true))])
            }
            taken.append(block)
            given.append(block)
            changes.append(.create(.lease, claim(block, node.name)))
        }
        guard let first = given.first else { return Decision() }
        var object = node.json
        if object["spec"] == nil { object["spec"] = [:] }
        object["spec"]?["podCIDR"] = .string(first.description)
        object["spec"]?["podCIDRs"] = .array(given.map { .string($0.description) })
        return Decision(changes + [.update(.node, KubernetesObject(json: object))])
    }

    /// What to do when a node's object is gone: its blocks are free, and its heartbeat goes.
    ///
    /// Its pods stay as they were last: nobody has said that they have ended.
    static func forget(_ name: String, _ world: World) -> Decision {
        var changes: [ObjectChange] = []
        for claim in world.claims where claim.metadata.labels[label] == name {
            changes.append(.delete(.lease, claim.key, uid: claim.metadata.uid))
        }
        if let lease = world.heartbeat { changes.append(.delete(.lease, lease.key, uid: lease.metadata.uid)) }
        return Decision(changes)
    }

    // MARK: Heartbeats

    /// Says that a node is not ready when it is not heard of; the node itself says that it is.
    private static func judge(_ node: KubernetesObject, _ world: World, _ decision: inout Decision) {
        let text = world.heartbeat?.spec["renewTime"]?.string ?? node.metadata.creationTimestamp
        guard let heard = Timestamp(text) else { return }
        let end = heard + .seconds(NodeJoin.silence)
        guard end <= world.now else {
            decision.lookAgain(after: .seconds(end.seconds - world.now.seconds + 1))
            return
        }
        let conditions = node.status["conditions"]?.array ?? []
        if conditions.first(where: { $0["type"] == "Ready" })?["status"]?.string != "Unknown" {
            var status = node.status
            let old = conditions.filter { $0["type"] != "Ready" }
            let ready: JSON = [
                "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
                "message": .string("not heard of since \(text)"), "lastHeartbeatTime": .string(text),
                "lastTransitionTime": .string(world.now.secondsText),
            ]
            status["conditions"] = .array(old + [ready])
            decision.changes.append(.updateStatus(.node, node.key, status))
            decision.changes.append(
                .event(
                    EventNote(node, "NodeNotReady", "Node \(node.name) is not heard of since \(text)", isWarning: true))
            )
        }
        // Out of the services: nobody knows whether they still answer.
        for pod in world.pods {
            var conditions = pod.status["conditions"]?.array ?? []
            guard let index = conditions.firstIndex(where: { $0["type"] == "Ready" && $0["status"] == "True" }) else {
                continue
            }
            conditions[index] = [
                "type": "Ready", "status": "False", "reason": .string(lostReason),
                "message": .string("node \(node.name) is not heard of"),
                "lastTransitionTime": .string(world.now.secondsText),
            ]
            var status = pod.status
            status["conditions"] = .array(conditions)
            decision.changes.append(.updateStatus(.pod, pod.key, status))
        }
    }
}
