import KubernetesAPI
import Serialization

/// Look-ups that the analyses of many objects share, each made when it is first asked for.
///
/// Without them an analysis of n objects would compare each with all others. `work` counts what is looked at, so that a
/// test can tell that it grows with the objects and no faster. Used by one analysis, in one thread.
final class AnalysisTables {
    /// A pod, as far as analyses care.
    struct Pod {
        var key: NamespacedName
        var labels: [String: String]
        /// The ports that its containers declare.
        var ports: [(name: String, number: Int)]
        /// Whether a sidecar enforces policies in it; a gateway does, too.
        var hasProxy: Bool
    }

    let model: MeshModel
    /// How many things were looked at.
    private(set) var work = 0

    init(_ model: MeshModel) { self.model = model }

    /// Notes that so many things were looked at.
    func count(_ things: Int) { work += things }

    private func counted<Things: Collection>(_ things: Things) -> Things {
        work += things.count
        return things
    }

    // MARK: Pods

    private struct LabelKey: Hashable {
        var namespace: String
        var label: String
        var value: String
    }

    private struct Selection: Hashable {
        var namespace: String?
        var labels: [String: String]
    }

    private(set) lazy var pods: [Pod] = counted(model.objects(.pod)).map { object in
        let containers = (object.spec["containers"]?.array ?? []) + (object.spec["initContainers"]?.array ?? [])
        let ports = containers.flatMap { $0["ports"]?.array ?? [] }.compactMap { port -> (String, Int)? in
            port["containerPort"]?.int.map { (port["name"]?.string ?? "", $0) }
        }
        let wish = SidecarWish(object)
        let isGateway = object.metadata.annotations["skein.dev/gateway"] == "true"
        return Pod(
            key: NamespacedName(namespace: object.namespace, name: object.name), labels: object.metadata.labels,
            ports: ports,
            hasProxy: isGateway
                || !wish.isExcluded && wish.isWanted ?? !model.security.uninjected.contains(object.namespace))
    }

    private lazy var podsByLabel: [LabelKey: [Int]] = {
        var table: [LabelKey: [Int]] = [:]
        for (index, pod) in pods.enumerated() {
            for (label, value) in pod.labels {
                table[LabelKey(namespace: pod.key.namespace, label: label, value: value), default: []].append(index)
            }
        }
        return table
    }()
    private lazy var podsByNamespace = Dictionary(grouping: pods.indices) { pods[$0].key.namespace }
    private var selections: [Selection: [Pod]] = [:]

    /// The pods of a namespace, or of all, that have at least these labels.
    func pods(in namespace: String?, with labels: [String: String]) -> [Pod] {
        let selection = Selection(namespace: namespace, labels: labels)
        if let known = selections[selection] { return known }
        var candidates: [Int] = []
        for place in namespace.map({ [$0] }) ?? podsByNamespace.keys.sorted() {
            let lists = labels.map {
                podsByLabel[LabelKey(namespace: place, label: $0.key, value: $0.value)] ?? []
            }
            candidates += lists.min { $0.count < $1.count } ?? podsByNamespace[place] ?? []
        }
        let found = counted(candidates).map { pods[$0] }.filter { Labels.match(labels, $0.labels) }
        selections[selection] = found
        return found
    }

    /// Whether there is such a pod.
    func hasPod(in namespace: String?, with labels: [String: String]) -> Bool {
        !pods(in: namespace, with: labels).isEmpty
    }

    /// The namespaces that have pods, or objects of their own.
    private(set) lazy var namespaces: Set<String> = {
        var names = Set(podsByNamespace.keys).union(counted(model.sortedServices).map(\.key.namespace))
        names.formUnion(model.objects(.namespace).map(\.name))
        return names
    }()

    private var namespacePatterns: [String: Bool] = [:]

    /// Whether there is a namespace of that name; a star may stand before or behind it.
    func hasNamespace(_ pattern: String) -> Bool {
        guard pattern.contains("*") else { return namespaces.contains(pattern) }
        if let known = namespacePatterns[pattern] { return known }
        let isSuffix = pattern.hasPrefix("*")
        let part = isSuffix ? pattern.dropFirst() : pattern.dropLast()
        let found = counted(namespaces).contains { isSuffix ? $0.hasSuffix(part) : $0.hasPrefix(part) }
        namespacePatterns[pattern] = found
        return found
    }

