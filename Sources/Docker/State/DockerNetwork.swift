internal import CNI
internal import IO
internal import Serialization

/// A network that the engine has made with us.
struct DockerNetwork: Hashable, Sendable {
    var wish: NetworkWish

    var id: String { wish.id }

    /// The bridge: the name that was asked for, or one of the network's id.
    var device: String { wish.bridge ?? "\(DockerNetwork.bridgePrefix)\(wish.id.prefix(11))" }
    static let bridgePrefix = "skb-"

    /// The end of the tunnel to the other machines.
    var tunnelDevice: String { "\(DockerNetwork.tunnelPrefix)\(wish.id.prefix(11))" }
    static let tunnelPrefix = "skv"

    /// What the bridge's alias says.
    var alias: String { "\(NetworkOwner(network: wish.id).notePrefix)\(wish.id.prefix(12))" }

    func subnet(of address: IPAddress) -> NetworkWish.Subnet? { wish.subnets.first { $0.prefix.contains(address) } }

    /// What becomes of a container's packets beyond the network.
    var purposes: [EngineNetwork.Purpose] {
        switch wish.driver {
        case .macvlan: []
        case .bridge, .overlay:
            [.isolation, .seclusion] + (wish.isInternal ? [.enclosure] : wish.masquerades ? [.masquerade] : [])
        }
    }

    var json: JSON {
        var json: JSON = [
            "id": .string(wish.id), "driver": .string(wish.driver.rawValue), "mode": .string(wish.mode),
            "internal": .bool(wish.isInternal), "masquerade": .bool(wish.masquerades),
            "icc": .bool(wish.connectsContainers), "prefix": .string(wish.interfacePrefix),
            "subnets": .array(
                wish.subnets.map { subnet in
                    var json: JSON = ["prefix": .string(subnet.prefix.description)]
                    if let gateway = subnet.gateway { json["gateway"] = .string(gateway.description) }
                    if let wayOut = subnet.wayOut { json["wayOut"] = .string(wayOut.description) }
                    return json
                }),
        ]
        if let bridge = wish.bridge { json["bridge"] = .string(bridge) }
        if let parent = wish.parent { json["parent"] = .string(parent) }
        if let tunnel = wish.tunnel {
            var item: JSON = [
                "vni": .integer(Int64(tunnel.identifier)), "port": .integer(Int64(tunnel.port)),
                "peers": .array(tunnel.peers.map { .string($0.description) }),
            ]
            if let own = tunnel.own { item["address"] = .string(own.description) }
            json["tunnel"] = item
        }
        if let mtu = wish.mtu { json["mtu"] = .integer(Int64(mtu)) }
        if let address = wish.hostBinding { json["hostBinding"] = .string(address.description) }
        return json
    }

    init(_ wish: NetworkWish) { self.wish = wish }

    /// Reads what `json` has written; nil when it is something else.
    init?(_ json: JSON) {
        guard let id = json["id"]?.string, let driver = DriverKind(rawValue: json["driver"]?.string ?? "") else {
            return nil
        }
        var wish = NetworkWish(id: id, subnets: [])
        for item in json["subnets"]?.array ?? [] {
            guard let prefix = item["prefix"]?.string.flatMap({ Prefix($0) }) else { return nil }
            wish.subnets.append(
                .init(
                    prefix: prefix, gateway: item["gateway"]?.string.flatMap { InterfaceAddress($0) },
                    wayOut: item["wayOut"]?.string.flatMap { IPAddress($0) }))
        }
        wish.driver = driver
        wish.bridge = json["bridge"]?.string
        wish.parent = json["parent"]?.string
        if let item = json["tunnel"] {
            guard let identifier = item["vni"]?.int.flatMap({ UInt32(exactly: $0) }),
                let port = item["port"]?.int.flatMap({ UInt16(exactly: $0) })
            else { return nil }
            wish.tunnel = EngineNetwork.Tunnel(
                identifier: identifier, port: port, own: item["address"]?.string.flatMap { IPAddress($0) },
                peers: (item["peers"]?.array ?? []).compactMap { $0.string.flatMap { IPAddress($0) } })
        }
        guard (driver == .overlay) == (wish.tunnel != nil) else { return nil }
        wish.mode = json["mode"]?.string ?? "bridge"
        wish.mtu = json["mtu"]?.int
        wish.isInternal = json["internal"]?.bool ?? false
        wish.masquerades = json["masquerade"]?.bool ?? true
        wish.connectsContainers = json["icc"]?.bool ?? true
        wish.hostBinding = json["hostBinding"]?.string.flatMap { IPAddress($0) }
        wish.interfacePrefix = json["prefix"]?.string ?? "eth"
        self.wish = wish
    }
}

