internal import IO
internal import KubernetesAPI
internal import Network
internal import Serialization

/// Services and EndpointSlices as the kernel's rules need them.
///
/// Pure.
enum ServiceTranslation {
    /// What one service is for the rules, its ports in order.
    ///
    /// - Parameter node: this node's name, for the hints of endpoints.
    static func ports(
        _ service: KubernetesObject, _ slices: [KubernetesObject], local: Set<IPAddress>, zone: String?,
        node: String? = nil
    ) -> [Network.ServicePort] {
        guard service.spec["type"]?.string != "ExternalName" else { return [] }
        let key = "\(service.namespace)/\(service.name)"
        var result: [Network.ServicePort] = []
        for port in service.spec["ports"]?.array ?? [] {
            guard let number = port["port"]?.int.flatMap({ UInt16(exactly: $0) }) else { continue }
            let name = port["name"]?.string ?? ""
            var entry = Network.ServicePort(
                service: key, name: name.isEmpty ? String(number) : name, addresses: clusterAddresses(service),
                port: number, transport: Transport(protocolName: port["protocol"]?.string) ?? .tcp,
                endpoints: endpoints(slices, port: name, zone, node))
            entry.external = addresses((service.spec["externalIPs"]?.array ?? []).map { $0.string })
            entry.balancer = balancerAddresses(service)
            entry.nodePort = port["nodePort"]?.int.flatMap { $0 == 0 ? nil : UInt16(exactly: $0) }
            entry.sourceRanges = (service.spec["loadBalancerSourceRanges"]?.array ?? []).compactMap {
                Prefix($0.string ?? "")
            }
            entry.internalIsLocal = service.spec["internalTrafficPolicy"]?.string == "Local"
            entry.externalIsLocal = service.spec["externalTrafficPolicy"]?.string == "Local"
            // Nobody else asks where an endpoint is.
            if entry.internalIsLocal || entry.externalIsLocal {
                entry.local = Set(entry.endpoints.filter { local.contains($0.address) })
            }
            if service.spec["sessionAffinity"]?.string == "ClientIP" {
                entry.affinitySeconds =
                    service.spec["sessionAffinityConfig"]?["clientIP"]?["timeoutSeconds"]?.int ?? 10_800
            }
            let hasAddress = !(entry.addresses + entry.external + entry.balancer).isEmpty
            if hasAddress || entry.nodePort != nil { result.append(entry) }
        }
        return result.sorted { ($0.name, $0.port) < ($1.name, $1.port) }
    }

    private static func addresses(_ texts: [String?]) -> [IPAddress] {
        var seen: Set<IPAddress> = []
        return texts.compactMap { IPAddress($0 ?? "") }.filter { seen.insert($0).inserted }
    }

    private static func clusterAddresses(_ service: KubernetesObject) -> [IPAddress] {
        let texts = (service.spec["clusterIPs"]?.array ?? []).map { $0.string }
        return addresses(texts.isEmpty ? [service.spec["clusterIP"]?.string] : texts)
    }

    /// The balancer's addresses; with `ipMode: Proxy` packets must go through it, and so are left alone.
    private static func balancerAddresses(_ service: KubernetesObject) -> [IPAddress] {
        let entries = service.status["loadBalancer"]?["ingress"]?.array ?? []
        return addresses(entries.filter { $0["ipMode"]?.string != "Proxy" }.map { $0["ip"]?.string })
    }

    /// An endpoint with what decides whether it counts.
    private struct Candidate {
        var endpoint: Network.ServicePort.Endpoint
        var isReady: Bool
        var isServing: Bool
        var zones: [String]
        var nodes: [String]
    }

