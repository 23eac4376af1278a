internal import CNI
internal import IO
internal import Serialization

/// What kind of network it is: `-o skein.driver=`.
enum DriverKind: String, CaseIterable, Sendable {
    /// A bridge of this machine.
    case bridge
    /// A bridge of this machine, and a tunnel to those of others.
    case overlay
    /// Interfaces of their own on a device of this machine.
    case macvlan

    /// Whether containers are on a bridge of this machine.
    var hasBridge: Bool { self != .macvlan }
}

/// CreateNetwork: what `docker network create` says.
struct NetworkWish: Hashable, Sendable {
    /// One subnet, as the address management has given it.
    struct Subnet: Hashable, Sendable {
        var prefix: Prefix
        /// The address of this machine in it.
        var gateway: InterfaceAddress?
        /// `--aux-address DefaultGatewayIPv4=`: what containers take as their way out in its place.
        var wayOut: IPAddress?
    }

    var id: String
    var driver = DriverKind.bridge
    /// A name for the bridge.
    var bridge: String?
    var parent: String?
    /// `overlay`: the way to the network's other machines.
    var tunnel: EngineNetwork.Tunnel?
    var mode = "bridge"
    var mtu: Int?
    var isInternal = false
    var masquerades = true
    /// Whether the containers of the network reach each other.
    var connectsContainers = true
    /// Where ports are published that name no address.
    var hostBinding: IPAddress?
    var interfacePrefix = "eth"
    var subnets: [Subnet] = []

    init(id: String, subnets: [Subnet]) {
        self.id = id
        self.subnets = subnets
    }

    init(_ reader: FieldReader) throws(Refusal) {
        id = try reader.id("NetworkID")
        for family in ["IPv4Data", "IPv6Data"] {
            for item in try reader.objects(family, limit: Limits.subnets) {
                let subnet = try NetworkWish.subnet(item, isV6: family == "IPv6Data")
                // `--ipam-driver null` says it so: containers without addresses.
                if subnet.prefix.length > 0 { subnets.append(subnet) }
            }
        }
        guard let options = try reader.object("Options") else { return }
        isInternal = try options.bool("com.docker.network.internal") ?? false
        let usesV6 = try options.bool("com.docker.network.enable_ipv6") ?? false
        _ = try options.bool("com.docker.network.enable_ipv4")  // Without it no IPv4Data comes.
        if !usesV6 { subnets.removeAll { $0.prefix.address.isV6 } }
        if let generic = try options.object("com.docker.network.generic") { try read(generic) }
        if let name = options.unread.first { throw NetworkWish.unknown(name) }
    }

    private static func unknown(_ name: String) -> Refusal {
        Refusal("the network option \(name.prefix(120)) is unknown to skein")
    }

    private static func subnet(_ item: FieldReader, isV6: Bool) throws(Refusal) -> Subnet {
        guard let prefix = try item.parsed("Pool", "network", { $0.contains("/") ? Prefix($0) : nil }) else {
            throw item.error("Pool", "it is missing")
        }
        guard prefix.address.isV6 == isV6 else { throw item.error("Pool", "\(prefix) is of another family") }
        var subnet = Subnet(prefix: prefix)
        subnet.gateway = try item.parsed("Gateway", "address with a length", InterfaceAddress.init)
        if let gateway = subnet.gateway, !prefix.contains(gateway.address) {
            throw item.error("Gateway", "\(gateway) is not in \(prefix)")
        }
        // Other names only keep addresses from containers, which the address management does.
        if let others = try item.object("AuxAddresses") {
            let name = isV6 ? "DefaultGatewayIPv6" : "DefaultGatewayIPv4"
            subnet.wayOut = try others.parsed(name, "address") { InterfaceAddress($0)?.address }
        }
        return subnet
    }

