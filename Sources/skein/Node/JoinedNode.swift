internal import APIServer
internal import HTTP
internal import IO
internal import Identity
internal import KubernetesAPI
internal import Network
internal import Serialization
internal import TLS
internal import Telemetry
internal import Workloads

/// `skein node`: one machine of several, whose control plane is elsewhere.
///
/// Registers, gets its block, makes the network, runs the pods that are bound to it, and says every ten seconds that it is
/// there. What it was told is kept, so that it begins anew without the control plane, too.
///
/// `@unchecked Sendable`: belongs to one loop.
final class JoinedNode: @unchecked Sendable {
    private let options: UpOptions
    private let driver: NodeDriver
    private let encryption: NodeEncryption?
    private let wantedAddresses: [IPAddress]
    private let loop: EventLoop
    private let log = Logger("node")
    private var identity: NodeIdentity
    private let server: SocketAddress
    private let control: RemoteControlPlane
    private var isStopping = false
    /// What was said last of the ways to other nodes, and whether the node's object says it.
    private var ways: NodeWays
    private var hasToldWays = false

    init(
        _ options: UpOptions, _ identity: NodeIdentity, server: SocketAddress, driver: NodeDriver,
        encryption: NodeEncryption?, addresses: [IPAddress], on loop: EventLoop
    ) throws(CommandError) {
        self.options = options
        self.identity = identity
        self.server = server
        self.driver = driver
        self.encryption = encryption
        ways = NodeWays(isEncrypted: encryption != nil)
        wantedAddresses = addresses
        self.loop = loop
        control = RemoteControlPlane(
            server, serverName: identity.server.host, context: try identity.context(), on: loop)
    }

    /// Runs until a stop is asked for; pods go on, for the next start to take over.
    func run(_ stop: StopRequest, ready: () -> Void) async throws(CommandError) {
        let addresses = try await ownAddresses()
        if identity.blocks.isEmpty || !NodeAgent.hasJournal(layout) {
            try await register(addresses, stop)
            guard !stop.isRequested else { return }
        }
        let configuration = try networkConfiguration(addresses)
        let network: HostPodNetwork
        let names: NameServer
        let agent: NodeAgent
        do {
            let host = try HostNetwork.setUp(configuration)
            for warning in host.warnings { log.warning("\(warning)") }
            network = HostPodNetwork(host, addresses: try IPAM(configuration), gatewayPorts: [])
            names = try NameServer(
                configuration.families.map(\.gateway),
                reverse: configuration.families.flatMap { [$0.pool] + $0.servicePools }, on: loop)
            var node = NodeConfiguration(
                layout: layout, nodeName: identity.name, hostAddresses: addresses.map(\.description),
                imageMode: options.usesHostImages ? .host : .store, proxyProgram: Preflight.path(of: "skein-proxy"),
                nameserver: configuration.v4.gateway.description)
            node.controlPlane = control
            let services = Array(identity.prefixes("servicePools").prefix(1))
            if let ranges = ServiceRanges(cluster: services, balancers: []) {
                node.apiAddress = ranges.kubernetes.description
            }
            node.servicesChanged = { names.tell($0) }
            node.namesTold = { names.tell(further: $0) }
            node.waysChanged = { [weak self] problems in
                guard let self else { return }
                ways = NodeWays(isEncrypted: encryption != nil, problems: problems)
                hasToldWays = false
            }
            agent = try NodeAgent(node, network: network, api: control, on: loop)
        } catch let error as WorkloadError { throw CommandError("skein node: \(error.message)") } catch {
            throw CommandError("skein node: \(error)")
        }
        let tasks = [
            Task(executorPreference: loop) { await names.run() },
            Task(executorPreference: loop) { await self.beat(addresses) },
        ]
        do throws(WorkloadError) { try await agent.start() } catch {
            throw CommandError("skein node: \(error.message)")
        }
        ready()
        await stop.wait()
        isStopping = true
        await agent.stop()
        names.stop()
        tasks.forEach { $0.cancel() }
    }

    private var layout: NodeLayout {
        NodeLayout(dataDirectory: options.dataDirectory, runDirectory: options.runDirectory)
    }

    /// The addresses that others know us by: what was asked for, else the one from which the API is reached.
    private func ownAddresses() async throws(CommandError) -> [IPAddress] {
        guard wantedAddresses.isEmpty else { return wantedAddresses }
        do throws(SystemError) {
            let stream = try await SocketStream.connect(to: server, on: loop)
            defer { stream.close() }
            if case .ip(let address, _)? = stream.socket.localAddress, !address.isLoopback { return [address] }
        } catch { throw CommandError("skein node: \(identity.server.text): \(error)") }
        throw CommandError("skein node: the API is reached from a loopback address; say --node-address ADDRESS")
    }

