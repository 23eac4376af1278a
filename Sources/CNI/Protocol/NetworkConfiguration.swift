internal import IO
internal import Serialization

/// One plugin's object of a network configuration, as the runtime sends it on standard input.
struct NetworkConfiguration: Sendable {
    var version: CNIVersion
    var name: String
    var driver: Driver
    var link = LinkOptions()
    var machines = MachineOptions()
    var ipam: IPAMConfiguration?
    var dns = CNIResult.DNS()
    /// The names of declared capabilities that are on.
    var capabilities: Set<String> = []
    var runtime = RuntimeConfiguration()
    var bandwidth = Bandwidth()
    /// Whether connections to published ports from the host's loopback and from the pod's own network get the host's address.
    var mapsSource = true
    var previous: CNIResult?
    /// GC: what must stay.
    var validAttachments: [AttachmentOwner]?
    /// The input, for plugins to which we delegate and for results that are passed on.
    var raw: JSON

    /// Longest name of a network: it becomes a directory and a comment.
    static let nameMax = 200

    /// Reads and checks a configuration for that verb.
    init(_ raw: JSON, for verb: CNIVerb) throws(CNIError) {
        let reader = try JSONReader(raw, path: "")
        self.raw = raw
        version = try NetworkConfiguration.version(of: reader)
        guard verb.since <= version else {
            throw CNIError(
                .incompatibleVersion,
                "\(verb.rawValue) needs cniVersion \(verb.since.rawValue), the configuration says \(version.rawValue)")
        }
        guard let name = try reader.string("name"), !name.isEmpty else { throw reader.error("name", "it is missing") }
        guard CNIRequest.isIdentifier(name), name.utf8.count <= NetworkConfiguration.nameMax else {
            throw reader.error(
                "name",
                "'\(name.prefix(80))': letters, digits, '_', '.' and '-' are allowed, and a letter or digit begins it")
        }
        self.name = name
        guard let type = try reader.string("type"), !type.isEmpty else { throw reader.error("type", "it is missing") }
        if let list = reader.value("capabilities") {
            guard let members = list.object else {
                throw reader.error("capabilities", "an object is expected", .decode)
            }
            for (name, value) in members where value.bool == true { capabilities.insert(name) }
        }
        driver = try Driver.read(reader, capabilities: capabilities)
        let isLenient = verb == .delete
        link = try NetworkConfiguration.read(isLenient, else: .everything) { () throws(CNIError) in
            try LinkOptions(reader, driver: driver)
        }
        machines = try NetworkConfiguration.read(isLenient, else: MachineOptions()) { () throws(CNIError) in
            try MachineOptions(reader, driver: driver)
        }
        if let tunnel = machines.tunnel, !reader.has("bridge") { link.bridge = "skbr\(tunnel.identifier)" }
        if let item = try reader.object("ipam"), item.has("type") {
            ipam = try IPAMConfiguration(item, network: name)
        }
        if let item = try reader.object("dns") { dns = try CNIResult.DNS(item) }
        if let item = try reader.object("runtimeConfig") {
            runtime = try NetworkConfiguration.read(isLenient, else: RuntimeConfiguration()) { () throws(CNIError) in
                try RuntimeConfiguration(item)
            }
        }
        if ipam?.kind == .local {
            ipam?.ranges.insert(contentsOf: runtime.ipRanges, at: 0)
            try AddressRange.check(ipam?.ranges ?? [], path: "ipam.ranges")
        }
        if !isLenient, let item = try reader.object("args")?.object("cni") { try runtime.add(arguments: item) }
        bandwidth = try NetworkConfiguration.read(isLenient, else: Bandwidth()) { () throws(CNIError) in
            try Bandwidth(reader)
        }
        if let item = runtime.bandwidth { bandwidth = item }
        mapsSource = try reader.bool("snat") ?? true
        previous = try NetworkConfiguration.read(isLenient, else: nil) { () throws(CNIError) in
            guard let item = try reader.object("prevResult") else { return nil }
            return try CNIResult(item)
        }
        if verb == .collect { validAttachments = try NetworkConfiguration.attachments(reader) }
        try IgnoredFields.apply(to: reader)
        // A DEL goes on whatever the configuration has become since the ADD (N-9).
        if verb != .delete { try reader.finish() }
    }

