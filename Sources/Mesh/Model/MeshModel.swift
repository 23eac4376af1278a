import KubernetesAPI
import Serialization

/// The mesh at one moment, read once from its objects and ready to be asked.
///
/// Kept up to date edit by edit. What it holds is private: every question goes through a property or function that
/// notes what was asked for (`Fact`), so that whoever computes something from the model knows when it must be computed
/// again. A table that is added here is brought up to date in `update` and noted where it is read.
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
        /// The labels by which callers and endpoints are compared (B-7).
        var failoverLabels: Set<String> = []
        /// Whether what it says depends on where the caller is (B-4, B-8).
        var dependsOnCaller = false
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
        /// The node that it runs on.
        var node = ""
        var serviceAccount = ""
        /// Where it runs: as its label `istio-locality` says, else where its node is.
        var locality = MeshLocality()
        /// Whether it takes traffic; true when its status does not say.
        var isReady = true
    }

    private var objectStore: MeshObjects
    private var configStore: MeshConfig
    private var registry = ServiceRegistry()
    private var ruleTable = OrderedTable<NamespacedName, Rule>()
    private var ruleIndex = HostIndex()
    private var policyTable = OrderedTable<NamespacedName, Policy>()
    private var policyIndex = HostIndex()
    private var entranceStore: [Entrance] = []
    private var ingressStore: [KubernetesObject] = []
    /// Where reads are noted.
    var reads: ReadLog?

    /// Reads the objects.
    public init(_ objects: MeshObjects) {
        objectStore = MeshObjects()
        configStore = MeshConfig(nil)
        update(objects, changed: objects.keys)
    }

    /// Goes on to objects that differ from the present ones in those `changed`; tells what that touched.
    @discardableResult
    mutating func update(_ objects: MeshObjects, changed: [MeshObjects.Kind: Set<NamespacedName>]) -> Touched {
        objectStore = objects
        var touched = registry.update(objects, changed)
        for (kind, keys) in changed where !keys.isEmpty {
            switch kind {
            case .service, .serviceEntry, .workloadEntry, .endpointSlice, .pod, .node: break  // The registry knows.
            case .virtualService: updateRules(objects, keys, &touched)
            case .destinationRule: updatePolicies(objects, keys, &touched)
            default:
                touched.everything = true
                updateOthers(objects, kind)
            }
        }
        return touched
    }

    private mutating func updateRules(_ objects: MeshObjects, _ keys: Set<NamespacedName>, _ touched: inout Touched) {
        var edits: [OrderedTable<NamespacedName, Rule>.Edit] = []
        for key in keys {
            if let old = ruleTable[key] {
                ruleIndex.remove(key, hosts: old.hosts)
                touched.ruleHosts.formUnion(old.hosts)
            }
            let object = objects.object(.virtualService, key)
            let now = object.map(Rule.init)
            if let now {
                ruleIndex.insert(key, hosts: now.hosts)
                touched.ruleHosts.formUnion(now.hosts)
            }
            edits.append((key, object.flatMap { object in now.map { (ObjectAge(object), $0) } }))
        }
        ruleTable.apply(edits)
        touched.facts.insert(.kind(.virtualService))
    }

    private mutating func updatePolicies(
        _ objects: MeshObjects, _ keys: Set<NamespacedName>, _ touched: inout Touched
    ) {
        var edits: [OrderedTable<NamespacedName, Policy>.Edit] = []
        for key in keys {
            if let old = policyTable[key] {
                policyIndex.remove(key, hosts: [old.host])
                touched.policyHosts.insert(old.host)
            }
            let object = objects.object(.destinationRule, key)
            let now = object.map(Policy.init)
            if let now {
                policyIndex.insert(key, hosts: [now.host])
                touched.policyHosts.insert(now.host)
            }
            edits.append((key, object.flatMap { object in now.map { (ObjectAge(object), $0) } }))
        }
        policyTable.apply(edits)
        touched.facts.insert(.kind(.destinationRule))
    }

    /// The kinds of which an edit touches everything.
    private mutating func updateOthers(_ objects: MeshObjects, _ kind: MeshObjects.Kind) {
        switch kind {
        case .configMap:
            configStore = MeshConfig(
                objects.object(.configMap, NamespacedName(namespace: Mesh.rootNamespace, name: "istio")))
        case .gateway:
            entranceStore = objects.inOrder(.gateway).map {
                Entrance(
                    key: NamespacedName(namespace: $0.namespace, name: $0.name), gateway: IstioGateway(json: $0.json))
            }
        case .ingress: ingressStore = objects.inOrder(.ingress).filter(Self.isOurs)
        default: break
        }
    }

    /// Whether an Ingress is ours to serve (I-3): its class is, or it names none and we are the default class.
    private static func isOurs(_ object: KubernetesObject) -> Bool {
        let named =
            object.spec["ingressClassName"]?.string ?? object.metadata.annotations["kubernetes.io/ingress.class"]
        guard let named else { return true }
        return Mesh.ingressClasses.contains(named)
    }
}