    // MARK: VirtualServices

    private var written: [NamespacedName: MeshModel.Rule] = [:]

    /// The rule as its object says, read once: reading compiles its routes.
    func rule(_ object: KubernetesObject) -> MeshModel.Rule {
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        if let known = written[key] { return known }
        let rule = MeshModel.Rule(object)
        written[key] = rule
        return rule
    }

    /// The rules of sidecars that name a host, oldest first.
    func meshRules(_ host: String) -> [MeshModel.Rule] {
        counted(model.rules(claiming: host)).filter { $0.gateways.contains(Mesh.meshGateway) }
    }

    /// Whether some rule delegates to that one.
    func isDelegate(_ key: NamespacedName) -> Bool { !model.delegators(of: key).isEmpty }

    /// What is lost in delegations that the object has a part in.
    func losses(_ key: NamespacedName) -> [Delegates.Loss] {
        let roots = model.delegators(of: key).union([key]).sorted()
        let concerned = roots.compactMap { model.known(.virtualService, $0) }.map(rule)
        return Delegates.losses(counted(concerned)) { model.known(.virtualService, $0).map(self.rule) }
            .filter { $0.object == key }
    }

    /// The hosts and subsets that VirtualServices send to: `HOST SUBSET`.
    private(set) lazy var usedSubsets: Set<String> = {
        var used: Set<String> = []
        for rule in counted(model.rules) {
            let mirrors = rule.http.flatMap { $0.mirrors.map(\.destination) }
            for destination in rule.destinations + mirrors where !destination.subset.isEmpty {
                let host = HostName.expanded(destination.host, ruleNamespace: rule.key.namespace)
                used.insert("\(host) \(destination.subset)")
            }
        }
        return used
    }()

    // MARK: Gateways

    private(set) lazy var entrances: [String: MeshModel.Entrance] = Dictionary(
        counted(model.entrances).map { ($0.key.description, $0) }, uniquingKeysWith: { first, _ in first })

    /// The Gateways that rules name: `namespace/name`.
    private(set) lazy var usedGateways: Set<String> = counted(model.rules).reduce(into: []) {
        $0.formUnion($1.gateways)
    }

    /// A port of the gateway pods that a selector chooses.
    struct Door: Hashable {
        var selector: [String: String]
        var port: Int
    }

    /// A Gateway at a door, and how old it is: 0 is the oldest.
    struct Claim {
        var age: Int
        var key: NamespacedName
        var family: Entrances.Family
    }

    /// The oldest Gateway at each door for each thing that a port may speak.
    private(set) lazy var claims: [Door: [Claim]] = {
        var table: [Door: [Claim]] = [:]
        for (age, entrance) in counted(model.entrances).enumerated() {
            for server in entrance.gateway.servers {
                guard let port = server.port, let family = ServerTLSCheck.family(server) else { continue }
                let door = Door(selector: entrance.gateway.selector, port: port)
                if table[door]?.contains(where: { $0.family == family }) == true { continue }
                table[door, default: []].append(Claim(age: age, key: entrance.key, family: family))
            }
        }
        return table
    }()

    private(set) lazy var ages: [NamespacedName: Int] = Dictionary(
        counted(model.entrances).enumerated().map { ($0.element.key, $0.offset) },
        uniquingKeysWith: { first, _ in first })

    /// The oldest Gateway for each host of each door: `HOST` alone, without the namespace that may stand before it.
    private(set) lazy var hostClaims: [Door: [String: NamespacedName]] = {
        var table: [Door: [String: NamespacedName]] = [:]
        for entrance in counted(model.entrances) {
            for server in entrance.gateway.servers {
                guard let port = server.port else { continue }
                let door = Door(selector: entrance.gateway.selector, port: port)
                for host in server.hosts where table[door]?[host] == nil {
                    table[door, default: [:]][host] = entrance.key
                }
            }
        }
        return table
    }()

