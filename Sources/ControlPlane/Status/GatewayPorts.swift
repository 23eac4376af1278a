public import Mesh
public import Serialization

/// The ports of the gateway's Service follow what is opened at the gateway, so that the addresses which statuses tell
/// answer on the ports of all listeners.
public enum GatewayPorts {
    /// What the names of ports begin with that are added here; ports of other names stay as they are written.
    static let prefix = "opened-"

    /// The Service's `spec.ports` as it should be; `nil` when it is so.
    public static func decide(_ written: JSON?, opened: Set<OpenedPort>) -> JSON? {
        let entries = written?.array ?? []
        let own = entries.filter(isOwn)
        let others = entries.filter { !isOwn($0) }
        let covered = Set(others.compactMap(port))
        let wanted = opened.subtracting(covered).sorted { ($0.number, $0.name) < ($1.number, $1.name) }
        // What is there keeps its node port.
        let made = wanted.map { port in own.first { self.port($0) == port } ?? entry(port) }
        let all = others + made
        return all == entries ? nil : .array(all)
    }

    private static func isOwn(_ entry: JSON) -> Bool { entry["name"]?.string?.hasPrefix(prefix) ?? false }

    private static func port(_ entry: JSON) -> OpenedPort? {
        entry["port"]?.int.map { OpenedPort(number: $0, isDatagram: entry["protocol"]?.string == "UDP") }
    }

    private static func entry(_ port: OpenedPort) -> JSON {
        [
            "name": .string(prefix + port.name), "port": .integer(Int64(port.number)),
            "targetPort": .integer(Int64(port.number)), "protocol": port.isDatagram ? "UDP" : "TCP",
        ]
    }
}

extension OpenedPort {
    /// A name that no other port has.
    fileprivate var name: String { "\(number)" + (isDatagram ? "-udp" : "") }
}
