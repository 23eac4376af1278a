import EnvoyAPI
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
        /// Where each of `http` is written.
        var places: [RoutePlace]
        var tls: [VirtualService.TLSRoute]
        var tcp: [VirtualService.TCPRoute]
        /// By position in `http`, why a route cannot be used (ATK-36).
        var setAside: [Int: String] = [:]
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
        /// That of the other family; empty when it has none.
        var secondAddress = ""
        /// Container ports by name, for named target ports (S-5).
        var namedPorts: [String: Int]
        /// The node that it runs on.
        var node = ""
        var serviceAccount = ""
        /// What its own labels and annotations say about a sidecar.
        var sidecar = SidecarWish()
        /// Where it runs: as its label `istio-locality` says, else where its node is.
        var locality = MeshLocality()
        /// The Deployment, StatefulSet … that it belongs to; empty when it stands alone.
        var owner = ""
        /// Whether it takes traffic; true when its status does not say.
        var isReady = true
    }

    private var objectStore: MeshObjects
    private var configStore: MeshConfig
    private var registry = ServiceRegistry()
    private var ruleTable = OrderedTable<NamespacedName, Rule>()
    private var ruleIndex = HostIndex()
    /// The rules that delegate to a VirtualService, by its name (H-18).
    private var delegators: [NamespacedName: Set<NamespacedName>] = [:]
    /// What rules and policies ask of callers; the translator sorts callers by it.
    private(set) var callerNeeds = CallerNeeds.Sum()
    private var grantStore = HostGrants([])
    private var policyTable = OrderedTable<NamespacedName, Policy>()
    private var policyIndex = HostIndex()
    /// The DestinationRules that name Secrets.
    private var credentialKeys: Set<NamespacedName> = []
    private var entranceStore: [Entrance] = []
    private var ingressStore: [KubernetesObject] = []
    private var sidecarStore: [SidecarScope] = []
    /// The Gateway API's objects, with what became of them.
    ///
    /// Reading it needs no note: an edit of its kinds touches everything, and what it takes from services is read from
    /// them, too, wherever it counts.
    private(set) var gatewayAPI = GatewayAPIModel.nothing
    private var securityStore = SecurityModel(MeshObjects())
    /// Where reads are noted.
    var reads: ReadLog?

    /// Whether the control plane keeps traces itself.
    private let hasTraceStore: Bool
    /// Whether pods have addresses of both families.
    private let isDualStack: Bool

    /// Reads the objects.
    ///
    /// - Parameters:
    ///   - hasTraceStore: The control plane keeps traces itself, which is where they go unless something else is configured.
    ///   - isDualStack: Pods have addresses of both families.
    public init(_ objects: MeshObjects, hasTraceStore: Bool = false, isDualStack: Bool = false) {
        objectStore = objects
        self.hasTraceStore = hasTraceStore
        self.isDualStack = isDualStack
        configStore = MeshConfig(nil, hasTraceStore: hasTraceStore, isDualStack: isDualStack)
        reread(objects.keys)
    }

    /// Edits of objects by kind and name; `nil` stands for one that is gone.
    typealias Edits = [MeshObjects.Kind: [NamespacedName: KubernetesObject?]]

    /// Makes edits of objects; tells what they touched.
    ///
    /// What it costs depends on what they touch: tables that nobody else holds are changed in place.
    @discardableResult
    mutating func update(_ edits: Edits) -> Touched {
        for (kind, objects) in edits {
            for (key, object) in objects { objectStore.put(object, kind, key) }
        }
        return reread(edits.mapValues { Set($0.keys) })
    }

    @discardableResult
    private mutating func reread(_ changed: [MeshObjects.Kind: Set<NamespacedName>]) -> Touched {
        var touched = registry.update(objectStore, changed)
        for (kind, keys) in changed where !keys.isEmpty {
            switch kind {
            case .service, .serviceEntry, .workloadEntry, .endpointSlice, .pod, .node: break  // The registry knows.
            case .virtualService: updateRules(keys, &touched)
            case .destinationRule: updatePolicies(keys, &touched)
            default:
                touched.everything = true
                updateOthers(kind)
            }
        }
        if !GatewayAPIModel.kinds.isDisjoint(with: changed.filter { !$0.value.isEmpty }.keys) {
            gatewayAPI = GatewayAPIModel(objectStore, services: serviceLookup)
        }
        return touched
    }

    private mutating func updateRules(_ keys: Set<NamespacedName>, _ touched: inout Touched) {
        var edits: [OrderedTable<NamespacedName, Rule>.Edit] = []
        let objects = objectStore
        func written(_ key: NamespacedName) -> Rule? { objects.object(.virtualService, key).map(Rule.init) }
        // A delegate's routes are those of the rules that delegate to it.
        for key in keys.union(keys.flatMap { delegators[$0] ?? [] }) {
            if let old = ruleTable[key] {
                ruleIndex.remove(key, hosts: old.hosts)
                touched.ruleHosts.formUnion(old.hosts)
                for name in Delegates.names(old) {
                    delegators[name]?.remove(key)
                    if delegators[name]?.isEmpty == true { delegators[name] = nil }
                }
                callerNeeds.remove(CallerNeeds(old))
            }
            let object = objects.object(.virtualService, key)
            let now = written(key).map { Delegates.resolved($0, written) }
            for name in now.map(Delegates.names) ?? [] { delegators[name, default: []].insert(key) }
            if let now {
                callerNeeds.add(CallerNeeds(now))
                ruleIndex.insert(key, hosts: now.hosts)
                touched.ruleHosts.formUnion(now.hosts)
            }
            edits.append((key, object.flatMap { object in now.map { (ObjectAge(object), $0) } }))
        }
        ruleTable.apply(edits)
        touched.facts.insert(.kind(.virtualService))
    }

    private mutating func updatePolicies(_ keys: Set<NamespacedName>, _ touched: inout Touched) {
        var edits: [OrderedTable<NamespacedName, Policy>.Edit] = []
        let objects = objectStore
        for key in keys {
            if let old = policyTable[key] {
                policyIndex.remove(key, hosts: [old.host])
                callerNeeds.remove(CallerNeeds(old))
                if credentialKeys.remove(key) != nil { touched.facts.insert(.credentialPolicies) }
                touched.policyHosts.insert(old.host)
            }
            let object = objects.object(.destinationRule, key)
            let now = object.map(Policy.init)
            if let now {
                policyIndex.insert(key, hosts: [now.host])
                callerNeeds.add(CallerNeeds(now))
                if !now.rule.credentialNames.isEmpty {
                    credentialKeys.insert(key)
                    touched.facts.insert(.credentialPolicies)
                }
                touched.policyHosts.insert(now.host)
            }
            edits.append((key, object.flatMap { object in now.map { (ObjectAge(object), $0) } }))
        }
        policyTable.apply(edits)
        touched.facts.insert(.kind(.destinationRule))
    }

    /// The kinds of which an edit touches everything.
    private mutating func updateOthers(_ kind: MeshObjects.Kind) {
        let objects = objectStore
        switch kind {
        case .configMap:
            configStore = MeshConfig(
                objects.object(.configMap, NamespacedName(namespace: Mesh.rootNamespace, name: "istio")),
                hasTraceStore: hasTraceStore, isDualStack: isDualStack)
        case .gateway:
            entranceStore = objects.inOrder(.gateway).map {
                Entrance(
                    key: NamespacedName(namespace: $0.namespace, name: $0.name), gateway: IstioGateway(json: $0.json))
            }
        case .sidecar: sidecarStore = objects.inOrder(.sidecar).map(SidecarScope.init)
        case .peerAuthentication, .requestAuthentication, .authorizationPolicy, .namespace:
            securityStore = SecurityModel(objects)
        case .referenceGrant: grantStore = HostGrants(objects.inOrder(.referenceGrant))
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

    /// An object as it was read; for the translator, which is nobody's dependency.
    func known(_ kind: MeshObjects.Kind, _ key: NamespacedName) -> KubernetesObject? { objectStore.object(kind, key) }

    /// The mesh configuration.
    public var config: MeshConfig {
        reads?.note(.kind(.configMap))
        return configStore
    }

    /// `localityLbSetting` of the mesh (B-5).
    var meshLocality: DestinationRule.LocalitySetting? {
        config.localitySetting.map { DestinationRule.LocalitySetting(json: $0) }
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

    /// The Sidecars, oldest first.
    var sidecars: [SidecarScope] {
        reads?.note(.kind(.sidecar))
        return sidecarStore
    }

    /// The Sidecar for a pod; gateways have none.
    func sidecar(for pod: NamespacedName) -> SidecarScope? {
        let all = sidecars
        if all.isEmpty { return nil }
        return SidecarScope.choose(all, namespace: pod.namespace, labels: workload(pod)?.labels ?? [:])
    }

    /// The services that callers of a namespace see, oldest first, one for each host: of several ServiceEntries
    /// that of the caller's own namespace, else the oldest.
    ///
    /// With a Sidecar only those that it names, and the destinations of the rules that it names.
    func services(visibleTo namespace: String, sidecar: SidecarScope? = nil) -> [MeshService] {
        let destinations: Set<String> = sidecar.map { self.destinations(of: $0, namespace: namespace) } ?? []
        return sortedServices.filter { service in
            if let sidecar, !sidecar.sees(service.host, in: service.key.namespace), !destinations.contains(service.host)
            {
                return false
            }
            guard HostName.isVisible(exportTo: service.exportTo, owner: service.key.namespace, to: namespace)
            else { return false }
            return (registry.byHost[service.host]?.count ?? 0) < 2
                || chosen(service.host, visibleTo: namespace)?.id == service.id
        }
    }

    /// The hosts to which the rules send that a Sidecar's egress list names, for callers of a namespace.
    func destinations(of sidecar: SidecarScope, namespace: String) -> Set<String> {
        guard sidecar.egress != nil else { return [] }
        var hosts: Set<String> = []
        for rule in rules where sidecar.sees(rule) {
            guard rule.gateways.contains(Mesh.meshGateway),
                HostName.isVisible(exportTo: rule.rule.exportTo, owner: rule.key.namespace, to: namespace)
            else { continue }
            for destination in rule.destinations {
                hosts.insert(HostName.expanded(destination.host, ruleNamespace: rule.key.namespace))
            }
        }
        return hosts
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

    /// The external names that stand for a service (S-9), oldest first.
    func aliases(of service: MeshService) -> [MeshService] {
        reads?.note(.aliases(service.host))
        return registry.aliases[service.host] ?? []
    }

    /// The Kubernetes services that lead to a pod, oldest first.
    func services(of pod: NamespacedName) -> [MeshService] {
        reads?.note(.servicesOf(pod))
        return registry.services(of: pod)
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

    /// The services as routes of the Gateway API look for them.
    var serviceLookup: ServiceLookup {
        let model = self
        return ServiceLookup { model.service(host: $0) }
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

    /// The VirtualServices that name exactly that host, oldest first.
    func rules(claiming host: String) -> [Rule] {
        reads?.note(.rules(host))
        return ruleIndex.naming(host).compactMap { key in ruleTable.age(key).map { ($0, key) } }
            .sorted { $0.0 < $1.0 }.compactMap { ruleTable[$0.1] }
    }

    /// The VirtualServices that delegate to that one.
    func delegators(of key: NamespacedName) -> Set<NamespacedName> {
        reads?.note(.kind(.virtualService))
        return delegators[key] ?? []
    }

    /// Whether some service asks of callers where they are, and on which node.
    var servicesNeedPlace: Bool { registry.needsPlace }
    /// Whether some service asks of callers on which node they are.
    var servicesNeedNode: Bool { registry.needsNode }

    /// The hosts of the services whose slices name a pod.
    public func hosts(ofEndpoint pod: NamespacedName) -> Set<String> {
        reads?.note(.kind(.service))
        reads?.note(.kind(.endpointSlice))
        return registry.hosts(ofEndpoint: pod)
    }

    /// Whether no service sends new requests to a pod any more.
    public func isOutOfService(_ pod: NamespacedName) -> Bool {
        reads?.note(.kind(.service))
        reads?.note(.kind(.endpointSlice))
        return registry.isOutOfService(pod)
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

    /// The DestinationRules that name Secrets, in no order.
    var credentialPolicies: [Policy] {
        reads?.note(.credentialPolicies)
        return credentialKeys.compactMap { policyTable[$0] }
    }

    /// Whether there is an object of that kind and name.
    func hasObject(_ kind: MeshObjects.Kind, _ key: NamespacedName) -> Bool {
        reads?.note(.kind(kind))
        return objectStore.object(kind, key) != nil
    }

    /// The resource of that name that is made of a Secret or ConfigMap; `nil` when there is nothing usable.
    func secretResource(_ name: String) -> EnvoyAPI.Secret? {
        reads?.note(.kind(.secret))
        reads?.note(.kind(.configMap))
        return GatewaySecrets.resource(name, objectStore)
    }

    /// The policies about identities.
    var security: SecurityModel {
        for kind in SecurityModel.kinds { reads?.note(.kind(kind)) }
        return securityStore
    }

    /// Which rules may claim hosts of other namespaces.
    var hostGrants: HostGrants {
        reads?.note(.kind(.referenceGrant))
        return grantStore
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
        let key = key
        places = http.enumerated().map { RoutePlace(object: key, index: $0.offset, matches: $0.element.match.count) }
        tls = rule.tls
        tcp = rule.tcp
        setAside = RouteCheck.problems(self)
    }

    /// All destinations of its routes.
    var destinations: [VirtualService.Destination] {
        http.flatMap(\.route) + tcp.flatMap(\.route) + tls.flatMap(\.route)
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
                || $0.loadBalancer?.zoneAwareSetting != nil
        }
        let labels = levels.flatMap {
            ($0.loadBalancer?.localitySetting?.failoverPriority ?? [])
                + ($0.loadBalancer?.zoneAwareSetting?.failoverPriority ?? [])
        }
        for name in labels {
            failoverLabels.insert(String(name.prefix { $0 != "=" }))
        }
    }
}