    private lazy var gatewayKinds: [String: Set<MeshObjects.Kind>] = {
        var table: [String: Set<MeshObjects.Kind>] = [:]
        for kind in MeshObjects.Kind.allCases where kind.group == GatewayAPI.group {
            for object in counted(model.objects(kind)) { table[object.namespace, default: []].insert(kind) }
        }
        return table
    }()

    /// The kinds of the Gateway API of which a namespace has objects.
    func kinds(in namespace: String) -> Set<MeshObjects.Kind> { gatewayKinds[namespace] ?? [] }

    private(set) lazy var ingressClasses = IngressClasses(model.objects)

    // MARK: Services

    /// All services by host, those of Kubernetes first, then oldest first.
    private(set) lazy var servicesByHost = Dictionary(grouping: counted(model.sortedServices), by: \.host)

    private lazy var servicesByLabel: [LabelKey: [MeshService]] = {
        var table: [LabelKey: [MeshService]] = [:]
        for service in counted(model.sortedServices) {
            // One label of the selector is enough to find it; the others are compared then.
            guard let first = service.selector.min(by: { $0.key < $1.key }) else { continue }
            let key = LabelKey(namespace: service.key.namespace, label: first.key, value: first.value)
            table[key, default: []].append(service)
        }
        return table
    }()

    /// The services of a namespace that select what has these labels, oldest first within a label.
    func services(in namespace: String, selecting labels: [String: String]) -> [MeshService] {
        labels.sorted { $0.key < $1.key }.flatMap { label, value in
            counted(servicesByLabel[LabelKey(namespace: namespace, label: label, value: value)] ?? [])
        }.filter { Labels.match($0.selector, labels) }
    }

    /// The oldest service that takes every address of a port, or speaks HTTP there (S-4).
    private(set) lazy var anyAddress: [Int: MeshService] = {
        var table: [Int: MeshService] = [:]
        for service in counted(model.sortedServices) {
            for port in service.ports where table[port.number] == nil {
                if port.portProtocol.isHTTP || service.takesAnyAddress { table[port.number] = service }
            }
        }
        return table
    }()

    /// The ServiceEntries that take any address, by name.
    private(set) lazy var anyAddressEntries: [NamespacedName: MeshService] = Dictionary(
        counted(model.sortedServices).filter { $0.registry == .serviceEntry && $0.takesAnyAddress }.map {
            ($0.key, $0)
        },
        uniquingKeysWith: { first, _ in first })

    /// The oldest ServiceEntry for each written `ADDRESS PORT`.
    private(set) lazy var entryAddresses: [String: NamespacedName] = {
        var table: [String: NamespacedName] = [:]
        for object in counted(model.objects(.serviceEntry)) {
            let entry = ServiceEntry(json: object.json)
            for address in entry.addresses {
                for port in entry.ports where table["\(address) \(port.number)"] == nil {
                    table["\(address) \(port.number)"] = NamespacedName(
                        namespace: object.namespace, name: object.name)
                }
            }
        }
        return table
    }()

    /// The oldest ServiceEntry with each protocol of each `HOST PORT`.
    private(set) lazy var entryProtocols: [String: [EntryProtocol]] = EntryProtocol.table(
        counted(model.objects(.serviceEntry)))

    private lazy var workloadEntries: [LabelKey: [[String: String]]] = {
        var table: [LabelKey: [[String: String]]] = [:]
        for object in counted(model.objects(.workloadEntry)) {
            let labels = WorkloadEntry(json: object.json).labels
            for (label, value) in labels {
                let key = LabelKey(namespace: object.namespace, label: label, value: value)
                table[key, default: []].append(labels)
            }
        }
        return table
    }()

    /// Whether a WorkloadEntry of the namespace has these labels.
    func hasWorkloadEntry(in namespace: String, with labels: [String: String]) -> Bool {
        let lists = labels.map {
            workloadEntries[LabelKey(namespace: namespace, label: $0.key, value: $0.value)] ?? []
        }
        return counted(lists.min { $0.count < $1.count } ?? []).contains { Labels.match(labels, $0) }
    }

    // MARK: Policies