    /// A part of the configuration; for a DEL, what cannot be read is `otherwise`.
    ///
    /// A DEL that fails for a member would never succeed, and what the ADD has made would stay (N-9).
    private static func read<Part>(
        _ isLenient: Bool, else otherwise: Part, _ body: () throws(CNIError) -> Part
    ) throws(CNIError) -> Part {
        do throws(CNIError) { return try body() } catch {
            guard isLenient else { throw error }
            return otherwise
        }
    }

    private static func version(of reader: JSONReader) throws(CNIError) -> CNIVersion {
        guard let text = try reader.string("cniVersion"), !text.isEmpty else { return .v0_1_0 }
        guard let version = CNIVersion(rawValue: text) else {
            let known = CNIVersion.allCases.map(\.rawValue).joined(separator: ", ")
            throw CNIError(
                .incompatibleVersion, "cniVersion \(text.prefix(40)) is not supported; these are: \(known)")
        }
        return version
    }

    private static func attachments(_ reader: JSONReader) throws(CNIError) -> [AttachmentOwner] {
        guard let items = try reader.objects("cni.dev/valid-attachments") else {
            throw reader.error(
                "cni.dev/valid-attachments", "it is missing, and without it everything would be collected")
        }
        var owners: [AttachmentOwner] = []
        for item in items {
            owners.append(
                AttachmentOwner(
                    containerID: try item.needed("containerID") { $0 }, interface: try item.needed("ifname") { $0 }))
        }
        return owners
    }
}

/// What kind of network it is; `driver` in the configuration, or found from its members.
enum Driver: String, CaseIterable, Sendable {
    /// Skein's own: a /32 (/128) for each container, routed, networks isolated from each other.
    case routed
    /// A bridge of the host, flat layer 2: as the reference plugin of that name.
    case bridge
    /// A bridge of the host, which a VXLAN device makes one network with those of other machines.
    case overlay
    /// As `routed`, with routes to the containers of other machines on the same link.
    case hostGateway = "host-gw"
    /// A routed link with an address of the network on the host's end: as the reference plugin.
    case ptp
    /// An interface of its own on a device of the host.
    case macvlan
    case ipvlan
    case vlan
    /// The host's own network: nothing is made.
    case host
    /// Nothing but loopback.
    case none
    /// A later plugin of a chain (`portmap`, `bandwidth`): works on what `prevResult` says.
    case chained

    /// Whether containers are ports of a bridge.
    var hasBridge: Bool { self == .bridge || self == .overlay }
    /// Whether each container has a /32 (/128) of its own.
    var isRouted: Bool { self == .routed || self == .hostGateway }

    /// Which driver a configuration means.
    ///
    /// Without `driver`, the members tell: an existing configuration of a reference plugin works when only `type` changes.
    static func read(_ reader: JSONReader, capabilities: Set<String>) throws(CNIError) -> Driver {
        if let word = try reader.string("driver") {
            guard let driver = Driver(rawValue: word) else {
                if word == "wireguard" {
                    throw reader.error(
                        "driver", "'wireguard' needs keys of other machines: 'skein node --encrypt wireguard' has them")
                }
                let known = allCases.map(\.rawValue).joined(separator: ", ")
                throw reader.error("driver", "'\(word.prefix(40))' is unknown; these are known: \(known)")
            }
            return driver
        }
        if reader.has("vni") { return .overlay }
        if reader.has("machines") { return .hostGateway }
        if reader.has("vlanId") { return .vlan }
        if reader.has("master") || reader.has("mode") {
            let mode = reader.value("mode")?.string ?? ""
            return ["l2", "l3", "l3s"].contains(mode) ? .ipvlan : .macvlan
        }
        let ofBridge = [
            "bridge", "isGateway", "isDefaultGateway", "forceAddress", "hairpinMode", "promiscMode", "vlan",
            "vlanTrunk",
            "preserveDefaultVlan", "macspoofchk", "enabledad", "disableContainerInterface",
        ]
        if ofBridge.contains(where: reader.has) { return .bridge }
        if !reader.has("ipam") {
            let ofChain = ["ingressRate", "egressRate", "snat", "prevResult"]
            if !capabilities.isEmpty || ofChain.contains(where: reader.has) { return .chained }
            throw reader.error("driver", "without 'driver' and 'ipam' nothing tells what network is meant")
        }
        return .routed
    }
}

