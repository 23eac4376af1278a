package import Docker
internal import IO
internal import Identity
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
    /// Networks of containers that are not on the pods' own; nil where there can be none.
    private let networks: ContainerNetworks?
    /// Where namespaces come from; nil: from us.
    private let namespaces: (any NamespaceSource)?
    /// Pods that were attached in this life: `keep` may be asked with a list that is older than the newest of them.
    private let attached = Mutex<Set<String>>([])
    /// What policies were last said to be.
    private let policies = Mutex<PolicyObjects?>(nil)
    private let book: Mutex<ServiceBook>
    /// Held while policies are compiled and written, so that a later state is never followed by an earlier one.
    private let enforcing = Mutex(())

    /// The network of a node that is set up.
    public convenience init(_ network: HostNetwork, addresses: IPAM, gatewayPorts: [GatewayPort]) {
        self.init(network, addresses: addresses, gatewayPorts: gatewayPorts, networks: nil)
    }

    /// The network of a node that also has networks of `skein network create`.
    package init(
        _ network: HostNetwork, addresses: IPAM, gatewayPorts: [GatewayPort], networks: ContainerNetworks?,
        namespaces: (any NamespaceSource)? = nil
    ) {
        self.namespaces = namespaces
        self.networks = networks
        self.network = network
        book = Mutex(ServiceBook(node: network.configuration.nodes?.name))
        self.addresses = addresses
        self.gatewayPorts = gatewayPorts
    }

    /// Gives the pod addresses and a namespace with capture; what it has already stays as it is.
    public func attach(_ pod: PodManifest, captures: Bool) throws(WorkloadError) -> PodPlace {
        let namespace = try namespaces?.namespace(of: pod)
        if let text = pod.annotations[ContainerWish.annotation] { return try attach(pod, toNetworks: text, namespace) }
        do throws(NetworkError) {
            // Noted before anything exists, so that whatever `keep` finds of it is known to it.
            attached.withLock { _ = $0.insert(pod.uid) }
            let given = try addresses.allocate(owner: pod.uid)
            guard let first = given.first else { throw .exhausted("no address for pod \(pod.fullName)") }
            let attachment = PodAttachment(
                uid: pod.uid, name: pod.fullName, address: first, address6: given.first(where: \.isV6),
                capture: captures ? try capture(pod) : nil, bandwidth: try Self.bandwidth(pod),
                foreignNamespace: namespace)
            let place = PodPlace(
                addresses: given.map { "\($0)" },
                namespacePath: "\(network.configuration.namespaceDirectory)/\(pod.uid)")
            if try network.attachedPods().contains(pod.uid) {
                if (try? network.check(attached: attachment))?.isEmpty == true { return place }
                try network.detach(uid: pod.uid)
            }
            // Its rules stand before its link does (N-8, ATK-42).
            _ = try writePolicies()
            _ = try network.attach(attachment)
            return place
        } catch { throw WorkloadError("FailedCreatePodSandBox", "pod \(pod.fullName): \(error)") }
    }

    /// What the annotations of kubelet's runtimes say about bandwidth: quantities of bits a second.
    static func bandwidth(_ pod: PodManifest) throws(NetworkError) -> PodBandwidth {
        func bits(_ name: String) throws(NetworkError) -> UInt64 {
            guard let text = pod.annotations[name] else { return 0 }
            guard let value = Quantity(text)?.whole, let bits = UInt64(exactly: value),
                PodBandwidth.range.contains(bits)
            else { throw .invalid("annotation \(name): \(text.prefix(80)): 1k to 1P bits a second are needed") }
            return bits
        }
        return PodBandwidth(
            ingress: try bits("kubernetes.io/ingress-bandwidth"), egress: try bits("kubernetes.io/egress-bandwidth"))
    }

    /// A namespace with links into the networks that the pod's annotation names, and into no other.
    private func attach(_ pod: PodManifest, toNetworks text: String, _ namespace: String?) throws(WorkloadError)
        -> PodPlace
    {
        guard let networks else {
            throw WorkloadError(
                "FailedCreatePodSandBox",
                "pod \(pod.fullName): annotation \(ContainerWish.annotation): not on this node")
        }
        do {
            attached.withLock { _ = $0.insert(pod.uid) }
            guard pod.namespace == "default" else {
                // Policies hold for the pods' own network: leaving it is not for everybody who may make pods.
                throw Refusal("annotation \(ContainerWish.annotation): only in namespace default")
            }
            let wish = try ContainerWish(text)
            let wall = WallClock.now
            let now = Timestamp(seconds: wall.seconds, nanoseconds: wall.nanoseconds).description
            try network.makeNamespace(uid: pod.uid, of: namespace)
            let path = "\(network.configuration.namespaceDirectory)/\(pod.uid)"
            let addresses = try networks.attach(
                .init(uid: pod.uid, name: pod.name, hostname: pod.hostname, namespacePath: path), wish, at: now)
            return PodPlace(addresses: addresses, namespacePath: path)
        } catch let error as Refusal { throw WorkloadError("FailedCreatePodSandBox", error.message) } catch {
            throw WorkloadError("FailedCreatePodSandBox", "pod \(pod.fullName): \(error)")
        }
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

    /// The pool that is nearest to its end.
    public var addressUse: (used: Int, size: Int)? { addresses.fullest }

    /// Takes the pod's namespace, link and addresses away.
    public func detach(uid: String) throws(WorkloadError) {
        do throws(Refusal) { try networks?.detach(uid: uid) } catch {
            throw WorkloadError("NetworkNotRemoved", "pod \(uid): \(error.message)")
        }
        do throws(NetworkError) {
            try network.detach(uid: uid)
            try addresses.release(owner: uid)
            // The next owner of the address must not be taken for this pod.
            policies.withLock { $0?.pods.removeAll { $0.uid == uid } }
            _ = try writePolicies()
            attached.withLock { _ = $0.remove(uid) }
        } catch { throw WorkloadError("NetworkNotRemoved", "pod \(uid): \(error)") }
        try namespaces?.release(uid: uid)
    }

    /// Takes away what other pods than these have.
    public func keep(only uids: Set<String>) throws(WorkloadError) {
        let known = uids.union(attached.withLock { $0 })
        try namespaces?.keep(only: known)
        do throws(Refusal) { try networks?.keep(only: known) } catch {
            throw WorkloadError("NetworkNotRemoved", error.message)
        }
        do throws(NetworkError) {
            let found = try network.attachedPods()
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

    /// Makes the kernel serve services as they are now.
    public func serve(_ changes: ServiceChanges, zone: String?) throws(WorkloadError) -> [String] {
        let local = Set(addresses.allocations.values.joined())
        do throws(NetworkError) {
            if changes.isWhole {
                let ports = book.withLock { book in
                    _ = book.update(changes, local: local, zone: zone)
                    return book.ports
                }
                return try network.apply(services: ports)
            }
            return try network.apply(changedServices: book.withLock { $0.update(changes, local: local, zone: zone) })
        } catch {
            throw WorkloadError("ServicesNotServed", "\(error)")
        }
    }

    /// Takes note of policies and pods.
    public func learn(_ newer: PolicyObjects) {
        policies.withLock { policies in
            if policies.map({ $0.revision < newer.revision }) ?? true { policies = newer }
        }
    }

    /// Makes the kernel enforce these policies.
    public func enforce(_ policies: PolicyObjects) throws(WorkloadError) -> [String] {
        learn(policies)
        do throws(NetworkError) { return try writePolicies() } catch {
            throw WorkloadError("PoliciesNotEnforced", "\(error)")
        }
    }

    /// Compiles what is known now; without any word on policies, new pods stay closed.
    private func writePolicies() throws(NetworkError) -> [String] {
        let outcome = enforcing.withLock { _ -> Result<[String], NetworkError> in
            do throws(NetworkError) {
                guard let objects = policies.withLock({ $0 }) else {
                    try network.closeUntilPolicies()
                    return .success([])
                }
                let translation = PolicyTranslation(objects, given: addresses.allocations)
                try network.apply(policies: translation.set)
                return .success(translation.problems)
            } catch { return .failure(error) }
        }
        return try outcome.get()
    }

    /// Makes the kernel reach the pods of these nodes.
    public func reach(nodes: [KubernetesObject]) throws(WorkloadError) -> [String] {
        guard network.configuration.nodes != nil else { return [] }
        do throws(NetworkError) { return try network.apply(nodes: nodes.compactMap(NodeTranslation.peer)) } catch {
            throw WorkloadError("NodesNotReachable", "\(error)")
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

/// Node objects as the network needs them.
///
/// Pure.
enum NodeTranslation {
    /// The node; nil while it has no block or no address.
    static func peer(_ node: KubernetesObject) -> PeerNode? {
        var texts = (node.spec["podCIDRs"]?.array ?? []).compactMap(\.string)
        if texts.isEmpty, let one = node.spec["podCIDR"]?.string { texts = [one] }
        let blocks = texts.compactMap { Prefix($0) }
        let addresses = (node.status["addresses"]?.array ?? []).filter { $0["type"] == "InternalIP" }
            .compactMap { $0["address"]?.string }.compactMap { IPAddress($0) }
        guard !blocks.isEmpty, !addresses.isEmpty else { return nil }
        let driver = node.metadata.annotations[NodeJoin.driverAnnotation].flatMap { NodeDriver(rawValue: $0) }
        let encryption = node.metadata.annotations[NodeJoin.keyAnnotation].map { key in
            let port = node.metadata.annotations[NodeJoin.portAnnotation].map { UInt16($0) ?? 0 }
            return PeerEncryption(key: WireGuardKey(text: key), port: port ?? NodeEncryption.standardPort)
        }
        return PeerNode(
            name: node.name, addresses: addresses, blocks: blocks, driver: driver ?? .overlay, encryption: encryption)
    }
}