// MARK: - What can be asked

extension MeshModel {
    /// The objects that the model was made of.
    public var objects: MeshObjects {
        for kind in MeshObjects.Kind.allCases { reads?.note(.kind(kind)) }
        return objectStore
    }

    /// The objects of one kind, oldest first.
    func objects(_ kind: MeshObjects.Kind) -> [KubernetesObject] {
        reads?.note(.kind(kind))
        return objectStore.inOrder(kind)
    }

    /// The mesh configuration.
    public var config: MeshConfig {
        reads?.note(.kind(.configMap))
        return configStore
    }

    /// The Kubernetes services by namespace and name.
    public var services: [NamespacedName: MeshService] {
        reads?.note(.kind(.service))
        return Dictionary(
            registry.sorted.filter { $0.registry == .kubernetes }.map { ($0.key, $0) },
            uniquingKeysWith: { first, _ in first })
    }

    /// All services, those of ServiceEntries too, oldest first.
    public var sortedServices: [MeshService] {
        reads?.note(.kind(.service))
        return registry.sorted
    }

    /// The services that callers of a namespace see, oldest first, one for each host: of several ServiceEntries
    /// that of the caller's own namespace, else the oldest.
    func services(visibleTo namespace: String) -> [MeshService] {
        sortedServices.filter { service in
            guard HostName.isVisible(exportTo: service.exportTo, owner: service.key.namespace, to: namespace)
            else { return false }
            return (registry.byHost[service.host]?.count ?? 0) < 2
                || chosen(service.host, visibleTo: namespace)?.id == service.id
        }
    }

    private func chosen(_ host: String, visibleTo namespace: String) -> MeshService? {
        let visible = (registry.byHost[host] ?? []).filter {
            HostName.isVisible(exportTo: $0.exportTo, owner: $0.key.namespace, to: namespace)
        }
        return visible.first { $0.key.namespace == namespace } ?? visible.first
    }

    /// The service of a full host name that callers of a namespace see; `nil` when there is none.
    func service(host: String, visibleTo namespace: String) -> MeshService? {
        reads?.note(.service(host))
        return chosen(host, visibleTo: namespace)
    }

    /// One service.
    func service(_ id: MeshService.ID) -> MeshService? {
        reads?.note(.service(id.host))
        return registry.byHost[id.host]?.first { $0.id == id }
    }

    /// The service that a host has first: that of Kubernetes, else the oldest ServiceEntry's.
    func firstService(host: String) -> MeshService? {
        reads?.note(.service(host))
        return registry.byHost[host]?.first
    }

    /// The hosts of services that a host of a rule covers.
    func hosts(coveredBy pattern: String) -> Set<String> {
        if !HostName.isWildcard(pattern) { return [pattern] }
        return Set(registry.byHost.keys.filter { HostName.covers(pattern, $0) })
    }

    /// Whether some service has that full host name.
    func hasService(host: String) -> Bool {
        reads?.note(.service(host))
        return registry.byHost[host] != nil
    }

    /// Whether the cluster's DNS answers for that name with addresses of the mesh (S-17).
    func answersForHost(_ host: String) -> Bool {
        reads?.note(.service(host))
        return registry.byHost[host]?.contains(where: \.isNamed) ?? false
    }

    /// The service that a full host name stands for, through external names (S-9).
    func service(host: String) -> MeshService? {
        var host = host
        for _ in 0..<8 {
            reads?.note(.service(host))
            guard let service = registry.byHost[host]?.first else { return nil }
            guard let alias = service.externalName else { return service }
            host = alias.lowercased()
        }
        return nil  // A circle of external names.
    }

