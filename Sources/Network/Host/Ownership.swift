internal import IO

/// By what our things on the host are known, to the rules, to tear-down and to people.
enum Ownership {
    /// The link group of the pods' host ends; rules match it instead of name patterns, which others might fit.
    static let podGroup = 7533
    /// The link group of the gateway bridge.
    static let gatewayGroup = 7534
    /// The link group of VXLAN devices and of the WireGuard link.
    static let overlayGroup = 7535
    /// Group of the bridges of `skein network create`, which other code makes.
    static let networkGroup = 7537
    /// The VXLAN device of a network identifier.
    static func overlayLink(_ identifier: UInt32) -> String { "skvx\(identifier)" }
    /// The WireGuard link to the other nodes of a network.
    static func encryptedLink(_ identifier: UInt32) -> String { "skwg\(identifier)" }
    /// The bridge that holds the gateway address.
    ///
    /// No port is ever put into it: pods are routed, not switched.
    static let gatewayLink = "skein0"
    /// The pod's own end.
    static let podLink = "eth0"
    /// Every table of ours on the host begins so.
    static let tablePrefix = "skein_"

    /// The hardware address of every host end: what the pods' fixed neighbour entries say.
    static let hostHardware: [UInt8] = [0x02, 0x73, 0x6b, 0, 0, 1]

    /// The hardware address of a pod, from its IPv4 address: unique on the node, the same after a restart.
    static func hardware(of address: IPAddress) -> [UInt8] { [0x02, 0x73] + address.bytes.suffix(4) }

    /// `sk` and the first ten hexadecimal digits of the pod's uid (of a hash when it is no UUID).
    static func linkName(uid: String) -> String {
        let digits = uid.lowercased().filter { $0.isHexDigit && $0.isASCII }
        let isUUID = uid.utf8.count == 36 && digits.count == 32
        return "sk" + (isUUID ? String(digits.prefix(10)) : String(hex(fnv1a(uid)).prefix(10)))
    }

    /// The device in which what a pod sends waits, where that is limited.
    static func waitingLink(uid: String) -> String { "ski" + linkName(uid: uid).dropFirst(2) }

    /// Whether the link is ours.
    static func owns(_ link: RouteSocket.Link) -> Bool {
        if link.name == gatewayLink { return link.group == gatewayGroup && link.kind == "bridge" }
        if link.name.hasPrefix("skvx") { return link.group == overlayGroup && link.kind == "vxlan" }
        if link.name.hasPrefix("skwg") { return link.group == overlayGroup && link.kind == "wireguard" }
        if link.kind == "ifb" {
            return link.group == podGroup && link.name.utf8.count == 13 && link.name.hasPrefix("ski")
        }
        let isNamed =
            link.name.utf8.count == 12 && link.name.hasPrefix("sk") && link.name.dropFirst(2).allSatisfy(\.isHexDigit)
        return isNamed && link.group == podGroup && link.kind == "veth"
    }
}
