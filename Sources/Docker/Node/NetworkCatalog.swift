internal import IO
internal import Serialization

/// A network that somebody has made on this node with `skein network create`.
struct NodeNetwork: Hashable, Sendable {
    /// Addresses of one subnet, as the address management gives them.
    struct Pool: Hashable, Sendable {
        var id: String
        var subnet: String
        var gateway: String?
        var range: String?
        var others: [String: String] = [:]

        var isV6: Bool { subnet.contains(":") }
    }

    var id: String
    var name: String
    /// When it was made, RFC 3339.
    var created: String
    var driver = "bridge"
    var isInternal = false
    var usesV6 = false
    var options: [String: String] = [:]
    var labels: [String: String] = [:]
    var pools: [Pool] = []
}

/// A container of this node, as far as networks are concerned.
struct NodeContainer: Hashable, Sendable {
    /// The pod that it is.
    var uid: String
    /// What people call it.
    var name: String
    var hostname: String
    /// Ports that are to be published, in the members of libnetwork's `com.docker.network.portmap`.
    var ports: [JSON] = []
    var namespacePath: String
    var places: [Place] = []

    /// Being on one network.
    struct Place: Hashable, Sendable {
        var network: String
        var endpoint: String
        var aliases: [String] = []
        /// The interface in the container.
        var device: String
        /// With the length of the network: `10.208.0.2/24`.
        var addresses: [String]
        var hardware: String
        var gateways: [String] = []
        var publishes = false

        /// The addresses without the lengths of their networks.
        var plainAddresses: [String] { addresses.map { String($0.prefix { $0 != "/" }) } }
    }
}

/// Everything that is written down of the node's networks beside the plugin's own journal.
struct NetworkCatalog: Hashable, Sendable {
    var networks: [String: NodeNetwork] = [:]
    var containers: [String: NodeContainer] = [:]

    init() {}

    /// The network of that name, id, or beginning of an id that no other has.
    func network(_ word: String) -> NodeNetwork? {
        if let found = networks[word] { return found }
        if let found = networks.values.first(where: { $0.name == word }) { return found }
        let matches = networks.values.filter { !word.isEmpty && $0.id.hasPrefix(word) }
        return matches.count == 1 ? matches.first : nil
    }

    /// The containers on a network, by name.
    func members(of network: String) -> [(container: NodeContainer, place: NodeContainer.Place)] {
        containers.values.sorted { ($0.name, $0.uid) < ($1.name, $1.uid) }.flatMap { container in
            container.places.filter { $0.network == network }.map { (container, $0) }
        }
    }

    /// The names that a container knows its neighbours by: address, then names.
    ///
    /// A neighbour on two networks is known by both of its addresses.
    func neighbours(of uid: String) -> [(address: String, names: [String])] {
        guard let own = containers[uid] else { return [] }
        return own.places.flatMap { place in
            members(of: place.network).filter { $0.container.uid != uid }.flatMap { other in
                other.place.plainAddresses.map { address in
                    var names = [other.container.name]
                    for name in other.place.aliases + [other.container.hostname] where !names.contains(name) {
                        names.append(name)
                    }
                    return (address, names)
                }
            }
        }
    }

    // MARK: On disk

    init?(_ json: JSON) {
        guard let networks = json["networks"]?.array, let containers = json["containers"]?.array else { return nil }
        for item in networks {
            guard let network = NodeNetwork(item) else { return nil }
            self.networks[network.id] = network
        }
        for item in containers {
            guard let container = NodeContainer(item) else { return nil }
            self.containers[container.uid] = container
        }
    }

    var json: JSON {
        [
            "networks": .array(networks.values.sorted { $0.id < $1.id }.map(\.json)),
            "containers": .array(containers.values.sorted { $0.uid < $1.uid }.map(\.json)),
        ]
    }
}

extension JSON {
    /// Texts by name.
    init(texts: [String: String]) { self = .object(texts.mapValues { .string($0) }) }
    /// Texts in their order.
    init(texts: [String]) { self = .array(texts.map { .string($0) }) }
    /// The texts of an array.
    var texts: [String] { (array ?? []).compactMap(\.string) }
    /// The texts of an object.
    var textsByName: [String: String] { (object ?? [:]).compactMapValues(\.string) }
}

extension NodeNetwork {
    init?(_ json: JSON) {
        guard let id = json["id"]?.string, id.hasPrefix(NetworkOwner.idPrefix), let name = json["name"]?.string else {
            return nil
        }
        self.id = id
        self.name = name
        created = json["created"]?.string ?? ""
        driver = json["driver"]?.string ?? "bridge"
        isInternal = json["internal"]?.bool ?? false
        usesV6 = json["v6"]?.bool ?? false
        options = json["options"]?.textsByName ?? [:]
        labels = json["labels"]?.textsByName ?? [:]
        for item in json["pools"]?.array ?? [] {
            guard let id = item["id"]?.string, let subnet = item["subnet"]?.string else { return nil }
            pools.append(
                Pool(
                    id: id, subnet: subnet, gateway: item["gateway"]?.string, range: item["range"]?.string,
                    others: item["others"]?.textsByName ?? [:]))
        }
    }

    var json: JSON {
        [
            "id": .string(id), "name": .string(name), "created": .string(created), "driver": .string(driver),
            "internal": .bool(isInternal), "v6": .bool(usesV6), "options": JSON(texts: options),
            "labels": JSON(texts: labels),
            "pools": .array(
                pools.map { pool in
                    var json: JSON = [
                        "id": .string(pool.id), "subnet": .string(pool.subnet), "others": JSON(texts: pool.others),
                    ]
                    if let gateway = pool.gateway { json["gateway"] = .string(gateway) }
                    if let range = pool.range { json["range"] = .string(range) }
                    return json
                }),
        ]
    }
}

extension NodeContainer {
    init?(_ json: JSON) {
        guard let uid = json["uid"]?.string, let name = json["name"]?.string,
            let namespacePath = json["namespace"]?.string
        else { return nil }
        self.uid = uid
        self.name = name
        self.namespacePath = namespacePath
        hostname = json["hostname"]?.string ?? name
        ports = json["ports"]?.array ?? []
        for item in json["places"]?.array ?? [] {
            guard let network = item["network"]?.string, let endpoint = item["endpoint"]?.string,
                let device = item["device"]?.string
            else { return nil }
            places.append(
                Place(
                    network: network, endpoint: endpoint, aliases: item["aliases"]?.texts ?? [], device: device,
                    addresses: item["addresses"]?.texts ?? [], hardware: item["hardware"]?.string ?? "",
                    gateways: item["gateways"]?.texts ?? [], publishes: item["publishes"]?.bool ?? false))
        }
    }

    var json: JSON {
        [
            "uid": .string(uid), "name": .string(name), "hostname": .string(hostname), "ports": .array(ports),
            "namespace": .string(namespacePath),
            "places": .array(
                places.map {
                    [
                        "network": .string($0.network), "endpoint": .string($0.endpoint),
                        "aliases": JSON(texts: $0.aliases), "device": .string($0.device),
                        "addresses": JSON(texts: $0.addresses), "hardware": .string($0.hardware),
                        "gateways": JSON(texts: $0.gateways), "publishes": .bool($0.publishes),
                    ]
                }),
        ]
    }
}
