internal import HTTP
internal import IO
internal import Identity
internal import KubernetesAPI
internal import Network
internal import Serialization
import Telemetry

/// This machine as an object of the API, for `kubectl get nodes`.
enum NodeObject {
    /// Makes the object, or brings it up to date.
    ///
    /// - Parameters:
    ///   - addresses: where others reach it, the preferred one first.
    ///   - blocks: the ranges of its pods' addresses, one of a family.
    ///   - driver: how its pods reach those of other nodes; nil on a machine of its own.
    static func register(
        _ client: KubernetesClient, addresses: [IPAddress], blocks: [Prefix], driver: NodeDriver?
    ) async throws(CommandError) {
        let name = Environment.hostName
        var metadata: JSON = ["labels": .object(labels(name))]
        if let driver { metadata["annotations"] = .object([NodeJoin.driverAnnotation: .string(driver.rawValue)]) }
        var object: JSON = [
            "apiVersion": "v1", "kind": "Node", "metadata": metadata,
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
        let path = kind.path(namespace: nil, name: name) + "/status"
        let told = try await client.call(
            .patch, path, body: ["status": status(name, addresses)], contentType: "application/merge-patch+json")
        guard told.isSuccess else { throw CommandError("Error from server: \(told.message)") }
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
    static func status(_ name: String, _ addresses: [IPAddress]) -> JSON {
        let now = JSON.string(Timestamp(seconds: WallClock.now.seconds).secondsText)
        let resources: JSON = [
            "cpu": .string("\(Environment.processorCount)"), "memory": .string(memory), "pods": "110",
        ]
        return [
            "capacity": resources, "allocatable": resources,
            "addresses": .array(
                addresses.map { ["type": "InternalIP", "address": .string("\($0)")] }
                    + [["type": "Hostname", "address": .string(name)]]),
            "conditions": [
                [
                    "type": "Ready", "status": "True", "reason": "NodeReady", "message": "the node agent runs",
                    "lastHeartbeatTime": now, "lastTransitionTime": now,
                ]
            ],
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
