internal import APIServer
internal import ControlPlane
internal import Docker
internal import IO
internal import KubernetesAPI
internal import Network
internal import Telemetry
internal import Workloads

/// The node agent as the supervisor sees it: the host's network, the agent, and the end of both.
final class Node: Sendable {
    private let options: UpOptions
    private let loop: EventLoop
    private let agent: NodeAgent
    /// The address that pods know this machine by.
    let gateway: IPAddress
    /// The ranges of its pods' addresses.
    let blocks: [Prefix]
    /// Where others reach this machine: outside, or else from its pods.
    let addresses: [IPAddress]
    /// How its pods reach those of other nodes; nil on a machine of its own.
    let networking: NodeNetworking?
    private let network: HostPodNetwork
    private let networks: ContainerNetworks
    /// Bound and not accepting, so that nobody else takes the gateway's ports; the kernel leads them to the gateway.
    private let reserved: ReservedPorts

    /// Sets the host's network up, or takes it over; refuses a pool that overlaps what the host has.
    ///
    /// - Parameter waysChanged: told how other nodes are reached, when that changes.
    init(
        _ options: UpOptions, on loop: EventLoop, waysChanged: @escaping @Sendable (NodeWays) -> Void
    ) throws(CommandError) {
        self.options = options
        self.loop = loop
        let log = Logger("node")
        let configuration = try Self.configuration(options)
        gateway = configuration.v4.gateway
        blocks = configuration.families.map(\.nodeBlock)
        networking = configuration.nodes
        addresses = options.nodeAddresses.isEmpty ? configuration.families.map(\.gateway) : options.nodeAddresses
        let hostNetwork: HostNetwork
        let addresses: IPAM
        do throws(NetworkError) {
            hostNetwork = try HostNetwork.setUp(configuration)
            addresses = try IPAM(configuration)
        } catch {
            throw CommandError("skein up: \(error)")
        }
        if options.runtime != .runc {
            // Such an engine forbids forwarding, and has a chain for those who are to be let through.
            do throws(SystemError) { try EngineForwarding.allow(group: HostNetwork.podGroup) } catch {
                log.warning("the engine's firewall may keep pods apart", ["error": "\(error)"])
            }
        } else {
            for warning in hostNetwork.warnings { log.warning("\(warning)") }
        }
        do throws(CommandError) {
            reserved = try ReservedPorts([options.gatewayHTTP, options.gatewayHTTPS])
        } catch {
            // Pods of an earlier agent go on with the network they have.
            if !NodeAgent.hasJournal(Self.layout(options.dataDirectory, options.runDirectory)) {
                try Self.tearDownNetwork(options.runDirectory)
            }
            throw error
        }
        let networks = try Self.networks(options)
        self.networks = networks
        network = HostPodNetwork(
            hostNetwork, addresses: addresses,
            gatewayPorts: Self.gatewayPort(options.gatewayHTTP, 80) + Self.gatewayPort(options.gatewayHTTPS, 443),
            networks: networks,
            namespaces: options.runtime.namespaces(Self.layout(options.dataDirectory, options.runDirectory)))
        var node = NodeConfiguration(
            layout: Self.layout(options.dataDirectory, options.runDirectory), nodeName: Environment.hostName,
            hostAddresses: self.addresses.map(\.description),
            imageMode: options.usesHostImages ? .host : .store,
            proxyProgram: Preflight.path(of: "skein-proxy"), nameserver: gateway.description)
        node.networks = networks
        node.runtime = options.runtime
        let isEncrypted = configuration.nodes?.encryption != nil
        node.waysChanged = { waysChanged(NodeWays(isEncrypted: isEncrypted, problems: $0)) }
        node.dnsAddresses = configuration.families.map { .ip($0.gateway, port: 53) }
        node.apiAddress = options.serviceRanges.kubernetes.description
        node.controlPlaneUser = ControlPlaneProcess.userID
        let questions = NodeQuestions(
            dataDirectory: options.dataDirectory, runDirectory: options.runDirectory, on: loop)
        node.questions = { await questions.answer($0) }
        do throws(WorkloadError) {
            agent = try NodeAgent(node, network: network, on: loop)
        } catch {
            reserved.close()
            if !NodeAgent.hasJournal(Self.layout(options.dataDirectory, options.runDirectory)) {
                try Self.tearDownNetwork(options.runDirectory)
            }
            throw CommandError("skein up: \(error.message)")
        }
    }

    private static func networks(_ options: UpOptions) throws(CommandError) -> ContainerNetworks {
        do throws(Refusal) {
            return try ContainerNetworks(directory: layout(options.dataDirectory, options.runDirectory).networks)
        } catch { throw CommandError("skein up: \(error.message)") }
    }

    private static func layout(_ data: String, _ run: String) -> NodeLayout {
        NodeLayout(dataDirectory: data, runDirectory: run)
    }

    private static func gatewayPort(_ address: SocketAddress, _ target: UInt16) -> [HostPodNetwork.GatewayPort] {
        guard case .ip(let ip, let port) = address else { return [] }
        return [HostPodNetwork.GatewayPort(address: ip.description, port: port, target: target)]
    }