    /// The options of `-o`.
    private mutating func read(_ reader: FieldReader) throws(Refusal) {
        func at(_ name: String) -> Refusal {
            Refusal("the network option \(name): it has no meaning for the driver \(driver.rawValue)")
        }
        if let word = try reader.string("skein.driver") {
            guard let kind = DriverKind(rawValue: word) else { throw NetworkWish.refused(driver: word) }
            driver = kind
        }
        mtu = try reader.integer("com.docker.network.driver.mtu", 0...65_535)
        if mtu == 0 { mtu = nil }
        if let mtu, mtu < 68 {
            throw reader.error("com.docker.network.driver.mtu", "\(mtu) is less than IPv4 needs (68)")
        }
        bridge = try reader.string("com.docker.network.bridge.name")
        masquerades = try reader.bool("com.docker.network.bridge.enable_ip_masquerade") ?? true
        connectsContainers = try reader.bool("com.docker.network.bridge.enable_icc") ?? true
        hostBinding = try reader.parsed("com.docker.network.bridge.host_binding_ipv4", "address", { IPAddress($0) })
        if let address = hostBinding, address.isUnspecified { hostBinding = nil }
        interfacePrefix = try reader.string("com.docker.network.container_iface_prefix") ?? "eth"
        parent = try reader.string("parent")
        let mode = try reader.string("macvlan_mode")
        tunnel = try NetworkWish.tunnel(reader)
        if let name = reader.unread.first { throw NetworkWish.unknown(name) }
        for (option, name) in [
            ("com.docker.network.bridge.name", bridge), ("com.docker.network.container_iface_prefix", interfacePrefix),
            ("parent", parent),
        ] {
            if let name, let problem = NetworkWish.problem(ofDevice: name, limit: option.hasSuffix("prefix") ? 10 : 15)
            {
                throw reader.error(option, "'\(name.prefix(40))' \(problem)")
            }
        }
        switch driver {
        case .bridge, .overlay:
            if parent != nil { throw at("parent") }
            if mode != nil { throw at("macvlan_mode") }
            try checkTunnel(reader, at)
        case .macvlan:
            guard parent != nil else {
                throw Refusal("the network option parent is missing: it names the device below, as in -o parent=eth0")
            }
            self.mode = mode ?? "bridge"
            guard ["bridge", "private", "vepa", "passthru"].contains(self.mode) else {
                throw reader.error(
                    "macvlan_mode", "'\(self.mode.prefix(40))' is none of bridge, private, vepa, passthru")
            }
            let ofBridges = [
                "name", "enable_ip_masquerade", "enable_icc", "host_binding_ipv4",
            ].map { "com.docker.network.bridge.\($0)" }
            if let name = ofBridges.first(where: { reader.value($0) != nil }) { throw at(name) }
            try checkTunnel(reader, at)
            if isInternal {
                throw Refusal("--internal: the driver macvlan is on the network of its parent; take the driver bridge")
            }
        }
    }

    /// The options of `overlay`; nil when there is none of them.
    private static func tunnel(_ reader: FieldReader) throws(Refusal) -> EngineNetwork.Tunnel? {
        let number = try reader.integer("skein.vni", 1...16_777_215)
        let port = try reader.integer("skein.port", 1...65_535)
        let own = try reader.parsed("skein.address", "address of this machine", machine)
        var peers: [IPAddress] = []
        for word in try reader.string("skein.peers")?.split(separator: ",", omittingEmptySubsequences: false) ?? [] {
            guard let peer = machine(String(word)) else {
                throw reader.error("skein.peers", "'\(word.prefix(40))' is no address of a machine")
            }
            guard !peers.contains(peer) else { throw reader.error("skein.peers", "\(peer) is there twice") }
            peers.append(peer)
        }
        guard peers.count <= Limits.peers else {
            throw reader.error("skein.peers", "\(peers.count) machines are more than \(Limits.peers)")
        }
        if let first = peers.first,
            let other = (peers + [own].compactMap(\.self)).first(where: { $0.isV6 != first.isV6 })
        {
            throw reader.error("skein.peers", "\(first) and \(other) are of two families")
        }
        guard number != nil || port != nil || own != nil || !peers.isEmpty else { return nil }
        // 4789 is VXLAN's own. What is missing is said by `checkTunnel`.
        return EngineNetwork.Tunnel(
            identifier: UInt32(number ?? 0), port: UInt16(port ?? 4789), own: own, peers: peers)
    }

    /// An address that a machine can have for other machines.
    private static func machine(_ text: String) -> IPAddress? {
        guard let address = IPAddress(text), !address.isUnspecified, !address.isLoopback,
            let first = address.bytes.first
        else { return nil }
        let isMulticast = address.isV6 ? first == 0xff : first >= 224
        return isMulticast ? nil : address
    }

    private func checkTunnel(_ reader: FieldReader, _ misplaced: (String) -> Refusal) throws(Refusal) {
        guard driver == .overlay else {
            let names = ["skein.vni", "skein.peers", "skein.address", "skein.port"]
            if let name = names.first(where: { reader.value($0) != nil }) { throw misplaced(name) }
            return
        }
        guard let tunnel, tunnel.identifier > 0 else {
            throw Refusal(
                "the network option skein.vni is missing: the network's number, the same on all of its machines, as in -o skein.vni=42"
            )
        }
        guard !tunnel.peers.isEmpty else {
            throw Refusal(
                "the network option skein.peers is missing: the addresses of its machines, as in -o skein.peers=192.0.2.1,192.0.2.2"
            )
        }
    }

    private static func refused(driver word: String) -> Refusal {
        switch word {
        case "host-gw":
            Refusal(
                "the network option skein.driver: 'host-gw' is for the pods of nodes; networks over several machines have the driver overlay"
            )
        case "host", "none":
            Refusal("the network option skein.driver: the engine has '--network \(word)' itself")
        default:
            Refusal("the network option skein.driver: '\(word.prefix(40))' is none of bridge, overlay, macvlan")
        }
    }

    private static func problem(ofDevice name: String, limit: Int) -> String? {
        if name.utf8.count > limit { return "is longer than \(limit) bytes" }
        let isSound = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x2f && $0 != 0x3a }
        return isSound && name != "." && name != ".." ? nil : "is no name of a network device"
    }
}
