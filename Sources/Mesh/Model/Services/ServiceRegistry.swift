import KubernetesAPI
import Serialization

/// All services of the mesh with their endpoints, whoever declares them; kept up to date edit by edit.
///
/// What an edit changes is computed anew from the tables (a host from its declarations, an endpoint list from slices,
/// pods and WorkloadEntries), so that the result does not depend on the way that led there.
struct ServiceRegistry: Sendable {
    /// A ServiceEntry as it was read.
    struct Entry: Sendable {
        var age: ObjectAge
        var entry: ServiceEntry
        var hosts: [String]
        var labels: [String: String]
        var annotations: [String: String]
    }

    /// A WorkloadEntry as it was read.
    struct External: Sendable {
        var entry: WorkloadEntry
        var labels: [String: String]
        /// Whether it takes traffic.
        var isReady: Bool
    }

    // What the objects say.
    private var kubernetes: [NamespacedName: (age: ObjectAge, service: MeshService)] = [:]
    private var kubernetesByHost: [String: NamespacedName] = [:]
    private var kubernetesByNamespace: [String: Set<NamespacedName>] = [:]
    private(set) var entries: [NamespacedName: Entry] = [:]
    private var entriesByHost: [String: Set<NamespacedName>] = [:]
    private var selectingEntries: [String: Set<NamespacedName>] = [:]
    private(set) var externals: [NamespacedName: External] = [:]
    private var slices: [NamespacedName: [NamespacedName: KubernetesObject]] = [:]
    private var serviceOfSlice: [NamespacedName: NamespacedName] = [:]
    private var servicesOfPod: [NamespacedName: Set<NamespacedName>] = [:]
    private var nodes: [String: MeshLocality] = [:]
    /// The pods.
    private(set) var workloads: [NamespacedName: MeshModel.Workload] = [:]
    private var podsByNamespace: [String: Set<NamespacedName>] = [:]
    /// Those of `workloads` that are no pods, but have registered themselves.
    private var registrations: Set<NamespacedName> = []
    /// Whether there was no pod before the update under way: then all of them have noted their services themselves, and
    /// a first load does not compare each service with each pod.
    private var podsAreNew = false
    private var allocation = AddressAllocation()
    private var allocatedHosts: [String] = []

    // What follows.
    private var services = OrderedTable<MeshService.ID, MeshService>()
    /// The services of each host: the Kubernetes service alone, or those of ServiceEntries, oldest first.
    private(set) var byHost: [String: [MeshService]] = [:]
    /// The endpoints of Kubernetes services: without duplicates, sorted by address.
    private(set) var endpoints: [NamespacedName: [MeshEndpoint]] = [:]
    private var entryEndpoints: [MeshService.ID: [MeshEndpoint]] = [:]
    /// The external names of each host that they lead to, oldest first.
    private(set) var aliases: [String: [MeshService]] = [:]

    /// The services that stand for another name.
    private var externalNames: Set<MeshService.ID> = []
    /// The services to whose callers it matters where they are, and on which node.
    private var placed: Set<MeshService.ID> = []
    private var onNodes: Set<MeshService.ID> = []

    /// Whether some service asks of callers where they are.
    var needsPlace: Bool { !placed.isEmpty }
    /// Whether some service asks of callers on which node they are.
    var needsNode: Bool { !onNodes.isEmpty }

    /// Keeps a service in the sets of those that are something special, or takes it out.
    private mutating func sort(_ id: MeshService.ID, _ service: MeshService?) {
        func keep(_ isIn: Bool, _ all: inout Set<MeshService.ID>) {
            if isIn { all.insert(id) } else { all.remove(id) }
        }
        keep(service.map { $0.externalName != nil } ?? false, &externalNames)
        keep(service.map { $0.distribution != nil } ?? false, &placed)
        keep(service.map { $0.isNodeLocal || $0.distribution == .sameNode } ?? false, &onNodes)
    }

    /// The hosts of the services whose slices name a pod.
    func hosts(ofEndpoint pod: NamespacedName) -> Set<String> {
        Set(
            (servicesOfPod[pod] ?? []).compactMap { key in
                (endpoints[key] ?? []).contains { $0.pod == pod } ? kubernetes[key]?.service.host : nil
            })
    }

    /// Whether no service sends new requests to a pod any more.
    func isOutOfService(_ pod: NamespacedName) -> Bool {
        (servicesOfPod[pod] ?? []).allSatisfy { key in
            kubernetes[key]?.service.publishesNotReady ?? false
                || (endpoints[key] ?? []).allSatisfy { $0.pod != pod || !$0.isReady }
        }
    }

