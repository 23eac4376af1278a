public import KubernetesAPI
import Mesh
import Serialization

/// Keeps the EndpointSlices and the Endpoints of a Service in step with its pods.
///
/// Never debounced.
public enum EndpointSliceController {
    static let serviceLabel = "kubernetes.io/service-name"
    static let managedBy = "endpointslice-controller.skein.dev"
    /// The API's own limit for one slice.
    static let endpointsMax = 1000

    /// What to do for a Service with a selector.
    ///
    /// `slices` are those that we made for it before, `endpoints` is the Endpoints object of its name.
    ///
    /// - Parameter zones: where nodes are, of those that say so.
    public static func decide(
        _ object: KubernetesObject, pods: [KubernetesObject], slices: [KubernetesObject], endpoints: KubernetesObject?,
        zones: [String: String] = [:]
    ) -> Decision {
        var decision = Decision()
        let service = Service(json: object.content)
        guard !service.spec.selector.isEmpty, service.spec.type != "ExternalName",
            object.metadata.deletionTimestamp == nil
        else {
            // S-13: what has no selector is kept by hand; only what we made goes.
            decision.changes = slices.map { .delete(.endpointSlice, $0.key, uid: $0.metadata.uid) }
            return decision
        }
        let families = families(of: service)
        func members(_ isV6: Bool) -> [Member] {
            pods.compactMap { Member($0, service, isV6: isV6, zones) }.sorted { $0.address < $1.address }
        }
        let wanted = families.flatMap { isV6 in self.slices(object, service, members(isV6), isV6: isV6) }
        var seen: Set<String> = []
        for slice in wanted {
            seen.insert(slice.name)
            if let known = slices.first(where: { $0.name == slice.name }) {
                if known.json["endpoints"] != slice.json["endpoints"] || known.json["ports"] != slice.json["ports"]
                    || known.metadata.labels != slice.metadata.labels
                {
                    var changed = known
                    changed.json["endpoints"] = slice.json["endpoints"]
                    changed.json["ports"] = slice.json["ports"]
                    changed.metadata.labels = slice.metadata.labels
                    decision.changes.append(.update(.endpointSlice, changed))
                }
            } else {
                decision.changes.append(.create(.endpointSlice, slice))
            }
        }
        for slice in slices where !seen.contains(slice.name) {
            decision.changes.append(.delete(.endpointSlice, slice.key, uid: slice.metadata.uid))
        }
        // Readers of Endpoints know one family.
        let legacy = legacyEndpoints(object, members(families.first ?? false))
        if let endpoints {
            if (endpoints.json["subsets"] ?? []) != (legacy.json["subsets"] ?? []) {
                var changed = endpoints
                changed.json["subsets"] = legacy.json["subsets"]
                let mark = "endpoints.kubernetes.io/over-capacity"
                changed.metadata.annotations[mark] = legacy.metadata.annotations[mark]
                decision.changes.append(.update(.endpoints, changed))
            }
        } else {
            decision.changes.append(.create(.endpoints, legacy))
        }
        return decision
    }

    /// The families of a service, the primary one first: whether it is IPv6.
    ///
    /// One that says nothing (of a store of before) is of its address's family.
    private static func families(of service: Service) -> [Bool] {
        let named = service.spec.ipFamilies.filter { ["IPv4", "IPv6"].contains($0) }.map { $0 == "IPv6" }
        return named.isEmpty ? [service.spec.clusterIP.contains(":")] : named
    }

    /// A pod of the service, at its address of one family.
    private struct Member {
        var address: String
        var ports: JSON
        var isReady: Bool
        var isServing: Bool
        var isTerminating: Bool
        var hostname: String?
        var nodeName: String
        var zone: String?
        var hints: JSON?
        var reference: JSON

        init?(_ object: KubernetesObject, _ service: Service, isV6: Bool, _ zones: [String: String]) {
            let state = PodState(object)
            let pod = Pod(json: object.content)
            let addresses = [pod.status.podIP] + pod.status.podIPs.map(\.ip)
            guard let address = addresses.first(where: { !$0.isEmpty && $0.contains(":") == isV6 }), !state.isFinished
            else { return nil }
            self.address = address
            isTerminating = state.isTerminating
            isServing = state.isReady
            // S-7; a pod that is being deleted takes no new traffic, whatever its probe says.
            isReady = service.spec.publishNotReadyAddresses || (state.isReady && !state.isTerminating)
            nodeName = pod.spec.nodeName
            zone = zones[nodeName]
            hints = isReady ? Self.hints(service.spec.trafficDistribution, node: nodeName, zone: zone) : nil
            hostname =
                !pod.spec.hostname.isEmpty && pod.spec.subdomain == service.metadata.name ? pod.spec.hostname : nil
            reference = [
                "kind": "Pod", "namespace": .string(object.namespace), "name": .string(object.name),
                "uid": .string(object.metadata.uid),
            ]
            ports = .array(service.spec.ports.compactMap { Self.port($0, pod) })
        }

