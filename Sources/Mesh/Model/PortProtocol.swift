/// What is spoken on a service port, as far as the proxies care (S-1, S-2).
public enum PortProtocol: Sendable, Hashable {
    /// HTTP/1.1.
    case http
    /// HTTP/2, also gRPC.
    ///
    /// Carried as bytes until the proxy routes HTTP/2.
    case http2
    /// Bytes.
    case tcp
    /// TLS from end to end, carried as bytes.
    case tls
    /// Not said: found out on each connection.
    case sniffed
    /// Never proxied.
    case udp

    /// Ports on which the server speaks first or TLS-like start-up is known: never sniffed (S-2).
    static let knownTCPPorts: Set<Int> = [25, 53, 3306, 27017]

    /// The protocol of a port from `appProtocol`, its name, and its transport (S-1).
    public init(transport: String, appProtocol: String?, name: String, port: Int) {
        if transport == "UDP" || transport == "SCTP" {
            self = .udp
        } else if let appProtocol, let known = Self.named(appProtocol.lowercased()) {
            self = known
        } else if let known = Self.named(byPortName: name.lowercased()) {
            self = known
        } else {
            self = Self.knownTCPPorts.contains(port) ? .tcp : .sniffed
        }
    }

    /// `<protocol>[-suffix]`, with `grpc-web` tested before the split.
    private static func named(byPortName name: String) -> PortProtocol? {
        if name == "grpc-web" || name.hasPrefix("grpc-web-") { return .http }
        return named(String(name.prefix { $0 != "-" }))
    }

    private static func named(_ word: String) -> PortProtocol? {
        switch word {
        case "http", "http1", "grpc-web", "kubernetes.io/ws": .http
        case "http2", "grpc", "kubernetes.io/h2c": .http2
        case "https", "tls", "kubernetes.io/wss": .tls
        case "tcp", "mongo", "mysql", "redis": .tcp
        case "udp": .udp
        default: nil
        }
    }

    /// Whether every connection on such a port is HTTP.
    var isHTTP: Bool { self == .http }
    /// Whether requests on such a port are routed one by one, at least when sniffing finds HTTP.
    var mayBeHTTP: Bool { self == .http || self == .sniffed }
    /// Whether connections on such a port may have to be carried as bytes.
    var mayBeBytes: Bool { self != .http && self != .udp }
}