    /// All services, oldest first.
    var sorted: [MeshService] { services.values }

    /// The endpoints of a service, whoever declares it.
    func endpoints(of service: MeshService) -> [MeshEndpoint] {
        (service.registry == .kubernetes ? endpoints[service.key] : entryEndpoints[service.id]) ?? []
    }

    /// What one update has to compute anew.
    private struct Dirt {
        var hosts: Set<String> = []
        var endpoints: Set<NamespacedName> = []
        var entryEndpoints: Set<NamespacedName> = []
        var allocation = false
    }

    /// Reads the objects that changed.
    mutating func update(_ objects: MeshObjects, _ changed: [MeshObjects.Kind: Set<NamespacedName>]) -> Touched {
        var touched = Touched()
        var dirt = Dirt()
        podsAreNew = workloads.isEmpty
        for key in changed[.node] ?? [] { updateNode(key.name, objects.object(.node, key), &dirt, &touched) }
        // A registered workload is one like a pod, unless a pod has its name.
        let registered = (changed[.workloadEntry] ?? []).filter { key in
            registrations.contains(key)
                || objects.object(.workloadEntry, key).flatMap { MeshModel.Workload(registered: $0) } != nil
        }
        for key in (changed[.pod] ?? []).union(registered) {
            let pod = objects.object(.pod, key).map { MeshModel.Workload($0, nodes: nodes) }
            let entry = objects.object(.workloadEntry, key).flatMap { MeshModel.Workload(registered: $0) }
            if pod == nil, entry != nil { registrations.insert(key) } else { registrations.remove(key) }
            update(pod: key, pod ?? entry, &dirt, &touched)
        }
        for key in changed[.endpointSlice] ?? [] { update(slice: key, objects.object(.endpointSlice, key), &dirt) }
        for key in changed[.workloadEntry] ?? [] { update(external: key, objects.object(.workloadEntry, key), &dirt) }
        for key in changed[.service] ?? [] { update(service: key, objects.object(.service, key), &dirt, &touched) }
        for key in changed[.serviceEntry] ?? [] { update(entry: key, objects.object(.serviceEntry, key), &dirt) }
        if dirt.allocation { allocate(&dirt) }
        rebuild(dirt.hosts, &dirt, &touched)
        for key in dirt.endpoints { rebuildEndpoints(key, &touched) }
        if touched.facts.contains(.kind(.service)) { rebuildAliases(&touched) }
        for key in dirt.entryEndpoints { rebuildEndpoints(entry: key, &touched) }
        return touched
    }

    // MARK: Objects

    private mutating func updateNode(
        _ name: String, _ object: KubernetesObject?, _ dirt: inout Dirt, _ touched: inout Touched
    ) {
        let locality = object.map { MeshLocality(nodeLabels: $0.metadata.labels) }
        guard nodes[name] != locality else { return }
        nodes[name] = locality
        for (key, pod) in workloads where pod.node == name {
            var pod = pod
            pod.settle(nodes)
            update(pod: key, pod, &dirt, &touched)
        }
        // Endpoints without a pod may name the node, too.
        dirt.endpoints.formUnion(slices.keys)
    }

    private mutating func update(
        pod key: NamespacedName, _ now: MeshModel.Workload?, _ dirt: inout Dirt, _ touched: inout Touched
    ) {
        let before = workloads[key]
        guard before != now else { return }
        workloads[key] = now
        if now == nil {
            podsByNamespace[key.namespace]?.remove(key)
        } else {
            podsByNamespace[key.namespace, default: []].insert(key)
        }
        touched.facts.insert(.workload(key))
        touched.facts.insert(.servicesOf(key))
        touched.facts.insert(.kind(.pod))
        dirt.endpoints.formUnion(servicesOfPod[key] ?? [])
        noteSelecting(key.namespace, [before?.labels, now?.labels], &dirt)
    }

    /// The ServiceEntries that select an endpoint with any of those labels.
    private func noteSelecting(_ namespace: String, _ labels: [[String: String]?], _ dirt: inout Dirt) {
        for key in selectingEntries[namespace] ?? [] {
            guard let selector = entries[key]?.entry.workloadSelector else { continue }
            if labels.contains(where: { labels in labels.map { Labels.match(selector, $0) } ?? false }) {
                dirt.entryEndpoints.insert(key)
            }
        }
    }

