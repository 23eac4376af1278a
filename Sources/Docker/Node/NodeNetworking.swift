internal import CNI
internal import IO
internal import Serialization
internal import Telemetry

/// What `ContainerNetworks` guards: the catalogue, and the driver below it.
///
/// `@unchecked Sendable`: touched under its owner's lock alone.
final class NodeNetworking: @unchecked Sendable {
    static let fileName = "networks.json"

    private(set) var catalog = NetworkCatalog()
    private let directory: String
    private let source: any NetworkSource
    private var plugin: DockerPlugin?
    private var links: (any ContainerLinks)?
    private let log = Logger("networks")

    init(directory: String, source: any NetworkSource) {
        self.directory = directory
        self.source = source
    }

    // MARK: Start and end

    /// Reads what is written down, and brings the driver in line with it.
    func open() throws(Refusal) {
        let path = "\(directory)/\(Self.fileName)"
        guard File.exists(path) else { return }
        guard let json = (try? File.read(path)).flatMap({ try? JSON.parse($0) }), let found = NetworkCatalog(json)
        else {
            throw Refusal("\(path) is damaged; move it away to begin without networks", status: 500)
        }
        catalog = found
        try reconcile(try driver())
    }

    private func driver() throws(Refusal) -> DockerPlugin {
        if let plugin { return plugin }
        do throws(SystemError) {
            let made = try source.plugin(directory: directory)
            links = try source.links()
            plugin = made
            return made
        } catch { throw Refusal("the networks of \(directory): \(error)", status: 500) }
    }

    /// The driver is told before the catalogue is written: what only one of them knows was not finished.
    private func reconcile(_ plugin: DockerPlugin) throws(Refusal) {
        for id in plugin.state.endpoints.keys.sorted() {
            guard !catalog.containers.values.contains(where: { $0.places.contains { $0.endpoint == id } }) else {
                continue
            }
            try release(plugin, endpoint: id)
        }
        for id in plugin.state.networks.keys.sorted() where catalog.networks[id] == nil {
            _ = try plugin.perform("NetworkDriver.DeleteNetwork", ["NetworkID": .string(id)])
        }
        let pools = Set(catalog.networks.values.flatMap { $0.pools.map(\.id) })
        for id in plugin.state.pools.keys.sorted() where !pools.contains(id) {
            _ = try plugin.perform("IpamDriver.ReleasePool", ["PoolID": .string(id)])
        }
        // Containers do not outlive the machine: their places are made anew when their pods are.
        var next = catalog
        for uid in next.containers.keys {
            next.containers[uid]?.places.removeAll { plugin.state.endpoints[$0.endpoint] == nil }
        }
        try write(next)
    }

    /// Takes everything out of the kernel; what could not be taken away, in words.
    func withdraw() -> [String] {
        guard let plugin else { return [] }
        var problems: [String] = []
        for uid in catalog.containers.keys.sorted() {
            do throws(Refusal) { try detach(uid) } catch { problems.append(error.message) }
        }
        return problems + plugin.withdraw().map(\.description)
    }

    private func write(_ next: NetworkCatalog) throws(Refusal) {
        guard next != catalog else { return }
        do throws(SystemError) {
            try File.makeDirectory(directory, mode: 0o700)
            try File.write("\(directory)/\(Self.fileName)", next.json.bytes, mode: 0o600)
        } catch { throw Refusal(error.description, status: 500) }
        catalog = next
    }

    // MARK: Networks

    func network(_ word: String) throws(Refusal) -> NodeNetwork {
        guard let found = catalog.network(word) else {
            throw Refusal("network \(word.prefix(80)) not found", status: 404)
        }
        return found
    }

    func create(_ wish: NetworkCreation, created: String) throws(Refusal) -> NodeNetwork {
        guard !catalog.networks.values.contains(where: { $0.name == wish.name }) else {
            throw Refusal("network with name \(wish.name) already exists", status: 409)
        }
        let plugin = try driver()
        var network = NodeNetwork(id: Self.newID(NetworkOwner.idPrefix, digits: 60), name: wish.name, created: created)
        network.driver = wish.driver
        network.isInternal = wish.isInternal
        network.usesV6 = wish.usesV6
        network.options = wish.options
        network.labels = wish.labels
        do throws(Refusal) {
            var subnets = wish.subnets
            if !subnets.contains(where: { !$0.isV6 }) { subnets.append(.init()) }
            for subnet in subnets { try take(plugin, subnet, isV6: subnet.isV6, &network) }
            if wish.usesV6, !subnets.contains(where: \.isV6) { try take(plugin, .init(), isV6: true, &network) }
            _ = try plugin.perform("NetworkDriver.CreateNetwork", NodeNetworking.creation(network))
            var next = catalog
            next.networks[network.id] = network
            try write(next)
        } catch {
            giveBack(plugin, network)
            throw error
        }
        return network
    }

