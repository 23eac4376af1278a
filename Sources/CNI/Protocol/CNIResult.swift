package import IO
internal import Serialization

/// An address of an interface, with the length of its network: `10.1.0.5/16`.
package struct InterfaceAddress: Hashable, Sendable, CustomStringConvertible {
    package var address: IPAddress
    package var length: Int

    package init(_ address: IPAddress, length: Int) {
        self.address = address
        self.length = length
    }

    /// Reads `10.1.0.5/16`; a lone address has the whole length.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(first) else { return nil }
        self.address = address
        guard parts.count > 1 else {
            length = address.bitCount
            return
        }
        guard parts.count == 2, parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(parts[1]),
            length <= address.bitCount
        else { return nil }
        self.length = length
    }

    /// The network in which it lies.
    package var network: Prefix? { Prefix(address, length: length) }

    package var description: String { "\(address)/\(length)" }
}

/// What ADD did, in the terms of the newest specification; written and read in every version.
struct CNIResult: Hashable, Sendable {
    struct Interface: Hashable, Sendable {
        var name: String
        var mac = ""
        var mtu: Int?
        /// The namespace's path; empty on the host.
        var sandbox = ""
        /// What vhost-user and PCI plugins before us in a chain said.
        var socketPath = ""
        var pciID = ""
    }

    struct Address: Hashable, Sendable {
        var address: InterfaceAddress
        var gateway: IPAddress?
        /// An index into `interfaces`.
        var interface: Int?
    }

    struct Route: Hashable, Sendable {
        var destination: Prefix
        var gateway: IPAddress?
        var mtu: Int?
        var advertisedMSS: Int?
        var priority: Int?
        var table: Int?
        var scope: Int?
    }

    struct DNS: Hashable, Sendable {
        var nameservers: [String] = []
        var domain = ""
        var search: [String] = []
        var options: [String] = []

        var isEmpty: Bool { self == DNS() }
    }

    var interfaces: [Interface] = []
    var addresses: [Address] = []
    var routes: [Route] = []
    var dns = DNS()
}

extension CNIResult {
    /// The result as that version writes it.
    func json(_ version: CNIVersion) -> JSON {
        version < .v0_3_0 ? flat(version) : structured(version)
    }

    private func structured(_ version: CNIVersion) -> JSON {
        var value: JSON = ["cniVersion": .string(version.rawValue)]
        if !interfaces.isEmpty {
            value["interfaces"] = .array(
                interfaces.map { interface in
                    var item: JSON = ["name": .string(interface.name)]
                    if !interface.mac.isEmpty { item["mac"] = .string(interface.mac) }
                    if !interface.sandbox.isEmpty { item["sandbox"] = .string(interface.sandbox) }
                    if version >= .v1_1_0 {
                        if let mtu = interface.mtu { item["mtu"] = .integer(Int64(mtu)) }
                        if !interface.socketPath.isEmpty { item["socketPath"] = .string(interface.socketPath) }
                        if !interface.pciID.isEmpty { item["pciID"] = .string(interface.pciID) }
                    }
                    return item
                })
        }
        if !addresses.isEmpty {
            value["ips"] = .array(
                addresses.map { address in
                    var item: JSON = ["address": .string(address.address.description)]
                    if version < .v1_0_0 { item["version"] = address.address.address.isV6 ? "6" : "4" }
                    if let gateway = address.gateway { item["gateway"] = .string(gateway.description) }
                    if let interface = address.interface { item["interface"] = .integer(Int64(interface)) }
                    return item
                })
        }
        if !routes.isEmpty { value["routes"] = .array(routes.map { CNIResult.json($0, version) }) }
        // Before 1.0.0 the member was always there.
        if !dns.isEmpty || version < .v1_0_0 { value["dns"] = dns.json }
        return value
    }

