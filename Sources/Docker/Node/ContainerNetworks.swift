internal import CNI
internal import IO
package import Serialization
internal import Synchronization
internal import Telemetry

/// The networks that `skein network` makes, and the node's containers on them: what an engine does with a network driver,
/// done by the node agent with the driver that Docker has from us.
///
/// Any thread; calls block, one after the other. What a call has said is written down when it returns. Nothing is opened
/// and nothing in the kernel is changed before the first network is made.
package final class ContainerNetworks: Sendable {
    private let core: Mutex<NodeNetworking>

    /// The networks that are written down in that directory; those there are are made in the kernel again.
    package convenience init(directory: String) throws(Refusal) {
        try self.init(NodeNetworking(directory: directory, source: KernelNetworks()))
    }

    init(_ networking: sending NodeNetworking) throws(Refusal) {
        core = Mutex(networking)
        try locked { (core) throws(Refusal) in try core.open() }
    }

    private func locked<Value: Sendable>(
        _ body: (NodeNetworking) throws(Refusal) -> Value
    ) throws(Refusal) -> Value {
        let result = core.withLock { core -> Result<Value, Refusal> in
            do throws(Refusal) { return .success(try body(core)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    private func reading<Value: Sendable>(_ body: (NodeNetworking) -> Value) -> Value { core.withLock { body($0) } }

    // MARK: Networks, in the words of Docker's API

    /// Makes a network; its id.
    ///
    /// - Parameter created: when it is made, RFC 3339.
    package func create(_ request: JSON, created: String) throws(Refusal) -> String {
        let wish = try NetworkCreation(request)
        return try locked { (core) throws(Refusal) in try core.create(wish, created: created).id }
    }

    /// All networks, by name.
    package var list: JSON { reading { $0.catalog.list } }

    /// One network, with its containers.
    package func inspect(_ network: String) throws(Refusal) -> JSON {
        try locked { (core) throws(Refusal) in core.catalog.view(try core.network(network), withContainers: true) }
    }

    /// Removes a network without containers.
    package func remove(_ network: String) throws(Refusal) {
        try locked { (core) throws(Refusal) in try core.remove(network) }
    }

    // MARK: Containers

    /// Whoever is to be on networks.
    package struct Container: Sendable, Hashable {
        /// The pod that it is.
        package var uid: String
        /// What others call it.
        package var name: String
        /// What it calls itself.
        package var hostname: String
        /// Its network namespace.
        package var namespacePath: String

        /// A container with that namespace.
        package init(uid: String, name: String, hostname: String, namespacePath: String) {
            self.uid = uid
            self.name = name
            self.hostname = hostname
            self.namespacePath = namespacePath
        }
    }

    /// Puts a container on the networks that it wishes, all or none; its addresses, IPv4 first.
    ///
    /// A container that is there keeps what it has.
    ///
    /// - Parameter time: now, RFC 3339: when the network `bridge` is made, should it not be there.
    package func attach(_ container: Container, _ wish: ContainerWish, at time: String) throws(Refusal) -> [String] {
        try locked { (core) throws(Refusal) in try core.attach(container, wish, at: time) }
    }

    /// Takes a container off all of its networks; harmless when it is on none.
    package func detach(uid: String) throws(Refusal) {
        try locked { (core) throws(Refusal) in try core.detach(uid) }
    }

    /// Takes all other containers off their networks.
    package func keep(only uids: Set<String>) throws(Refusal) {
        try locked { (core) throws(Refusal) in
            for uid in core.catalog.containers.keys.sorted() where !uids.contains(uid) { try core.detach(uid) }
        }
    }

    /// Puts a container that runs on one more network: `POST /networks/NAME/connect`.
    package func connect(_ container: String, to network: String, _ endpoint: JSON?) throws(Refusal) {
        let wish = try ContainerWish(connecting: network, endpoint)
        try locked { (core) throws(Refusal) in
            let container = try core.container(container)
            for item in wish.networks { try core.join(container.uid, item) }
        }
    }

    /// Takes a container that runs off a network: `POST /networks/NAME/disconnect`.
    package func disconnect(_ container: String, from network: String) throws(Refusal) {
        try locked { (core) throws(Refusal) in
            try core.leave(try core.container(container).uid, try core.network(network))
        }
    }

    /// Address and names of everybody who shares a network with a container; nil when it is none of ours.
    package func neighbours(of uid: String) -> [(address: String, names: [String])]? {
        reading { $0.catalog.containers[uid] == nil ? nil : $0.catalog.neighbours(of: uid) }
    }

    /// The containers that are on networks, with what `ps` shows of them.
    package var containers: JSON { reading { $0.containerList } }

    /// Takes everything out of the kernel; the networks are there again at the next start.
    ///
    /// What could not be taken away comes back, in words.
    package func withdraw() -> [String] { reading { $0.withdraw() } }

    /// The same, of networks that nobody serves now.
    package static func tearDown(directory: String) -> [String] {
        guard File.exists(directory + "/" + NodeNetworking.fileName) else { return [] }
        do throws(Refusal) {
            let networking = NodeNetworking(directory: directory, source: KernelNetworks())
            try networking.open()
            return networking.withdraw()
        } catch { return [error.message] }
    }
}

/// Where a plugin and the ways into containers come from; tests have their own.
protocol NetworkSource: Sendable {
    func plugin(directory: String) throws(SystemError) -> DockerPlugin
    func links() throws(SystemError) -> any ContainerLinks
}

/// What is done in containers.
protocol ContainerLinks: Sendable {
    func enter(_ link: String, _ path: String, as interface: EngineNetwork.Interface) throws(SystemError)
    func leave(_ interface: String, _ path: String) throws(SystemError)
    func has(_ interface: String, in path: String) throws(SystemError) -> Bool
    func lead(_ path: String, over interface: String, to gateways: [IPAddress]) throws(SystemError)
}

/// This machine's kernel.
struct KernelNetworks: NetworkSource {
    func plugin(directory: String) throws(SystemError) -> DockerPlugin {
        try DockerPlugin(directory: directory, owner: .node)
    }

    func links() throws(SystemError) -> any ContainerLinks { Links(network: try EngineNetwork()) }

    private struct Links: ContainerLinks {
        let network: EngineNetwork

        func enter(_ link: String, _ path: String, as interface: EngineNetwork.Interface) throws(SystemError) {
            try network.enter(link, try NetworkNamespace.open(path: path), as: interface)
        }
        func leave(_ interface: String, _ path: String) throws(SystemError) {
            guard File.exists(path) else { return }
            try network.leave(interface, try NetworkNamespace.open(path: path))
        }
        func has(_ interface: String, in path: String) throws(SystemError) -> Bool {
            try network.has(interface, in: try NetworkNamespace.open(path: path))
        }
        func lead(_ path: String, over interface: String, to gateways: [IPAddress]) throws(SystemError) {
            try network.lead(try NetworkNamespace.open(path: path), over: interface, to: gateways)
        }
    }
}
