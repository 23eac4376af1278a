internal import IO
internal import KubernetesAPI
internal import Network
internal import Serialization

/// Services and EndpointSlices as the kernel's rules need them.
///
/// Pure.
enum ServiceTranslation {
    /// What all services are for the rules.
    ///
    /// - Parameters:
    ///   - local: addresses of the pods of this node.
    ///   - zone: where this node is, for the hints of endpoints; nil: it does not say.
    static func ports(
        _ services: [KubernetesObject], _ slices: [KubernetesObject], local: Set<IPAddress> = [], zone: String? = nil
    ) -> [Network.ServicePort] {
        var book = ServiceBook()
        return book.ports(services, slices, local: local, zone: zone)
    }

    /// What one service is for the rules, its ports in order.
    static func ports(
        _ service: KubernetesObject, _ slices: [KubernetesObject], local: Set<IPAddress>, zone: String?
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
                endpoints: endpoints(slices, port: name, zone))
            entry.external = addresses((service.spec["externalIPs"]?.array ?? []).map { $0.string })
            entry.balancer = balancerAddresses(service)
            entry.nodePort = port["nodePort"]?.int.flatMap { $0 == 0 ? nil : UInt16(exactly: $0) }
            entry.sourceRanges = (service.spec["loadBalancerSourceRanges"]?.array ?? []).compactMap {
                Prefix($0.string ?? "")
            }
            entry.local = Set(entry.endpoints.filter { local.contains($0.address) })
            entry.internalIsLocal = service.spec["internalTrafficPolicy"]?.string == "Local"
            entry.externalIsLocal = service.spec["externalTrafficPolicy"]?.string == "Local"
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
        var zones: [String]?
    }

    /// The endpoints that are ready; when none is, those that still serve while they end.
    ///
    /// Those for this node's zone alone, when every endpoint says for which zones it is meant and one is for this.
    private static func endpoints(
        _ slices: [KubernetesObject], port name: String, _ zone: String?
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
                    let zones = endpoint["hints"]?["forZones"]?.array?.compactMap { $0["name"]?.string }
                    for address in (endpoint["addresses"]?.array ?? []).compactMap({ IPAddress($0.string ?? "") }) {
                        all.append(
                            Candidate(
                                endpoint: .init(address, number), isReady: isReady,
                                isServing: isServing && conditions?["terminating"]?.bool == true, zones: zones))
                    }
                }
            }
        }
        var found = all.filter(\.isReady)
        if found.isEmpty { found = all.filter(\.isServing) }
        if let zone, found.allSatisfy({ $0.zones?.isEmpty == false }) {
            let near = found.filter { $0.zones?.contains(zone) == true }
            if !near.isEmpty { found = near }
        }
        return Set(found.map(\.endpoint)).sorted()
    }
}

/// Services as the rules need them, kept from one change to the next: only what changed is translated again.
struct ServiceBook {
    private struct Page {
        var service: KubernetesObject
        var slices: [KubernetesObject]
        var ports: [Network.ServicePort]
    }

    private var pages: [String: Page] = [:]
    private var zone: String?
    private var local: Set<IPAddress> = []

    /// As `ServiceTranslation.ports`.
    mutating func ports(
        _ services: [KubernetesObject], _ slices: [KubernetesObject], local: Set<IPAddress>, zone: String?
    ) -> [Network.ServicePort] {
        if zone != self.zone { pages = [:] }
        let moved = self.local.symmetricDifference(local)
        self.zone = zone
        self.local = local
        var byService: [String: [KubernetesObject]] = [:]
        byService.reserveCapacity(services.count)
        for slice in slices {
            guard let name = slice.json["metadata"]?["labels"]?["kubernetes.io/service-name"]?.string else { continue }
            byService["\(slice.namespace)/\(name)", default: []].append(slice)
        }
        var known: [String: Page] = [:]
        known.reserveCapacity(services.count)
        for service in services {
            let key = "\(service.namespace)/\(service.name)"
            let parts = byService[key] ?? []
            // Objects that did not change share their storage, so that comparing them is looking at an address.
            if let page = pages[key], page.service == service, page.slices == parts,
                !moved.contains(where: { address in
                    page.ports.contains { $0.endpoints.contains { $0.address == address } }
                })
            {
                known[key] = page
                continue
            }
            let ports = ServiceTranslation.ports(service, parts, local: local, zone: zone)
            known[key] = Page(service: service, slices: parts, ports: ports)
        }
        pages = known
        return known.sorted { $0.key < $1.key }.flatMap(\.value.ports)
    }
}
