import EnvoyAPI
import IO
import KubernetesAPI
import Mesh
import Proxy
import Serialization
import Testing

/// A mesh described in YAML, whose proxies are asked what they would do with requests: the code that serves, with the snapshots of both sides.
struct Explained {
    let world: World
    let objects: [KubernetesObject]

    init(_ yaml: [String]) throws {
        let text = yaml.joined(separator: "\n")
        world = try World(text)
        objects = try YAML.parse(text, file: "test").filter { !$0.json.isNull }.map { KubernetesObject(json: $0.json) }
    }

    /// An explanation without answers.
    func empty(from: String = "caller", to host: String, hasProxy: Bool = true) -> MeshExplanation {
        let objects = objects
        return MeshExplanation(
            source: .init(
                pod: NamespacedName(namespace: "default", name: from), address: "10.244.0.100",
                account: "default/default", hasProxy: hasProxy, isGateway: false),
            request: "GET http://\(host)/", host: host,
            object: { kind, key in
                objects.first { $0.kind == kind && $0.name == key.name && $0.namespace == key.namespace }
            },
            objects: { kind in objects.filter { $0.kind == kind } })
    }

    /// Follows a request from the caller's proxy to that of the pod it arrives at.
    func follow(
        _ path: String = "/", host: String, address: String, headers: [String] = [], hasProxy: Bool = true,
        asking more: [String] = []
    ) throws -> MeshExplanation {
        var explanation = empty(to: host, hasProxy: hasProxy)
        var to = "10.244.0.11:8080"
        if hasProxy {
            let answer = try ask(
                "default/caller",
                ["--listener", "virtualOutbound", "--destination", address, "http://\(host)\(path)"] + more,
                headers)
            explanation.outbound = answer
            guard answer.outcome == .forwarded, let found = answer.host else { return explanation }
            to = found
        } else {
            explanation.outboundProblem = "no proxy"
        }
        let ip = String(to.split(separator: ":").first ?? "")
        guard let pod = objects.first(where: { $0.kind == "Pod" && $0.status["podIP"]?.string == ip }) else {
            return explanation
        }
        explanation.destination = .init(
            pod: NamespacedName(namespace: pod.namespace, name: pod.name), address: ip, account: "default/default",
            hasProxy: true, isGateway: false)
        var arguments = [
            "--listener", "virtualInbound", "--destination", to, "--source", "10.244.0.100:40000",
            "http://\(host)\(path)",
        ]
        if explanation.outbound?.json["decision"]?["upstream_tls"]?.bool == true {
            arguments += [
                "--tls", "--alpn", "istio-http/1.1,istio,http/1.1", "--sni", "outbound_.80_._.x", "--principal",
                "spiffe://cluster.local/ns/default/sa/default",
            ]
        }
        explanation.inbound = try ask("\(pod.namespace)/\(pod.name)", arguments, headers)
        return explanation
    }

    /// Asks `skein-proxy explain` with the snapshot of a pod.
    func ask(_ pod: String, _ arguments: [String], _ headers: [String] = []) throws -> ProxyAnswer {
        let file = try resources(pod)
        defer { try? File.remove(file) }
        let command = try ExplainCommand(
            arguments: ["--resources", file, "-o", "json"] + arguments
                + headers.flatMap { ["-H", $0] })
        var (text, problem) = ("", "")
        let status = command.run(out: { text += $0 }, error: { problem += $0 })
        #expect(problem.isEmpty, "\(problem)")
        #expect([0, 3, 4].contains(status))
        return try #require(ProxyAnswer(try JSON.parse(text)))
    }

    /// A file with everything that the control plane would deliver to a pod's proxy.
    func resources(_ pod: String) throws -> String {
        let snapshot = world.snapshot(pod)
        var response = DiscoveryResponse()
        for part in [snapshot.clusters, snapshot.endpoints, snapshot.routes, snapshot.listeners] {
            response.resources += part.sorted { $0.key < $1.key }.map(\.value.message)
        }
        let file = "/tmp/skein-explained-\(Environment.processID)-\(UInt64.random(in: 0 ... .max))"
        try File.write(file, response.serialized())
        return file
    }
}
