public import IO

/// What the zone must know of programs that are registered without being pods: names as Consul's DNS has them.
///
/// `NAME.service.DOMAIN`, `TAG.NAME.service.DOMAIN` and `NODE.node.DOMAIN`, each also with the datacenter before the domain; service names
/// have addresses and SRV records, and SRV also under `_NAME._TAG.service.DOMAIN` (RFC 2782), where any instance has the tag `tcp`.
public struct RegisteredNames: Hashable, Sendable {
    /// Instances of one service that have names; further ones are left out, as no answer can hold them.
    public static let instancesMax = 128

    /// A healthy instance.
    public struct Instance: Hashable, Sendable {
        /// Its service.
        public var service: String
        /// Its tags.
        public var tags: [String]
        /// Its node.
        public var node: String
        /// Its address.
        public var address: IPAddress
        /// Its port; 0: none, and no SRV record.
        public var port: UInt16
        /// Its share.
        public var weight: UInt16

        /// An instance.
        public init(
            service: String, tags: [String], node: String, address: IPAddress, port: UInt16, weight: UInt16
        ) {
            self.service = service
            self.tags = tags
            self.node = node
            self.address = address
            self.port = port
            self.weight = weight
        }
    }

    /// What all names end with.
    public var domain: String
    /// The datacenter.
    public var datacenter: String
    /// The instances.
    public var instances: [Instance] = []
    /// The addresses of nodes.
    public var nodes: [String: IPAddress] = [:]

    /// No names yet.
    public init(domain: String, datacenter: String) {
        self.domain = domain
        self.datacenter = datacenter
    }

    /// Every name with what it stands for; names that DNS cannot carry are left out.
    func records() -> [(name: Name, value: Record.Value)] {
        guard let root = Name(domain), let center = Name(datacenter, under: root) else { return [] }
        var result: [(name: Name, value: Record.Value)] = []
        for (node, address) in nodes {
            for parent in [root, center] {
                if let name = Name("\(node).node", under: parent) { result.append((name, .address(address))) }
            }
        }
        var counts: [String: Int] = [:]
        for instance in instances {
            counts[instance.service, default: 0] += 1
            guard counts[instance.service, default: 0] <= Self.instancesMax else { continue }
            let target: Name?
            if nodes[instance.node] == instance.address {
                target = Name("\(instance.node).node", under: center)
            } else {
                target = Name("\(Self.hex(instance.address)).addr", under: center)
                if let target { result.append((target, .address(instance.address))) }
            }
            let tags = Set(instance.tags.map { $0.lowercased() })
            for parent in [root, center] {
                let names = ["\(instance.service).service"] + tags.map { "\($0).\(instance.service).service" }
                let located = (tags.union(["tcp"])).map { "_\(instance.service)._\($0).service" }
                for name in names.compactMap({ Name($0, under: parent) }) {
                    result.append((name, .address(instance.address)))
                }
                guard let target, instance.port > 0 else { continue }
                let value = Record.Value.srv(
                    priority: 1, weight: instance.weight, port: instance.port, target: target)
                for name in (names + located).compactMap({ Name($0, under: parent) }) { result.append((name, value)) }
            }
        }
        return result
    }

    /// `0a000001` of 10.0.0.1, as Consul writes it.
    static func hex(_ address: IPAddress) -> String {
        let digits = Array("0123456789abcdef")
        return String(address.bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }
}
