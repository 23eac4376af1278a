internal import IO
internal import Serialization

/// The members of the drivers that span machines: `overlay` and `host-gw`.
struct MachineOptions: Hashable, Sendable {
    /// `overlay`: where frames for the other machines go; its size and its own address are found when it is made.
    var tunnel: EngineNetwork.Tunnel?
    /// `host-gw`: the ranges of the containers of other machines, and who leads to them.
    var blocks: [Block] = []

    /// A machine and the range of its containers.
    struct Block: Hashable, Sendable {
        var prefix: Prefix
        var machine: IPAddress
    }

    /// Machines of one network.
    static let machinesMax = 256

    init() {}

    init(_ reader: JSONReader, driver: Driver) throws(CNIError) {
        switch driver {
        case .overlay: tunnel = try MachineOptions.tunnel(reader)
        case .hostGateway: blocks = try MachineOptions.blocks(reader)
        default: break
        }
    }

    /// `vni`, `peers`, `address`, `port`: as the options of a Docker network say them.
    private static func tunnel(_ reader: JSONReader) throws(CNIError) -> EngineNetwork.Tunnel {
        guard let number = try reader.integer("vni", 1...16_777_215) else {
            throw reader.error("vni", "it is missing: the network's number, the same on all of its machines")
        }
        let port = try reader.integer("port", 1...65_535) ?? 4789
        let own = try reader.parsed("address") { machine($0) }
        var peers: [IPAddress] = []
        for text in try reader.strings("peers") ?? [] {
            guard let peer = machine(text) else {
                throw reader.error("peers", "'\(text.prefix(40))' is no address of a machine")
            }
            guard !peers.contains(peer) else { throw reader.error("peers", "\(peer) is there twice") }
            peers.append(peer)
        }
        guard let first = peers.first else {
            throw reader.error("peers", "it is missing: the addresses of the network's machines")
        }
        try check(count: peers.count, reader, "peers")
        if let other = (peers + [own].compactMap(\.self)).first(where: { $0.isV6 != first.isV6 }) {
            throw reader.error("peers", "\(first) and \(other) are of two families")
        }
        return EngineNetwork.Tunnel(
            identifier: UInt32(number), port: UInt16(port), own: own, peers: peers)
    }

    /// `machines`: `[{"block": "10.1.2.0/24", "address": "192.0.2.2"}]`.
    private static func blocks(_ reader: JSONReader) throws(CNIError) -> [Block] {
        guard let items = try reader.objects("machines") else {
            throw reader.error("machines", "it is missing: the other machines, each with 'block' and 'address'")
        }
        try check(count: items.count, reader, "machines")
        var blocks: [Block] = []
        for item in items {
            let prefix = try item.needed("block") { Prefix($0) }
            let address = try item.needed("address") { machine($0) }
            try item.finish()
            guard prefix.address.isV6 == address.isV6, prefix.length > 0 else {
                throw item.error("address", "\(address) cannot lead to \(prefix)")
            }
            if let other = blocks.first(where: { $0.prefix.overlaps(prefix) }) {
                throw item.error("block", "\(prefix) overlaps \(other.prefix) of \(other.machine)")
            }
            blocks.append(Block(prefix: prefix, machine: address))
        }
        return blocks
    }

    private static func check(count: Int, _ reader: JSONReader, _ name: String) throws(CNIError) {
        guard count <= machinesMax else {
            throw reader.error(name, "\(count) machines are more than \(machinesMax)")
        }
    }

    /// An address that a machine can have for other machines.
    private static func machine(_ text: String) -> IPAddress? {
        guard let address = IPAddress(text), !address.isUnspecified, !address.isLoopback,
            let first = address.bytes.first
        else { return nil }
        return (address.isV6 ? first == 0xff : first >= 224) ? nil : address
    }
}
