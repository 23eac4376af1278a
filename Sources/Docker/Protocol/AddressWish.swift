internal import CNI
internal import IO
internal import Serialization

/// RequestPool: a network to give addresses from.
struct PoolWish: Hashable, Sendable {
    /// Networks of one space do not overlap.
    var space: String
    /// `--subnet`; nil when any will do.
    var prefix: Prefix?
    /// `--ip-range`.
    var part: Prefix?
    var isV6: Bool

    init(space: String = AddressSpace.local, prefix: Prefix?, part: Prefix? = nil, isV6: Bool = false) {
        self.space = space
        self.prefix = prefix
        self.part = part
        self.isV6 = isV6
    }

    init(_ reader: FieldReader) throws(Refusal) {
        space = try reader.string("AddressSpace") ?? AddressSpace.local
        guard [AddressSpace.local, AddressSpace.global].contains(space) else {
            throw reader.error("AddressSpace", "'\(space.prefix(80))' is none of ours")
        }
        prefix = try reader.parsed("Pool", "network", { $0.contains("/") ? Prefix($0) : nil })
        part = try reader.parsed("SubPool", "network", { $0.contains("/") ? Prefix($0) : nil })
        isV6 = try reader.bool("V6") ?? prefix?.address.isV6 ?? false
        if let options = try reader.object("Options"), let name = options.unread.first {
            throw Refusal("the address option \(name.prefix(120)) is unknown to skein")
        }
        if let prefix {
            guard prefix.address.isV6 == isV6 else { throw reader.error("Pool", "\(prefix) is of another family") }
            guard prefix.address.bitCount - prefix.length >= 2 else {
                throw reader.error(
                    "Pool", "\(prefix) is too small: it has no address for a container beside the gateway")
            }
        }
        if let part {
            guard let prefix else { throw reader.error("SubPool", "an --ip-range needs a --subnet") }
            guard prefix.contains(part.address), part.length >= prefix.length else {
                throw reader.error("SubPool", "\(part) is not in \(prefix)")
            }
        }
    }
}

/// RequestAddress: one address of a pool.
struct AddressWish: Hashable, Sendable {
    var pool: String
    /// `--ip`, `--gateway`, `--aux-address`; nil when any will do.
    var address: IPAddress?
    /// Whether it is to be an address of this machine.
    var isGateway: Bool

    init(pool: String, address: IPAddress? = nil, isGateway: Bool = false) {
        self.pool = pool
        self.address = address
        self.isGateway = isGateway
    }

    init(_ reader: FieldReader) throws(Refusal) {
        pool = try AddressPool.id(reader)
        address = try reader.parsed("Address", "address", { InterfaceAddress($0)?.address })
        var isGateway = false
        if let options = try reader.object("Options") {
            let type = try options.string("RequestAddressType")
            isGateway = type == "com.docker.network.gateway"
            if let type, !isGateway {
                throw options.error("RequestAddressType", "'\(type.prefix(80))' is unknown to skein")
            }
            options.ignore(IgnoredOptions.address.keys)
            if let name = options.unread.first {
                throw Refusal("the address option \(name.prefix(120)) is unknown to skein")
            }
        }
        self.isGateway = isGateway
    }
}

/// The names of our address spaces.
enum AddressSpace {
    static let local = "SkeinLocal"
    static let global = "SkeinGlobal"
}