/// The members of the link drivers.
struct LinkOptions: Hashable, Sendable {
    var bridge = "cni0"
    var isGateway = false
    var isDefaultGateway = false
    var forceAddress = false
    var ipMasq = false
    var mtu: Int?
    var hairpinMode = false
    var promiscMode = false
    var vlan: Int?
    var preserveDefaultVLAN = true
    var enablesDuplicateDetection = false
    var isDisabled = false
    /// Whether containers of other networks of ours are kept out.
    var isolate = false
    /// macvlan, ipvlan, vlan: the host's device; nil is the one of the default route.
    var master: String?
    var mode = ""
    var vlanID = 0

    init() {}

    /// What a DEL looks for when the configuration does not say what was made.
    static var everything: LinkOptions {
        var options = LinkOptions()
        options.ipMasq = true
        options.isolate = true
        return options
    }

    init(_ reader: JSONReader, driver: Driver) throws(CNIError) {
        ipMasq = try reader.bool("ipMasq") ?? false
        mtu = try reader.integer("mtu", 0...65_535)
        if mtu == 0 { mtu = nil }
        if let mtu, mtu < 68 { throw reader.error("mtu", "\(mtu) is less than IPv4 needs (68)") }
        isolate = try reader.bool("isolate") ?? driver.isRouted
        switch driver {
        case .bridge, .overlay: try readBridge(reader)
        case .macvlan:
            mode = try reader.string("mode") ?? "bridge"
            guard LinkOptions.macvlanModes[mode] != nil else {
                throw reader.error("mode", "'\(mode.prefix(40))' is none of bridge, private, vepa, passthru")
            }
            try readMaster(reader)
        case .ipvlan:
            mode = try reader.string("mode") ?? "l2"
            guard LinkOptions.ipvlanModes[mode] != nil else {
                throw reader.error("mode", "'\(mode.prefix(40))' is none of l2, l3, l3s")
            }
            try readMaster(reader)
        case .vlan:
            guard let id = try reader.integer("vlanId", 0...4094) else { throw reader.error("vlanId", "it is missing") }
            vlanID = id
            try readMaster(reader)
        case .routed, .hostGateway, .ptp, .host, .none, .chained: break
        }
    }

    static let macvlanModes: [String: UInt32] = ["private": 1, "vepa": 2, "bridge": 4, "passthru": 8]
    static let ipvlanModes: [String: UInt16] = ["l2": 0, "l3": 1, "l3s": 2]

    private mutating func readMaster(_ reader: JSONReader) throws(CNIError) {
        master = try reader.parsed("master") { $0 }
        if let master, let problem = CNIRequest.problem(ofInterface: master) { throw reader.error("master", problem) }
        if try reader.bool("linkInContainer") == true {
            throw CNIError(.unsupportedField, "linkInContainer: true: the master must be a device of the host")
        }
    }

