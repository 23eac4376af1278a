internal import HTTP
internal import IO
internal import Identity
internal import KubernetesAPI
internal import Network
internal import Serialization
import Telemetry

/// How the pods of other nodes are reached, for people who look at the node.
struct NodeWays: Sendable, Equatable {
    /// Whether WireGuard is between.
    var isEncrypted = false
    /// What cannot be reached, and why.
    var problems: [String] = []

    /// Kubernetes' condition for it.
    func condition(_ now: JSON) -> JSON {
        [
            "type": "NetworkUnavailable", "status": .string(problems.isEmpty ? "False" : "True"),
            "reason": .string(
                problems.isEmpty ? (isEncrypted ? "WaysAreEncrypted" : "WaysAreThere") : "NodesNotReached"),
            "message": .string(
                problems.isEmpty
                    ? "the pods of all nodes are reached" + (isEncrypted ? ", by WireGuard" : "")
                    : problems.joined(separator: "; ")), "lastHeartbeatTime": now, "lastTransitionTime": now,
        ]
    }
}

/// This machine as an object of the API, for `kubectl get nodes`.
enum NodeObject {
    /// Makes the object, or brings it up to date.
    ///
    /// - Parameters:
    ///   - addresses: where others reach it, the preferred one first.
    ///   - blocks: the ranges of its pods' addresses, one of a family.
    ///   - networking: how its pods reach those of other nodes; nil on a machine of its own.
    static func register(
        _ client: KubernetesClient, addresses: [IPAddress], blocks: [Prefix], networking: NodeNetworking?
    ) async throws(CommandError) {
        let name = Environment.hostName
        var metadata: JSON = ["labels": .object(labels(name))]
        if let networking { metadata["annotations"] = annotations(networking) }
        // A new object has nothing to take away: null is for the patch alone.
        var fresh = metadata
        if let written = metadata["annotations"]?.object {
            fresh["annotations"] = .object(written.filter { !$0.value.isNull })
        }
        var object: JSON = [
            "apiVersion": "v1", "kind": "Node", "metadata": fresh,
            "spec": ["podCIDRs": .array(blocks.map { .string($0.description) })],
        ]
        object["spec"]?["podCIDR"] = blocks.first.map { .string($0.description) }
        object["metadata"]?["name"] = .string(name)
        let kind = ResourceKind.node
        let made = try await client.call(.post, kind.path(namespace: nil), body: object)
        guard made.isSuccess || made.status == 409 else { throw CommandError("Error from server: \(made.message)") }
        if made.status == 409 {
            object["metadata"] = metadata
            let changed = try await client.call(
                .patch, kind.path(namespace: nil, name: name), body: object, contentType: "application/merge-patch+json"
            )
            guard changed.isSuccess else { throw CommandError("Error from server: \(changed.message)") }
        }
        try await tell(client, addresses, networking.map { NodeWays(isEncrypted: $0.encryption != nil) })
    }

    /// Says how this machine is.
    ///
    /// - Parameter ways: nil on a machine of its own.
    static func tell(
        _ client: KubernetesClient, _ addresses: [IPAddress], _ ways: NodeWays?
    ) async throws(CommandError) {
        let name = Environment.hostName
        let told = try await client.call(
            .patch, ResourceKind.node.path(namespace: nil, name: name) + "/status",
            body: ["status": status(name, addresses, ways)], contentType: "application/merge-patch+json")
        guard told.isSuccess else { throw CommandError("Error from server: \(told.message)") }
    }

    /// What other nodes learn of its network; for a merge patch, in which null takes away what is no longer so.
    static func annotations(_ networking: NodeNetworking) -> JSON {
        [
            NodeJoin.driverAnnotation: .string(networking.driver.rawValue),
            NodeJoin.keyAnnotation: networking.encryption.map { .string($0.publicKey.text) } ?? .null,
            NodeJoin.portAnnotation: networking.encryption.map { .string("\($0.port)") } ?? .null,
        ]
    }

    /// Says how other nodes are reached, again while nobody hears it.
    static func tell(
        _ client: KubernetesClient, _ addresses: [IPAddress], _ ways: NodeWays, _ log: Logger, on loop: EventLoop
    ) async {
        for _ in 0..<30 {
            do throws(CommandError) { return try await tell(client, addresses, ways) } catch {
                log.debug("the node's object was not changed", ["error": error.message])
            }
            await loop.sleep(for: .seconds(2))
        }
        log.warning("the node's object does not say which nodes are not reached")
    }

    /// The labels that every node has.
    static func labels(_ name: String) -> [String: JSON] {
        [
            "kubernetes.io/hostname": .string(name), "kubernetes.io/os": "linux",
            "kubernetes.io/arch": .string(architecture),
        ]
    }

    private static var architecture: String {
        #if arch(x86_64)
            "amd64"
        #else
            "arm64"
        #endif
    }

    /// What a node says of itself.
    static func status(_ name: String, _ addresses: [IPAddress], _ ways: NodeWays?) -> JSON {
        let now = JSON.string(Timestamp(seconds: WallClock.now.seconds).secondsText)
        let resources: JSON = [
            "cpu": .string("\(Environment.processorCount)"), "memory": .string(memory), "pods": "110",
        ]
        return [
            "capacity": resources, "allocatable": resources,
            "addresses": .array(
                addresses.map { ["type": "InternalIP", "address": .string("\($0)")] }
                    + [["type": "Hostname", "address": .string(name)]]),
            "conditions": .array(
                [
                    [
                        "type": "Ready", "status": "True", "reason": "NodeReady", "message": "the node agent runs",
                        "lastHeartbeatTime": now, "lastTransitionTime": now,
                    ]
                ] + [ways].compactMap { $0?.condition(now) }),
            "nodeInfo": [
                "architecture": .string(architecture), "operatingSystem": "linux",
                "bootID": .string(line("/proc/sys/kernel/random/boot_id")),
                "kernelVersion": .string(line("/proc/sys/kernel/osrelease")), "osImage": .string(system),
                "containerRuntimeVersion": "runc", "kubeletVersion": .string("v\(Product.version)"), "machineID": "",
                "systemUUID": "",
                "kubeProxyVersion": "",
            ],
        ]
    }

    private static func line(_ path: String) -> String {
        ((try? File.text(path)) ?? "").trimmingSuffix(while: \.isNewline)
    }

    /// `PRETTY_NAME` of os-release(5).
    private static var system: String {
        let lines = ((try? File.text("/etc/os-release")) ?? "").split(separator: "\n")
        guard let line = lines.first(where: { $0.hasPrefix("PRETTY_NAME=") }) else { return "Linux" }
        return line.dropFirst(12).filter { $0 != "\"" }
    }

    /// `MemTotal` of /proc/meminfo as a quantity.
    private static var memory: String {
        let lines = ((try? File.text("/proc/meminfo")) ?? "").split(separator: "\n")
        let digits = lines.first { $0.hasPrefix("MemTotal:") }?.filter(\.isNumber) ?? ""
        return digits.isEmpty ? "0" : digits + "Ki"
    }
}
