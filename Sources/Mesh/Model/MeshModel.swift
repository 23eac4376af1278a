import KubernetesAPI
import Serialization

/// The mesh at one moment, read once from its objects and ready to be asked.
public struct MeshModel: Sendable {
    /// A VirtualService with what is computed from it once.
    struct Rule: Sendable {
        var key: NamespacedName
        var rule: VirtualService
        /// Full host names, in the order of the rule.
        var hosts: [String]
        /// `mesh`, or `namespace/name` of gateways.
        var gateways: Set<String>
        var http: [VirtualService.HTTPRoute]
        var tcp: [VirtualService.TCPRoute]
    }

    /// A DestinationRule with its full host name.
    struct Policy: Sendable {
        var key: NamespacedName
        var rule: DestinationRule
        var host: String
        var subsets: [DestinationRule.Subset]
    }

    /// A gateway with its name.
    struct Entrance: Sendable {
        var key: NamespacedName
        var gateway: IstioGateway
    }

    /// A pod, as far as the mesh cares.
    struct Workload: Sendable, Hashable {
        var labels: [String: String]
        var address: String
        /// Container ports by name, for named target ports (S-5).
        var namedPorts: [String: Int]
    }

    /// The objects that the model was made of.
    public let objects: MeshObjects
    /// The mesh configuration.
    public let config: MeshConfig
    /// The services by namespace and name.
    public let services: [NamespacedName: MeshService]
    /// The services, sorted by namespace and name.
    let sortedServices: [MeshService]
    /// The services by full host name.
    let servicesByHost: [String: MeshService]
    /// The endpoints of each service: without duplicates, sorted by address.
    public let endpoints: [NamespacedName: [MeshEndpoint]]
    let rules: [Rule]
    let policies: [Policy]
    let entrances: [Entrance]
    let ingresses: [KubernetesObject]
    let workloads: [NamespacedName: Workload]
    /// Identities, and the policies about them.
    let security: SecurityModel