    private mutating func update(slice key: NamespacedName, _ object: KubernetesObject?, _ dirt: inout Dirt) {
        if let owner = serviceOfSlice.removeValue(forKey: key) {
            slices[owner]?[key] = nil
            if slices[owner]?.isEmpty == true { slices[owner] = nil }
            dirt.endpoints.insert(owner)
        }
        guard let object, let name = object.metadata.labels["kubernetes.io/service-name"],
            object.json["addressType"]?.string != "FQDN"  // S-13
        else { return }
        let owner = NamespacedName(namespace: object.namespace, name: name)
        serviceOfSlice[key] = owner
        slices[owner, default: [:]][key] = object
        dirt.endpoints.insert(owner)
    }

    private mutating func update(external key: NamespacedName, _ object: KubernetesObject?, _ dirt: inout Dirt) {
        let before = externals[key]
        let now = object.map { object -> External in
            let entry = WorkloadEntry(json: object.json)
            return External(entry: entry, labels: entry.labels, isReady: MeshModel.isHealthy(object))
        }
        externals[key] = now
        noteSelecting(key.namespace, [before?.labels, now?.labels], &dirt)
        for service in kubernetesByNamespace[key.namespace] ?? [] {
            guard let selector = kubernetes[service]?.service.selector, !selector.isEmpty else { continue }
            if [before, now].contains(where: { $0.map { Labels.match(selector, $0.labels) } ?? false }) {
                dirt.endpoints.insert(service)
            }
        }
    }

    /// The pods of a namespace that a service leads to by its selector, or by endpoints made by hand.
    private func notePods(_ service: MeshService, _ touched: inout Touched) {
        if podsAreNew { return }
        if service.selector.isEmpty {
            noteByHand(service.key.namespace, endpoints[service.key] ?? [], &touched)
            return
        }
        for key in podsByNamespace[service.key.namespace] ?? [] {
            if let pod = workloads[key], Labels.match(service.selector, pod.labels) {
                touched.facts.insert(.servicesOf(key))
            }
        }
    }

    private func noteByHand(_ namespace: String, _ endpoints: [MeshEndpoint], _ touched: inout Touched) {
        let addresses = Set(endpoints.map(\.address))
        let named = Set(endpoints.compactMap(\.pod))
        for key in podsByNamespace[namespace] ?? [] {
            guard let pod = workloads[key],
                named.contains(key) || addresses.contains(pod.address) || addresses.contains(pod.secondAddress)
            else { continue }
            touched.facts.insert(.servicesOf(key))
        }
    }

    /// The Kubernetes services that lead to a pod, oldest first.
    func services(of key: NamespacedName) -> [MeshService] {
        guard let pod = workloads[key] else { return [] }
        return (kubernetesByNamespace[key.namespace] ?? []).compactMap { kubernetes[$0] }
            .filter { _, service in
                if service.selector.isEmpty {
                    return (endpoints[service.key] ?? []).contains {
                        $0.pod == key || $0.address == pod.address || $0.address == pod.secondAddress
                    }
                }
                return Labels.match(service.selector, pod.labels)
            }
            .sorted { $0.age < $1.age }.compactMap { byHost[$0.service.host]?.first }
    }

    private mutating func update(
        service key: NamespacedName, _ object: KubernetesObject?, _ dirt: inout Dirt, _ touched: inout Touched
    ) {
        if let before = kubernetes[key] { notePods(before.service, &touched) }
        defer { if let now = kubernetes[key] { notePods(now.service, &touched) } }
        if let before = kubernetes.removeValue(forKey: key) {
            kubernetesByHost[before.service.host] = nil
            kubernetesByNamespace[key.namespace]?.remove(key)
            dirt.hosts.insert(before.service.host)
        }
        if let object {
            let service = MeshService(object)
            kubernetes[key] = (ObjectAge(object), service)
            kubernetesByHost[service.host] = key
            kubernetesByNamespace[key.namespace, default: []].insert(key)
            dirt.hosts.insert(service.host)
        }
        dirt.endpoints.insert(key)
        dirt.allocation = dirt.allocation || !entries.isEmpty
    }

    private mutating func update(entry key: NamespacedName, _ object: KubernetesObject?, _ dirt: inout Dirt) {
        if let before = entries.removeValue(forKey: key) {
            for host in before.hosts {
                entriesByHost[host]?.remove(key)
                if entriesByHost[host]?.isEmpty == true { entriesByHost[host] = nil }
            }
            selectingEntries[key.namespace]?.remove(key)
            dirt.hosts.formUnion(before.hosts)
        }
        if let object {
            let entry = ServiceEntry(json: object.json)
            var seen: Set<String> = []
            let hosts = entry.hosts.map { $0.lowercased() }.filter { !$0.isEmpty && seen.insert($0).inserted }
            entries[key] = Entry(
                age: ObjectAge(object), entry: entry, hosts: hosts, labels: object.metadata.labels,
                annotations: object.metadata.annotations)
            for host in hosts { entriesByHost[host, default: []].insert(key) }
            if entry.workloadSelector != nil { selectingEntries[key.namespace, default: []].insert(key) }
            dirt.hosts.formUnion(hosts)
        }
        dirt.entryEndpoints.insert(key)
        dirt.allocation = true
    }