    /// The node holds the first block of each pool.
    private static func configuration(_ options: UpOptions) throws(CommandError) -> HostNetworkConfiguration {
        let blocks = options.podPools.compactMap {
            $0.address.isV6 ? NodeBlocks($0)?.block(0) : Prefix($0.address, length: 24)
        }
        guard
            var configuration = HostNetworkConfiguration(
                pools: options.podPools, blocks: blocks, servicePools: options.serviceRanges.all,
                runDirectory: options.runDirectory)
        else { throw CommandError("skein up: --pool: no IPv4 range") }
        configuration.letsHostProbe = options.letsHostProbe
        guard options.encryptedPort == nil || !options.nodeAddresses.isEmpty else {
            throw CommandError.usage(
                "up", "--encrypt wireguard needs --node-address: without it there are no other nodes")
        }
        if !options.nodeAddresses.isEmpty {
            configuration.nodes = NodeNetworking(
                name: Environment.hostName, addresses: options.nodeAddresses, driver: options.nodeDriver,
                encryption: try NodeEncryption.kept(options, "up"))
        }
        return configuration
    }

    /// Whether an earlier agent left pods that may still run.
    var hasPodsToAdopt: Bool { NodeAgent.hasJournal(Self.layout(options.dataDirectory, options.runDirectory)) }

    /// Takes over running pods and begins to serve.
    func start() async throws(CommandError) {
        do throws(WorkloadError) {
            try await agent.start()
        } catch {
            throw CommandError("skein up: \(error.message)")
        }
    }

    /// Ends the agent; pods go on running until `tearDown`.
    func stop() async { await agent.stop() }

    /// Stops pods and removes everything that was made.
    func tearDown() throws(CommandError) {
        defer { reserved.close() }
        let problems =
            NodeAgent.tearDownAll(
                Self.layout(options.dataDirectory, options.runDirectory), network: network) + networks.withdraw()
            + Self.forgetForwarding(options.runtime)
        // What the pods could not give back goes with the whole network.
        try Self.tearDownNetwork(options.runDirectory)
        try Self.report(problems)
    }

    /// Removes everything that any agent with these directories made, without one that runs.
    static func tearDown(dataDirectory: String, runDirectory: String) throws(CommandError) {
        let layout = layout(dataDirectory, runDirectory)
        // Read first: with the pods goes the word on what made them.
        let runtime = RuntimeChoice.read(layout)
        let problems =
            NodeAgent.tearDownAll(layout, network: AbsentNetwork(runDirectory))
            + ContainerNetworks.tearDown(directory: layout.networks) + forgetForwarding(runtime)
        try tearDownNetwork(runDirectory)
        try report(problems)
    }

    /// What could not be taken back of what an engine's firewall was told; nothing was when there was no engine.
    private static func forgetForwarding(_ runtime: RuntimeChoice) -> [String] {
        guard runtime != .runc else { return [] }
        do throws(SystemError) { try EngineForwarding.forget(group: HostNetwork.podGroup) } catch {
            return ["\(error)"]
        }
        return []
    }

    private static func tearDownNetwork(_ runDirectory: String) throws(CommandError) {
        do throws(NetworkError) {
            try NetworkInventory.tearDown(runDirectory: runDirectory)
        } catch {
            throw CommandError("skein down: \(error)")
        }
        do throws(SystemError) {
            for name in ["api.sock", "registry.sock", "agent.sock", "kubelet.sock", "control-plane.pid"] {
                try File.remove("\(runDirectory)/\(name)")
            }
        } catch {
            throw CommandError("skein down: \(error)")
        }
    }

    private static func report(_ problems: [String]) throws(CommandError) {
        guard !problems.isEmpty else { return }
        throw CommandError(
            "skein down: not everything could be removed: \(problems.joined(separator: "; ")); try again")
    }
}

/// Sockets that keep addresses for us.
///
/// `@unchecked Sendable`: made and closed on the supervisor's loop.
final class ReservedPorts: @unchecked Sendable {
    private var sockets: [Socket] = []

    init(_ addresses: [SocketAddress]) throws(CommandError) {
        do throws(SystemError) {
            for address in addresses { sockets.append(try Socket.listen(on: address, backlog: 0)) }
        } catch {
            throw CommandError("skein up: \(error)")
        }
    }

    func close() {
        for socket in sockets { socket.close() }
        sockets = []
    }
}

/// The network when no agent runs: namespaces and links are found and removed by their marks, so there is nothing to ask.
private struct AbsentNetwork: PodNetworking {
    private let runDirectory: String

    init(_ runDirectory: String) { self.runDirectory = runDirectory }

    func attach(_ pod: PodManifest, captures: Bool) throws(WorkloadError) -> PodPlace {
        throw WorkloadError("NetworkAbsent", "no pod can be started while everything is being removed")
    }
    func detach(uid: String) {}
    func keep(only uids: Set<String>) {}
    func serve(_ changes: ServiceChanges, zone: String?) -> [String] { [] }
    func learn(_ policies: PolicyObjects) {}
    func enforce(_ policies: PolicyObjects) -> [String] { [] }
    func lead(gatewayTo address: String?) {}
}
