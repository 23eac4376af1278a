package import IO
internal import Serialization

/// `ipam` of a configuration.
struct IPAMConfiguration: Sendable {
    /// Who gives addresses.
    enum Kind: Hashable, Sendable {
        /// In this process: `host-local`, or `skein`.
        case local
        /// Another plugin in CNI_PATH.
        case delegated(String)
    }

    var kind: Kind
    var ranges: [[AddressRange]] = []
    var exclusions: [Prefix] = []
    var routes: [CNIResult.Route] = []
    var dataDirectory = "/var/lib/cni/networks"
    var resolvConf: String?
    /// How long an address rests before somebody else gets it; nil: as long as others are free.
    var reuseDelay: Int?

    /// Words for the IPAM in this process.
    static let own: Set = ["host-local", "skein", "skein-cni"]
    static let exclusionsMax = 1024

    init(_ reader: JSONReader, network: String) throws(CNIError) {
        let type = try reader.needed("type") { $0 }
        guard IPAMConfiguration.own.contains(type) else {
            guard CNIRequest.isIdentifier(type) else {
                throw reader.error("type", "'\(type.prefix(40))' is no name of a plugin")
            }
            kind = .delegated(type)
            return
        }
        kind = .local
        if let sets = reader.value("ranges") { ranges = try AddressRange.sets(sets, path: reader.at("ranges")) }
        if reader.has("subnet") { ranges.insert([try AddressRange(reader, isInline: true)], at: 0) }
        for text in try reader.strings("exclude") ?? [] {
            guard let prefix = Prefix(text) else { throw reader.error("exclude", "'\(text.prefix(60))' is no range") }
            exclusions.append(prefix)
        }
        guard exclusions.count <= IPAMConfiguration.exclusionsMax else {
            throw reader.error("exclude", "more than \(IPAMConfiguration.exclusionsMax) ranges")
        }
        for item in try reader.objects("routes") ?? [] { routes.append(try CNIResult.Route(item)) }
        if let path = try reader.parsed("dataDir", { $0 }) {
            guard path.hasPrefix("/"), !path.utf8.contains(0) else {
                throw reader.error("dataDir", "an absolute path is expected")
            }
            dataDirectory = path
        }
        resolvConf = try reader.parsed("resolvConf") { $0 }
        reuseDelay = try reader.integer("reuseDelay", 0...86_400)
        _ = reader.value("name")  // The network's name, which old configurations repeat here.
        try reader.finish()
    }
}

/// A part of a network out of which containers get addresses.
struct AddressRange: Hashable, Sendable {
    var subnet: Prefix
    var start: IPAddress
    var end: IPAddress
    var gateway: IPAddress

    /// Range sets of one network, and ranges of one set.
    static let setsMax = 16

    /// Reads `{subnet, rangeStart, rangeEnd, gateway}`.
    init(_ reader: JSONReader, isInline: Bool) throws(CNIError) {
        let given = try reader.needed("subnet", InterfaceAddress.init)
        guard let subnet = given.network, try reader.string("subnet")?.contains("/") == true else {
            throw reader.error("subnet", "a network such as 10.1.0.0/16 is expected")
        }
        guard subnet.address == given.address else {
            throw reader.error("subnet", "\(given) has bits beyond its length; is \(subnet) meant?")
        }
        guard subnet.address.bitCount - subnet.length >= 2 else {
            throw reader.error("subnet", "\(subnet) is too small: it has no address for a container beside the gateway")
        }
        self.subnet = subnet
        let first = subnet.address.advanced(by: 1)
        let last = subnet.last
        start = try reader.parsed("rangeStart") { IPAddress($0) } ?? first
        // IPv4 has a broadcast address at the end.
        end = try reader.parsed("rangeEnd") { IPAddress($0) } ?? (subnet.address.isV6 ? last : last.advanced(by: -1))
        gateway = try reader.parsed("gateway") { IPAddress($0) } ?? first
        for (name, address) in [("rangeStart", start), ("rangeEnd", end)] where !subnet.contains(address) {
            throw reader.error(name, "\(address) is not in \(subnet)")
        }
        guard gateway.isV6 == subnet.address.isV6 else {
            throw reader.error("gateway", "it is of another family than the subnet")
        }
        guard start <= end else { throw reader.error("rangeEnd", "\(end) comes before rangeStart \(start)") }
        if !isInline { try reader.finish() }
    }