    /// The endpoints that are ready; when none is, those that still serve while they end.
    ///
    /// Those for this node alone, when every endpoint says for which nodes it is meant and one is for this; else those for
    /// its zone, likewise. The families are looked at each for itself.
    private static func endpoints(
        _ slices: [KubernetesObject], port name: String, _ zone: String?, _ node: String?
    ) -> [Network.ServicePort.Endpoint] {
        var all: [Candidate] = []
        for slice in slices {
            for port in slice.json["ports"]?.array ?? [] where port["name"]?.string ?? "" == name {
                guard let number = port["port"]?.int.flatMap({ UInt16(exactly: $0) }) else { continue }
                for endpoint in slice.json["endpoints"]?.array ?? [] {
                    let conditions = endpoint["conditions"]
                    // Absent means ready (discovery/v1).
                    let isReady = conditions?["ready"]?.bool ?? true
                    let isServing = conditions?["serving"]?.bool ?? isReady
                    func names(_ member: String) -> [String] {
                        (endpoint["hints"]?[member]?.array ?? []).compactMap { $0["name"]?.string }
                    }
                    let (zones, nodes) = (names("forZones"), names("forNodes"))
                    for address in (endpoint["addresses"]?.array ?? []).compactMap({ IPAddress($0.string ?? "") }) {
                        all.append(
                            Candidate(
                                endpoint: .init(address, number), isReady: isReady,
                                isServing: isServing && conditions?["terminating"]?.bool == true, zones: zones,
                                nodes: nodes))
                    }
                }
            }
        }
        return [false, true].flatMap { isV6 in
            let family = all.filter { $0.endpoint.address.isV6 == isV6 }
            var found = family.filter(\.isReady)
            if found.isEmpty { found = family.filter(\.isServing) }
            let near = near(found, \.nodes, node) ?? near(found, \.zones, zone)
            return Set((near ?? found).map(\.endpoint)).sorted()
        }
    }

    /// Those that are meant for a place; nil when one of them does not say for which, or none is for this.
    private static func near(
        _ all: [Candidate], _ places: KeyPath<Candidate, [String]>, _ place: String?
    ) -> [Candidate]? {
        guard let place, all.allSatisfy({ !$0[keyPath: places].isEmpty }) else { return nil }
        let near = all.filter { $0[keyPath: places].contains(place) }
        return near.isEmpty ? nil : near
    }
}

/// Services as the rules need them, kept from one change to the next: only what changed is translated again.
struct ServiceBook {
    private struct Page {
        var parts: ServiceParts
        var ports: [Network.ServicePort]
    }

    /// This node's name; nil where no other node is.
    let node: String?
    private var pages: [String: Page] = [:]
    /// The services for which it matters which endpoints are on this node.
    private var localKeys: Set<String> = []
    private var zone: String?
    private var local: Set<IPAddress> = []
    /// How many services were translated: what a change costs.
    private(set) var translations = 0

    /// Of a node of that name.
    init(node: String? = nil) { self.node = node }

    /// Takes changes; returns the services whose ports are others now.
    ///
    /// One that is gone has none.
    ///
    /// - Parameters:
    ///   - local: addresses of the pods of this node.
    ///   - zone: where this node is, for the hints of endpoints; nil: it does not say.
    mutating func update(
        _ changes: ServiceChanges, local: Set<IPAddress>, zone: String?
    ) -> [String: [Network.ServicePort]] {
        var changed: [String: [Network.ServicePort]] = [:]
        let moved = self.local.symmetricDifference(local)
        self.local = local
        func translate(_ parts: ServiceParts) {
            let ports = parts.service.map {
                ServiceTranslation.ports($0, parts.slices, local: local, zone: zone, node: node)
            }
            translations += 1
            if pages[parts.key]?.ports ?? [] != ports ?? [] { changed[parts.key] = ports ?? [] }
            pages[parts.key] = ports.map { Page(parts: parts, ports: $0) }
            let isLocal = ports?.contains { $0.internalIsLocal || $0.externalIsLocal } ?? false
            if isLocal { localKeys.insert(parts.key) } else { localKeys.remove(parts.key) }
        }
        if changes.isWhole {
            let keys = Set(changes.parts.map(\.key))
            for key in pages.keys where !keys.contains(key) { translate(ServiceParts(key: key)) }
        }
        for parts in changes.parts {
            // Objects that did not change share their storage, so that comparing them is looking at an address.
            if zone == self.zone, let page = pages[parts.key], page.parts == parts { continue }
            translate(parts)
        }
        let zoneIsOther = zone != self.zone
        self.zone = zone
        let again = zoneIsOther ? Set(pages.keys) : moved.isEmpty ? [] : localKeys
        for key in again {
            guard let page = pages[key],
                zoneIsOther || page.ports.contains(where: { $0.endpoints.contains { moved.contains($0.address) } })
            else { continue }
            translate(page.parts)
        }
        return changed
    }

    /// The ports of all services.
    var ports: [Network.ServicePort] { pages.sorted { $0.key < $1.key }.flatMap(\.value.ports) }
}