/// A container's place on a network.
struct DockerEndpoint: Hashable, Sendable {
    var id: String
    var network: String
    var v4: InterfaceAddress?
    var v6: InterfaceAddress?
    var hardware: [UInt8]
    /// Whether the engine has taken the link.
    var isJoined = false
    var ports: [PublishedPort] = []

    /// The end of the pair that stays on this machine.
    var hostLink: String { "\(DockerEndpoint.hostPrefix)\(id.prefix(12))" }
    static let hostPrefix = "skd"
    /// The link that the engine takes into the container.
    var containerLink: String { "\(DockerEndpoint.containerPrefix)\(id.prefix(12))" }
    static let containerPrefix = "skp"
    /// What the link's alias and the rules' comments say.
    var note: String { "\(NetworkOwner(network: network).notePrefix)\(network.prefix(12)) \(id.prefix(12))" }

    var addresses: [InterfaceAddress] { [v4, v6].compactMap(\.self) }

    /// Its addresses with their networks.
    func members(_ network: DockerNetwork) -> [EngineNetwork.Member] {
        addresses.compactMap { address in
            guard let own = network.subnet(of: address.address)?.prefix ?? address.network else { return nil }
            let others = network.wish.subnets.map(\.prefix).filter {
                $0 != own && $0.address.isV6 == own.address.isV6
            }
            return EngineNetwork.Member(address.address, in: own, others: others)
        }
    }

    init(_ wish: EndpointWish, hardware: [UInt8]) {
        id = wish.endpoint
        network = wish.network
        v4 = wish.v4
        v6 = wish.v6
        self.hardware = hardware
    }

    var json: JSON {
        var json: JSON = [
            "id": .string(id), "network": .string(network), "joined": .bool(isJoined),
            "mac": .string(EngineNetwork.text(hardware: hardware)),
        ]
        if let v4 { json["v4"] = .string(v4.description) }
        if let v6 { json["v6"] = .string(v6.description) }
        if !ports.isEmpty { json["ports"] = .array(ports.map(\.json)) }
        return json
    }

    /// Reads what `json` has written; nil when it is something else.
    init?(_ json: JSON) {
        guard let id = json["id"]?.string, let network = json["network"]?.string,
            let hardware = json["mac"]?.string.flatMap(EndpointWish.hardware)
        else { return nil }
        self.id = id
        self.network = network
        self.hardware = hardware
        v4 = json["v4"]?.string.flatMap { InterfaceAddress($0) }
        v6 = json["v6"]?.string.flatMap { InterfaceAddress($0) }
        isJoined = json["joined"]?.bool ?? false
        ports = (json["ports"]?.array ?? []).compactMap { PublishedPort($0) }
    }
}

extension PublishedPort {
    var json: JSON {
        var json: JSON = [
            "host": .integer(Int64(hostPort)), "container": .integer(Int64(containerPort)),
            "transport": .integer(Int64(transport)),
        ]
        if let hostAddress { json["address"] = .string(hostAddress.description) }
        return json
    }

    init?(_ json: JSON) {
        guard let host = json["host"]?.int.flatMap({ UInt16(exactly: $0) }),
            let container = json["container"]?.int.flatMap({ UInt16(exactly: $0) }),
            let transport = json["transport"]?.int.flatMap({ UInt8(exactly: $0) })
        else { return nil }
        self.init(
            hostPort: host, containerPort: container, transport: transport,
            hostAddress: json["address"]?.string.flatMap { IPAddress($0) })
    }

    /// Whether both would be the same port of this machine.
    func collides(with other: PublishedPort) -> Bool {
        guard hostPort == other.hostPort, transport == other.transport else { return false }
        guard let hostAddress, let address = other.hostAddress else { return true }
        return hostAddress == address
    }
}