    private mutating func readBridge(_ reader: JSONReader) throws(CNIError) {
        bridge = try reader.parsed("bridge") { $0 } ?? "cni0"
        if let problem = CNIRequest.problem(ofInterface: bridge) {
            throw reader.error("bridge", "'\(bridge.prefix(40))': \(problem)")
        }
        isDefaultGateway = try reader.bool("isDefaultGateway") ?? false
        isGateway = try reader.bool("isGateway") ?? false || isDefaultGateway
        forceAddress = try reader.bool("forceAddress") ?? false
        hairpinMode = try reader.bool("hairpinMode") ?? false
        promiscMode = try reader.bool("promiscMode") ?? false
        if hairpinMode, promiscMode {
            throw reader.error("promiscMode", "hairpinMode and promiscMode cannot be set at the same time")
        }
        vlan = try reader.integer("vlan", 0...4094)
        if vlan == 0 { vlan = nil }
        if vlan != nil, isGateway {
            throw CNIError(
                .unsupportedField,
                "vlan: \(vlan ?? 0): a gateway inside of a VLAN of the bridge is not supported; leave out isGateway")
        }
        preserveDefaultVLAN = try reader.bool("preserveDefaultVlan") ?? true
        enablesDuplicateDetection = try reader.bool("enabledad") ?? false
        isDisabled = try reader.bool("disableContainerInterface") ?? false
        if isDisabled, reader.has("ipam") {
            throw reader.error("disableContainerInterface", "an interface that stays down cannot have an ipam")
        }
        for name in ["macspoofchk"] where try reader.bool(name) == true {
            throw CNIError(.unsupportedField, "\(name): true: sources are only checked by the driver 'routed'")
        }
        if let trunk = reader.value("vlanTrunk")?.array, !trunk.isEmpty {
            throw CNIError(
                .unsupportedField, "vlanTrunk: \(JSON.array(trunk).text.prefix(80)): trunks are not supported")
        }
    }
}

/// Limits of a container's traffic, in bits a second and bits; 0 is none.
struct Bandwidth: Hashable, Sendable {
    var ingressRate = 0
    var ingressBurst = 0
    var egressRate = 0
    var egressBurst = 0

    init() {}

    init(_ reader: JSONReader) throws(CNIError) {
        let range = 0...Int(Int64.max / 8)
        ingressRate = try reader.integer("ingressRate", range) ?? 0
        ingressBurst = try reader.integer("ingressBurst", range) ?? 0
        egressRate = try reader.integer("egressRate", range) ?? 0
        egressBurst = try reader.integer("egressBurst", range) ?? 0
        for (rate, burst, name) in [
            (ingressRate, ingressBurst, "ingress"), (egressRate, egressBurst, "egress"),
        ] {
            // A burst is counted in bytes by a 32-bit number of the kernel.
            guard burst / 8 <= Int(UInt32.max) else { throw reader.error("\(name)Burst", "it is too large") }
            if rate > 0, burst == 0 { throw reader.error("\(name)Burst", "a rate needs a burst") }
            if rate == 0, burst > 0 { throw reader.error("\(name)Rate", "a burst needs a rate") }
        }
    }

    var isEmpty: Bool { ingressRate == 0 && egressRate == 0 }
}

/// One published port.
struct PortMapping: Hashable, Sendable {
    var hostPort: UInt16
    var containerPort: UInt16
    /// IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP.
    var transport: UInt8
    /// Only connections to this address of the host; nil is every one.
    var hostAddress: IPAddress?

    static let transports: [String: UInt8] = ["tcp": 6, "udp": 17, "sctp": 132]

    init(hostPort: UInt16, containerPort: UInt16, transport: UInt8, hostAddress: IPAddress? = nil) {
        self.hostPort = hostPort
        self.containerPort = containerPort
        self.transport = transport
        self.hostAddress = hostAddress
    }

    init?(_ reader: JSONReader) throws(CNIError) {
        guard let container = try reader.integer("containerPort", 1...65_535) else {
            throw reader.error("containerPort", "it is missing")
        }
        let host = try reader.integer("hostPort", 0...65_535) ?? 0
        let word = (try reader.string("protocol") ?? "tcp").lowercased()
        guard let transport = PortMapping.transports[word.isEmpty ? "tcp" : word] else {
            throw reader.error("protocol", "'\(word.prefix(20))' is none of tcp, udp, sctp")
        }
        var address = try reader.parsed("hostIP") { IPAddress($0) }
        if address == nil { address = try reader.parsed("hostIp") { IPAddress($0) } }
        try reader.finish()
        // Runtimes list ports that are not published, too.
        guard host > 0 else { return nil }
        self.init(
            hostPort: UInt16(truncatingIfNeeded: host), containerPort: UInt16(truncatingIfNeeded: container),
            transport: transport, hostAddress: address.flatMap { $0.isUnspecified ? nil : $0 })
    }
}

