internal import CNI
internal import IO
internal import Serialization

/// One call of the engine: `POST /METHOD` with an object.
///
/// The methods are those of libnetwork's remote network driver and remote IPAM driver
/// (docs/remote.md and docs/ipam.md of github.com/moby/libnetwork).
enum PluginRequest: Hashable, Sendable {
    case activate
    case networkCapabilities
    case createNetwork(NetworkWish)
    case deleteNetwork(String)
    case createEndpoint(EndpointWish)
    case endpointInfo(network: String, endpoint: String)
    case deleteEndpoint(network: String, endpoint: String)
    case join(network: String, endpoint: String)
    case leave(network: String, endpoint: String)
    case publish(network: String, endpoint: String, [PortWish])
    case withdraw(network: String, endpoint: String)
    /// Other hosts of a network that spans hosts come and go: ours do not hear of them by the engine.
    case discovery
    /// A cluster manager looks whether a network could be made.
    case allocateNetwork(NetworkWish)
    case freeNetwork(String)
    case addressCapabilities
    case addressSpaces
    case requestPool(PoolWish)
    case releasePool(String)
    case requestAddress(AddressWish)
    case releaseAddress(pool: String, IPAddress)

    /// Reads a call.
    init(method: String, _ body: JSON) throws(Refusal) {
        let reader = try FieldReader(body, path: "")
        switch method {
        case "Plugin.Activate": self = .activate
        case "NetworkDriver.GetCapabilities": self = .networkCapabilities
        case "NetworkDriver.CreateNetwork": self = .createNetwork(try NetworkWish(reader))
        case "NetworkDriver.AllocateNetwork": self = .allocateNetwork(try NetworkWish(reader))
        case "NetworkDriver.FreeNetwork": self = .freeNetwork(try reader.id("NetworkID"))
        case "NetworkDriver.DeleteNetwork": self = .deleteNetwork(try reader.id("NetworkID"))
        case "NetworkDriver.CreateEndpoint": self = .createEndpoint(try EndpointWish(reader))
        case "NetworkDriver.EndpointOperInfo":
            self = .endpointInfo(network: try reader.id("NetworkID"), endpoint: try reader.id("EndpointID"))
        case "NetworkDriver.DeleteEndpoint":
            self = .deleteEndpoint(network: try reader.id("NetworkID"), endpoint: try reader.id("EndpointID"))
        case "NetworkDriver.Join":
            self = .join(network: try reader.id("NetworkID"), endpoint: try reader.id("EndpointID"))
        case "NetworkDriver.Leave":
            self = .leave(network: try reader.id("NetworkID"), endpoint: try reader.id("EndpointID"))
        case "NetworkDriver.ProgramExternalConnectivity":
            self = .publish(
                network: try reader.id("NetworkID"), endpoint: try reader.id("EndpointID"), try PortWish.read(reader))
        case "NetworkDriver.RevokeExternalConnectivity":
            self = .withdraw(network: try reader.id("NetworkID"), endpoint: try reader.id("EndpointID"))
        case "NetworkDriver.DiscoverNew", "NetworkDriver.DiscoverDelete": self = .discovery
        case "IpamDriver.GetCapabilities": self = .addressCapabilities
        case "IpamDriver.GetDefaultAddressSpaces": self = .addressSpaces
        case "IpamDriver.RequestPool": self = .requestPool(try PoolWish(reader))
        case "IpamDriver.ReleasePool": self = .releasePool(try AddressPool.id(reader))
        case "IpamDriver.RequestAddress": self = .requestAddress(try AddressWish(reader))
        case "IpamDriver.ReleaseAddress":
            guard let address = try reader.parsed("Address", "address", { InterfaceAddress($0)?.address }) else {
                throw reader.error("Address", "it is missing")
            }
            self = .releaseAddress(pool: try AddressPool.id(reader), address)
        default: throw Refusal("\(method.prefix(80)): there is no such method", status: 404)
        }
    }
}

/// A container that is about to be on a network.
struct EndpointWish: Hashable, Sendable {
    var network: String
    var endpoint: String
    var v4: InterfaceAddress?
    var v6: InterfaceAddress?
    var hardware: [UInt8]?

    init(network: String, endpoint: String, v4: InterfaceAddress?) {
        self.network = network
        self.endpoint = endpoint
        self.v4 = v4
    }