    // MARK: What follows

    /// The entries of a host, oldest first.
    func entryKeys(of host: String) -> [NamespacedName] {
        (entriesByHost[host] ?? []).compactMap { key in entries[key].map { (key, $0.age) } }
            .sorted { $0.1 < $1.1 }.map(\.0)
    }

    /// S-17: addresses follow from the set of hosts that have none, in the order of their age.
    private mutating func allocate(_ dirt: inout Dirt) {
        var oldest: [String: ObjectAge] = [:]
        for (key, entry) in entries {
            for host in entry.hosts where kubernetesByHost[host] == nil {
                let service = MeshService(entry.entry, key: key, host: host, annotations: entry.annotations)
                guard AddressAllocation.wants(service, labels: entry.labels) else { continue }
                oldest[host] = oldest[host].map { min($0, entry.age) } ?? entry.age
            }
        }
        let hosts = oldest.sorted { ($0.value, $0.key) < ($1.value, $1.key) }.map(\.key)
        guard hosts != allocatedHosts else { return }
        let before = allocation
        let all = Set(hosts).union(allocatedHosts)
        allocatedHosts = hosts
        allocation = AddressAllocation(hosts: hosts)
        for host in all where before.addresses(of: host) != allocation.addresses(of: host) { dirt.hosts.insert(host) }
    }

    /// The services of a host, from its declarations.
    private func declared(_ host: String) -> [(age: ObjectAge, service: MeshService)] {
        let keys = entryKeys(of: host)
        if let key = kubernetesByHost[host], var found = kubernetes[key] {
            // S-15: a ServiceEntry for a host of Kubernetes only decorates it.
            for name in keys.flatMap({ entries[$0]?.entry.subjectAltNames ?? [] })
            where !found.service.subjectAltNames.contains(name) {
                found.service.subjectAltNames.append(name)
            }
            return [found]
        }
        var namespaces: Set<String> = []
        return keys.compactMap { key in
            guard let entry = entries[key], namespaces.insert(key.namespace).inserted else { return nil }
            var service = MeshService(entry.entry, key: key, host: host, annotations: entry.annotations)
            if AddressAllocation.wants(service, labels: entry.labels) {
                service.addresses = allocation.addresses(of: host)
                service.hasAllocatedAddresses = !service.addresses.isEmpty
            }
            var age = entry.age
            age.part = host
            return (age, service)
        }
    }

    private mutating func rebuild(_ hosts: Set<String>, _ dirt: inout Dirt, _ touched: inout Touched) {
        var edits: [OrderedTable<MeshService.ID, MeshService>.Edit] = []
        for host in hosts {
            let before = byHost[host] ?? []
            let now = declared(host)
            let moved = now.contains { services.age($0.service.id) != $0.age }
            guard before != now.map(\.service) || moved else { continue }
            byHost[host] = now.isEmpty ? nil : now.map(\.service)
            var gone = Set(before.map(\.id))
            for declaration in now {
                gone.remove(declaration.service.id)
                edits.append((declaration.service.id, (declaration.age, declaration.service)))
                if declaration.service.registry == .serviceEntry { dirt.entryEndpoints.insert(declaration.service.key) }
            }
            for id in gone {
                edits.append((id, nil))
                if entryEndpoints.removeValue(forKey: id) != nil { touched.facts.insert(.endpoints(host)) }
            }
            touched.facts.insert(.service(host))
            touched.facts.insert(.kind(.service))
        }
        for edit in edits { sort(edit.key, edit.now?.value) }
        services.apply(edits)
    }

    /// S-9: who stands for whom; a circle stands for nobody.
    private mutating func rebuildAliases(_ touched: inout Touched) {
        var now: [String: [MeshService]] = [:]
        let named = externalNames.compactMap { id in services.age(id).map { ($0, id) } }.sorted { $0.0 < $1.0 }
        for service in named.compactMap({ services[$0.1] }) {
            var host = service.host
            for _ in 0..<8 {
                guard let next = byHost[host]?.first else { break }
                guard let target = next.externalName else {
                    now[host, default: []].append(service)
                    break
                }
                host = target.lowercased()
            }
        }
        for host in Set(now.keys).union(aliases.keys) where now[host] != aliases[host] {
            touched.facts.insert(.aliases(host))
        }
        aliases = now
    }