    /// The endpoints of each Kubernetes service: without duplicates, sorted by address.
    public var endpoints: [NamespacedName: [MeshEndpoint]] {
        reads?.note(.kind(.endpointSlice))
        return registry.endpoints
    }

    /// The endpoints of a service, whoever declares it: without duplicates.
    public func endpoints(of service: MeshService) -> [MeshEndpoint] {
        reads?.note(.endpoints(service.host))
        return registry.endpoints(of: service)
    }

    /// The endpoints that take traffic: ready ones, or all when the service says so (S-7); when none is ready, those
    /// that still serve while they terminate (S-6).
    func usableEndpoints(of service: MeshService) -> [MeshEndpoint] {
        let all = endpoints(of: service)
        if service.publishesNotReady { return all }
        let ready = all.filter(\.isReady)
        return ready.isEmpty ? all.filter { $0.isServing && $0.isTerminating } : ready
    }

    /// The pods.
    var workloads: [NamespacedName: Workload] {
        reads?.note(.kind(.pod))
        return registry.workloads
    }

    /// One pod.
    func workload(_ key: NamespacedName) -> Workload? {
        reads?.note(.workload(key))
        return registry.workloads[key]
    }

    /// The VirtualServices, oldest first.
    var rules: [Rule] {
        reads?.note(.kind(.virtualService))
        return ruleTable.values
    }

    /// The VirtualServices one of whose hosts covers that one, oldest first.
    func rules(covering host: String) -> [Rule] {
        reads?.note(.rules(host))
        return ruleIndex.covering(host).compactMap { key in ruleTable.age(key).map { ($0, key) } }
            .sorted { $0.0 < $1.0 }.compactMap { ruleTable[$0.1] }
    }

    /// The DestinationRules, oldest first.
    var policies: [Policy] {
        reads?.note(.kind(.destinationRule))
        return policyTable.values
    }

    /// The DestinationRules whose host covers that one, oldest first.
    func policies(covering host: String) -> [Policy] {
        reads?.note(.policies(host))
        return policyIndex.covering(host).compactMap { key in policyTable.age(key).map { ($0, key) } }
            .sorted { $0.0 < $1.0 }.compactMap { policyTable[$0.1] }
    }

    /// The Gateways, oldest first.
    var entrances: [Entrance] {
        reads?.note(.kind(.gateway))
        return entranceStore
    }

    /// The Ingresses that are ours, oldest first.
    var ingresses: [KubernetesObject] {
        reads?.note(.kind(.ingress))
        return ingressStore
    }
}

// MARK: - Reading objects

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
        var levels = [rule.trafficPolicy].compactMap { $0 } + subsets.compactMap(\.trafficPolicy)
        levels += levels.flatMap { $0.portLevelSettings.map(\.policy) }
        dependsOnCaller = levels.contains {
            $0.outlierDetection != nil || !($0.loadBalancer?.localitySetting?.distribute ?? []).isEmpty
        }
        for name in levels.flatMap({ $0.loadBalancer?.localitySetting?.failoverPriority ?? [] }) {
            failoverLabels.insert(String(name.prefix { $0 != "=" }))
        }
    }
}

extension MeshModel.Workload {
    init(_ object: KubernetesObject, nodes: [String: MeshLocality]) {
        labels = object.metadata.labels
        address = object.status["podIP"]?.string ?? ""
        node = object.spec["nodeName"]?.string ?? ""
        serviceAccount = object.spec["serviceAccountName"]?.string ?? "default"
        let conditions = object.status["conditions"]?.array ?? []
        isReady = conditions.first { $0["type"] == "Ready" }.map { $0["status"] == "True" } ?? true
        namedPorts = [:]
        let containers = (object.spec["containers"]?.array ?? []) + (object.spec["initContainers"]?.array ?? [])
        for port in containers.flatMap({ $0["ports"]?.array ?? [] }) {
            guard let name = port["name"]?.string, let number = port["containerPort"]?.int else { continue }
            namedPorts[name] = namedPorts[name] ?? number
        }
        settle(nodes)
    }

    /// Finds out where it runs.
    mutating func settle(_ nodes: [String: MeshLocality]) {
        locality = labels["istio-locality"].map { MeshLocality($0) } ?? nodes[node] ?? MeshLocality()
    }
}