    private func take(
        _ plugin: DockerPlugin, _ wish: NetworkCreation.Subnet, isV6: Bool, _ network: inout NodeNetwork
    ) throws(Refusal) {
        var request: JSON = ["V6": .bool(isV6)]
        if let subnet = wish.subnet { request["Pool"] = .string(subnet) }
        if let range = wish.range { request["SubPool"] = .string(range) }
        let answer = try plugin.perform("IpamDriver.RequestPool", request)
        guard let id = answer["PoolID"]?.string, let subnet = answer["Pool"]?.string else {
            throw Refusal("no addresses were given", status: 500)
        }
        var pool = NodeNetwork.Pool(id: id, subnet: subnet, range: wish.range)
        // Noted at once: what fails below gives it back.
        network.pools.append(pool)
        var options: JSON = ["RequestAddressType": "com.docker.network.gateway"]
        pool.gateway = try address(plugin, id, wish.gateway, options)
        options = [:]
        for (name, text) in wish.others.sorted(by: { $0.key < $1.key }) {
            pool.others[name] = try address(plugin, id, text, options)
        }
        network.pools[network.pools.count - 1] = pool
    }

    /// An address with the length of its network.
    private func address(
        _ plugin: DockerPlugin, _ pool: String, _ wished: String?, _ options: JSON = [:]
    ) throws(Refusal) -> String {
        var request: JSON = ["PoolID": .string(pool), "Options": options]
        if let wished { request["Address"] = .string(wished) }
        let answer = try plugin.perform("IpamDriver.RequestAddress", request)
        guard let address = answer["Address"]?.string else { throw Refusal("no address was given", status: 500) }
        return address
    }

    static func creation(_ network: NodeNetwork) -> JSON {
        func data(isV6: Bool) -> JSON {
            .array(
                network.pools.filter { $0.isV6 == isV6 }.map { pool in
                    var json: JSON = ["Pool": .string(pool.subnet), "AuxAddresses": JSON(texts: pool.others)]
                    if let gateway = pool.gateway { json["Gateway"] = .string(gateway) }
                    return json
                })
        }
        var generic = network.options
        generic["skein.driver"] = network.driver
        return [
            "NetworkID": .string(network.id), "IPv4Data": data(isV6: false), "IPv6Data": data(isV6: true),
            "Options": [
                "com.docker.network.internal": .bool(network.isInternal),
                "com.docker.network.enable_ipv6": .bool(network.usesV6),
                "com.docker.network.generic": JSON(texts: generic),
            ],
        ]
    }

    /// Takes back what was made of a network that did not come about, or goes.
    private func giveBack(_ plugin: DockerPlugin, _ network: NodeNetwork) {
        attempt(plugin, "NetworkDriver.DeleteNetwork", ["NetworkID": .string(network.id)])
        for pool in network.pools { attempt(plugin, "IpamDriver.ReleasePool", ["PoolID": .string(pool.id)]) }
    }

    private func attempt(_ plugin: DockerPlugin, _ method: String, _ body: JSON) {
        do throws(Refusal) { _ = try plugin.perform(method, body) } catch {
            log.error("not given back", ["method": method, "error": error.message])
        }
    }

    func remove(_ word: String) throws(Refusal) {
        guard !NetworkCreation.predefined.contains(word) else {
            throw Refusal("\(word) is a pre-defined network and cannot be removed", status: 403)
        }
        let network = try network(word)
        let members = catalog.members(of: network.id)
        guard members.isEmpty else {
            let names = members.map(\.container.name).joined(separator: ", ")
            throw Refusal(
                "error while removing network: network \(network.name) id \(network.id) has active endpoints: \(names)",
                status: 403)
        }
        let plugin = try driver()
        giveBack(plugin, network)
        var next = catalog
        next.networks[network.id] = nil
        try write(next)
    }

    // MARK: Containers

    func container(_ word: String) throws(Refusal) -> NodeContainer {
        let found = catalog.containers[word] ?? catalog.containers.values.first { $0.name == word }
        guard let found else {
            throw Refusal("No such container: \(word.prefix(80)) (or it is on no network of its own)", status: 404)
        }
        return found
    }