    private mutating func rebuildEndpoints(_ key: NamespacedName, _ touched: inout Touched) {
        let before = endpoints[key] ?? []
        var all = EndpointLists.ofSlices(
            slices[key] ?? [:], workloads: workloads, nodes: nodes,
            prefersIPv6: kubernetes[key]?.service.prefersIPv6 ?? false)
        if let service = kubernetes[key]?.service, !service.selector.isEmpty, !externals.isEmpty {
            all += externals(key.namespace, matching: service.selector, ports: service.ports)
            all.sort { $0.address < $1.address }
        }
        // Which pods lead here is kept for edits of pods.
        let pods = Set((slices[key] ?? [:]).values.flatMap { EndpointLists.pods(of: $0) })
        for pod in Set(before.compactMap(\.pod)).subtracting(pods) {
            servicesOfPod[pod]?.remove(key)
            if servicesOfPod[pod]?.isEmpty == true { servicesOfPod[pod] = nil }
        }
        for pod in pods { servicesOfPod[pod, default: []].insert(key) }
        endpoints[key] = all.isEmpty ? nil : all
        guard before != all else { return }
        if kubernetes[key]?.service.selector.isEmpty ?? false {
            noteByHand(key.namespace, before + all, &touched)
        }
        touched.facts.insert(.endpoints(HostName.ofService(key)))
        touched.facts.insert(.kind(.endpointSlice))
    }

    private mutating func rebuildEndpoints(entry key: NamespacedName, _ touched: inout Touched) {
        guard let entry = entries[key] else { return }
        for host in entry.hosts {
            guard let service = byHost[host]?.first(where: { $0.key == key && $0.registry == .serviceEntry })
            else { continue }
            let now = endpoints(of: service, entry)
            guard entryEndpoints[service.id] ?? [] != now else { continue }
            entryEndpoints[service.id] = now.isEmpty ? nil : now
            touched.facts.insert(.endpoints(host))
            touched.facts.insert(.kind(.endpointSlice))
        }
    }

    /// S-14.
    private func endpoints(of service: MeshService, _ entry: Entry) -> [MeshEndpoint] {
        if service.resolution == .none || service.resolution == .dynamicDNS { return [] }
        if let selector = entry.entry.workloadSelector {
            var found = externals(service.key.namespace, matching: selector, ports: service.ports)
            for key in podsByNamespace[service.key.namespace] ?? [] where !registrations.contains(key) {
                guard let pod = workloads[key], pod.isReady, !pod.address.isEmpty, Labels.match(selector, pod.labels)
                else { continue }
                found.append(EndpointLists.ofPod(key, pod, ports: service.ports))
            }
            var seen: Set<String> = []
            return found.sorted { $0.address < $1.address }.filter { seen.insert($0.address).inserted }
        }
        let listed = entry.entry.endpoints.enumerated().map { index, written in
            MeshEndpoint(
                written, namespace: service.key.namespace, ports: service.ports,
                place: service.place("spec.endpoints[\(index)]"))
        }.filter { !$0.address.isEmpty }
        let isResolved = service.resolution == .dns || service.resolution == .dnsRoundRobin
        guard listed.isEmpty, isResolved, !HostName.isWildcard(service.host) else { return listed }
        let itself = WorkloadEntry(spec: ["address": .string(service.host)])
        return [
            MeshEndpoint(
                itself, namespace: service.key.namespace, ports: service.ports, place: service.place("spec.hosts"))
        ]
    }

    private func externals(
        _ namespace: String, matching selector: [String: String], ports: [MeshService.Port]
    ) -> [MeshEndpoint] {
        externals.filter {
            $0.key.namespace == namespace && $0.value.isReady && Labels.match(selector, $0.value.labels)
        }
        .sorted { $0.key < $1.key }
        .map { key, external in
            MeshEndpoint(
                external.entry, namespace: namespace, ports: ports,
                place: Provenance(kind: "WorkloadEntry", object: key, field: "spec"))
        }
        .filter { !$0.address.isEmpty }
    }
}

/// Label selectors that are plain maps.
enum Labels {
    /// Whether the labels are at least those of the selector.
    static func match(_ selector: [String: String], _ labels: [String: String]) -> Bool {
        selector.allSatisfy { labels[$0.key] == $0.value }
    }
}