/// `runtimeConfig`: what the runtime says of this one container, under the capabilities that the configuration declares.
struct RuntimeConfiguration: Hashable, Sendable {
    var portMappings: [PortMapping] = []
    /// Whether the runtime said which ports, be it none.
    var saysPorts = false
    /// Sets of ranges before the configured ones.
    var ipRanges: [[AddressRange]] = []
    /// Addresses that the container shall have.
    var addresses: [String] = []
    var bandwidth: Bandwidth?
    var hardware: String?
    var dns: CNIResult.DNS?

    /// Ports that one container may publish.
    static let portsMax = 1024

    init() {}

    init(_ reader: JSONReader) throws(CNIError) {
        if let items = try reader.objects("portMappings") {
            saysPorts = true
            guard items.count <= RuntimeConfiguration.portsMax else {
                throw reader.error(
                    "portMappings", "\(items.count) ports are more than \(RuntimeConfiguration.portsMax)")
            }
            for item in items {
                if let mapping = try PortMapping(item) { portMappings.append(mapping) }
            }
        }
        if let sets = reader.value("ipRanges") {
            ipRanges = try AddressRange.sets(sets, path: reader.at("ipRanges"))
        }
        addresses = try reader.strings("ips") ?? []
        if let item = try reader.object("bandwidth") {
            bandwidth = try Bandwidth(item)
            try item.finish()
        }
        hardware = try reader.parsed("mac") { $0 }
        if let item = try reader.object("dns") {
            var dns = CNIResult.DNS()
            dns.nameservers = try item.strings("servers") ?? []
            dns.search = try item.strings("searches") ?? []
            dns.options = try item.strings("options") ?? []
            try item.finish()
            self.dns = dns
        }
        reader.ignore(IgnoredFields.runtime.keys)
        try reader.finish()
    }

    /// `args.cni`: the older way to say the same.
    mutating func add(arguments reader: JSONReader) throws(CNIError) {
        if addresses.isEmpty { addresses = try reader.strings("ips") ?? [] }
        if hardware == nil { hardware = try reader.parsed("mac") { $0 } }
    }
}

/// Members that are read and have no effect, with the reason; everything else works or is refused.
enum IgnoredFields {
    static let configuration: [String: String] = [
        "cniVersions": "a runtime chooses among them before it calls",
        "disableCheck": "it tells runtimes not to call CHECK",
        "disableGC": "it tells runtimes not to call GC",
        "loadOnlyInlinedPlugins": "it tells runtimes where plugins are described",
        "args": "only args.cni.ips and args.cni.mac concern a network",
        "ipMasqBackend": "rules are always nftables",
        "backend": "rules are always nftables",
        "markMasqBit": "packets are found by sets of addresses, not by marks",
        "externalSetMarkChain": "packets are found by sets of addresses, not by marks",
    ]
    static let runtime: [String: String] = [
        "aliases": "names of containers are answered by 'skein node'; without it nobody asks",
        "cgroupPath": "nothing here depends on the control group",
    ]

    static func apply(to reader: JSONReader) throws(CNIError) {
        reader.ignore(configuration.keys)
        for name in ["conditionsV4", "conditionsV6", "shapedSubnets", "unshapedSubnets"] {
            guard let list = reader.value(name), list.array?.isEmpty != true else { continue }
            throw CNIError(.unsupportedField, "\(name): \(list.text.prefix(80)): it is not supported")
        }
        if try reader.bool("masqAll") == true {
            throw CNIError(.unsupportedField, "masqAll: true: it would hide every client; leave it out")
        }
    }
}