    private func networkConfiguration(_ addresses: [IPAddress]) throws(CommandError) -> HostNetworkConfiguration {
        guard
            var configuration = HostNetworkConfiguration(
                pools: identity.prefixes("podPools"), blocks: identity.blocks,
                servicePools: identity.prefixes("servicePools"), runDirectory: options.runDirectory)
        else { throw CommandError("skein node: the control plane has no IPv4 block for this node") }
        if configuration.v6 != nil, !File.exists("/proc/sys/net/ipv6") {
            throw CommandError("skein node: pods have IPv6 addresses in this cluster, and this kernel has no IPv6")
        }
        configuration.letsHostProbe = options.letsHostProbe
        configuration.nodes = networking(addresses)
        return configuration
    }

    private func networking(_ addresses: [IPAddress]) -> NodeNetworking {
        NodeNetworking(name: identity.name, addresses: addresses, driver: driver, encryption: encryption)
    }

    // MARK: The node's object

    private var path: String { "/api/v1/nodes/\(identity.name)" }

    /// Tells who we are, and waits for the block.
    private func register(_ addresses: [IPAddress], _ stop: StopRequest) async throws(CommandError) {
        let deadline = MonotonicTime.now + .seconds(60)
        var problem = ""
        while !stop.isRequested {
            do throws(APIError) {
                try await tell(addresses)
                let node = KubernetesObject(json: try await get(path))
                let blocks = (node.spec["podCIDRs"]?.array ?? []).compactMap(\.string).compactMap { Prefix($0) }
                if !blocks.isEmpty {
                    guard identity.blocks.isEmpty || identity.blocks == blocks || !NodeAgent.hasJournal(layout) else {
                        throw APIError(status: 409, message: "the node's block has changed; run skein down first")
                    }
                    identity.blocks = blocks
                    try keep()
                    return
                }
                problem = "the node has no block of addresses yet"
            } catch {
                problem = error.description
                // It will not become good by waiting.
                if error.status == 401 {
                    throw CommandError(
                        "skein node: \(identity.server.text) does not accept this node's certificate: its object was "
                            + "removed there; run skein down, and join anew with --token")
                }
            }
            guard MonotonicTime.now < deadline else {
                throw CommandError("skein node: \(identity.server.text): \(problem)")
            }
            await loop.sleep(for: .milliseconds(200))
        }
    }

    private func keep() throws(APIError) {
        do throws(CommandError) { try identity.keep(options.dataDirectory) } catch {
            throw APIError(status: 0, message: error.message)
        }
    }

    private func get(_ path: String) async throws(APIError) -> JSON {
        try await control.send("GET", path, body: nil, contentType: "")
    }

    /// Brings the node's object up to date.
    private func tell(_ addresses: [IPAddress]) async throws(APIError) {
        let merge = "application/merge-patch+json"
        let metadata: JSON = [
            "labels": .object(NodeObject.labels(identity.name)),
            "annotations": NodeObject.annotations(networking(addresses)),
        ]
        _ = try await control.send("PATCH", path, body: ["metadata": metadata], contentType: merge)
        let status = NodeObject.status(identity.name, addresses, ways)
        _ = try await control.send("PATCH", path + "/status", body: ["status": status], contentType: merge)
    }

    // MARK: Heartbeats

    /// Says every ten seconds that we are there; after a silence also how we are.
    private func beat(_ addresses: [IPAddress]) async {
        var wasSilent = true
        var renewal = MonotonicTime.now + .seconds(86_400)
        while !isStopping, !Task.isCancelled {
            do throws(APIError) {
                try await renewLease()
                if wasSilent || !hasToldWays {
                    hasToldWays = true
                    try await tell(addresses)
                }
                wasSilent = false
            } catch {
                if !wasSilent { log.warning("the control plane does not hear us", ["error": error.description]) }
                wasSilent = true
            }
            if MonotonicTime.now >= renewal {
                renewal = .now + .seconds(3600)
                do throws(CommandError) {
                    identity = try await NodeJoining(server: identity.server, address: server, loop: loop).renew(
                        identity)
                    try identity.keep(options.dataDirectory)
                    control.context = try identity.context()
                    renewal = .now + .seconds(86_400)
                } catch { log.warning("the node's certificate was not renewed", ["error": error.message]) }
            }
            await loop.sleep(for: wasSilent ? .seconds(2) : .seconds(NodeJoin.heartbeat))
        }
    }

    private func renewLease() async throws(APIError) {
        let collection = "/apis/coordination.k8s.io/v1/namespaces/\(NodeJoin.leaseNamespace)/leases"
        let now = WallClock.now
        let text = Timestamp(seconds: now.seconds, nanoseconds: now.nanoseconds / 1000 * 1000).microsecondsText
        let spec: JSON = [
            "holderIdentity": .string(identity.name), "leaseDurationSeconds": .integer(NodeJoin.silence),
            "renewTime": .string(text),
        ]
        do throws(APIError) {
            _ = try await control.send(
                "PATCH", collection + "/" + identity.name, body: ["spec": spec],
                contentType: "application/merge-patch+json")
        } catch  where error.status == 404 {
            let lease: JSON = [
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": ["name": .string(identity.name)],
                "spec": spec,
            ]
            _ = try await control.send("POST", collection, body: lease, contentType: "application/json")
        }
    }
}
