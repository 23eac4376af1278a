internal import IO
public import KubernetesAPI
public import Network
internal import Serialization
internal import Synchronization

/// The node's own network: addresses by IPAM, links and rules by `HostNetwork`.
public final class HostPodNetwork: PodNetworking {
    /// A port of the host that leads to the gateway pod.
    public struct GatewayPort: Sendable, Hashable {
        /// Where people connect: `127.0.0.1`, 8080.
        public var address: String
        /// The host's port.
        public var port: UInt16
        /// The gateway pod's port.
        public var target: UInt16

        /// A port that leads to the gateway pod.
        public init(address: String, port: UInt16, target: UInt16) {
            self.address = address
            self.port = port
            self.target = target
        }
    }

    private let network: HostNetwork
    private let addresses: IPAM
    private let gatewayPorts: [GatewayPort]
    /// Pods that were attached in this life: `keep` may be asked with a list that is older than the newest of them.
    private let attached = Mutex<Set<String>>([])

    /// The network of a node that is set up.
    public init(_ network: HostNetwork, addresses: IPAM, gatewayPorts: [GatewayPort]) {
        self.network = network
        self.addresses = addresses
        self.gatewayPorts = gatewayPorts
    }

    /// Gives the pod addresses and a namespace with capture; what it has already stays as it is.
    public func attach(_ pod: PodManifest, captures: Bool) throws(WorkloadError) -> PodPlace {
        do throws(NetworkError) {
            // Noted before anything exists, so that whatever `keep` finds of it is known to it.
            attached.withLock { _ = $0.insert(pod.uid) }
            let given = try addresses.allocate(owner: pod.uid)
            guard let first = given.first else { throw .exhausted("no address for pod \(pod.fullName)") }
            let attachment = PodAttachment(
                uid: pod.uid, name: pod.fullName, address: first, address6: given.first(where: \.isV6),
                capture: captures ? try capture(pod) : nil)
            let place = PodPlace(
                addresses: given.map { "\($0)" },
                namespacePath: "\(network.configuration.namespaceDirectory)/\(pod.uid)")
            if try network.attachedPods().contains(pod.uid) {
                if (try? network.check(attached: attachment))?.isEmpty == true { return place }
                try network.detach(uid: pod.uid)
            }
            _ = try network.attach(attachment)
            return place
        } catch { throw WorkloadError("FailedCreatePodSandBox", "pod \(pod.fullName): \(error)") }
    }

    /// What Istio's annotations, or the arguments of its init container, say about capture.
    private func capture(_ pod: PodManifest) throws(NetworkError) -> CaptureOptions {
        guard let container = pod.initContainers.first(where: \.isCaptureInit) else {
            return try CaptureOptions(annotations: pod.annotations)
        }
        let options = try CaptureOptions(istioInitArguments: container.command + container.arguments)
        let standard = CaptureOptions()
        // The sidecar's ports and user are fixed; other values would capture into nothing.
        guard options.outboundPort == standard.outboundPort, options.inboundPort == standard.inboundPort,
            options.proxyUID == standard.proxyUID
        else {
            throw .invalid(
                "\(container.path).args: the sidecar listens on -p \(standard.outboundPort) -z \(standard.inboundPort) "
                    + "as -u \(standard.proxyUID); other values are not supported")
        }
        return options
    }

    /// Takes the pod's namespace, link and addresses away.
    public func detach(uid: String) throws(WorkloadError) {
        do throws(NetworkError) {
            try network.detach(uid: uid)
            try addresses.release(owner: uid)
            attached.withLock { _ = $0.remove(uid) }
        } catch { throw WorkloadError("NetworkNotRemoved", "pod \(uid): \(error)") }
    }

    /// Takes away what other pods than these have.
    public func keep(only uids: Set<String>) throws(WorkloadError) {
        do throws(NetworkError) {
            let found = try network.attachedPods()
            let known = uids.union(attached.withLock { $0 })
            for uid in found where !known.contains(uid) { try network.detach(uid: uid) }
            // Read again under the lock: who is attached meanwhile must not lose its address.
            let result = attached.withLock { attached -> Result<Void, NetworkError> in
                do throws(NetworkError) {
                    _ = try addresses.reconcile(keeping: uids.union(attached))
                    return .success(())
                } catch { return .failure(error) }
            }
            try result.get()
        } catch { throw WorkloadError("NetworkNotRemoved", "\(error)") }
    }