    /// Reads an array of arrays of ranges.
    static func sets(_ value: JSON, path: String) throws(CNIError) -> [[AddressRange]] {
        guard let sets = value.array, sets.count <= setsMax else {
            throw CNIError(.decode, "\(path): an array of at most \(setsMax) arrays of ranges is expected")
        }
        var result: [[AddressRange]] = []
        for (index, set) in sets.enumerated() {
            guard let items = set.array, !items.isEmpty, items.count <= setsMax else {
                throw CNIError(.decode, "\(path)[\(index)]: an array of 1 to \(setsMax) ranges is expected")
            }
            var ranges: [AddressRange] = []
            for (place, item) in items.enumerated() {
                ranges.append(
                    try AddressRange(try JSONReader(item, path: "\(path)[\(index)][\(place)]"), isInline: false))
            }
            result.append(ranges)
        }
        return result
    }

    /// Refuses ranges that share an address, and sets of two families.
    static func check(_ sets: [[AddressRange]], path: String) throws(CNIError) {
        guard !sets.isEmpty else { throw CNIError(.invalidConfiguration, "\(path): no range is given") }
        let all = sets.flatMap(\.self)
        for (index, range) in all.enumerated() {
            for other in all.dropFirst(index + 1)
            where range.start <= other.end && other.start <= range.end && range.start.isV6 == other.start.isV6 {
                throw CNIError(
                    .invalidConfiguration,
                    "\(path): \(range.start)-\(range.end) and \(other.start)-\(other.end) overlap")
            }
        }
        for set in sets where Set(set.map(\.start.isV6)).count > 1 {
            throw CNIError(.invalidConfiguration, "\(path): one set has ranges of both families")
        }
    }
}

extension IPAddress {
    /// The address that many places further; it wraps round at the end of the family.
    package func advanced(by count: Int) -> IPAddress {
        switch self {
        case .v4(let value): return .v4(value &+ UInt32(truncatingIfNeeded: count))
        case .v6(let high, let low):
            let sum = (UInt128(high) << 64 | UInt128(low)) &+ UInt128(truncatingIfNeeded: count)
            return .v6(high: UInt64(truncatingIfNeeded: sum >> 64), low: UInt64(truncatingIfNeeded: sum))
        }
    }

    /// How many places this is behind another of its family; nil when it is before it or too far.
    package func distance(from other: IPAddress) -> Int? {
        switch (self, other) {
        case (.v4(let a), .v4(let b)): a >= b ? Int(a - b) : nil
        case (.v6(let ah, let al), .v6(let bh, let bl)):
            UInt128(ah) << 64 | UInt128(al) >= UInt128(bh) << 64 | UInt128(bl)
                ? Int(exactly: (UInt128(ah) << 64 | UInt128(al)) - (UInt128(bh) << 64 | UInt128(bl))) : nil
        default: nil
        }
    }
}

extension Prefix {
    /// The last address.
    package var last: IPAddress {
        let free = address.bitCount - length
        switch address {
        case .v4(let value): return .v4(free >= 32 ? .max : value | (1 << UInt32(free) &- 1))
        case .v6(let high, let low):
            let all = free >= 128 ? UInt128.max : UInt128(1) << UInt128(free) &- 1
            return .v6(
                high: high | UInt64(truncatingIfNeeded: all >> 64), low: low | UInt64(truncatingIfNeeded: all))
        }
    }
}
