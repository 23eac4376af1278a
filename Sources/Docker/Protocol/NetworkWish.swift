internal import CNI
internal import IO
internal import Serialization

/// What kind of network it is: `-o skein.driver=`.
enum DriverKind: String, CaseIterable, Sendable {
    /// A bridge of this machine.
    case bridge
    /// Interfaces of their own on a device of this machine.
    case macvlan
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
        case .bridge:
            if parent != nil { throw at("parent") }
            if mode != nil { throw at("macvlan_mode") }
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
            if isInternal {
                throw Refusal("--internal: the driver macvlan is on the network of its parent; take the driver bridge")
            }
        }
    }

    private static func refused(driver word: String) -> Refusal {
        switch word {
        case "overlay", "host-gw":
            Refusal(
                "the network option skein.driver: '\(word)' spans hosts, which Docker networks of ours do not; take bridge or macvlan"
            )
        case "host", "none":
            Refusal("the network option skein.driver: the engine has '--network \(word)' itself")
        default:
            Refusal("the network option skein.driver: '\(word.prefix(40))' is none of bridge, macvlan")
        }
    }

    private static func problem(ofDevice name: String, limit: Int) -> String? {
        if name.utf8.count > limit { return "is longer than \(limit) bytes" }
        let isSound = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x2f && $0 != 0x3a }
        return isSound && name != "." && name != ".." ? nil : "is no name of a network device"
    }
}