    /// Makes the kernel serve these services.
    public func serve(services: [KubernetesObject], slices: [KubernetesObject]) throws(WorkloadError) -> [String] {
        do throws(NetworkError) { return try network.apply(services: ServiceTranslation.ports(services, slices)) } catch
        {
            throw WorkloadError("ServicesNotServed", "\(error)")
        }
    }

    /// Leads the host's gateway ports to the gateway pod.
    public func lead(gatewayTo address: String?) throws(WorkloadError) {
        let target = address.flatMap { IPAddress($0) }
        let ports = gatewayPorts.compactMap { port -> HostPort? in
            guard let target else { return nil }
            return HostPort(
                address: IPAddress(port.address), port: port.port, target: target, targetPort: port.target,
                provenance: "gateway port \(port.port)")
        }
        do throws(NetworkError) { try network.apply(hostPorts: ports) } catch {
            throw WorkloadError("GatewayNotReachable", "\(error)")
        }
    }
}

/// Services and EndpointSlices as the kernel's rules need them.
///
/// Pure.
enum ServiceTranslation {
    static func ports(_ services: [KubernetesObject], _ slices: [KubernetesObject]) -> [Network.ServicePort] {
        var byService: [String: [KubernetesObject]] = [:]
        for slice in slices {
            guard let name = slice.metadata.labels["kubernetes.io/service-name"] else { continue }
            byService["\(slice.namespace)/\(name)", default: []].append(slice)
        }
        var result: [Network.ServicePort] = []
        for service in services {
            let key = "\(service.namespace)/\(service.name)"
            let addresses = addresses(of: service)
            guard !addresses.isEmpty, service.spec["type"]?.string != "ExternalName" else { continue }
            for port in service.spec["ports"]?.array ?? [] {
                guard let number = port["port"]?.int.flatMap({ UInt16(exactly: $0) }) else { continue }
                let name = port["name"]?.string ?? ""
                let isSticky = service.spec["sessionAffinity"]?.string == "ClientIP"
                let seconds = service.spec["sessionAffinityConfig"]?["clientIP"]?["timeoutSeconds"]?.int ?? 10_800
                result.append(
                    Network.ServicePort(
                        service: key, name: name.isEmpty ? String(number) : name, addresses: addresses, port: number,
                        transport: transport(port["protocol"]?.string),
                        endpoints: endpoints(byService[key] ?? [], port: name),
                        affinitySeconds: isSticky ? seconds : nil))
            }
        }
        return result.sorted { ($0.service, $0.name, $0.port) < ($1.service, $1.name, $1.port) }
    }

    private static func transport(_ name: String?) -> Transport {
        switch name {
        case "UDP": .udp
        case "SCTP": .sctp
        default: .tcp
        }
    }

    private static func addresses(of service: KubernetesObject) -> [IPAddress] {
        var texts = (service.spec["clusterIPs"]?.array ?? []).compactMap(\.string)
        if texts.isEmpty, let one = service.spec["clusterIP"]?.string { texts = [one] }
        texts += (service.spec["externalIPs"]?.array ?? []).compactMap(\.string)
        texts += (service.status["loadBalancer"]?["ingress"]?.array ?? []).compactMap { $0["ip"]?.string }
        var seen: Set<IPAddress> = []
        return texts.compactMap { IPAddress($0) }.filter { seen.insert($0).inserted }
    }

    private static func endpoints(_ slices: [KubernetesObject], port name: String) -> [Network.ServicePort.Endpoint] {
        var all: Set<Network.ServicePort.Endpoint> = []
        for slice in slices {
            for port in slice.json["ports"]?.array ?? [] where port["name"]?.string ?? "" == name {
                guard let number = port["port"]?.int.flatMap({ UInt16(exactly: $0) }) else { continue }
                for endpoint in slice.json["endpoints"]?.array ?? [] {
                    // Absent means ready (discovery/v1).
                    guard endpoint["conditions"]?["ready"]?.bool ?? true else { continue }
                    for address in (endpoint["addresses"]?.array ?? []).compactMap({ IPAddress($0.string ?? "") }) {
                        all.insert(Network.ServicePort.Endpoint(address, number))
                    }
                }
            }
        }
        return all.sorted()
    }
}