    /// Versions 0.1.0 and 0.2.0: one address of each family, with its routes inside.
    private func flat(_ version: CNIVersion) -> JSON {
        var value: JSON = ["cniVersion": .string(version.rawValue), "dns": dns.json]
        for address in addresses {
            let isV6 = address.address.address.isV6
            let name = isV6 ? "ip6" : "ip4"
            guard value[name] == nil else { continue }
            var item: JSON = ["ip": .string(address.address.description)]
            if let gateway = address.gateway { item["gateway"] = .string(gateway.description) }
            let own = routes.filter { $0.destination.address.isV6 == isV6 }
            if !own.isEmpty { item["routes"] = .array(own.map { CNIResult.json($0, version) }) }
            value[name] = item
        }
        return value
    }

    private static func json(_ route: Route, _ version: CNIVersion) -> JSON {
        var item: JSON = ["dst": .string(route.destination.description)]
        if let gateway = route.gateway { item["gw"] = .string(gateway.description) }
        guard version >= .v1_1_0 else { return item }
        for (name, number) in [
            ("mtu", route.mtu), ("advmss", route.advertisedMSS), ("priority", route.priority), ("table", route.table),
            ("scope", route.scope),
        ] {
            if let number { item[name] = .integer(Int64(number)) }
        }
        return item
    }
}

extension CNIResult.DNS {
    var json: JSON {
        var value: JSON = [:]
        for (name, list) in [("nameservers", nameservers), ("search", search), ("options", options)]
        where !list.isEmpty {
            value[name] = .array(list.map { .string($0) })
        }
        if !domain.isEmpty { value["domain"] = .string(domain) }
        return value
    }

    /// Reads a `dns` object.
    init(_ reader: JSONReader) throws(CNIError) {
        nameservers = try reader.strings("nameservers") ?? []
        domain = try reader.string("domain") ?? ""
        search = try reader.strings("search") ?? []
        options = try reader.strings("options") ?? []
        try reader.finish()
    }
}

extension CNIResult {
    /// Reads a result of any version: `prevResult`, or what a delegated plugin printed.
    init(_ reader: JSONReader) throws(CNIError) {
        let isFlat = reader.has("ip4") || reader.has("ip6")
        if isFlat {
            for name in ["ip4", "ip6"] {
                guard let item = try reader.object(name) else { continue }
                addresses.append(
                    Address(
                        address: try item.needed("ip", InterfaceAddress.init),
                        gateway: try item.parsed("gateway") { IPAddress($0) }, interface: nil))
                for route in try item.objects("routes") ?? [] { routes.append(try Route(route)) }
            }
        }
        for item in try reader.objects("interfaces") ?? [] {
            interfaces.append(
                Interface(
                    name: try item.string("name") ?? "", mac: try item.string("mac") ?? "",
                    mtu: try item.integer("mtu", 0...Int(Int32.max)), sandbox: try item.string("sandbox") ?? "",
                    socketPath: try item.string("socketPath") ?? "", pciID: try item.string("pciID") ?? ""))
        }
        for item in try reader.objects("ips") ?? [] {
            addresses.append(
                Address(
                    address: try item.needed("address", InterfaceAddress.init),
                    gateway: try item.parsed("gateway") { IPAddress($0) },
                    interface: try item.integer("interface", 0...Int(Int32.max))))
        }
        for item in try reader.objects("routes") ?? [] { routes.append(try Route(item)) }
        if let item = try reader.object("dns") { dns = try DNS(item) }
    }
}

extension CNIResult.Route {
    /// Reads a route of a configuration or a result.
    init(_ reader: JSONReader) throws(CNIError) {
        destination = try reader.needed("dst") { Prefix($0) }
        gateway = try reader.parsed("gw") { IPAddress($0) }
        mtu = try reader.integer("mtu", 68...Int(Int32.max))
        advertisedMSS = try reader.integer("advmss", 1...65_535)
        priority = try reader.integer("priority", 0...Int(UInt32.max))
        table = try reader.integer("table", 1...Int(UInt32.max))
        scope = try reader.integer("scope", 0...255)
        try reader.finish()
        if let gateway, gateway.isV6 != destination.address.isV6 {
            throw reader.error("gw", "it is of another family than dst")
        }
    }
}