    func attach(
        _ container: ContainerNetworks.Container, _ wish: ContainerWish, at time: String
    ) throws(Refusal) -> [String] {
        if let known = catalog.containers[container.uid], !known.places.isEmpty {
            if try isWhole(known) { return addresses(of: container.uid) }
            try detach(container.uid)
        }
        var next = catalog
        next.containers[container.uid] = NodeContainer(
            uid: container.uid, name: container.name, hostname: container.hostname, ports: wish.ports,
            namespacePath: container.namespacePath)
        try write(next)
        do throws(Refusal) {
            for network in wish.networks {
                if network.name == NetworkCreation.standard, catalog.network(network.name) == nil {
                    _ = try create(NetworkCreation(name: network.name), created: time)
                }
                try join(container.uid, network)
            }
        } catch {
            try? detach(container.uid)
            throw error
        }
        return addresses(of: container.uid)
    }

    private func isWhole(_ container: NodeContainer) throws(Refusal) -> Bool {
        _ = try driver()
        return container.places.allSatisfy { place in
            (try? links?.has(place.device, in: container.namespacePath)) == true
        }
    }

    private func addresses(of uid: String) -> [String] {
        let all = (catalog.containers[uid]?.places ?? []).flatMap(\.plainAddresses)
        return all.filter { !$0.contains(":") } + all.filter { $0.contains(":") }
    }

    /// Puts a container on a network, wholly or not at all.
    func join(_ uid: String, _ wish: ContainerWish.Network) throws(Refusal) {
        let network = try network(wish.name)
        guard var container = catalog.containers[uid] else { throw Refusal("No such container: \(uid)", status: 404) }
        guard !container.places.contains(where: { $0.network == network.id }) else {
            throw Refusal("endpoint with name \(container.name) already exists in network \(network.name)", status: 403)
        }
        let plugin = try driver()
        guard let links else { throw Refusal("the networks are not open", status: 500) }
        let endpoint = Self.newID("", digits: 64)
        var place = NodeContainer.Place(
            network: network.id, endpoint: endpoint, aliases: wish.aliases, device: "", addresses: [], hardware: "")
        do throws(Refusal) {
            for isV6 in [false, true] {
                if let address = try choose(plugin, network, isV6 ? wish.v6 : wish.v4, isV6: isV6) {
                    place.addresses.append(address)
                }
            }
            var interface: JSON = [:]
            for address in place.addresses {
                interface[address.contains(":") ? "AddressIPv6" : "Address"] = .string(address)
            }
            if let hardware = wish.hardware { interface["MacAddress"] = .string(hardware) }
            let names: JSON = ["NetworkID": .string(network.id), "EndpointID": .string(endpoint)]
            var body = names
            body["Interface"] = interface
            let made = try plugin.perform("NetworkDriver.CreateEndpoint", body)
            place.hardware = wish.hardware ?? made["Interface"]?["MacAddress"]?.string ?? ""
            let joined = try plugin.perform("NetworkDriver.Join", names)
            let link = joined["InterfaceName"]
            let prefix = link?["DstPrefix"]?.string ?? "eth"
            let taken = Set(container.places.map(\.device))
            place.device = (0...taken.count).lazy.map { "\(prefix)\($0)" }.first { !taken.contains($0) } ?? prefix
            place.gateways = ["Gateway", "GatewayIPv6"].compactMap { joined[$0]?.string }
            do throws(SystemError) {
                try links.enter(
                    link?["SrcName"]?.string ?? "", container.namespacePath,
                    as: .init(name: place.device, addresses: place.addresses.compactMap { InterfaceAddress($0) }))
            } catch { throw Refusal("\(container.name): \(error)", status: 500) }
            container.places.append(place)
            try settle(plugin, &container)
            var next = catalog
            next.containers[uid] = container
            try write(next)
        } catch {
            give(plugin, place, network)
            throw error
        }
    }

    /// An address of the network's; nil when it has none of that family.
    private func choose(
        _ plugin: DockerPlugin, _ network: NodeNetwork, _ wished: String?, isV6: Bool
    ) throws(Refusal) -> String? {
        let pools = network.pools.filter { $0.isV6 == isV6 }
        guard let wished else {
            guard let first = pools.first else { return nil }
            return try address(plugin, first.id, nil)
        }
        guard let wanted = IPAddress(wished), wanted.isV6 == isV6 else {
            throw Refusal("invalid \(isV6 ? "IPv6" : "IPv4") address: \(wished.prefix(80))")
        }
        guard let pool = pools.first(where: { Prefix($0.subnet)?.contains(wanted) == true }) else {
            throw Refusal(
                "no configured subnet contains IP address \(wished): network \(network.name) has \(network.pools.map(\.subnet).joined(separator: ", "))"
            )
        }
        return try address(plugin, pool.id, wished)
    }