    init(_ reader: FieldReader) throws(Refusal) {
        network = try reader.id("NetworkID")
        endpoint = try reader.id("EndpointID")
        if let interface = try reader.object("Interface") {
            v4 = try interface.parsed("Address", "address with a length", InterfaceAddress.init)
            v6 = try interface.parsed("AddressIPv6", "address with a length", InterfaceAddress.init)
            hardware = try interface.parsed("MacAddress", "hardware address of a single device", Self.hardware)
            try interface.finish()
        }
        if let v4, v4.address.isV6 { throw reader.error("Interface.Address", "\(v4) is no IPv4 address") }
        if let v6, !v6.address.isV6 { throw reader.error("Interface.AddressIPv6", "\(v6) is no IPv6 address") }
        if let options = try reader.object("Options") {
            if hardware == nil {
                // The engine repeats --mac-address here, in base64.
                options.ignore(["com.docker.network.endpoint.macaddress"])
            }
            options.ignore(IgnoredOptions.endpoint.keys)
            if let generic = try options.object("com.docker.network.generic") {
                generic.ignore(IgnoredOptions.endpoint.keys)
                if let name = generic.unread.first { throw EndpointWish.unknown(name) }
            }
            if let name = options.unread.first { throw EndpointWish.unknown(name) }
        }
    }

    private static func unknown(_ name: String) -> Refusal {
        Refusal("the driver option \(name.prefix(120)) of a container's connection is unknown to skein")
    }

    /// Reads `02:42:0a:01:00:05`; the address of a group is none of a device.
    static func hardware(_ text: String) -> [UInt8]? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let bytes = parts.compactMap { part in
            part.utf8.count == 2 && part.allSatisfy(\.isHexDigit) ? UInt8(part, radix: 16) : nil
        }
        guard bytes.count == 6, parts.count == 6, let first = bytes.first, first & 1 == 0 else { return nil }
        return bytes
    }
}

/// One port of a container that shall be published.
struct PortWish: Hashable, Sendable {
    /// IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP.
    var transport: UInt8
    var port: UInt16
    var hostAddress: IPAddress?
    /// The ports of which one is taken; empty when any will do.
    var hostPorts: ClosedRange<UInt16>?

    private static let transports: [Int: UInt8] = [6: 6, 17: 17, 132: 132]

    static func read(_ reader: FieldReader) throws(Refusal) -> [PortWish] {
        guard let options = try reader.object("Options") else { return [] }
        var result: [PortWish] = []
        for item in try options.objects("com.docker.network.portmap", limit: Limits.ports) {
            let wish = try PortWish(item)
            // Engines may say 0.0.0.0 and :: one after the other: both mean every address.
            if !result.contains(wish) { result.append(wish) }
        }
        return result
    }

    init(transport: UInt8, port: UInt16, hostAddress: IPAddress? = nil, hostPorts: ClosedRange<UInt16>?) {
        self.transport = transport
        self.port = port
        self.hostAddress = hostAddress
        self.hostPorts = hostPorts
    }

    private init(_ item: FieldReader) throws(Refusal) {
        guard let number = try item.integer("Proto", 0...255), let transport = PortWish.transports[number] else {
            throw item.error("Proto", "tcp (6), udp (17) or sctp (132) is expected")
        }
        guard let port = try item.integer("Port", 1...65_535) else { throw item.error("Port", "it is missing") }
        self.transport = transport
        self.port = UInt16(truncatingIfNeeded: port)
        let address = try item.parsed("HostIP", "address", { IPAddress($0) })
        hostAddress = address.flatMap { $0.isUnspecified ? nil : $0 }
        let first = try item.integer("HostPort", 0...65_535) ?? 0
        let last = try item.integer("HostPortEnd", 0...65_535) ?? first
        if first > 0 {
            let end = max(first, last)
            guard end - first < Limits.portRange else {
                throw item.error("HostPortEnd", "\(end - first + 1) ports are more than \(Limits.portRange)")
            }
            hostPorts = UInt16(truncatingIfNeeded: first)...UInt16(truncatingIfNeeded: end)
        }
    }
}

/// Options that engines send and that have no effect here, with the reason.
enum IgnoredOptions {
    /// Members of calls that are not looked at; newer engines may send further ones.
    static let call: [String: String] = [
        "SandboxKey": "the engine moves the link into the container itself",
        "Options (of Join and Leave)": "what they say came with CreateEndpoint",
        "Options (of ProgramExternalConnectivity) but com.docker.network.portmap":
            "labels of the container; ports that are only exposed need no rule",
        "DiscoveryType, DiscoveryData": "no network here spans hosts",
        "AddressSpace (of IPv4Data)": "the address management's own",
    ]
    static let address: [String: String] = [
        "com.docker.network.endpoint.macaddress": "addresses do not depend on it",
        "com.docker.network.ipam.serial": "addresses are given in turn anyway",
    ]
    static let endpoint: [String: String] = [
        "com.docker.network.endpoint.exposedports": "ports that are not published are reached without any rule",
        "com.docker.network.portmap": "published when the engine says so (ProgramExternalConnectivity)",
        "com.docker.network.endpoint.dnsservers": "the engine's own DNS asks them",
        "com.docker.network.endpoint.macaddress": "it stands in Interface.MacAddress, too",
    ]
}
