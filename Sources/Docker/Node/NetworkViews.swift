internal import Serialization

/// Networks as Docker's API shows them.
extension NetworkCatalog {
    /// `GET /networks`: those that were made, and those that are always there.
    var list: JSON {
        let fixed = NetworkCreation.predefined.map { name -> JSON in
            [
                "Name": .string(name), "Id": .string(Self.fixedID(name)), "Scope": "local",
                "Driver": .string(["mesh": "skein", "none": "null"][name] ?? name), "Labels": [:],
            ]
        }
        let made = networks.values.map { view($0, withContainers: false) }
        return .array((made + fixed).sorted { ($0["Name"]?.string ?? "") < ($1["Name"]?.string ?? "") })
    }

    /// The id of a network that is always there: it follows from the name.
    static func fixedID(_ name: String) -> String {
        let hash = name.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        let text = String(hash, radix: 16)
        return String(repeating: String(repeating: "0", count: 16 - text.count) + text, count: 4)
    }

    /// `GET /networks/ID`.
    func view(_ network: NodeNetwork, withContainers: Bool) -> JSON {
        let pools = network.pools.map { pool -> JSON in
            var json: JSON = ["Subnet": .string(pool.subnet)]
            if let range = pool.range { json["IPRange"] = .string(range) }
            if let gateway = pool.gateway { json["Gateway"] = .string(String(gateway.prefix { $0 != "/" })) }
            if !pool.others.isEmpty {
                json["AuxiliaryAddresses"] = JSON(
                    texts: pool.others.mapValues { String($0.prefix { $0 != "/" }) })
            }
            return json
        }
        var json: JSON = [
            "Name": .string(network.name), "Id": .string(network.id), "Created": .string(network.created),
            "Scope": "local", "Driver": .string(network.driver), "EnableIPv6": .bool(network.usesV6),
            "IPAM": ["Driver": "skein", "Options": [:], "Config": .array(pools)],
            "Internal": .bool(network.isInternal), "Attachable": true, "Ingress": false, "ConfigOnly": false,
            "Options": JSON(texts: network.options), "Labels": JSON(texts: network.labels),
        ]
        guard withContainers else { return json }
        var containers: JSON = [:]
        for (container, place) in members(of: network.id) {
            containers[container.uid] = [
                "Name": .string(container.name), "EndpointID": .string(place.endpoint),
                "MacAddress": .string(place.hardware),
                "IPv4Address": .string(place.addresses.first { !$0.contains(":") } ?? ""),
                "IPv6Address": .string(place.addresses.first { $0.contains(":") } ?? ""),
            ]
        }
        json["Containers"] = containers
        return json
    }
}
