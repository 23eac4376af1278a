import IO
import Serialization
import Store

/// An instance that can be called.
public struct RegisteredInstance: Sendable, Hashable {
    /// Its service.
    public var service: String
    /// Its identifier at the node.
    public var id: String
    /// Its tags.
    public var tags: [String]
    /// Its metadata.
    public var meta: [String: String]
    /// Its node.
    public var node: String
    /// Where it is reached: an address or a host name.
    public var address: String
    /// Its port; 0: none.
    public var port: UInt16
    /// Its share of the requests.
    public var weight: UInt16
    /// Whether no check of it or of its node is critical.
    public var isHealthy: Bool
}

/// What others must know of the registry: for names and for the mesh.
public struct RegistryView: Sendable, Hashable {
    /// All instances, by service, node and identifier.
    public var instances: [RegisteredInstance] = []
    /// The addresses of nodes by their names.
    public var nodes: [String: String] = [:]
    /// AuthorizationPolicies of the intentions, and ServiceEntries of the services.
    public var objects: [OwnedObject] = []
    /// Services that cannot be in the mesh, and why.
    public var unmeshed: [String: String] = [:]
}

extension RegistryState {
    /// What others must know now.
    public func view(trustDomain: String) -> RegistryView {
        var view = RegistryView()
        for row in rows(.nodes) { view.nodes[row.text("Node")] = row.text("Address") }
        let checks = Dictionary(grouping: rows(.checks)) { $0.text("Node") }
            .mapValues { Dictionary(grouping: $0) { $0.text("ServiceID") } }
        for row in rows(.services) {
            let (node, id) = (row.text("Node"), row.text("ID"))
            let own = (checks[node]?[id] ?? []) + (checks[node]?[""] ?? [])
            let state = Self.worst(own)
            let weights = row.json["Weights"]
            let weight = weights?[state == "warning" ? "Warning" : "Passing"]?.int ?? 1
            view.instances.append(
                RegisteredInstance(
                    service: row.text("Service"), id: id, tags: (row.json["Tags"]?.array ?? []).compactMap(\.string),
                    meta: (row.json["Meta"]?.object ?? [:]).compactMapValues(\.string), node: node,
                    address: row.text("Address").isEmpty ? view.nodes[node] ?? "" : row.text("Address"),
                    port: UInt16(exactly: row.json["Port"]?.int ?? 0) ?? 0, weight: UInt16(clamping: weight),
                    isHealthy: state != "critical"))
        }
        view.instances.sort { ($0.service, $0.node, $0.id) < ($1.service, $1.node, $1.id) }
        let entries = MeshEntries.entries(view.instances, settings)
        view.unmeshed = entries.refused
        view.objects =
            entries.objects
            + IntentionPolicies.policies(intentions.map { Intention(stored: $0.json) }, trustDomain: trustDomain)
        return view
    }
}

/// ServiceEntries of registered services.
enum MeshEntries {
    /// Where they are.
    static let namespace = "skein-system"
    /// Ports of a service at most; instances with further ports are not in the mesh.
    static let portsMax = 16

    /// The entry of each service that can have one; the others, and why not.
    static func entries(
        _ instances: [RegisteredInstance], _ settings: RegistrySettings
    ) -> (objects: [OwnedObject], refused: [String: String]) {
        var objects: [OwnedObject] = []
        var refused: [String: String] = [:]
        var taken: Set<String> = []
        for (service, some) in Dictionary(grouping: instances, by: \.service).sorted(by: { $0.key < $1.key }) {
            let name = service.lowercased()
            guard DNSLabel.isValid(name) else {
                refused[service] = "its name is no label of a DNS name"
                continue
            }
            guard taken.insert(name).inserted else {
                refused[service] = "another service has the same name in other letters"
                continue
            }
            switch entry(name, some, settings) {
            case .success(let spec):
                objects.append(
                    OwnedObject(kind: "ServiceEntry", namespace: namespace, name: "registered-\(name)", spec: spec))
            case .failure(let why): refused[service] = why.text
            }
        }
        return (objects, refused)
    }

    private struct Reason: Error { var text: String }

    private static func entry(
        _ name: String, _ all: [RegisteredInstance], _ settings: RegistrySettings
    ) -> Result<JSON, Reason> {
        // What is at 127.0.0.1 is somewhere else for everybody.
        let instances = all.filter { instance in
            IPAddress(instance.address).map { !$0.isLoopback && !$0.isUnspecified } == true && instance.port > 0
        }
        guard !instances.isEmpty else {
            return .failure(Reason(text: "no instance has a port and an address that pods can reach"))
        }
        let numbers = Set(instances.map(\.port)).sorted().prefix(portsMax)
        let protocols = Set(instances.compactMap { $0.meta["protocol"]?.uppercased() })
        guard protocols.count <= 1, protocols.allSatisfy({ known.contains($0) }) else {
            return .failure(Reason(text: "the metadata's protocol is none of \(known.sorted()), or differs"))
        }
        let ports = numbers.map { number -> JSON in
            var port: JSON = ["number": .integer(Int64(number)), "name": .string("p\(number)")]
            if let named = protocols.first { port["protocol"] = .string(named) }
            return port
        }
        let endpoints = instances.filter { $0.isHealthy && numbers.contains($0.port) && $0.weight > 0 }.map {
            instance -> JSON in
            // Whichever port is called, an instance is reached at its own.
            let own = numbers.map { ("p\($0)", JSON.integer(Int64(instance.port))) }
            return [
                "address": .string(instance.address), "ports": .object(Dictionary(own) { first, _ in first }),
                "weight": .integer(Int64(instance.weight)), "labels": ["service": .string(name)],
            ]
        }
        var spec: JSON = [
            "hosts": [.string("\(name).service.\(settings.domain)")],
            "addresses": .array(Set(instances.map(\.address)).sorted().map { .string($0) }),
            "location": "MESH_EXTERNAL", "resolution": "STATIC", "ports": .array(ports),
        ]
        if !endpoints.isEmpty { spec["endpoints"] = .array(endpoints) }
        return .success(spec)
    }

    private static let known: Set<String> = ["HTTP", "HTTP2", "GRPC", "HTTPS", "TLS", "TCP"]
}