    /// The way out and the published ports are those of the first network that has them.
    private func settle(_ plugin: DockerPlugin, _ container: inout NodeContainer) throws(Refusal) {
        guard let links else { return }
        if let place = container.places.first(where: { !$0.gateways.isEmpty }) {
            do throws(SystemError) {
                try links.lead(
                    container.namespacePath, over: place.device, to: place.gateways.compactMap { IPAddress($0) })
            } catch { throw Refusal("\(container.name): \(error)", status: 500) }
        }
        guard !container.ports.isEmpty, !container.places.contains(where: \.publishes) else { return }
        // A network without a way out has none in either.
        guard let index = container.places.firstIndex(where: { !$0.gateways.isEmpty }) ?? container.places.indices.first
        else { return }
        _ = try plugin.perform(
            "NetworkDriver.ProgramExternalConnectivity",
            [
                "NetworkID": .string(container.places[index].network),
                "EndpointID": .string(container.places[index].endpoint),
                "Options": ["com.docker.network.portmap": .array(container.ports)],
            ])
        container.places[index].publishes = true
    }

    func leave(_ uid: String, _ network: NodeNetwork) throws(Refusal) {
        guard var container = catalog.containers[uid],
            let index = container.places.firstIndex(where: { $0.network == network.id })
        else { throw Refusal("container is not connected to network \(network.name)", status: 403) }
        let plugin = try driver()
        let place = container.places.remove(at: index)
        do throws(SystemError) { try links?.leave(place.device, container.namespacePath) } catch {
            throw Refusal("\(container.name): \(error)", status: 500)
        }
        give(plugin, place, network)
        var next = catalog
        next.containers[uid] = container
        try write(next)
        // What it took along may be on another of its networks now.
        try settle(plugin, &container)
        next.containers[uid] = container
        try write(next)
    }

    func detach(_ uid: String) throws(Refusal) {
        guard let container = catalog.containers[uid] else { return }
        let plugin = try driver()
        for place in container.places {
            do throws(SystemError) { try links?.leave(place.device, container.namespacePath) } catch {
                log.warning("interface not taken out", ["container": container.name, "error": "\(error)"])
            }
            if let network = catalog.networks[place.network] { give(plugin, place, network) }
        }
        var next = catalog
        next.containers[uid] = nil
        try write(next)
    }

    /// Gives a place back; what is not there is given back already.
    private func give(_ plugin: DockerPlugin, _ place: NodeContainer.Place, _ network: NodeNetwork) {
        attempt(
            plugin, "NetworkDriver.DeleteEndpoint",
            ["NetworkID": .string(network.id), "EndpointID": .string(place.endpoint)])
        for address in place.addresses {
            guard let plain = InterfaceAddress(address)?.address,
                let pool = network.pools.first(where: { Prefix($0.subnet)?.contains(plain) == true })
            else { continue }
            attempt(plugin, "IpamDriver.ReleaseAddress", ["PoolID": .string(pool.id), "Address": .string("\(plain)")])
        }
    }

    private func release(_ plugin: DockerPlugin, endpoint id: String) throws(Refusal) {
        guard let endpoint = plugin.state.endpoints[id] else { return }
        _ = try plugin.perform(
            "NetworkDriver.DeleteEndpoint", ["NetworkID": .string(endpoint.network), "EndpointID": .string(id)])
        for address in endpoint.addresses {
            for pool in plugin.state.pools.values where pool.prefix.contains(address.address) {
                _ = try plugin.perform(
                    "IpamDriver.ReleaseAddress",
                    ["PoolID": .string(pool.id), "Address": .string("\(address.address)")])
            }
        }
    }

    private static func newID(_ prefix: String, digits: Int) -> String {
        prefix + String((0..<digits).compactMap { _ in "0123456789abcdef".randomElement() })
    }

    // MARK: Views

    /// Name, addresses and ports of every container on networks.
    var containerList: JSON {
        let ports = plugin?.state.endpoints ?? [:]
        return .array(
            catalog.containers.values.sorted { $0.name < $1.name }.map { container in
                let published = container.places.flatMap { ports[$0.endpoint]?.ports ?? [] }
                return [
                    "uid": .string(container.uid), "name": .string(container.name),
                    "networks": JSON(
                        texts: container.places.compactMap { catalog.networks[$0.network]?.name }),
                    "ports": .array(published.map(\.json)),
                ]
            })
    }
}
