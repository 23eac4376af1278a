internal import CNI
internal import IO
internal import Serialization

/// `POST /networks/create` of Docker's API, as far as it means something on one node.
struct NetworkCreation: Hashable, Sendable {
    /// One entry of `IPAM.Config`.
    struct Subnet: Hashable, Sendable {
        var subnet: String?
        var range: String?
        var gateway: String?
        var others: [String: String] = [:]

        var isV6: Bool { (subnet ?? gateway ?? "").contains(":") }
    }

    var name: String
    var driver = "bridge"
    var isInternal = false
    var usesV6 = false
    var subnets: [Subnet] = []
    var options: [String: String] = [:]
    var labels: [String: String] = [:]

    /// Names that mean no network of anybody's: the pods' own, the machine's, and none at all.
    static let predefined = ["mesh", "host", "none"]
    /// The network of containers that name none; made when it is first used.
    static let standard = "bridge"
    private static let drivers = DriverKind.allCases.map(\.rawValue)

    init(name: String) { self.name = name }

    init(_ json: JSON) throws(Refusal) {
        let reader = try FieldReader(json, path: "")
        guard let name = try reader.string("Name") else { throw Refusal("network name is missing") }
        self.name = name
        guard NetworkCreation.isName(name) else {
            throw Refusal(
                "invalid network name '\(name.prefix(80))': only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at most 63")
        }
        guard !NetworkCreation.predefined.contains(name) else {
            throw Refusal("operation is not permitted on predefined \(name) network", status: 403)
        }
        driver = try reader.string("Driver") ?? "bridge"
        if driver == "skein" { driver = "bridge" }
        guard NetworkCreation.drivers.contains(driver) else {
            throw Refusal(
                "--driver \(driver.prefix(40)): it is none of \(NetworkCreation.drivers.joined(separator: ", "))")
        }
        isInternal = try reader.bool("Internal") ?? false
        usesV6 = try reader.bool("EnableIPv6") ?? false
        if let addresses = try reader.object("IPAM") {
            for item in try addresses.objects("Config", limit: Limits.subnets) {
                subnets.append(try NetworkCreation.subnet(item))
            }
            try addresses.finish("this member is unknown to skein")
        }
        options = try NetworkCreation.texts(reader, "Options")
        labels = try NetworkCreation.texts(reader, "Labels")
        guard options["skein.driver"] == nil else {
            throw Refusal("the network option skein.driver: here it is --driver")
        }
        try reader.finish("this member is unknown to skein")
        if !usesV6, let subnet = subnets.first(where: \.isV6) {
            throw Refusal("--subnet \(subnet.subnet ?? ""): it needs --ipv6")
        }
    }

    /// Whether it can be the name of a network or container.
    static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 63 else { return false }
        func isPlain(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
        }
        return isPlain(first) && text.utf8.allSatisfy { isPlain($0) || $0 == 0x2d || $0 == 0x2e || $0 == 0x5f }
    }

    private static func subnet(_ item: FieldReader) throws(Refusal) -> Subnet {
        let subnet = Subnet(
            subnet: try item.string("Subnet"), range: try item.string("IPRange"), gateway: try item.string("Gateway"),
            others: try texts(item, "AuxiliaryAddresses"))
        try item.finish("this member is unknown to skein")
        guard subnet.subnet != nil || subnet.range == nil && subnet.gateway == nil && subnet.others.isEmpty else {
            throw Refusal("--gateway, --ip-range and --aux-address need the --subnet that they are in")
        }
        return subnet
    }

    private static func texts(_ reader: FieldReader, _ name: String) throws(Refusal) -> [String: String] {
        guard let value = reader.value(name) else { return [:] }
        guard let members = value.object, members.values.allSatisfy({ $0.string != nil }) else {
            throw reader.error(name, "an object of strings is expected")
        }
        return value.textsByName
    }
}

/// What the annotation `skein.dev/networks` of a pod says: its networks in place of the mesh's.
package struct ContainerWish: Hashable, Sendable {
    /// One network to be on.
    struct Network: Hashable, Sendable {
        var name: String
        var v4: String?
        var v6: String?
        var aliases: [String] = []
        var hardware: String?
    }

    var networks: [Network] = []
    var ports: [JSON] = []

    /// The annotation's name.
    package static let annotation = "skein.dev/networks"
    /// Networks of one container.
    private static let networksMax = 16

    /// Reads the annotation's value.
    package init(_ text: String) throws(Refusal) {
        let json: JSON
        do throws(JSONError) { json = try JSON.parse(text) } catch {
            throw Refusal("annotation \(ContainerWish.annotation): no JSON: \(error)")
        }
        let reader = try FieldReader(json, path: "annotation \(ContainerWish.annotation)")
        for item in try reader.objects("networks", limit: ContainerWish.networksMax) {
            networks.append(try ContainerWish.network(item))
        }
        for item in try reader.objects("ports", limit: Limits.ports) { item.ignore(["Proto", "Port"]) }
        ports = json["ports"]?.array ?? []
        try reader.finish()
        if !ports.isEmpty, networks.isEmpty {
            throw Refusal("-p: a container without a network has no port to publish")
        }
    }

    /// `POST /networks/NAME/connect`: `EndpointConfig` of Docker's API.
    init(connecting name: String, _ json: JSON?) throws(Refusal) {
        var network = Network(name: name)
        if let json {
            let reader = try FieldReader(json, path: "EndpointConfig")
            if let addresses = try reader.object("IPAMConfig") {
                network.v4 = try addresses.string("IPv4Address")
                network.v6 = try addresses.string("IPv6Address")
                try addresses.finish()
            }
            network.aliases = try ContainerWish.aliases(reader, "Aliases")
            try reader.finish()
        }
        networks = [network]
    }

    private static func network(_ item: FieldReader) throws(Refusal) -> Network {
        guard let name = try item.string("name") else { throw item.error("name", "it is missing") }
        let network = Network(
            name: name, v4: try item.string("ip"), v6: try item.string("ip6"), aliases: try aliases(item, "aliases"),
            hardware: try item.string("mac"))
        try item.finish()
        return network
    }

    private static func aliases(_ reader: FieldReader, _ name: String) throws(Refusal) -> [String] {
        let names = reader.value(name)?.texts ?? []
        guard let bad = names.first(where: { !NetworkCreation.isName($0) }) else { return names }
        throw reader.error(name, "'\(bad.prefix(80))' is no name")
    }
}