        /// For whom an endpoint is meant first: its own zone, or its own node and then its zone.
        private static func hints(_ distribution: String, node: String, zone: String?) -> JSON? {
            guard ["PreferClose", "PreferSameZone", "PreferSameNode"].contains(distribution) else { return nil }
            var hints: [String: JSON] = [:]
            if let zone { hints["forZones"] = [["name": .string(zone)]] }
            if distribution == "PreferSameNode", !node.isEmpty { hints["forNodes"] = [["name": .string(node)]] }
            return hints.isEmpty ? nil : .object(hints)
        }

        /// S-5: a named target port is looked up in this pod.
        private static func port(_ port: ServicePort, _ pod: Pod) -> JSON? {
            let number: Int?
            switch port.targetPort ?? .int(port.port) {
            case .int(let value): number = value
            case .string(let name):
                number =
                    (pod.spec.containers + pod.spec.initContainers).flatMap { $0.json["ports"]?.array ?? [] }
                    .first {
                        $0["name"]?.string == name && ($0["protocol"]?.string ?? "TCP") == port.protocol
                    }?["containerPort"]?.int
            }
            guard let number else { return nil }
            var json: JSON = [
                "name": .string(port.name), "protocol": .string(port.protocol), "port": .integer(Int64(number)),
            ]
            if let spoken = port.appProtocol { json["appProtocol"] = .string(spoken) }
            return json
        }

        var endpoint: JSON {
            var json: JSON = [
                "addresses": [.string(address)],
                "conditions": [
                    "ready": .bool(isReady), "serving": .bool(isServing), "terminating": .bool(isTerminating),
                ],
                "targetRef": reference,
            ]
            if !nodeName.isEmpty { json["nodeName"] = .string(nodeName) }
            if let zone { json["zone"] = .string(zone) }
            if let hints { json["hints"] = hints }
            if let hostname { json["hostname"] = .string(hostname) }
            return json
        }
    }

    private static func slices(
        _ object: KubernetesObject, _ service: Service, _ members: [Member], isV6: Bool
    ) -> [KubernetesObject] {
        var groups: [(ports: JSON, members: [Member])] = []
        for member in members {
            if let index = groups.firstIndex(where: { $0.ports == member.ports }) {
                groups[index].members.append(member)
            } else {
                groups.append((member.ports, [member]))
            }
        }
        var labels = object.metadata.labels
        labels[serviceLabel] = object.name
        labels["endpointslice.kubernetes.io/managed-by"] = managedBy
        if service.spec.clusterIP == "None" { labels["service.kubernetes.io/headless"] = "" }
        return groups.flatMap { group in
            stride(from: 0, to: group.members.count, by: endpointsMax).map { start in
                let part = group.members[start..<min(start + endpointsMax, group.members.count)]
                let content = group.ports.text + String(start / endpointsMax) + (isV6 ? "IPv6" : "")
                let hash = SafeText.hash(content).prefix(5)
                return KubernetesObject(json: [
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                    "metadata": [
                        "name": .string("\(object.name)-\(hash)"), "namespace": .string(object.namespace),
                        "labels": .object(labels.mapValues { .string($0) }),
                        "ownerReferences": [object.controllerReference(.service)],
                    ],
                    "addressType": isV6 ? "IPv6" : "IPv4", "ports": group.ports,
                    "endpoints": .array(part.map(\.endpoint)),
                ])
            }
        }
    }

    private static func legacyEndpoints(_ object: KubernetesObject, _ members: [Member]) -> KubernetesObject {
        var subsets: [(ports: JSON, ready: [JSON], waiting: [JSON])] = []
        var count = 0
        for member in members where member.isReady || !member.isTerminating {
            count += 1
            // Readers of Endpoints know no more: the rest stands in the slices.
            guard count <= endpointsMax else { continue }
            var address: JSON = ["ip": .string(member.address), "targetRef": member.reference]
            if !member.nodeName.isEmpty { address["nodeName"] = .string(member.nodeName) }
            if let hostname = member.hostname { address["hostname"] = .string(hostname) }
            let index = subsets.firstIndex { $0.ports == member.ports } ?? subsets.count
            if index == subsets.count { subsets.append((member.ports, [], [])) }
            if member.isReady { subsets[index].ready.append(address) } else { subsets[index].waiting.append(address) }
        }
        var metadata: JSON = [
            "name": .string(object.name), "namespace": .string(object.namespace),
            "labels": .object(object.metadata.labels.mapValues { .string($0) }),
            "ownerReferences": [object.controllerReference(.service)],
        ]
        if count > endpointsMax { metadata["annotations"] = ["endpoints.kubernetes.io/over-capacity": "truncated"] }
        return KubernetesObject(json: [
            "apiVersion": "v1", "kind": "Endpoints", "metadata": metadata,
            "subsets": .array(
                subsets.map { subset in
                    var json: JSON = ["ports": withoutEmptyNames(subset.ports)]
                    if !subset.ready.isEmpty { json["addresses"] = .array(subset.ready) }
                    if !subset.waiting.isEmpty { json["notReadyAddresses"] = .array(subset.waiting) }
                    return json
                }),
        ])
    }

    /// Endpoints leave the name of an unnamed port out, where slices write it empty.
    private static func withoutEmptyNames(_ ports: JSON) -> JSON {
        .array(
            (ports.array ?? []).map { port in
                var port = port
                if port["name"] == "" { port["name"] = nil }
                return port
            })
    }
}
