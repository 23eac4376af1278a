public import DNS
public import IO
public import KubernetesAPI
public import Mesh
import Serialization

/// What DNS must know, from Services and EndpointSlices.
public enum NameFeed {
    /// The names of all services, sorted; equal objects give equal names.
    public static func services(_ services: [KubernetesObject], slices: [KubernetesObject]) -> [ServiceNames] {
        let slices = headlessSlices(services, slices)
        return services.sorted { $0.key < $1.key }.map { names($0, slices[$0.key] ?? []) }
    }

    /// The slices from which names follow, by service: those of others than headless ones are not read.
    static func headlessSlices(
        _ services: [KubernetesObject], _ slices: [KubernetesObject]
    ) -> [NamespacedName: [EndpointSlice]] {
        let headless = Set(services.lazy.filter { $0.spec["clusterIP"]?.string == "None" }.map(\.key))
        guard !headless.isEmpty else { return [:] }
        var found: [NamespacedName: [KubernetesObject]] = [:]
        for object in slices {
            guard let service = object.json["metadata"]?["labels"]?[EndpointSliceController.serviceLabel]?.string else {
                continue
            }
            let key = NamespacedName(namespace: object.namespace, name: service)
            if headless.contains(key) { found[key, default: []].append(object) }
        }
        return found.mapValues { $0.sorted { $0.key < $1.key }.map { EndpointSlice(json: $0.content) } }
    }

    /// The hosts of ServiceEntries that have addresses, their own or those that the mesh chose (S-17).
    ///
    /// Those of IPv6 are left out in a cluster without IPv6 services: pods would have no way to them.
    public static func hosts(_ model: MeshModel) -> [String: [IPAddress]] {
        let services = model.sortedServices
        let hasV6 = services.contains { $0.registry == .kubernetes && $0.addresses.contains { $0.contains(":") } }
        var hosts: [String: [IPAddress]] = [:]
        for service in services
        where service.registry == .serviceEntry && service.isNamed && hosts[service.host] == nil {
            let addresses = service.addresses.compactMap { IPAddress($0) }
            hosts[service.host] = addresses.filter { hasV6 || !service.hasAllocatedAddresses || !$0.isV6 }
        }
        return hosts
    }

    private static func names(_ object: KubernetesObject, _ slices: [EndpointSlice]) -> ServiceNames {
        let spec = Service(json: object.content).spec
        var names = ServiceNames(name: object.name, namespace: object.namespace)
        names.isHeadless = spec.clusterIP == "None"
        if spec.type == "ExternalName" { names.externalName = spec.externalName }
        names.clusterIPs = (spec.clusterIPs.isEmpty ? [spec.clusterIP] : spec.clusterIPs).compactMap { IPAddress($0) }
        names.ports = spec.ports.compactMap { port in
            UInt16(exactly: port.port).map {
                ServiceNames.Port(name: port.name, transport: port.protocol.lowercased(), number: $0)
            }
        }
        guard names.isHeadless else { return names }
        var seen: Set<String> = []
        for slice in slices {
            let ports = Dictionary(
                slice.ports.compactMap { port -> (String, UInt16)? in
                    guard !port.name.isEmpty, let number = port.port.flatMap(UInt16.init(exactly:)) else { return nil }
                    return (port.name, number)
                }, uniquingKeysWith: { first, _ in first })
            for endpoint in slice.endpoints {
                guard endpoint.conditions.ready || spec.publishNotReadyAddresses,
                    let text = endpoint.addresses.first, let address = IPAddress(text), seen.insert(text).inserted
                else { continue }
                names.endpoints.append(
                    ServiceNames.Endpoint(address: address, hostname: endpoint.hostname, ports: ports))
            }
        }
        return names
    }
}

extension ObjectEvent {
    /// Whether names may follow from the object: of slices only those of headless services have any.
    func mayName(_ cache: ObjectCache) -> Bool {
        switch kind {
        case .service, .serviceEntry: return true
        case .endpointSlice:
            guard let service = object.metadata.labels[EndpointSliceController.serviceLabel] else { return false }
            let known = cache.object(.service, NamespacedName(namespace: object.namespace, name: service))
            return known?.spec["clusterIP"]?.string == "None"
        default: return false
        }
    }
}