    /// What a namespaced selector means.
    struct Scope: Hashable {
        var namespace: String
        var labels: [String: String]
    }

    /// The Sidecars for the same pods, oldest first.
    private(set) lazy var sidecars: [Scope: [NamespacedName]] = Dictionary(
        grouping: counted(model.sidecars), by: { Scope(namespace: $0.key.namespace, labels: $0.selector) }
    ).mapValues { $0.map(\.key) }

    /// The Sidecars with a selector of each pod, oldest first.
    private(set) lazy var sidecarsOfPod: [NamespacedName: [NamespacedName]] = {
        var table: [NamespacedName: [NamespacedName]] = [:]
        for scope in counted(model.sidecars) where !scope.selector.isEmpty {
            for pod in counted(pods(in: scope.key.namespace, with: scope.selector)) {
                table[pod.key, default: []].append(scope.key)
            }
        }
        return table
    }()

    /// The Telemetries for the same pods, oldest first.
    private(set) lazy var telemetries: [Scope: [NamespacedName]] = {
        var table: [Scope: [NamespacedName]] = [:]
        for object in counted(model.objects(.telemetry)) {
            let telemetry = IstioTelemetry(json: object.json)
            let scope = Scope(namespace: object.namespace, labels: telemetry.selector)
            if telemetry.hasTargets { continue }
            table[scope, default: []].append(NamespacedName(namespace: object.namespace, name: object.name))
        }
        return table
    }()

    /// The oldest PeerAuthentication for the same pods.
    private(set) lazy var peers: [Scope: NamespacedName] = {
        var table: [Scope: NamespacedName] = [:]
        for policy in counted(model.security.peers) {
            let scope = Scope(namespace: policy.key.namespace, labels: policy.selector ?? [:])
            table[scope] = table[scope] ?? policy.key
        }
        return table
    }()

    /// The DestinationRules that call in plain text, by the namespace of the service; the empty name has those of others.
    private(set) lazy var plainTextRules: [String: [MeshModel.Policy]] = Dictionary(
        grouping: counted(model.policies).filter { $0.rule.trafficPolicy?.tls?.mode == "DISABLE" },
        by: { HostName.namespace(ofService: $0.host) ?? "" })

    /// The namespaces some policy of which asks for a request principal.
    private(set) lazy var tokenNamespaces: Set<String> = {
        var names: Set<String> = []
        for policy in counted(model.security.authorizations) where policy.asksForTokens {
            names.insert(policy.key.namespace)
        }
        return names
    }()

    private lazy var namespacePeers: [String: [Int]] = {
        let all = model.security.peers
        return Dictionary(grouping: counted(all.indices).filter { all[$0].selector == nil }) { all[$0].key.namespace }
    }()
    private lazy var podPeers: [LabelKey: [Int]] = {
        var table: [LabelKey: [Int]] = [:]
        for (index, policy) in counted(model.security.peers).enumerated() {
            // One label of the selector is enough to find it; all are compared then.
            guard let first = policy.selector?.min(by: { $0.key < $1.key }) else { continue }
            let key = LabelKey(namespace: policy.key.namespace, label: first.key, value: first.value)
            table[key, default: []].append(index)
        }
        return table
    }()
    private var modes: [NamespacedName: PeerMode] = [:]

    /// Whether a pod takes mutual TLS on the ports that no policy names.
    func mode(_ pod: Pod) -> PeerMode {
        if let known = modes[pod.key] { return known }
        var candidates = (namespacePeers[Mesh.rootNamespace] ?? []) + (namespacePeers[pod.key.namespace] ?? [])
        for (label, value) in pod.labels {
            candidates += podPeers[LabelKey(namespace: pod.key.namespace, label: label, value: value)] ?? []
        }
        let all = model.security.peers
        let policies = counted(candidates.sorted()).map { all[$0] }
        let mode = PeerModes(policies, namespace: pod.key.namespace, labels: pod.labels).mode
        modes[pod.key] = mode
        return mode
    }

    private lazy var issuersByNamespace: [String: Set<String>] = {
        var table: [String: Set<String>] = [:]
        for policy in counted(model.security.tokens) {
            table[policy.key.namespace, default: []].formUnion(policy.rules.map(\.issuer))
        }
        return table
    }()

