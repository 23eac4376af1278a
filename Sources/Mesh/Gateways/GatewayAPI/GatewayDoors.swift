import KubernetesAPI

/// The ports of the gateway pod at which the Gateways' own addresses end.
///
/// Each Gateway has an address of its own, and all are served by one pod: what arrives at port 80 of one address must be
/// told from what arrives at port 80 of another. So the Service of a Gateway leads to ports of the pod that are nobody
/// else's. They follow from the Gateway's name, so that they are the same in every control plane and after a restart;
/// where two names meet at one port, the older Gateway keeps it and the younger one takes the next that is free. Pure.
struct GatewayDoors: Sendable, Equatable {
    /// A port of a Gateway.
    struct Door: Sendable, Hashable {
        var gateway: NamespacedName
        var port: OpenedPort
    }

    /// Above what pods usually open, below what the kernel gives to outgoing connections.
    static let range = 16_384..<32_768

    /// The port of the pod behind each door.
    private(set) var targets: [Door: Int] = [:]

    /// No doors.
    init() {}

    /// - Parameters:
    ///   - doors: All there are, those of older Gateways first; one for which no port is left gets none.
    ///   - taken: Ports that are opened at the pod under their own numbers.
    init(_ doors: [Door], taken: Set<Int>) {
        var used = taken
        for door in doors where targets[door] == nil && used.count < Self.range.count + taken.count {
            var candidate = Self.range.lowerBound + Int(Self.hash(door) % UInt64(Self.range.count))
            for _ in Self.range {
                if used.insert(candidate).inserted {
                    targets[door] = candidate
                    break
                }
                candidate = candidate + 1 < Self.range.upperBound ? candidate + 1 : Self.range.lowerBound
            }
        }
    }

    /// Where a port of a Gateway ends.
    func target(_ gateway: NamespacedName, _ port: OpenedPort) -> Int? {
        targets[Door(gateway: gateway, port: port)]
    }

    /// The same in every process, as Swift's own hashes are not.
    private static func hash(_ door: Door) -> UInt64 {
        var hash: UInt64 = 14_695_981_039_346_656_037
        for byte in "\(door.gateway) \(door.port.number) \(door.port.isDatagram)".utf8 {
            hash = (hash ^ UInt64(byte)) &* 1_099_511_628_211
        }
        // The low bits alone would make neighbours of neighbours.
        return hash ^ (hash >> 32)
    }
}

/// What the Service of a Gateway must be, so that the Gateway has an address of its own.
public struct GatewayAddress: Sendable, Hashable {
    /// A port of that address.
    public struct Port: Sendable, Hashable {
        /// The port at the address.
        public var port: OpenedPort
        /// The port of the gateway's pods.
        public var target: Int
        /// A name that no other port of the Gateway has, beginning with what is spoken there.
        public var name: String

        /// A port.
        public init(port: OpenedPort, target: Int, name: String) {
            self.port = port
            self.target = target
            self.name = name
        }
    }

    /// The Gateway.
    public var gateway: NamespacedName
    /// Its class.
    public var className: String
    /// Its ports, in their order.
    public var ports: [Port]
    /// The address that it asks for (`spec.addresses`); nil: any.
    public var address: String?
    /// `spec.infrastructure.labels`.
    public var labels: [String: String]
    /// `spec.infrastructure.annotations`.
    public var annotations: [String: String]

    /// An address.
    public init(
        gateway: NamespacedName, className: String, ports: [Port], address: String?, labels: [String: String],
        annotations: [String: String]
    ) {
        self.gateway = gateway
        self.className = className
        self.ports = ports
        self.address = address
        self.labels = labels
        self.annotations = annotations
    }
}

extension MeshModel {
    /// The Services that Gateways of our classes are to have, in the order of their Gateways.
    ///
    /// None for a Gateway that is refused, or that says by a host name in `spec.addresses` that the pod's own Service is
    /// its address. The port of a listener that is not served is among its ports: who connects there is refused.
    public var gatewayAddresses: [GatewayAddress] {
        gatewayAPI.gateways.compactMap { entry in
            guard !entry.usesSharedAddress, entry.refusal == nil else { return nil }
            var ports: [OpenedPort: GatewayAddress.Port] = [:]
            for listener in entry.listeners.lazy.map({ gatewayAPI.listeners[$0] }) {
                guard let port = listener.port, ports[port] == nil,
                    let target = gatewayAPI.doors.target(entry.key, port), let wire = listener.wire
                else { continue }
                ports[port] = GatewayAddress.Port(port: port, target: target, name: "\(wire.word)-\(port.number)")
            }
            guard !ports.isEmpty else { return nil }
            return GatewayAddress(
                gateway: entry.key, className: entry.gateway.className,
                ports: ports.values.sorted { ($0.port.number, $0.name) < ($1.port.number, $1.name) },
                address: entry.gateway.addresses.first { $0.type == "IPAddress" && !$0.value.isEmpty }?.value,
                labels: entry.gateway.infrastructureLabels, annotations: entry.gateway.infrastructureAnnotations)
        }
    }
}

extension GatewayAPIModel.Listener {
    /// The port; nil when there is no such number or nobody knows what is spoken there.
    var port: OpenedPort? {
        guard let wire, (1...65535).contains(listener.port) else { return nil }
        return OpenedPort(number: listener.port, isDatagram: wire == .udp)
    }
}

extension GatewayAPIModel.Wire {
    /// What a port's name begins with, so that callers inside of the mesh know what is spoken.
    fileprivate var word: String {
        switch self {
        case .http: "http"
        case .https: "https"
        case .tlsTerminate, .tlsPassthrough: "tls"
        case .tcp: "tcp"
        case .udp: "udp"
        }
    }
}