    /// Reads the objects.
    public init(_ objects: MeshObjects) {
        self.objects = objects
        security = SecurityModel(objects)
        config = MeshConfig(
            objects.object(.configMap, NamespacedName(namespace: Mesh.rootNamespace, name: "istio")))
        sortedServices = objects.inOrder(.service).map(MeshService.init).sorted { $0.key < $1.key }
        services = Dictionary(sortedServices.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        servicesByHost = Dictionary(sortedServices.map { ($0.host, $0) }, uniquingKeysWith: { first, _ in first })
        workloads = Dictionary(
            objects.inOrder(.pod).map { object in
                (NamespacedName(namespace: object.namespace, name: object.name), Workload(object))
            }, uniquingKeysWith: { first, _ in first })
        endpoints = Self.endpoints(of: objects.inOrder(.endpointSlice), workloads: workloads)
        rules = objects.inOrder(.virtualService).map(Rule.init)
        policies = objects.inOrder(.destinationRule).map(Policy.init)
        entrances = objects.inOrder(.gateway).map {
            Entrance(
                key: NamespacedName(namespace: $0.namespace, name: $0.name), gateway: IstioGateway(json: $0.json))
        }
        ingresses = objects.inOrder(.ingress).filter(Self.isOurs)
    }

    /// All endpoints by service: an address that is in two slices counts once (S-12), the readier one.
    private static func endpoints(
        of slices: [KubernetesObject], workloads: [NamespacedName: Workload]
    ) -> [NamespacedName: [MeshEndpoint]] {
        var found: [NamespacedName: [String: MeshEndpoint]] = [:]
        for object in slices {
            let slice = EndpointSlice(json: object.json)
            guard let service = object.metadata.labels["kubernetes.io/service-name"], slice.addressType != "FQDN"
            else { continue }
            let ports = Dictionary(
                slice.ports.compactMap { port in port.port.map { (port.name, $0) } },
                uniquingKeysWith: { first, _ in first })
            let owner = NamespacedName(namespace: object.namespace, name: service)
            for endpoint in slice.endpoints {
                guard let address = endpoint.addresses.first else { continue }
                let pod = endpoint.targetRef.flatMap {
                    $0.kind == "Pod" ? NamespacedName(namespace: object.namespace, name: $0.name) : nil
                }
                var entry = MeshEndpoint(
                    address: address, ports: ports, isReady: endpoint.conditions.ready,
                    isServing: endpoint.conditions.serving ?? true, isTerminating: endpoint.conditions.terminating,
                    pod: pod, hostname: endpoint.hostname, labels: pod.flatMap { workloads[$0]?.labels } ?? [:],
                    slice: NamespacedName(namespace: object.namespace, name: object.name))
                if let known = found[owner]?[address] {
                    // Slices may hold different ports of one address.
                    entry.ports.merge(known.ports) { mine, _ in mine }
                    entry.isReady = entry.isReady || known.isReady
                }
                found[owner, default: [:]][address] = entry
            }
        }
        return found.mapValues { $0.values.sorted { $0.address < $1.address } }
    }

    /// The endpoints that take traffic: ready ones, or all when the service says so (S-7); when none is ready, those
    /// that still serve while they terminate (S-6).
    func usableEndpoints(of service: MeshService) -> [MeshEndpoint] {
        let all = endpoints[service.key] ?? []
        if service.publishesNotReady { return all }
        let ready = all.filter(\.isReady)
        return ready.isEmpty ? all.filter { $0.isServing && $0.isTerminating } : ready
    }

    /// The service that a full host name stands for, through external names (S-9).
    func service(host: String) -> MeshService? {
        var host = host
        for _ in 0..<8 {
            guard let service = servicesByHost[host] else { return nil }
            guard let alias = service.externalName else { return service }
            host = alias.lowercased()
        }
        return nil  // A circle of external names.
    }

    /// Whether an Ingress is ours to serve (I-3): its class is, or it names none and we are the default class.
    private static func isOurs(_ object: KubernetesObject) -> Bool {
        let named =
            object.spec["ingressClassName"]?.string ?? object.metadata.annotations["kubernetes.io/ingress.class"]
        guard let named else { return true }
        return Mesh.ingressClasses.contains(named)
    }
}

extension MeshModel.Rule {
    init(_ object: KubernetesObject) {
        rule = VirtualService(json: object.json)
        let namespace = object.namespace
        key = NamespacedName(namespace: namespace, name: object.name)
        hosts = rule.hosts.map { HostName.expanded($0, ruleNamespace: namespace) }
        gateways =
            rule.gateways.isEmpty
            ? [Mesh.meshGateway] : Set(rule.gateways.map { Self.gateway($0, namespace: namespace) })
        http = rule.http
        tcp = rule.tcp
    }

    /// A gateway's name with its namespace: the rule's own when none is given.
    static func gateway(_ name: String, namespace: String) -> String {
        if name == Mesh.meshGateway { return name }
        if name.hasPrefix("./") { return "\(namespace)/\(name.dropFirst(2))" }
        return name.contains("/") ? name : "\(namespace)/\(name)"
    }
}

extension MeshModel.Policy {
    init(_ object: KubernetesObject) {
        rule = DestinationRule(json: object.json)
        key = NamespacedName(namespace: object.namespace, name: object.name)
        host = HostName.expanded(rule.host, ruleNamespace: object.namespace)
        subsets = rule.subsets
    }
}

extension MeshModel.Workload {
    init(_ object: KubernetesObject) {
        labels = object.metadata.labels
        address = object.status["podIP"]?.string ?? ""
        namedPorts = [:]
        let containers = (object.spec["containers"]?.array ?? []) + (object.spec["initContainers"]?.array ?? [])
        for port in containers.flatMap({ $0["ports"]?.array ?? [] }) {
            guard let name = port["name"]?.string, let number = port["containerPort"]?.int else { continue }
            namedPorts[name] = namedPorts[name] ?? number
        }
    }
}
