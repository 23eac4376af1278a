import Glibc
import IO
import KubernetesAPI
import Serialization
import Synchronization
import Workloads

@testable import Network

/// Pods of a few namespaces on one host, under policies that are written as people write them.
final class PolicyLab: Sendable {
    /// A pod of the laboratory: `10.244.0.NUMBER`, `fd00:244::NUMBER`.
    struct Pod: Sendable {
        var name: String
        var labels: [String: String]
        var number: Int
        var ports: [PolicySet.NamedPort] = []
    }

    let host: TestHost
    let network: HostNetwork
    private let pods = Mutex<[String: Pod]>([:])
    private let spaces = Mutex<[String: NetworkNamespace]>([:])
    private let labels = Mutex<[String: [String: String]]>(["shop": ["team": "shop"], "bank": ["team": "bank"]])
    private let written = Mutex<String>("")

    /// `shop/web`, `shop/client`, `shop/other`, `bank/client`: each answers on TCP ports 80, 81, 8080 and UDP 53.
    init(_ host: TestHost, policies: String = "") throws {
        self.host = host
        network = try host.setUp()
        try apply(policies)
        let http = [PolicySet.NamedPort(name: "http", transport: .tcp, port: 8080)]
        try add(Pod(name: "shop/web", labels: ["app": "web"], number: 5, ports: http))
        try add(Pod(name: "shop/client", labels: ["app": "client"], number: 6))
        try add(Pod(name: "shop/other", labels: ["app": "other"], number: 7))
        try add(Pod(name: "bank/client", labels: ["app": "client"], number: 8))
    }

    /// Adds a pod as the agent does: its rules first, then its link.
    func add(_ pod: Pod, serves: Bool = true) throws {
        pods.withLock { $0[pod.name] = pod }
        try enforce()
        let space = try attach(network, pod.number)
        spaces.withLock { $0[pod.name] = space }
        guard serves else { return }
        for port in [80, 81, 8080] {
            for any in ["0.0.0.0", "[::]"] { try host.serve(pod.name, in: space, on: "\(any):\(port)") }
        }
        try host.serveDatagrams(pod.name, in: space, on: "10.244.0.\(pod.number):53")
    }

    /// Puts these documents in the place of all earlier ones; returns what could not be read.
    @discardableResult
    func apply(_ yaml: String) throws -> [String] {
        written.withLock { $0 = yaml }
        return try enforce()
    }

    func setLabels(_ labels: [String: String], of name: String) throws {
        pods.withLock { $0[name]?.labels = labels }
        try enforce()
    }

    func setLabels(_ labels: [String: String], ofNamespace name: String) throws {
        self.labels.withLock { $0[name] = labels }
        try enforce()
    }

    var objects: PolicyObjects {
        get throws {
            let documents = try YAML.parse(written.withLock { $0 }, file: "policies.yaml")
            let pods = pods.withLock { $0.values }.compactMap { pod -> PolicyPod? in
                let parts = pod.name.split(separator: "/").map(String.init)
                return PolicyPod(
                    KubernetesObject(
                        json: [
                            "kind": "Pod",
                            "metadata": [
                                "name": .string(parts[1]), "namespace": .string(parts[0]), "uid": .string(pod.name),
                                "labels": .object(pod.labels.mapValues { .string($0) }),
                            ],
                            "spec": [
                                "nodeName": "node",
                                "containers": [
                                    [
                                        "name": "main",
                                        "ports": .array(
                                            pod.ports.map {
                                                [
                                                    "name": .string($0.name), "containerPort": .integer(Int64($0.port)),
                                                    "protocol": .string($0.transport.rawValue.uppercased()),
                                                ]
                                            }),
                                    ]
                                ],
                            ],
                            "status": [
                                "phase": "Running",
                                "podIPs": [
                                    ["ip": .string("10.244.0.\(pod.number)")],
                                    ["ip": .string("fd00:244::\(String(pod.number, radix: 16))")],
                                ],
                            ],
                        ]))
            }
            return PolicyObjects(
                nodeName: "node", pods: pods, namespaces: labels.withLock { $0 },
                policies: documents.map { KubernetesObject(json: $0.json) })
        }
    }

    @discardableResult
    private func enforce() throws -> [String] {
        let translation = PolicyTranslation(try objects)
        try network.apply(policies: translation.set)
        return translation.problems
    }

    func space(_ name: String) throws -> NetworkNamespace {
        if name == "host" { return host.namespace }
        if name == "outside" { return host.outside }
        guard let space = spaces.withLock({ $0[name] }) else { throw Failed(description: "no pod \(name)") }
        return space
    }

    func address(_ name: String, v6: Bool = false) throws -> String {
        guard let pod = pods.withLock({ $0[name] }) else { throw Failed(description: "no pod \(name)") }
        return v6 ? "[fd00:244::\(String(pod.number, radix: 16))]" : "10.244.0.\(pod.number)"
    }

    /// Fails unless exactly `allowed` of `from` get an answer of the pod, over both families.
    func check(
        _ what: String, _ to: String, _ port: Int = 80, from: [String] = PolicyLab.all, only allowed: [String]
    ) throws {
        for name in from {
            for isV6 in [false, true] {
                let isAllowed = allowed.contains(name)
                // A machine may be slow to answer; nothing is slow not to.
                let answer = try ask(
                    "\(address(to, v6: isV6)):\(port)", from: space(name),
                    timeoutMilliseconds: isAllowed ? 10_000 : PolicyLab.patience)
                let path = "\(what): from \(name) to \(to):\(port), IPv\(isV6 ? 6 : 4)"
                if isAllowed {
                    try requireEqual(String(answer.prefix(to.utf8.count)), to, path)
                } else {
                    try requireEqual(answer, "timeout", path)
                }
            }
        }
    }

    static let all = ["shop/web", "shop/client", "shop/other", "bank/client", "host"]

    /// How long a packet that is dropped is waited for.
    static let patience: Int32 = 150

    /// Whether a datagram is answered.
    func answersDatagram(_ to: String, from: String, isExpected: Bool = false, _ socket: Socket? = nil) throws -> Bool {
        let own =
            try socket
            ?? Socket(
                adopting: space(from).run { () throws(SystemError) in
                    try Socket.datagram(on: .ip(.v4(0), port: 0)).release()
                })
        guard let target = SocketAddress("\(try address(to)):53") else { throw Failed(description: to) }
        try Array("?".utf8).withUnsafeBytes { try own.send($0, to: target) }
        var entry = pollfd(fd: own.fd, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, isExpected ? 10_000 : PolicyLab.patience) > 0 else { return false }
        var buffer = [UInt8](repeating: 0, count: 64)
        return try buffer.withUnsafeMutableBytes { try own.receive(into: $0) } != nil
    }
}