    /// The issuers whose tokens are checked in a namespace.
    func issuers(for namespace: String) -> Set<String> {
        (issuersByNamespace[namespace] ?? []).union(issuersByNamespace[Mesh.rootNamespace] ?? [])
    }

    // MARK: EnvoyFilters

    /// What became of all patches in one proxy.
    struct Trial {
        var applied: Set<Provenance>
        var problems: [NamespacedName: [PatchRun.Problem]]
    }

    /// A proxy on which patches are tried.
    struct Proxy {
        var pod: NamespacedName
        var workload: MeshModel.Workload
        var role: ProxyIdentity.Role
    }

    private lazy var gatewayPods: Set<NamespacedName> = {
        let selectors = Set(counted(model.entrances).map(\.gateway.selector).filter { !$0.isEmpty })
        return selectors.union([Mesh.ingressGatewayLabels]).reduce(into: []) { found, selector in
            found.formUnion(pods(in: nil, with: selector).map(\.key))
        }
    }()
    private var proxyChoices: [Selection: [Proxy]] = [:]
    /// Labels that tell pods of one template apart, and nothing else.
    private static let ownLabels: Set<String> = [
        "pod-template-hash", "controller-revision-hash", "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index", "batch.kubernetes.io/job-completion-index",
    ]

    /// What proxies have in common that patches change alike.
    private struct ProxyKind: Hashable {
        var namespace: String
        var isGateway: Bool
        var labels: [String: String]
    }

    /// Of the proxies of a namespace, or of all, whose pods have these labels, the first of each kind: gateways, then sidecars, by name.
    func proxies(in namespace: String?, with labels: [String: String]) -> [Proxy] {
        let selection = Selection(namespace: namespace, labels: labels)
        if let known = proxyChoices[selection] { return known }
        let all = counted(pods(in: namespace, with: labels)).map(\.key).sorted()
        var seen: Set<ProxyKind> = []
        var found: [Proxy] = []
        for (isGateway, role) in [(true, ProxyIdentity.Role.gateway), (false, .sidecar)] {
            for pod in all where gatewayPods.contains(pod) == isGateway {
                guard let workload = model.workload(pod) else { continue }
                let kind = ProxyKind(
                    namespace: pod.namespace, isGateway: isGateway,
                    labels: workload.labels.filter { !Self.ownLabels.contains($0.key) })
                if seen.insert(kind).inserted { found.append(Proxy(pod: pod, workload: workload, role: role)) }
            }
        }
        proxyChoices[selection] = found
        return found
    }

    private var trials: [NamespacedName: Trial] = [:]
    private lazy var translator = MeshTranslator(model, isPatching: false)
    /// How many proxies an analysis of many EnvoyFilters tries in all: each is a whole configuration.
    static let trialsMax = 1000

    /// Applies all EnvoyFilters to a pod's proxy, once; nil when enough proxies were tried.
    func trial(_ proxy: Proxy) -> Trial? {
        let (pod, role) = (proxy.pod, proxy.role)
        if let known = trials[pod] { return known }
        guard trials.count < Self.trialsMax else { return nil }
        var resources = translator.snapshot(for: ProxyIdentity(pod: pod, role: role)).resources
        let patches = EnvoyPatches(model: model, namespace: pod.namespace, labels: proxy.workload.labels)
        count(resources.clusters.count + resources.listeners.count + resources.routes.count)
        var run = PatchRun(patches, role: role, model: model)
        run.apply(to: &resources)
        let trial = Trial(
            applied: run.applied, problems: Dictionary(grouping: run.problems, by: \.place.object))
        trials[pod] = trial
        return trial
    }
}

extension AuthorizationPolicy {
    /// Whether it asks for a request principal.
    var asksForTokens: Bool {
        rules.contains { rule in
            rule.sources.contains {
                !$0.values("requestPrincipals").isEmpty || !$0.values("notRequestPrincipals").isEmpty
            } || rule.conditions.contains { $0.key.hasPrefix("request.auth.") }
        }
    }
}
