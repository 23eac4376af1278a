public import TLS

/// A member of an etcd cluster as clients reach it: `https://etcd-1.example:2379`.
public struct EtcdEndpoint: Sendable, Hashable, CustomStringConvertible {
    /// Whether TLS is spoken.
    public var isSecure: Bool
    /// Host name or address.
    public var host: String
    /// The port.
    public var port: UInt16

    /// Reads `https://host:port`, `http://host:port` or `host:port` (without TLS); 2379 when there is no port.
    public init?(_ text: some StringProtocol) {
        var rest = Substring(text)
        isSecure = false
        if let scheme = rest.firstRange(of: "://") {
            switch rest[..<scheme.lowerBound] {
            case "https": isSecure = true
            case "http": break
            default: return nil
            }
            rest = rest[scheme.upperBound...]
        }
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        port = 2379
        if let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("]") {
            guard let number = UInt16(rest[rest.index(after: colon)...]), number > 0 else { return nil }
            port = number
            rest = rest[..<colon]
        }
        if rest.hasPrefix("["), rest.hasSuffix("]") { rest = rest.dropFirst().dropLast() }
        guard !rest.isEmpty, !rest.contains("/"), !rest.contains("@") else { return nil }
        host = String(rest)
    }

    /// As it is written in a flag.
    public var description: String {
        "\(isSecure ? "https" : "http")://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }
}

/// How an etcd cluster is reached.
public struct EtcdConfiguration: Sendable {
    /// Its members, tried in turn.
    public var endpoints: [EtcdEndpoint]
    /// What signs the certificates of the members.
    public var authority: [Certificate] = []
    /// The client certificate, leaf first; empty: none is shown.
    public var certificateChain: [Certificate] = []
    /// The key of the client certificate.
    public var privateKey: PrivateKey?
    /// The user of etcd's own authentication; nil: none.
    public var user: String?
    /// The user's password.
    public var password = ""
    /// How long connecting to one member may take.
    public var connectTimeout = Duration.seconds(2)
    /// How long one call may take before another member is asked.
    public var callTimeout = Duration.seconds(5)
    /// After which silence a watch is taken for dead; a sign of life is asked for three times as often.
    public var watchSilence = Duration.seconds(6)

    /// Members without TLS and users.
    public init(endpoints: [EtcdEndpoint]) { self.endpoints = endpoints }
}
