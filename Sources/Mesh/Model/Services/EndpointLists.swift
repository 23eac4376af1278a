import KubernetesAPI

/// Makes endpoint lists from slices and pods.
enum EndpointLists {
    /// The endpoints in all slices of a service: an address that is in two slices counts once (S-12), the readier one, and a
    /// pod that has addresses of both families once, by that of the preferred one.
    static func ofSlices(
        _ slices: [NamespacedName: KubernetesObject], workloads: [NamespacedName: MeshModel.Workload],
        nodes: [String: MeshLocality], prefersIPv6: Bool = false
    ) -> [MeshEndpoint] {
        var found: [String: MeshEndpoint] = [:]
        var families: [NamespacedName: String] = [:]
        let preferred = prefersIPv6 ? "IPv6" : "IPv4"
        func rank(_ object: KubernetesObject) -> Int {
            EndpointSlice(json: object.json).addressType == preferred ? 0 : 1
        }
        for (key, object) in slices.sorted(by: { (rank($0.value), $0.key) < (rank($1.value), $1.key) }) {
            let slice = EndpointSlice(json: object.json)
            let ports = Dictionary(
                slice.ports.compactMap { port in port.port.map { (port.name, $0) } },
                uniquingKeysWith: { first, _ in first })
            for endpoint in slice.endpoints {
                guard let address = endpoint.addresses.first else { continue }
                let pod = pod(of: endpoint, namespace: key.namespace)
                if let pod {
                    guard families[pod] ?? slice.addressType == slice.addressType else { continue }
                    families[pod] = slice.addressType
                }
                let place =
                    pod.map { Provenance(kind: "Pod", object: $0, field: "status.podIP") }
                    ?? Provenance(kind: "EndpointSlice", object: key, field: "endpoints")
                var entry = MeshEndpoint(address: address, ports: ports, place: place)
                entry.isReady = endpoint.conditions.ready
                entry.isServing = endpoint.conditions.serving ?? true
                entry.isTerminating = endpoint.conditions.terminating
                entry.hostname = endpoint.hostname
                entry.pod = pod
                entry.node = endpoint.nodeName ?? ""
                if let pod, let workload = workloads[pod] {
                    entry.labels = workload.labels
                    entry.serviceAccount = workload.serviceAccount
                    entry.locality = workload.locality
                    if entry.node.isEmpty { entry.node = workload.node }
                }
                if entry.locality.isEmpty { entry.locality = nodes[entry.node] ?? MeshLocality() }
                if entry.locality.zone.isEmpty { entry.locality.zone = endpoint.zone ?? "" }
                if let known = found[address] {
                    // Slices may hold different ports of one address.
                    let ports = entry.ports.merging(known.ports) { mine, _ in mine }
                    if known.isReady && !entry.isReady { entry = known }
                    entry.ports = ports
                }
                found[address] = entry
            }
        }
        return found.values.sorted { $0.address < $1.address }
    }

    /// The pods that a slice names.
    static func pods(of slice: KubernetesObject) -> [NamespacedName] {
        EndpointSlice(json: slice.json).endpoints.compactMap { pod(of: $0, namespace: slice.namespace) }
    }

    private static func pod(of endpoint: Endpoint, namespace: String) -> NamespacedName? {
        guard let target = endpoint.targetRef, target.kind == "Pod" else { return nil }
        return NamespacedName(namespace: namespace, name: target.name)
    }

    /// A pod that a ServiceEntry selects.
    static func ofPod(
        _ key: NamespacedName, _ pod: MeshModel.Workload, ports: [MeshService.Port]
    ) -> MeshEndpoint {
        let numbers = Dictionary(
            ports.compactMap { port -> (String, Int)? in
                switch port.target {
                case .int(let number): (port.name, number)
                case .string(let name): pod.namedPorts[name].map { (port.name, $0) }
                }
            }, uniquingKeysWith: { first, _ in first })
        var endpoint = MeshEndpoint(
            address: pod.address, ports: numbers,
            place: Provenance(kind: "Pod", object: key, field: "status.podIP"))
        endpoint.pod = key
        endpoint.labels = pod.labels
        endpoint.locality = pod.locality
        endpoint.node = pod.node
        endpoint.serviceAccount = pod.serviceAccount
        return endpoint
    }
}
